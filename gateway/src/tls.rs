//! TLS 1.3 for clients, with a certificate that is read again when its file has changed.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use crate::socket::Socket;
use crate::stamp::{LOOK, Stamp};

/// What is spoken over TLS, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What a request without TLS is told, in the form of the gateway's other errors.
pub(crate) const ANSWER_TO_PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: application/json\r\nconnection: close\r\n\r\n\
    {\"detail\":\"this port speaks TLS only: use https:// instead of http://\",\"code\":\"tls_required\"}";

/// Whether a client begins with a method's name, where TLS begins with a byte that is no letter (RFC 8446, 5.1).
pub(crate) async fn is_plain_http(socket: &Socket) -> bool {
    let mut first = [0];
    match socket {
        Socket::Tcp(stream) => {
            matches!(stream.peek(&mut first).await, Ok(1) if first[0].is_ascii_alphabetic())
        }
        Socket::Unix(_) => false,
    }
}

/// The files of a certificate, as PEM.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The certificate and those between it and the authority's.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities whose certificates clients may show.
    pub clients: Option<PathBuf>,
}

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or has not what it should.
    #[error("the {what} `{path}` cannot be used")]
    File {
        /// Certificate, private key, or authorities of clients.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The key is not that of the certificate, or of a kind that is not supported.
    #[error("the certificate and its private key cannot be used together")]
    Incompatible(#[from] rustls::Error),
}

/// The server side of TLS.
pub struct Tls {
    files: CertificateFiles,
    current: RwLock<TlsAcceptor>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn load(files: CertificateFiles) -> Result<Self, TlsError> {
        let current = RwLock::new(acceptor(&files)?);
        Ok(Self { files, current })
    }

    /// What the next connection is taken with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again whenever they have changed. What is broken is told once, and the last good
    /// certificate is kept. Never returns.
    pub(crate) async fn reload(&self) -> Infallible {
        let mut known = self.stamps();
        loop {
            tokio::time::sleep(LOOK).await;
            let stamps = self.stamps();
            if stamps == known {
                continue;
            }
            known = stamps;
            match acceptor(&self.files) {
                Ok(fresh) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                    tracing::info!("the certificate was read again");
                }
                // Perhaps one of two files is new already: the next look sees the other.
                Err(error) => {
                    let why: &dyn std::error::Error = &error;
                    tracing::warn!(why, "the new certificate cannot be used: the old one is kept");
                }
            }
        }
    }

    fn stamps(&self) -> [Option<Stamp>; 3] {
        let CertificateFiles { certificate, key, clients } = &self.files;
        [Some(certificate), Some(key), clients.as_ref()].map(|path| path.map(|it| Stamp::of(it)))
    }
}

fn acceptor(files: &CertificateFiles) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates("certificate", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| broken("private key", &files.key, error))?;
    let clients = match &files.clients {
        Some(authorities) => client_verifier(authorities)?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What accepts clients with a certificate of these authorities, and clients with none.
fn client_verifier(authorities: &Path) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    const WHAT: &str = "file of clients' authorities";
    let mut roots = RootCertStore::empty();
    for root in certificates(WHAT, authorities)? {
        roots.add(root).map_err(|error| broken(WHAT, authorities, error))?;
    }
    let provider = Arc::new(ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| broken(WHAT, authorities, error))
}

/// The certificates of a file, at least one.
fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path);
    let read = read.and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| broken(what, path, error))?;
    if read.is_empty() { Err(broken(what, path, "the file has none")) } else { Ok(read) }
}

fn broken(
    what: &'static str,
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> TlsError {
    TlsError::File { what, path: path.to_owned(), source: source.into() }
}
