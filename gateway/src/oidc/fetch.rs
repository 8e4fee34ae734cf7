//! Documents of the issuer, over HTTP.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The longest document that is read.
const MAX_BYTES: usize = 512 * 1024;
/// How long an issuer may take, from the connection to the last byte.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("`{0}` is neither https:// nor on this machine")]
    Insecure(Uri),
    #[error("`{0}` cannot be reached")]
    Connection(Uri, #[source] io::Error),
    #[error("`{0}` does not speak HTTP")]
    Http(Uri, #[source] hyper::Error),
    #[error("`{0}` answers {1}; redirects are not followed")]
    Status(Uri, StatusCode),
    #[error("the document of `{0}` cannot be read")]
    Body(Uri, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("`{0}` does not answer within {PATIENCE:?}")]
    Slow(Uri),
    #[error("`{uri}` is not as it should be: {why}")]
    Document { uri: Uri, why: String },
}

/// Gets documents.
pub(super) struct Fetcher(TlsConnector);

impl Fetcher {
    /// One that trusts the authorities that this machine trusts.
    pub(super) fn new() -> Self {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!("certificates that this machine trusts cannot be read: {error}");
        }
        roots.add_parsable_certificates(found.certs);
        #[expect(clippy::expect_used, reason = "ring has all suites of these versions")]
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("supported")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// The document of a URL.
    pub(super) async fn get(&self, uri: &Uri) -> Result<Bytes, FetchError> {
        let got = tokio::time::timeout(PATIENCE, self.try_get(uri)).await;
        got.unwrap_or_else(|_| Err(FetchError::Slow(uri.clone())))
    }

    async fn try_get(&self, uri: &Uri) -> Result<Bytes, FetchError> {
        let is_secure = is_secure(uri).ok_or_else(|| FetchError::Insecure(uri.clone()))?;
        let failed = |error| FetchError::Connection(uri.clone(), error);
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
        if !is_secure {
            return talk(stream, uri).await;
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| failed(io::Error::other(error)))?;
        talk(self.0.connect(name, stream).await.map_err(failed)?, uri).await
    }
}

/// Whether a URL is protected by TLS; `None` where it should be and is not.
pub(super) fn is_secure(uri: &Uri) -> Option<bool> {
    if uri.scheme() == Some(&Scheme::HTTPS) {
        return Some(true);
    }
    let host = uri.host()?.trim_matches(['[', ']']);
    let is_here = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    (uri.scheme() == Some(&Scheme::HTTP) && is_here).then_some(false)
}

async fn talk<S>(stream: S, uri: &Uri) -> Result<Bytes, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error| FetchError::Http(uri.clone(), error);
    let broken =
        |error: Box<dyn std::error::Error + Send + Sync>| FetchError::Body(uri.clone(), error);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // It ends with the sender.
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(header::ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(error.into()))?;
    let answer = sender.send_request(request).await.map_err(failed)?;
    if answer.status() != StatusCode::OK {
        return Err(FetchError::Status(uri.clone(), answer.status()));
    }
    let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await.map_err(broken)?;
    connection.abort();
    Ok(body.to_bytes())
}
