//! Proxies in front of a gateway: which are believed when they say where a request comes from, and the URL that clients use.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Uri, header};
use ipnet::IpNet;

/// The word for a unix socket among proxies.
const UNIX: &str = "unix";
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A proxy, or a network of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    /// These addresses.
    Network(IpNet),
    /// Every peer of a unix socket.
    Unix,
}

/// A text that names no proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it reads ADDRESS, NETWORK/BITS or `{UNIX}`")]
pub struct InvalidProxy;

impl FromStr for TrustedProxy {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        if text == UNIX {
            return Ok(Self::Unix);
        }
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        let network = text.parse().or_else(|_| address()).map_err(|_| InvalidProxy)?;
        Ok(Self::Network(network))
    }
}

/// The header in which proxies say where a request comes from. Only one is read: a proxy passes on what clients write into the
/// others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded`, of RFC 7239.
    Forwarded,
}

/// The proxies that are believed.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// Who they are.
    pub trusted: Vec<TrustedProxy>,
    /// What they write.
    pub header: ForwardedHeader,
}

impl Proxies {
    /// Whether what is at `address` is believed; `None` is the peer of a unix socket.
    pub(crate) fn trusts(&self, address: Option<IpAddr>) -> bool {
        self.trusted.iter().any(|proxy| match (proxy, address) {
            (TrustedProxy::Network(network), Some(address)) => {
                network.contains(&address.to_canonical())
            }
            (TrustedProxy::Unix, None) => true,
            _ => false,
        })
    }

    /// Where a request comes from that `peer` has sent: the last address that is no trusted proxy's. What stands before
    /// that was written by clients.
    pub(crate) fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        for address in self.forwarded(headers).into_iter().rev() {
            // A proxy that hides an address is where the trail ends.
            let Some(address) = address else { return client };
            client = Some(address);
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    /// The addresses that the header has, in its order; `None` for what is no address.
    fn forwarded(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        let name = match self.header {
            ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
            ForwardedHeader::Forwarded => header::FORWARDED,
        };
        let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
        let value = values.collect::<Vec<_>>().join(",");
        if value.is_empty() {
            return Vec::new();
        }
        match self.header {
            ForwardedHeader::XForwardedFor => value.split(',').map(address).collect(),
            ForwardedHeader::Forwarded => elements(&value).unwrap_or_else(|| vec![None]),
        }
    }
}

/// An address, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse().or_else(|_| with_port()).ok().map(|address: IpAddr| address.to_canonical())
}

/// The `for` of each element of a `Forwarded` header; `None` if its quotes do not match.
fn elements(value: &str) -> Option<Vec<Option<IpAddr>>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let mut is_separator = |letter: char| {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' => return !is_quoted,
            _ => {}
        }
        false
    };
    let elements: Vec<_> = value.split(&mut is_separator).collect();
    let of_element = |element: &&str| {
        let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
        let (_, node) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
        address(node.trim_matches('"'))
    };
    let nodes = elements.iter().map(of_element).collect();
    (!is_quoted).then_some(nodes)
}

/// The URL under which clients reach a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// Scheme, host and port, as a browser names the pages of it.
    origin: String,
    host: String,
    /// The path, without a slash at its end; empty for the root.
    prefix: String,
}

/// A text that is no URL of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it reads https://HOST[:PORT][/PATH]")]
pub struct InvalidUrl;

impl FromStr for PublicUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let uri: Uri = text.parse().map_err(|_| InvalidUrl)?;
        let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
        let (Some(scheme), Some(authority), None) = (scheme, uri.authority(), uri.query()) else {
            return Err(InvalidUrl);
        };
        if authority.as_str().contains('@') {
            return Err(InvalidUrl);
        }
        // Browsers leave out the usual port.
        let usual = if scheme == "https" { 443 } else { 80 };
        let port = authority.port_u16().filter(|port| *port != usual);
        let host = authority.host().to_ascii_lowercase();
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { origin: format!("{scheme}://{host}{port}"), host, prefix })
    }
}

impl PublicUrl {
    /// Its host, without a port.
    pub(crate) fn host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// What a browser calls it, if it has no path.
    pub(crate) fn origin_only(&self) -> Option<&str> {
        self.prefix.is_empty().then_some(self.origin.as_str())
    }

    /// Whether a browser says of a page that it is of here.
    pub(crate) fn is_origin(&self, origin: &str) -> bool {
        self.origin.eq_ignore_ascii_case(origin)
    }

