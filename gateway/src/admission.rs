//! Which requests are answered at all: those under a name of this gateway, and no changes from web
//! pages of others.
//!
//! A web page elsewhere can make a browser send requests to a service on loopback. With a name that
//! resolves to loopback (DNS rebinding) it could read the answers too: hence the check of `Host`.
//! Without, it can still post blindly: hence the check of `Origin`.

use std::net::{IpAddr, SocketAddr};

use http::uri::Authority;
use http::{HeaderMap, Method, Request, Version, header};

use crate::cors::WebOrigin;
use crate::error::ApiError;
use crate::problem::shown;
use crate::proxies::PublicUrl;

/// The names under which a gateway answers.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The addresses that are listened on.
    listen: Vec<IpAddr>,
    names: Vec<String>,
    is_open: bool,
    /// What browsers are shown, where a proxy has another name.
    public: Option<PublicUrl>,
    /// Pages of others that may change something.
    origins: Vec<WebOrigin>,
}

impl Admission {
    /// The rules of a gateway that listens at `listen`, has further `names`, and is shown under another URL.
    pub(crate) fn new(listen: &[SocketAddr], names: &[String], public: Option<PublicUrl>) -> Self {
        let shown = public.iter().map(|url| url.host().to_owned());
        Self {
            listen: listen.iter().map(|address| address.ip().to_canonical()).collect(),
            names: names.iter().map(|name| name.to_ascii_lowercase()).chain(shown).collect(),
            is_open: names.iter().any(|name| name == "*"),
            public,
            origins: Vec::new(),
        }
    }

    /// Lets pages of these origins change something.
    pub(crate) fn with_origins(self, origins: Vec<WebOrigin>) -> Self {
        Self { origins, ..self }
    }

    /// Whether a request may go on to its handler.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), ApiError> {
        self.check_host(request)?;
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        self.check_origin(request.headers(), authority(request))
    }

    fn check_host<B>(&self, request: &Request<B>) -> Result<(), ApiError> {
        if request.headers().get_all(header::HOST).iter().nth(1).is_some() {
            return Err(ApiError::SeveralHosts);
        }
        let in_header = host_header(request.headers());
        let in_target = request.uri().authority().map(Authority::as_str);
        if in_header.is_none() && in_target.is_none() {
            // Before 1.1 there was no Host, and no browser of today speaks that.
            return if request.version() <= Version::HTTP_10 {
                Ok(())
            } else {
                Err(ApiError::NoHost)
            };
        }
        for host in [in_header, in_target].into_iter().flatten() {
            if !self.is_ours(host) {
                return Err(ApiError::Host(shown(host)));
            }
        }
        Ok(())
    }

    fn is_ours(&self, host: &str) -> bool {
        if self.is_open {
            return true;
        }
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().trim_matches(['[', ']']);
        if let Ok(address) = name.parse::<IpAddr>() {
            // An address cannot be rebound. Which addresses lead to a wildcard listener is not known.
            let address = address.to_canonical();
            return address.is_loopback()
                || self.listen.iter().any(|ours| *ours == address || ours.is_unspecified())
                || self.names.iter().any(|ours| ours == name);
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost") || self.names.contains(&name)
    }

    /// A browser names the page that sends; programs do not. Only our own pages and those of the operator's list may change something.
    fn check_origin(&self, headers: &HeaderMap, host: &str) -> Result<(), ApiError> {
        if let Some(origin) = headers.get(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or("null");
            if self.origins.iter().any(|ours| ours.is(origin)) {
                return Ok(());
            }
            let page = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            let is_ours = page.is_some_and(|page| page.eq_ignore_ascii_case(host))
                || self.public.as_ref().is_some_and(|public| public.is_origin(origin));
            if !is_ours {
                return Err(ApiError::Origin(shown(origin)));
            }
        }
        match headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes) {
            Some(b"cross-site" | b"same-site") => Err(ApiError::Origin("another site".to_owned())),
            _ => Ok(()),
        }
    }
}

fn host_header(headers: &HeaderMap) -> Option<&str> {
    // A Host that is no text is no name of ours: the empty one is refused.
    headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default())
}

