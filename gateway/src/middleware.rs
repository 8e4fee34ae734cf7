//! What every request passes: its id, admission, caught panics, timing, metrics.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use tower::Service as _;

use crate::addresses::CountedConnection;
use crate::app::App;
use crate::cors::Cors;
use crate::encoding;
use crate::error::{ApiError, Fault};
use crate::timing::RequestTiming;
use crate::traces;

/// The id of a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What an answer took.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// The longest request id that is taken over from a client.
const MAX_REQUEST_ID: usize = 128;

/// Answers requests; a cheap clone.
#[derive(Clone)]
pub(crate) struct Middleware {
    app: Arc<App>,
    router: Router,
    ids: Arc<RequestIds>,
    /// What browsers are told, where web pages of others may use this gateway.
    cors: Option<Arc<Cors>>,
}

impl Middleware {
    /// Surrounds `router`.
    pub(crate) fn new(app: Arc<App>, router: Router) -> Self {
        let cors = Cors::new(&app.config.cors_origins, [REQUEST_ID, SERVER_TIMING]).map(Arc::new);
        Self { app, router, ids: Arc::new(RequestIds::new()), cors }
    }

    /// Answers one request from `peer`, or refuses it where there is no room for more.
    pub(crate) async fn answer(
        &self,
        mut request: Request<Body>,
        peer: Option<IpAddr>,
        has_room: bool,
    ) -> Response {
        self.app.touch();
        let started = Instant::now();
        let id = self.ids.of(request.headers());
        let method = request.method().clone();
        let timing = Arc::new(RequestTiming::default());
        if tracing::enabled!(tracing::Level::DEBUG) || self.app.config.audit_log.is_some() {
            timing.set_request_id(&id);
        }
        let client = self.app.config.proxies.client(peer, request.headers());
        if let Some(address) = client {
            timing.set_address(address);
        }
        if let Some(target) = self.without_prefix(&request) {
            *request.uri_mut() = target;
        }
        let coding = encoding::accepted(request.headers());
        let admit = |request| self.admit(request, &timing, (peer, client), has_room);
        let response = match &self.cors {
            None => admit(request).await,
            // Boxed: most deployments have none.
            Some(cors) => Box::pin(cors.answer(request, admit)).await,
        };
        let response = match coding {
            Some(coding) => encoding::compressed(response, coding),
            None => response,
        };
        let response = finish(response, &id, &timing, started);
        self.report(&response, &id, &timing);
        let code = response.status().as_u16();
        let took = started.elapsed();
        self.app.metrics.answered(timing.route(), &method, code, took);
        traces::answered(&self.app, &timing, (&method, code), took);
        response
    }

    /// Answers a request, unless it is refused before its route is looked at. Of the addresses the first is that of the connection, the
    /// second what a proxy says.
    async fn admit(
        &self,
        mut request: Request<Body>,
        timing: &Arc<RequestTiming>,
        (peer, client): (Option<IpAddr>, Option<IpAddr>),
        has_room: bool,
    ) -> Response {
        if let Err(refused) = self.app.admission.check(&request) {
            return refused.into_response();
        }
        if !has_room {
            return ApiError::TooManyRequests(self.app.config.max_connections).into_response();
        }
        let counted = match self.count(peer, client) {
            Ok(counted) => counted,
            Err(refused) => return refused.into_response(),
        };
        request.extensions_mut().insert(Arc::clone(timing));
        let mut response = self.route(request).await;
        // Until the whole answer was sent.
        counted.map(|counted| response.extensions_mut().insert(Arc::new(counted)));
        response
    }

    /// The target without the path under which a proxy shows this gateway.
    fn without_prefix(&self, request: &Request<Body>) -> Option<Uri> {
        self.app.config.public_url.as_ref()?.without_prefix(request.uri())
    }

    /// Counts a request that a proxy passes on as one connection of the client's address.
    fn count(
        &self,
        peer: Option<IpAddr>,
        client: Option<IpAddr>,
    ) -> Result<Option<CountedConnection>, ApiError> {
        if client == peer {
            return Ok(None);
        }
        let most = self.app.most_of_address();
        let counted = self.app.addresses.take(client, most);
        counted.map_err(|_| ApiError::TooManyOfAddress(most.unwrap_or_default()))
    }

    async fn route(&self, request: Request<Body>) -> Response {
        let mut router = self.router.clone();
        match AssertUnwindSafe(router.call(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            // The panic itself was printed with its place by the panic hook.
            Err(_) => ApiError::Internal("a handler panicked".into()).into_response(),
        }
    }

    /// Logs what is not the client's fault: a defect each time, an outage once at its start and end.
    fn report(&self, response: &Response, id: &HeaderValue, timing: &RequestTiming) {
        let request_id = id.to_str().unwrap_or_default();
        let (outage, now) = (&self.app.outage, Instant::now());
        match response.extensions().get::<Fault>() {
            Some(Fault { why, .. }) if response.status() == StatusCode::INTERNAL_SERVER_ERROR => {
                tracing::error!(request_id, route = timing.route(), "request failed: {why}");
            }
            Some(Fault { why, of_store: Some(fault) }) if outage.failed(*fault, now) => {
                tracing::warn!(request_id, "requests are refused: {why}");
            }
            None if timing.asked_store() && outage.succeeded(timing.wrote(), now) => {
                tracing::info!(request_id, "the store does what it is asked for again");
            }
            _ => {}
        }
    }
}

fn finish(
    mut response: Response,
    id: &HeaderValue,
    request: &RequestTiming,
    started: Instant,
) -> Response {
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id.clone());
    if let Ok(timing) = HeaderValue::from_maybe_shared(bytes::Bytes::from(request.header(started)))
    {
        headers.insert(SERVER_TIMING, timing);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Gives ids to requests that bring none: a random part for the process, then a number.
struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
        Self { process: u32::from_be_bytes([a, b, c, d]), next: AtomicU64::new(1) }
    }

    fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let given = headers.get(REQUEST_ID).filter(|id| {
            (1..=MAX_REQUEST_ID).contains(&id.len())
                && id.as_bytes().iter().all(u8::is_ascii_graphic)
        });
        given.cloned().unwrap_or_else(|| {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let text = format!("{:08x}-{number:x}", self.process);
            HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
                .unwrap_or(HeaderValue::from_static("-"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_over_when_it_is_plain() {
        let ids = RequestIds::new();
        let of = |given: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(given).expect("a value"));
            ids.of(&headers)
        };
        assert_eq!(of(b"abc-123"), "abc-123");
        for odd in [&b"with space"[..], b"", &[b'a'; 129], b"\xff"] {
            assert_ne!(of(odd).as_bytes(), odd);
        }
        assert_ne!(ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
    }
}