    /// The whole URL, without a slash at its end.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.origin, self.prefix)
    }

    /// The target of a request without the path of this URL; `None` where the proxy has removed that, or there is none.
    pub(crate) fn without_prefix(&self, target: &Uri) -> Option<Uri> {
        if self.prefix.is_empty() {
            return None;
        }
        let text = target.path_and_query()?.as_str().strip_prefix(&self.prefix)?;
        let text = match text.as_bytes().first() {
            Some(b'/') => text.to_owned(),
            None | Some(b'?') => format!("/{text}"),
            // Another path that begins alike.
            Some(_) => return None,
        };
        let mut parts = target.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
        Uri::from_parts(parts).ok()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn proxies(trusted: &[&str], header: ForwardedHeader) -> Proxies {
        let trusted = trusted.iter().map(|text| text.parse().expect("a proxy")).collect();
        Proxies { trusted, header }
    }

    fn client(proxies: &Proxies, peer: &str, name: &str, values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let peer = (peer != "unix").then(|| peer.parse().expect("an address"));
        proxies.client(peer, &headers).map_or_else(|| "unix".to_owned(), |it| it.to_string())
    }

    #[test]
    fn the_last_address_that_is_no_proxy_counts() {
        let ours =
            proxies(&["10.0.0.0/8", "2001:db8::/32", "127.0.0.1"], ForwardedHeader::default());
        let of = |peer, values: &[&str]| client(&ours, peer, "x-forwarded-for", values);
        assert_eq!(of("10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(of("::ffff:10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(of("10.0.0.1", &["203.0.113.9, 192.0.2.1, 10.0.0.2"]), "192.0.2.1");
        assert_eq!(of("10.0.0.1", &["203.0.113.9", "192.0.2.1"]), "192.0.2.1", "two headers");
        assert_eq!(of("10.0.0.1", &["192.0.2.1:4711"]), "192.0.2.1");
        assert_eq!(of("10.0.0.1", &["[2001:db9::1]:4711"]), "2001:db9::1");
        assert_eq!(of("10.0.0.1", &["10.0.0.7, 10.0.0.2"]), "10.0.0.7", "all are ours");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1", "it does not say");
        assert_eq!(of("10.0.0.1", &["192.0.2.1, unknown"]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &["192.0.2.1, x, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(of("192.0.2.7", &["203.0.113.9"]), "192.0.2.7", "anyone can write it");
        assert_eq!(of("unix", &["203.0.113.9"]), "unix");
        let unix = proxies(&["unix"], ForwardedHeader::default());
        assert_eq!(client(&unix, "unix", "x-forwarded-for", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(client(&unix, "unix", "forwarded", &["for=192.0.2.1"]), "unix", "not read");
    }

    #[test]
    fn the_standard_header_is_read() {
        let ours = proxies(&["10.0.0.0/8"], ForwardedHeader::Forwarded);
        let of = |values: &[&str]| client(&ours, "10.0.0.1", "forwarded", values);
        assert_eq!(of(&["for=192.0.2.1;proto=https;by=10.0.0.1"]), "192.0.2.1");
        assert_eq!(of(&["for=203.0.113.9, For=\"[2001:db8::1]:4711\""]), "2001:db8::1");
        assert_eq!(of(&["for=192.0.2.1;host=\"a,for=203.0.113.9\""]), "192.0.2.1");
        assert_eq!(of(&["for=192.0.2.1, for=_hidden"]), "10.0.0.1");
        assert_eq!(of(&["for=192.0.2.1, proto=https"]), "10.0.0.1");
        assert_eq!(of(&["for=\"203.0.113.9", "for=192.0.2.1"]), "10.0.0.1", "an open quote");
        assert_eq!(client(&ours, "10.0.0.1", "x-forwarded-for", &["192.0.2.1"]), "10.0.0.1");
    }

    #[test]
    fn proxies_are_addresses_networks_or_unix() {
        for wrong in ["", "10.0.0.0/33", "proxy.example.com", "10.0.0", "unix:/x"] {
            assert_eq!(wrong.parse::<TrustedProxy>(), Err(InvalidProxy), "{wrong}");
        }
    }

    #[test]
    fn a_prefix_is_removed_where_it_stands() {
        let url = |text: &str| text.parse::<PublicUrl>();
        let ours = url("https://Faas.example.com:443/functions/").expect("a URL");
        assert_eq!(ours.text(), "https://faas.example.com/functions");
        assert_eq!(ours.host(), "faas.example.com");
        assert!(
            ours.is_origin("https://faas.example.com")
                && !ours.is_origin("http://faas.example.com")
        );
        let without = |target: &str| {
            let target: Uri = target.parse().expect("a target");
            ours.without_prefix(&target).map(|uri| uri.to_string())
        };
        assert_eq!(without("/functions/v1/tasks?limit=1").as_deref(), Some("/v1/tasks?limit=1"));
        assert_eq!(without("/functions").as_deref(), Some("/"));
        assert_eq!(without("/functions?x=1").as_deref(), Some("/?x=1"));
        assert_eq!(without("https://h/functions/docs").as_deref(), Some("https://h/docs"));
        assert_eq!(without("/v1/functions"), None, "the proxy has removed it");
        assert_eq!(without("/functionsx"), None);
        let root = url("http://[::1]:8000").expect("a URL");
        assert_eq!((root.text().as_str(), root.host()), ("http://[::1]:8000", "::1"));
        assert_eq!(root.without_prefix(&Uri::from_static("/x")), None);
        for wrong in
            ["", "faas.example.com", "/functions", "ftp://h/", "https://h/?x", "https://u@h/"]
        {
            assert_eq!(url(wrong), Err(InvalidUrl), "{wrong}");
        }
    }
}
