//! Which requests a grant is about: `GET https://api.example.com/v1/*`.

use std::fmt;
use std::str::FromStr;

use super::path::{self, Segment};
use super::target::{HttpHost, HttpTarget, InvalidTarget, METHODS, Scheme, is_name, method_number};

/// Stands for every method, every name of a host, one part of a path, or all that is left of one.
const ANY: &str = "*";

/// A method, or several, and a URL with `*` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpPattern {
    text: String,
    /// One bit for each of [`METHODS`].
    methods: u8,
    scheme: Scheme,
    host: HostPattern,
    port: u16,
    path: Vec<Part>,
    /// Whether anything may follow `path`.
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    /// Every name. No address.
    AnyName,
    /// Every name that ends with a dot and this one.
    Below(String),
    One(HttpHost),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Any one that is not empty and hides no slash.
    Any,
    One(Segment),
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no grant of HTTP requests, such as `GET https://api.example.com/v1/*`: {why}")]
pub struct InvalidPattern {
    text: String,
    why: WhyInvalid,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum WhyInvalid {
    #[error("it is not a method, a space and a URL")]
    Form,
    #[error("the URL has no path; `/*` is every path")]
    NoPath,
    #[error("the query is not part of it: every query is granted")]
    Query,
    #[error("`*` stands for a whole part of the path, and at the end for all that follows")]
    Star,
    #[error("{0}")]
    Target(#[from] InvalidTarget),
}

impl HttpPattern {
    /// Whether it grants this request.
    #[must_use]
    pub fn matches(&self, target: &HttpTarget) -> bool {
        let covers_host = match (&self.host, &target.host) {
            (HostPattern::One(host), asked) => host == asked,
            (HostPattern::AnyName, HttpHost::Name(_)) => true,
            (HostPattern::Below(parent), HttpHost::Name(name)) => is_below(name, parent),
            (_, HttpHost::Address(_)) => false,
        };
        let (path, given) = (&target.path, self.path.len());
        let is_long_enough = if self.open { path.len() > given } else { path.len() == given };
        covers_host
            && self.methods & (1 << target.method) != 0
            && (self.scheme, self.port) == (target.scheme, target.port)
            && is_long_enough
            && self.path.iter().zip(path).all(|(part, segment)| part.matches(segment))
    }

    /// Whether it grants every request that `other` grants.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let covers_host = match (&self.host, &other.host) {
            (one, other) if one == other => true,
            (HostPattern::AnyName, HostPattern::Below(_) | HostPattern::One(HttpHost::Name(_))) => {
                true
            }
            (
                HostPattern::Below(parent),
                HostPattern::Below(name) | HostPattern::One(HttpHost::Name(name)),
            ) => is_below(name, parent),
            _ => false,
        };
        let (given, asked) = (self.path.len(), other.path.len());
        let covers_length = match (self.open, other.open) {
            (true, true) => asked >= given,
            (true, false) => asked > given,
            (false, open) => !open && asked == given,
        };
        covers_host
            && other.methods & !self.methods == 0
            && (self.scheme, self.port) == (other.scheme, other.port)
            && covers_length
            && self.path.iter().zip(&other.path).all(|(one, other)| match other {
                Part::Any => *one == Part::Any,
                Part::One(segment) => one.matches(segment),
            })
    }

    fn parse(text: &str) -> Result<Self, WhyInvalid> {
        let (methods, url) = text.split_once(' ').ok_or(WhyInvalid::Form)?;
        let methods = match methods {
            ANY => (1 << METHODS.len()) - 1,
            _ => methods.split(',').try_fold(0, |bits, method| {
                Ok::<_, InvalidTarget>(bits | 1 << method_number(method)?)
            })?,
        };
        let (scheme, address) = url.split_once("://").ok_or(WhyInvalid::Form)?;
        let scheme: Scheme = scheme.parse()?;
        let (authority, path) = address.split_at(address.find('/').ok_or(WhyInvalid::NoPath)?);
        let (host, port) = split_port(authority, scheme)?;
        let host = match host.strip_prefix("*.") {
            _ if host == ANY => HostPattern::AnyName,
            Some(parent) => {
                let parent = parent.to_ascii_lowercase();
                if !is_name(&parent) {
                    return Err(InvalidTarget::Host(host.to_owned()).into());
                }
                HostPattern::Below(parent)
            }
            None => HostPattern::One(host.parse()?),
        };
        if path.contains('?') {
            return Err(WhyInvalid::Query);
        }
        let (path, open) = parts(path)?;
        Ok(Self { text: text.to_owned(), methods, scheme, host, port, path, open })
    }
}

fn split_port(authority: &str, scheme: Scheme) -> Result<(&str, u16), WhyInvalid> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            let port = port.parse().ok().filter(|&port| port > 0);
            Ok((host, port.ok_or(WhyInvalid::Form)?))
        }
        _ => Ok((authority, scheme.default_port())),
    }
}

/// The parts of a path with `*`, and whether it ends with one.
fn parts(path: &str) -> Result<(Vec<Part>, bool), WhyInvalid> {
    let segments = path::segments(path).map_err(InvalidTarget::Path)?;
    let part = |segment: Segment| match segment.text.as_str() {
        ANY => Ok(Part::Any),
        text if text.contains(ANY) => Err(WhyInvalid::Star),
        _ => Ok(Part::One(segment)),
    };
    let mut parts = segments.into_iter().map(part).collect::<Result<Vec<_>, _>>()?;
    let open = parts.pop_if(|last| *last == Part::Any).is_some();
    Ok((parts, open))
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|before| before.len() > 1 && before.ends_with('.'))
}

