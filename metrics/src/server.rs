//! The HTTP server of a part that has no other.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::{CONTENT_TYPE, text};

/// How many connections are served at once; others wait.
pub const CONNECTIONS: usize = 32;
/// How long a connection may be silent. Scrapers come more often, and keep their connection.
const SILENCE: Duration = Duration::from_secs(90);
/// The pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a part cannot do its work now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A stable word for programs.
    pub code: &'static str,
    /// What is wrong, and the way out.
    pub detail: String,
}

/// A part of the service, as its server shows it.
#[async_trait]
pub trait Part: Send + Sync + 'static {
    /// Its metrics, brought up to now.
    async fn registry(&self) -> &Registry;

    /// What keeps it from its work; empty where it is ready.
    async fn problems(&self) -> Vec<Problem>;
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<&'a [Problem]>,
}

/// Serves `/metrics`, `/healthz` and `/readyz` on `listener`. Never returns.
pub async fn serve(listener: TcpListener, part: Arc<dyn Part>) -> Infallible {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection for metrics");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let part = Arc::clone(&part);
        tokio::spawn(async move {
            connection(socket, part).await;
            drop(permit);
        });
    }
}

async fn connection(socket: TcpStream, part: Arc<dyn Part>) {
    let service = service_fn(|request: Request<Incoming>| {
        let part = Arc::clone(&part);
        async move { Ok::<_, Infallible>(answer(&request, &*part).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(SILENCE);
    if let Err(error) = http.serve_connection(TokioIo::new(socket), service).await {
        tracing::debug!(%error, "a connection for metrics ended");
    }
}

async fn answer(request: &Request<Incoming>, part: &dyn Part) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
    }
    match request.uri().path().trim_end_matches('/') {
        "/metrics" => reply(StatusCode::OK, CONTENT_TYPE, text(part.registry().await)),
        "/healthz" => health(StatusCode::OK, "ok", None),
        "/readyz" => match &*part.problems().await {
            [] => health(StatusCode::OK, "ready", None),
            problems => health(StatusCode::SERVICE_UNAVAILABLE, "not ready", Some(problems)),
        },
        _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
    }
}

fn health(
    code: StatusCode,
    status: &'static str,
    problems: Option<&[Problem]>,
) -> Response<Full<Bytes>> {
    let text = serde_json::to_string(&Health { status, problems }).unwrap_or_default();
    reply(code, "application/json", text)
}

fn plain(code: StatusCode, text: &str) -> Response<Full<Bytes>> {
    reply(code, "text/plain; charset=utf-8", text.to_owned())
}

fn reply(code: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    struct Sick(Registry, AtomicBool);

    #[async_trait]
    impl Part for Sick {
        async fn registry(&self) -> &Registry {
            &self.0
        }

        async fn problems(&self) -> Vec<Problem> {
            let problem = Problem { code: "tired", detail: "it is tired".to_owned() };
            if self.1.load(Ordering::Relaxed) { vec![problem] } else { Vec::new() }
        }
    }

    async fn ask(address: std::net::SocketAddr, line: &str) -> String {
        let mut socket = TcpStream::connect(address).await.expect("a connection");
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn a_part_shows_its_metrics_and_what_is_wrong_with_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut registry = Registry::default();
        crate::part(&mut registry, "part", "1.2");
        let part = Arc::new(Sick(registry, AtomicBool::new(true)));
        let shown: Arc<dyn Part> = part.clone();
        tokio::spawn(async move { match serve(listener, shown).await {} });
        let metrics = ask(address, "GET /metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains(CONTENT_TYPE), "{metrics}");
        assert!(metrics.contains("belljar_part_build_info"), "{metrics}");
        assert!(ask(address, "GET /healthz/").await.ends_with(r#"{"status":"ok"}"#));
        let sick = ask(address, "GET /readyz").await;
        assert!(sick.starts_with("HTTP/1.1 503"), "{sick}");
        let told = r#"{"status":"not ready","problems":[{"code":"tired","detail":"it is tired"}]}"#;
        assert!(sick.ends_with(told), "{sick}");
        part.1.store(false, Ordering::Relaxed);
        assert!(ask(address, "GET /readyz").await.ends_with(r#"{"status":"ready"}"#));
        assert!(ask(address, "POST /metrics").await.starts_with("HTTP/1.1 405"));
        assert!(ask(address, "GET /").await.starts_with("HTTP/1.1 404"));
    }
}
