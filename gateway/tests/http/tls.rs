//! TLS, unix sockets, and several listeners at once.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use belljar_gateway::{CertificateFiles, Listener, Listeners, Tls};
use belljar_testkit::Authority;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::client::request;
use crate::support::{Gateway, until};

pub(crate) fn an_authority() -> Authority {
    Authority::new().expect("a key")
}

/// The files of a certificate for `localhost`, in `dir`.
pub(crate) fn signed(authority: &Authority, dir: &Path) -> CertificateFiles {
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| dir.join(name));
    let files = CertificateFiles { certificate, key, clients: None };
    authority.sign("localhost", &files.certificate, &files.key).expect("written");
    files
}

/// Connects to a gateway that `authority` has signed, and speaks `protocol`.
async fn connect(
    authority: &Authority,
    gateway: &Gateway,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_as(authority, gateway, protocol, None).await
}

/// The same, as a client that shows a certificate, if it has one: that and its key, as PEM.
pub(crate) async fn connect_as(
    authority: &Authority,
    gateway: &Gateway,
    protocol: &[u8],
    shown: Option<&(String, String)>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("a certificate");
    roots.add(root).expect("an authority");
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("supported")
        .with_root_certificates(roots);
    let mut config = match shown {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            config.with_client_auth_cert(vec![chain], key).expect("they fit")
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(gateway.address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn tls_gateway(files: CertificateFiles, header_timeout: Duration) -> Gateway {
    let tls = Tls::load(files).expect("usable files");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listeners = Listeners { sockets: vec![Listener::Tcp(listener)], tls: Some(tls) };
    Gateway::on(listeners, |config| config.header_timeout = header_timeout).await
}

/// The answer to `GET /healthz` over HTTP/1.1, with everything until the end of the connection.
async fn healthz(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let bytes = request("GET", "/healthz", &[("connection", "close")], b"");
    stream.write_all(&bytes).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an end in order");
    String::from_utf8(answer).expect("text")
}

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn both_versions_of_http_are_spoken_over_tls() {
    let (dir, authority) = (tempfile::tempdir().expect("a directory"), an_authority());
    let gateway = tls_gateway(signed(&authority, dir.path()), PATIENCE).await;
    let stream = connect(&authority, &gateway, b"http/1.1").await.expect("trusted");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(healthz(stream).await.starts_with("HTTP/1.1 200"));

    let stream = connect(&authority, &gateway, b"h2").await.expect("trusted");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let get = http::Request::get("https://localhost/healthz").body(()).expect("a request");
    let (answer, _) = sender.send_request(get, true).expect("sent");
    assert_eq!(answer.await.expect("an answer").status(), 200);
    connection.abort();

    let other = connect(&an_authority(), &gateway, b"h2").await;
    assert!(other.is_err(), "signed by another authority");
}

#[tokio::test]
async fn who_speaks_no_tls_or_nothing_at_all_is_cut_and_others_are_served() {
    let (dir, authority) = (tempfile::tempdir().expect("a directory"), an_authority());
    let gateway = tls_gateway(signed(&authority, dir.path()), Duration::from_millis(200)).await;
    let mut silent = TcpStream::connect(gateway.address).await.expect("a connection");
    let mut plain = TcpStream::connect(gateway.address).await.expect("a connection");
    plain.write_all(&request("GET", "/healthz", &[], b"")).await.expect("sent");
    for (stream, who) in [(&mut plain, "plain"), (&mut silent, "silent")] {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "{who} is still connected");
        let said = String::from_utf8_lossy(&rest);
        assert!(!said.contains("200"), "{who}");
        assert_eq!(said.contains("use https:// instead of http://"), who == "plain", "{said}");
    }
    let stream = connect(&authority, &gateway, b"http/1.1").await.expect("trusted");
    assert!(healthz(stream).await.contains("ok"));
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_a_restart_and_a_broken_one_is_not() {
    let (dir, old, new) =
        (tempfile::tempdir().expect("a directory"), an_authority(), an_authority());
    let files = signed(&old, dir.path());
    let gateway = tls_gateway(files.clone(), PATIENCE).await;
    let open = connect(&old, &gateway, b"http/1.1").await.expect("trusted");
    signed(&new, dir.path());
    let start = Instant::now();
    until("the new certificate", async || connect(&new, &gateway, b"http/1.1").await.is_ok()).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(connect(&old, &gateway, b"http/1.1").await.is_err());
    assert!(healthz(open).await.starts_with("HTTP/1.1 200"), "open connections go on");

    std::fs::write(&files.certificate, "broken").expect("written");
    let looks = Instant::now() + Duration::from_secs(3);
    while Instant::now() < looks {
        let stream = connect(&new, &gateway, b"http/1.1").await.expect("the last good one");
        assert!(healthz(stream).await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn several_listeners_and_a_unix_socket_serve_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("gateway.sock");
    let mut sockets = vec![Listener::Unix(UnixListener::bind(&path).expect("bound"))];
    let mut addresses = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        addresses.push(listener.local_addr().expect("an address"));
        sockets.push(Listener::Tcp(listener));
    }
    // One connection at a time: no listener keeps the others' room.
    let listeners = Listeners { sockets, tls: None };
    let gateway = Gateway::on(listeners, |config| config.max_connections = 1).await;
    for _ in 0..3 {
        let stream = UnixStream::connect(&path).await.expect("connected");
        assert!(healthz(stream).await.starts_with("HTTP/1.1 200"));
        for address in &addresses {
            let stream = TcpStream::connect(address).await.expect("connected");
            assert!(healthz(stream).await.starts_with("HTTP/1.1 200"));
        }
    }
    gateway.shutdown.cancel();
    let stopped = gateway.run.await.expect("no panic").expect("it ends");
    assert_eq!(stopped, belljar_gateway::Stopped::Drained);
}
