//! Web pages of others that may use the service from a browser: CORS.
//!
//! No credentials are allowed: a page sends its key itself, and a browser adds neither cookies nor the certificate of its user.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::proxies::PublicUrl;

/// How long a browser remembers what a page may do. Browsers have limits of their own, the highest a day.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Scheme, host and port of web pages, as a browser names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOrigin(HeaderValue);

/// A text that is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it reads https://HOST[:PORT], without a path; there is no word for every origin")]
pub struct InvalidOrigin;

impl FromStr for WebOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let url: PublicUrl = text.parse().map_err(|_| InvalidOrigin)?;
        let origin = url.origin_only().ok_or(InvalidOrigin)?;
        HeaderValue::from_str(origin).map(Self).map_err(|_| InvalidOrigin)
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

impl WebOrigin {
    /// Whether a browser names this one.
    pub(crate) fn is(&self, origin: &str) -> bool {
        self.0.as_bytes() == origin.as_bytes()
    }
}

/// What answers browsers that ask for these pages, which may read the headers `shown`; `None` where there are none.
pub(crate) fn layer(origins: &[WebOrigin], shown: [HeaderName; 2]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origins = origins.iter().map(|origin| origin.0.clone());
    let shown = shown.into_iter().chain([header::RETRY_AFTER, header::WWW_AUTHENTICATE]);
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        // Which ones does not matter: the page is one that the operator named.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(shown.collect::<Vec<_>>())
        .max_age(REMEMBERED);
    Some(layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_as_browsers_write_it() {
        for (text, origin) in [
            ("https://App.example.com", "https://app.example.com"),
            ("https://app.example.com:443/", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            let parsed: WebOrigin = text.parse().expect("an origin");
            assert_eq!(parsed.to_string(), origin);
            assert!(parsed.is(origin) && !parsed.is("https://app.example.com.evil.example"));
        }
        for wrong in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://app.example.com/x",
            "file:///x",
            "https://",
        ] {
            assert_eq!(wrong.parse::<WebOrigin>(), Err(InvalidOrigin), "{wrong}");
        }
    }
}
