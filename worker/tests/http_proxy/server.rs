//! A server of HTTP, with or without TLS, that keeps what it was sent, byte by byte.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use belljar_testkit::Authority;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What the server does with a request, by the path.
const REDIRECT: &str = "/v1/redirect";

/// A server on a free port of this machine. Dropping it ends it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The certificate of the authority that signed its own.
    pub(crate) authority: PathBuf,
    /// The requests that it read, each to its end.
    requests: Arc<Mutex<Vec<String>>>,
    _dir: TempDir,
    _serving: JoinSet<()>,
}

impl Server {
    /// Starts one. With TLS its certificate is for `name`.
    pub(crate) async fn start(name: Option<&str>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = dir.path().join("ca.pem");
        let tls = name.map(|name| {
            let own = Authority::new().expect("an authority");
            std::fs::write(&authority, own.pem()).expect("written");
            let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
            own.sign(name, &certificate, &key).expect("signed");
            let chain = CertificateDer::pem_file_iter(&certificate).expect("a certificate");
            let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
            let config = config.with_safe_default_protocol_versions().expect("supported");
            let config = config.with_no_client_auth().with_single_cert(
                chain.collect::<Result<_, _>>().expect("a certificate"),
                PrivateKeyDer::from_pem_file(&key).expect("a key"),
            );
            TlsAcceptor::from(Arc::new(config.expect("they fit")))
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, tls, Arc::clone(&requests)));
        Self { address, authority, requests, _dir: dir, _serving: serving }
    }

    /// What it was sent so far, and forgets.
    pub(crate) fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().expect("unpoisoned"))
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, log: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, log) = (tls.clone(), Arc::clone(&log));
        connections.spawn(async move {
            match tls {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        Box::pin(serve(stream, &log)).await;
                    }
                }
                None => Box::pin(serve::<TcpStream>(stream, &log)).await,
            };
        });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, log: &Mutex<Vec<String>>) {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read_buf(&mut bytes).await {
            Ok(1..) => {}
            _ => return,
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().expect("a length"));
    while bytes.len() < head + length {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
    log.lock().expect("unpoisoned").push(String::from_utf8_lossy(&bytes).into_owned());
    let _ = Box::pin(answer(&mut stream, &text, &bytes[head..])).await;
    let _ = stream.shutdown().await;
}

async fn answer<S: AsyncWrite + Unpin>(
    stream: &mut S,
    head: &str,
    body: &[u8],
) -> std::io::Result<()> {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let text = match path.split('?').next().unwrap_or_default() {
        REDIRECT => "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/v1/echo" => {
            let said = format!("{head}{}", String::from_utf8_lossy(body));
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}", said.len())
        }
        "/v1/chunked" => "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nX-A: 2\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_owned(),
        "/v1/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            let piece = [b'x'; 64 << 10];
            loop {
                stream.write_all(&piece).await?;
            }
        }
        "/v1/headers" => format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(128 << 10)),
        "/v1/silent" => std::future::pending().await,
        "/v1/broken" => "this is not HTTP\r\n\r\n".to_owned(),
        "/v1/cut" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_owned(),
        "/v1/switch" => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: upgrade\r\n\r\nraw".to_owned(),
        _ => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"ok\": true}".replace("11", "12"),
    };
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await
}
