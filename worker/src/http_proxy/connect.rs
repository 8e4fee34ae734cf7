//! Names, connections, TLS.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use belljar_core::http::HttpTarget;
use belljar_core::http::target::{HttpHost, Scheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::message::{Refusal, RefusalKind};
use super::{HttpConfigError, HttpProxy, address};

/// How long a connection to one address may take, and TLS over it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where names lead.
#[async_trait]
pub trait Resolve: fmt::Debug + Send + Sync {
    /// The addresses of a host.
    ///
    /// # Errors
    /// The name is not known.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Asks this machine.
#[derive(Debug)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// A connection with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Trusts the authorities that this machine trusts, and those in `files`.
pub(super) fn tls(files: &[PathBuf]) -> Result<TlsConnector, HttpConfigError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("certificates that this machine trusts cannot be read: {error}");
    }
    roots.add_parsable_certificates(found.certs);
    for path in files {
        let wrong = |why: String| HttpConfigError::Authorities { path: path.clone(), why };
        let read = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(error.to_string()))?;
        if read.is_empty() {
            return Err(wrong("there are none".to_owned()));
        }
        for certificate in read {
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
    }
    #[expect(clippy::expect_used, reason = "ring has all suites of these versions")]
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("supported")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Connects to the server of a target: to an address that was looked at, and no other.
pub(super) async fn connect(
    proxy: &HttpProxy,
    target: &HttpTarget,
) -> Result<Box<dyn Stream>, Refusal> {
    let addresses = addresses(proxy, target).await?;
    let stream = connect_first(&addresses, target.port).await?;
    if target.scheme == Scheme::Http {
        return Ok(Box::new(stream));
    }
    let name = match &target.host {
        HttpHost::Name(name) => ServerName::try_from(name.clone())
            .map_err(|_| Refusal::new(RefusalKind::Tls, format!("`{name}` can have no TLS")))?,
        HttpHost::Address(address) => ServerName::from(*address),
    };
    match timeout(CONNECT_TIMEOUT, proxy.tls.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(Refusal::new(RefusalKind::Tls, error.to_string())),
        Err(_) => Err(Refusal::timed_out(CONNECT_TIMEOUT)),
    }
}

/// The addresses of the host that may be connected to. One that a grant names is.
async fn addresses(proxy: &HttpProxy, target: &HttpTarget) -> Result<Vec<IpAddr>, Refusal> {
    let name = match &target.host {
        HttpHost::Address(address) => return Ok(vec![*address]),
        HttpHost::Name(name) => name,
    };
    let found = match timeout(CONNECT_TIMEOUT, proxy.resolver.addresses(name)).await {
        Ok(found) => found.unwrap_or_default(),
        Err(_) => return Err(Refusal::timed_out(CONNECT_TIMEOUT)),
    };
    let allowed: Vec<_> =
        found.iter().copied().filter(|&it| address::is_allowed(it, &proxy.private)).collect();
    match (allowed.is_empty(), found.first()) {
        (false, _) => Ok(allowed),
        (true, None) => Err(Refusal::new(RefusalKind::Name, format!("`{name}` has no address"))),
        // Not which: it says something of the worker's network.
        (true, Some(_)) => Err(Refusal::new(
            RefusalKind::Denied,
            format!("`{name}` leads to an address that is not public, which is not granted"),
        )),
    }
}

async fn connect_first(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Refusal> {
    /// Of one name.
    const TRIED: usize = 4;
    let mut last = Refusal::new(RefusalKind::Name, "there is no address");
    for &address in addresses.iter().take(TRIED) {
        let connecting = TcpStream::connect(SocketAddr::new(address, port));
        last = match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(stream)) => {
                // Small writes of TLS would wait for each other.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => Refusal::new(RefusalKind::Connect, error.to_string()),
            Err(_) => Refusal::timed_out(CONNECT_TIMEOUT),
        };
    }
    Err(last)
}
