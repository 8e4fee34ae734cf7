//! Where a request goes, in the one form that is compared with patterns and sent.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::path::{self, InvalidPath, Segment};

/// The methods that can be granted. `CONNECT` and `TRACE` are none of them.
pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The longest path with its query, in bytes.
const TARGET_BYTES: usize = 8 << 10;
/// The longest name of a host, and the longest part of one, as of DNS.
const NAME_BYTES: usize = 253;
const LABEL_BYTES: usize = 63;

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// The server of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpHost {
    /// By its name, in lower case.
    Name(String),
    /// By its address.
    Address(IpAddr),
}

/// The method and the URL of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTarget {
    pub(super) method: usize,
    /// Whether it goes over TLS.
    pub scheme: Scheme,
    /// Its server.
    pub host: HttpHost,
    /// The port there.
    pub port: u16,
    pub(super) path: Vec<Segment>,
    query: Option<String>,
}

/// Why a method or URL is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// No method that can be granted.
    #[error("`{0}` is no method that can be granted: {methods}", methods = METHODS.join(", "))]
    Method(String),
    /// Neither `http` nor `https`.
    #[error("`{0}` is neither `http` nor `https`")]
    Scheme(String),
    /// Neither a name nor an address.
    #[error("`{0}` is neither the name of a host nor an address")]
    Host(String),
    /// No port.
    #[error("{0} is no port")]
    Port(u64),
    /// A path that some server could read in another way.
    #[error("the path is refused: {0}")]
    Path(#[from] InvalidPath),
    /// It is longer than 8 KiB.
    #[error("the path and the query have {0} bytes, and at most {TARGET_BYTES} are allowed")]
    TooLong(usize),
}

impl HttpTarget {
    /// The target of a request as a function asks for it: `target` is the path with its query.
    ///
    /// # Errors
    /// A part is no part of a URL, or servers could read it in two ways.
    pub fn new(
        method: &str,
        scheme: &str,
        host: &str,
        port: u64,
        target: &str,
    ) -> Result<Self, InvalidTarget> {
        if target.len() > TARGET_BYTES {
            return Err(InvalidTarget::TooLong(target.len()));
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(path::query(query)?)),
            None => (target, None),
        };
        let number = u16::try_from(port).ok().filter(|&port| port > 0);
        Ok(Self {
            method: method_number(method)?,
            scheme: scheme.parse()?,
            host: host.parse()?,
            port: number.ok_or(InvalidTarget::Port(port))?,
            path: path::segments(path)?,
            query,
        })
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        METHODS[self.method]
    }

    /// The path and the query, as they are sent.
    #[must_use]
    pub fn path_and_query(&self) -> String {
        let mut text = self.path_text();
        if let Some(query) = &self.query {
            text.push('?');
            text.push_str(query);
        }
        text
    }

    /// The value of the header `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn path_text(&self) -> String {
        self.path.iter().flat_map(|segment| ["/", &segment.text]).collect()
    }
}

/// The URL, without its query.
impl fmt::Display for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority(), self.path_text())
    }
}

/// The place of a method in [`METHODS`].
pub(super) fn method_number(text: &str) -> Result<usize, InvalidTarget> {
    let found = METHODS.iter().position(|&method| method == text);
    found.ok_or_else(|| InvalidTarget::Method(text.chars().take(32).collect()))
}

impl Scheme {
    /// The port where none is given.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl FromStr for Scheme {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        match text {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            _ => Err(InvalidTarget::Scheme(text.chars().take(32).collect())),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

impl FromStr for HttpHost {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = inside.unwrap_or(text).parse::<Ipv6Addr>() {
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if is_name(&name) {
            Ok(Self::Name(name))
        } else {
            Err(InvalidTarget::Host(text.chars().take(NAME_BYTES).collect()))
        }
    }
}

/// Whether it is a name that no resolver takes for an address, as `127.1` or `0x7f000001`.
pub(super) fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= NAME_BYTES && name.split('.').all(is_label) && !is_number
}

impl fmt::Display for HttpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: u64, path: &str) -> Result<String, InvalidTarget> {
        let target = HttpTarget::new("GET", "https", host, port, path)?;
        Ok(format!("{target} {} {}", target.authority(), target.path_and_query()))
    }

    #[test]
    fn a_target_has_one_form() {
        for (host, port, path, form) in [
            (
                "API.Example.com.",
                443,
                "/%61?k=v",
                "https://api.example.com/a api.example.com /a?k=v",
            ),
            ("a-b_c.d", 8443, "/", "https://a-b_c.d:8443/ a-b_c.d:8443 /"),
            ("[::ffff:10.0.0.1]", 443, "/", "https://10.0.0.1/ 10.0.0.1 /"),
            ("::1", 1, "/", "https://[::1]:1/ [::1]:1 /"),
        ] {
            assert_eq!(target(host, port, path).as_deref(), Ok(form));
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in [
            "",
            ".",
            "a..b",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.0x1",
            "a b",
            "a@b",
            "a:b",
            "a/b",
            "é.com",
            "127.0.0.1:80",
            "[::1",
            "1.2.3.4.5",
            "a%2eb",
            "a\r\nb",
            "a?",
        ] {
            assert!(matches!(target(host, 443, "/"), Err(InvalidTarget::Host(_))), "{host}");
        }
        for port in [0, 65_536] {
            assert!(matches!(target("a", port, "/"), Err(InvalidTarget::Port(_))), "{port}");
        }
        assert!(matches!(target("a", 1, &"/a".repeat(5000)), Err(InvalidTarget::TooLong(_))));
        for method in ["get", "CONNECT", "TRACE", "GET /", ""] {
            assert!(HttpTarget::new(method, "https", "a", 443, "/").is_err(), "{method}");
        }
        assert!(HttpTarget::new("GET", "ftp", "a", 443, "/").is_err());
    }
}
