//! Web pages of others that may use the service from a browser: CORS.
//!
//! No credentials are allowed: a page sends its key itself, and a browser adds neither cookies nor the certificate of its user.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use tower::{Layer as _, ServiceExt as _, service_fn};
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

/// What browsers are told of which pages may use this gateway.
pub(crate) struct Cors {
    layer: CorsLayer,
    origins: Vec<WebOrigin>,
}

impl Cors {
    /// For these pages, which may read the headers `shown`; `None` where there are none.
    pub(crate) fn new(origins: &[WebOrigin], shown: [HeaderName; 2]) -> Option<Self> {
        if origins.is_empty() {
            return None;
        }
        let shown = shown.into_iter().chain([header::RETRY_AFTER, header::WWW_AUTHENTICATE]);
        let layer = CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins.iter().map(|origin| origin.0.clone())))
            .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
            // Which ones does not matter: the page is one that the operator named.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(shown.collect::<Vec<_>>())
            .max_age(REMEMBERED);
        Some(Self { layer, origins: origins.to_vec() })
    }

    /// Answers a request. `answer` knows the routes, none of which has a method OPTIONS.
    pub(crate) async fn answer<F: Future<Output = Response>>(
        &self,
        request: Request<Body>,
        answer: impl Fn(Request<Body>) -> F,
    ) -> Response {
        if request.method() != Method::OPTIONS {
            return self.with_headers(request, answer).await;
        }
        let preflight = self.preflight(&request);
        let refused = answer(request).await;
        match preflight {
            Some((method, preflight)) if has_method(&refused, &method) => {
                // It answers every request with OPTIONS itself.
                self.with_headers(preflight, |_| std::future::ready(Response::default())).await
            }
            _ => refused,
        }
    }

    async fn with_headers<F: Future<Output = Response>>(
        &self,
        request: Request<Body>,
        answer: impl Fn(Request<Body>) -> F,
    ) -> Response {
        let answer = service_fn(|request| answer(request).map(Ok::<_, Infallible>));
        self.layer.layer(answer).oneshot(request).await.unwrap_or_else(|never| match never {})
    }

    /// What a browser asks before one of the pages may send a request: its method, and the question.
    fn preflight(&self, request: &Request<Body>) -> Option<(HeaderValue, Request<Body>)> {
        let headers = request.headers();
        let origin = headers.get(header::ORIGIN)?;
        let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        if !self.origins.iter().any(|ours| ours.0 == origin) {
            return None;
        }
        let mut preflight = Request::new(Body::empty());
        *preflight.method_mut() = Method::OPTIONS;
        preflight.headers_mut().clone_from(headers);
        Some((method.clone(), preflight))
    }
}

/// Whether the route that refused a method has this one.
fn has_method(refused: &Response, method: &HeaderValue) -> bool {
    let allowed = refused.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok());
    refused.status() == StatusCode::METHOD_NOT_ALLOWED
        && allowed.is_some_and(|allow| allow.split(',').any(|one| one.trim() == method))
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