fn authority<B>(request: &Request<B>) -> &str {
    let in_target = request.uri().authority().map(Authority::as_str);
    in_target.or_else(|| host_header(request.headers())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, headers: &[(&str, &str)]) -> Request<()> {
        let mut builder = Request::builder().method(method).uri("/status/x");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("valid")
    }

    fn admission(listen: &str, names: &[&str]) -> Admission {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        Admission::new(&[listen.parse().expect("an address")], &names, None)
    }

    #[test]
    fn only_our_names_are_answered() {
        let loopback = admission("127.0.0.1:8000", &["faas.example"]);
        for host in [
            "127.0.0.1:8000",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8000",
            "a.localhost",
            "faas.example:80",
        ] {
            assert!(loopback.check(&request(Method::GET, &[("host", host)])).is_ok(), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "10.0.0.1", "", "a b", "x@127.0.0.2.evil"]
        {
            assert!(loopback.check(&request(Method::GET, &[("host", host)])).is_err(), "{host}");
        }
        assert!(loopback.check(&request(Method::GET, &[])).is_err(), "no host at all");
        let wildcard = admission("0.0.0.0:8000", &[]);
        assert!(wildcard.check(&request(Method::GET, &[("host", "10.0.0.1")])).is_ok());
        assert!(wildcard.check(&request(Method::GET, &[("host", "evil.example")])).is_err());
        let open = admission("0.0.0.0:8000", &["*"]);
        assert!(open.check(&request(Method::GET, &[("host", "evil.example")])).is_ok());
    }

    #[test]
    fn a_request_names_one_host() {
        let ours = admission("127.0.0.1:8000", &["*"]);
        let host = ("host", "127.0.0.1:8000");
        for other in [host, ("host", "evil.example")] {
            let refused = ours.check(&request(Method::GET, &[host, other]));
            assert!(matches!(refused, Err(ApiError::SeveralHosts)), "{refused:?}");
        }
    }

    #[test]
    fn pages_of_the_public_url_may_change_something() {
        let listen = ["127.0.0.1:8000".parse().expect("an address")];
        let public = "https://faas.example/functions".parse().expect("a URL");
        let ours = Admission::new(&listen, &[], Some(public));
        // A proxy names its upstream, or what the client asked for.
        for host in ["127.0.0.1:8000", "faas.example"] {
            let of = |origin| request(Method::POST, &[("host", host), ("origin", origin)]);
            assert!(ours.check(&of("https://faas.example")).is_ok(), "{host}");
            assert!(ours.check(&of("https://faas.example.evil.example")).is_err(), "{host}");
        }
    }

    #[test]
    fn pages_of_the_list_may_change_something() {
        let origins = vec!["https://app.example".parse().expect("an origin")];
        let ours = admission("127.0.0.1:8000", &[]).with_origins(origins);
        let (host, site) = (("host", "127.0.0.1:8000"), ("sec-fetch-site", "cross-site"));
        let post = |origin| ours.check(&request(Method::POST, &[host, ("origin", origin), site]));
        assert!(post("https://app.example").is_ok());
        for other in
            ["http://app.example", "https://app.example:444", "https://app.example.evil", "null"]
        {
            assert!(post(other).is_err(), "{other}");
        }
        assert!(ours.check(&request(Method::POST, &[host, site])).is_err(), "it names no page");
    }

    #[test]
    fn pages_of_others_change_nothing() {
        let ours = admission("127.0.0.1:8000", &[]);
        let host = ("host", "127.0.0.1:8000");
        let with = |method, extra| ours.check(&request(method, &[host, extra]));
        assert!(with(Method::POST, ("origin", "http://127.0.0.1:8000")).is_ok());
        assert!(with(Method::POST, ("origin", "http://localhost:3000")).is_err());
        assert!(with(Method::POST, ("origin", "null")).is_err());
        assert!(with(Method::POST, ("sec-fetch-site", "cross-site")).is_err());
        assert!(with(Method::POST, ("sec-fetch-site", "same-origin")).is_ok());
        assert!(with(Method::GET, ("origin", "https://evil.example")).is_ok(), "cannot be read");
    }
}
