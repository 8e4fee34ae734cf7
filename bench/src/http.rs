//! One keep-alive connection to the service: hyper's HTTP/1.1 directly on the socket, so that the client
//! uses little of the processors that it shares with the service.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The time limit of an answer: longer than the longest poll.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A connection; requests go one after another.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("cannot connect to `{address}`"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the sender; an error reaches the request under way.
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string() })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Bytes> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Result<Bytes> {
        self.request(Method::POST, path, body.into()).await
    }

    /// The body of a successful answer.
    async fn request(&mut self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let answer = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            anyhow::Ok((head.status, body.collect().await?.to_bytes()))
        };
        let answer = tokio::time::timeout(TIMEOUT, answer).await;
        let (status, body) = answer.with_context(|| format!("no answer to `{path}`"))??;
        ensure!(status.is_success(), "`{path}`: {status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}

/// The address in `http://HOST:PORT`.
pub(crate) fn address_of(url: &str) -> Result<SocketAddr> {
    let host = url.trim_end_matches('/').strip_prefix("http://");
    let host = host.with_context(|| format!("`{url}` is not of the form http://HOST:PORT"))?;
    let mut found = host.to_socket_addrs().with_context(|| format!("cannot resolve `{host}`"))?;
    found.next().with_context(|| format!("`{host}` has no address"))
}
