//! The HTTP that spans are sent by.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How long one batch may take, from the connection to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Sends from the thread that calls it, by a runtime of its own: the service has one thread, and that has better to do.
pub(crate) struct Client {
    runtime: Runtime,
    /// For `https`.
    tls: Option<TlsConnector>,
    /// Whether the last request failed.
    is_away: AtomicBool,
}

impl Client {
    /// One for this scheme.
    pub(crate) fn new(is_https: bool) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, tls: is_https.then(tls), is_away: AtomicBool::new(false) })
    }

    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = std::mem::take(request.uri_mut());
        let host = uri.host().ok_or("the URL names no host")?.trim_matches(['[', ']']).to_owned();
        let is_https = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        request.headers_mut().insert(HOST, HeaderValue::from_str(authority)?);
        *request.uri_mut() =
            uri.path_and_query().map_or(Uri::from_static("/"), |path| path.clone().into());
        let stream = TcpStream::connect((&*host, port)).await?;
        match &self.tls {
            Some(tls) if is_https => {
                talk(tls.connect(ServerName::try_from(host)?, stream).await?, request).await
            }
            _ => talk(stream, request).await,
        }
    }

    /// Logs when the collector goes away and when it is back, once each.
    fn log(&self, uri: &Uri, sent: &Result<Response<Bytes>, HttpError>) {
        let problem = match sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        let was_away = self.is_away.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(why) if !was_away => {
                tracing::warn!(%uri, "the collector takes no spans: {why}");
            }
            None if was_away => tracing::info!(%uri, "the collector takes spans again"),
            _ => {}
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri().clone();
        // Blocks, as it may: the exporter's thread has nothing else to do.
        let sent = async { tokio::time::timeout(PATIENCE, self.send(request)).await };
        let sent = self.runtime.block_on(sent).unwrap_or_else(|late| Err(late.into()));
        self.log(&uri, &sent);
        sent
    }
}

/// TLS that trusts the authorities that this machine trusts.
fn tls() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    #[expect(clippy::expect_used, reason = "ring has all suites of these versions")]
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("supported")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn talk<S>(stream: S, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
    connection.abort();
    Ok(Response::from_parts(head, body))
}