impl Part {
    fn matches(&self, segment: &Segment) -> bool {
        match self {
            Self::Any => !segment.text.is_empty() && !segment.has_slash,
            Self::One(own) => own.text == segment.text,
        }
    }
}

impl FromStr for HttpPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        Self::parse(text).map_err(|why| InvalidPattern { text: text.to_owned(), why })
    }
}

impl fmt::Display for HttpPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HttpPattern {
        text.parse().expect("a pattern")
    }

    /// Whether a pattern grants `GET` of a host's path by https.
    fn grants(text: &str, host: &str, path: &str) -> bool {
        let target = HttpTarget::new("GET", "https", host, 443, path).expect("a target");
        pattern(text).matches(&target)
    }

    #[test]
    fn a_pattern_grants_what_it_names() {
        let api = "GET https://api.example.com/v1/*";
        for path in ["/v1/", "/v1/x", "/v1/x/y?z", "/v1/a%2Fb", "/v1//x", "/%761/x"] {
            assert!(grants(api, "API.example.com", path), "{path}");
        }
        for path in ["/v1", "/", "/v2/x", "//v1/x", "/V1/x", "/v1%2Fx", "/v1;a/x"] {
            assert!(!grants(api, "api.example.com", path), "{path}");
        }
        for host in ["example.com", "api.example.com.evil.org", "xapi.example.com", "1.2.3.4"] {
            assert!(!grants(api, host, "/v1/x"), "{host}");
        }
        let part = "GET https://a/users/*/items";
        assert!(grants(part, "a", "/users/7/items"));
        for path in ["/users//items", "/users/7/8/items", "/users/7%2F8/items", "/users/7/items/"] {
            assert!(!grants(part, "a", path), "{path}");
        }
        let below = "GET https://*.example.com/*";
        assert!(grants(below, "a.b.example.com", "/"));
        for host in ["example.com", "badexample.com", "example.com.org"] {
            assert!(!grants(below, host, "/"), "{host}");
        }
        assert!(grants("GET https://*/*", "anything.org", "/"));
        assert!(
            !grants("GET https://*/*", "93.184.216.34", "/"),
            "an address is granted by itself"
        );
        assert!(grants("GET https://[::1]/*", "::1", "/"));
    }

    #[test]
    fn method_scheme_and_port_count() {
        let target = |method, scheme, port| {
            HttpTarget::new(method, scheme, "a", port, "/").expect("a target")
        };
        let both = pattern("GET,POST https://a/*");
        assert!(both.matches(&target("POST", "https", 443)));
        for other in [
            target("PUT", "https", 443),
            target("HEAD", "https", 443),
            target("GET", "http", 443),
            target("GET", "https", 8443),
        ] {
            assert!(!both.matches(&other), "{other}");
        }
        assert!(pattern("* http://a:8080/*").matches(&target("DELETE", "http", 8080)));
    }

    #[test]
    fn a_pattern_covers_what_is_narrower() {
        let covers = |one: &str, other: &str| pattern(one).covers(&pattern(other));
        for (one, other) in [
            ("* https://*/*", "GET https://a.b/v1/*"),
            ("GET https://a/v1/*", "GET https://a/v1/*"),
            ("GET https://a/v1/*", "GET https://a/v1/x"),
            ("GET https://a/v1/*", "GET https://a/v1/*/y"),
            ("GET https://*.b/*", "GET https://*.a.b/*"),
            ("GET,PUT https://a/*/x", "PUT https://a/y/x"),
        ] {
            assert!(covers(one, other), "{one}: {other}");
            assert_eq!(covers(other, one), one == other, "{other}: {one}");
        }
        for (one, other) in [
            ("GET https://*/*", "GET https://169.254.169.254/*"),
            ("GET https://*/*", "GET https://[::1]/*"),
            ("GET https://*.b/*", "GET https://b/*"),
            ("GET https://a/v1/x", "GET https://a/v1/*"),
            ("GET https://a/v1/*", "GET https://a/*"),
            ("GET https://a/v1/*", "GET https://a/v1"),
            ("GET https://a/*/x", "GET https://a/y%2Fz/x"),
            ("GET https://a/*", "GET http://a/*"),
            ("GET https://a/*", "GET https://a:444/*"),
            ("GET https://a/*", "* https://a/*"),
        ] {
            assert!(!covers(one, other), "{one}: {other}");
        }
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for (text, why) in [
            ("https://a/*", "not a method, a space and a URL"),
            ("GET a/*", "not a method, a space and a URL"),
            ("GET  https://a/*", "` https` is neither"),
            ("get https://a/*", "`get` is no method"),
            ("CONNECT https://a/*", "`CONNECT` is no method"),
            ("GET ftp://a/*", "`ftp` is neither"),
            ("GET https://a", "`/*` is every path"),
            ("GET https://a/x?y=*", "every query is granted"),
            ("GET https://a/x*", "a whole part"),
            ("GET https://a/../x", "`.` or `..`"),
            ("GET https://u@a/*", "`u@a` is neither"),
            ("GET https://a.*/x", "`a.*` is neither"),
            ("GET https://127.1/x", "`127.1` is neither"),
            ("GET https://*.1/x", "`*.1` is neither"),
            ("GET https://a:x/*", "not a method, a space and a URL"),
        ] {
            let error = text.parse::<HttpPattern>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
