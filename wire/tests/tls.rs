//! TLS with mutual authentication: only peers whose certificate the authority signed can connect.

#![expect(clippy::expect_used, reason = "tests end at the first surprise")]

mod support;

use std::path::Path;
use std::sync::Arc;

use belljar_testkit::Authority;
use belljar_wire::{
    ConnectConfig, ConnectError, Dealer, ListenError, Req, Router, TlsError, TlsFiles,
};
use bytes::Bytes;
use support::{Echo, connect, listen, within};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// The files of a key and a certificate that the authority signed.
fn identity(directory: &Path, name: &str, authority: &Authority) -> TlsFiles {
    let path = |end: &str| directory.join(format!("{name}-{end}.pem"));
    let files = TlsFiles { authority: path("ca"), certificate: path("cert"), key: path("key") };
    std::fs::write(&files.authority, authority.pem()).expect("written");
    authority.sign("127.0.0.1", &files.certificate, &files.key).expect("signed");
    files
}

fn authority() -> Authority {
    Authority::new().expect("a key")
}

async fn echo(directory: &TempDir, ours: &Authority) -> Echo {
    let mut config = listen();
    config.tls = Some(identity(directory.path(), "server", ours));
    Echo::start(config).await
}

fn with_tls(echo: &Echo, files: TlsFiles) -> ConnectConfig {
    ConnectConfig { tls: Some(files), ..connect(echo.address) }
}

#[tokio::test]
async fn two_sides_of_one_authority_connect() {
    let (directory, ours) = (TempDir::new().expect("made"), authority());
    let echo = echo(&directory, &ours).await;
    let config = with_tls(&echo, identity(directory.path(), "client", &ours));
    let long = Bytes::from(support::Noise(3).bytes(3 << 20));
    let mut dealer = within(Dealer::connect(&config)).await.expect("connected");
    within(dealer.send(Bytes::from_static(b"hello"))).await.expect("sent");
    within(dealer.recv()).await.expect("admitted");
    within(dealer.send(long.clone())).await.expect("sent");
    assert!(within(dealer.recv()).await == Ok(long));
    let mut req = within(Req::connect(&config)).await.expect("connected");
    let patience = std::time::Duration::from_secs(10);
    assert!(within(req.exchange(Bytes::from_static(b"hello"), patience)).await.is_ok());
}

#[tokio::test]
async fn certificates_of_another_authority_are_refused_on_both_sides() {
    let (directory, ours, theirs) = (TempDir::new().expect("made"), authority(), authority());
    let echo = echo(&directory, &ours).await;

    // Another authority: neither side trusts the other.
    let config = with_tls(&echo, identity(directory.path(), "other", &theirs));
    let refused = within(Dealer::connect(&config)).await;
    assert!(matches!(refused, Err(ConnectError::Unreachable(..))), "{refused:?}");

    // Trusts the server, but another authority signed its certificate.
    let mut files = identity(directory.path(), "impostor", &theirs);
    std::fs::write(&files.authority, ours.pem()).expect("written");
    let refused = within(Dealer::connect(&with_tls(&echo, files.clone()))).await;
    assert!(refused.is_err(), "{refused:?}");

    // No TLS, and TLS to a router without it.
    let refused = within(Dealer::connect(&connect(echo.address))).await;
    assert!(refused.is_err(), "{refused:?}");
    let plain = Echo::start(listen()).await;
    files = identity(directory.path(), "client", &ours);
    let refused = within(Dealer::connect(&with_tls(&plain, files))).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(echo.sender.peer_count(), 0);
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let (directory, ours) = (TempDir::new().expect("made"), authority());
    let echo = echo(&directory, &ours).await;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ours.pem().as_bytes()).expect("valid"))
        .expect("added");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(echo.address).await.expect("connected");
    let name = ServerName::try_from("127.0.0.1").expect("valid");
    // The server refuses only after the client's handshake has succeeded.
    let mut stream =
        within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.expect("half way");
    let _ = stream.write_all(&support::greeting()).await;
    let mut bytes = [0; 64];
    let answer = within(stream.read_exact(&mut bytes)).await;
    assert!(answer.is_err(), "no greeting for those without a certificate");
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let (directory, ours) = (TempDir::new().expect("made"), authority());
    let mut config = listen();
    let mut files = identity(directory.path(), "server", &ours);
    files.key = directory.path().join("missing.pem");
    config.tls = Some(files);
    let refused = Router::bind(config).await;
    let Err(ListenError::Tls(TlsError::File { path, .. })) = refused else {
        panic!("{refused:?}");
    };
    assert!(path.ends_with("missing.pem"));
}
