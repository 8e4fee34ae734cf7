//! Connections to the service: hyper directly on the socket, so that the client uses little of the processors that
//! it shares with the service.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpSocket, TcpStream};

/// The time limit of an answer: longer than the longest poll.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Who sends requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    /// The key that is shown, if any.
    pub(crate) key: Option<String>,
    /// The address that connections come from, unless the system chooses.
    pub(crate) from: Option<IpAddr>,
}

/// A connection; requests go one after another.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    key: Option<String>,
}

/// Connects.
pub(crate) async fn dial(to: SocketAddr, from: Option<IpAddr>) -> Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = socket.connect(to).await.with_context(|| format!("cannot connect to `{to}`"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        Self::open_as(address, &Origin::default()).await
    }

    /// A connection of somebody.
    pub(crate) async fn open_as(address: SocketAddr, origin: &Origin) -> Result<Self> {
        let stream = dial(address, origin.from).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the sender; an error reaches the request under way.
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string(), key: origin.key.clone() })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Bytes> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Result<Bytes> {
        self.request(Method::POST, path, body.into()).await
    }

    /// The body of a successful answer.
    pub(crate) async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        let request = request.body(Full::new(body))?;
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

/// A connection of HTTP/2; a clone sends requests beside the others.
#[derive(Debug, Clone)]
pub(crate) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    base: String,
    key: String,
}

impl Http2 {
    /// A connection of somebody who has a key.
    pub(crate) async fn open_as(address: SocketAddr, origin: &Origin) -> Result<Self> {
        let stream = dial(address, origin.from).await?;
        let io = TokioIo::new(stream);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        let key = origin.key.clone().unwrap_or_default();
        Ok(Self { sender, base: format!("http://{address}"), key })
    }

    /// The size of the body of a successful answer.
    pub(crate) async fn get(&mut self, path: &str) -> Result<usize> {
        let request = Request::get(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .body(Full::new(Bytes::new()))?;
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let size = body.collect().await?.to_bytes().len();
        ensure!(head.status.is_success(), "`{path}`: {}", head.status);
        Ok(size)
    }
}

/// The address in `http://HOST:PORT`.
pub(crate) fn address_of(url: &str) -> Result<SocketAddr> {
    let host = url.trim_end_matches('/').strip_prefix("http://");
    let host = host.with_context(|| format!("`{url}` is not of the form http://HOST:PORT"))?;
    let mut found = host.to_socket_addrs().with_context(|| format!("cannot resolve `{host}`"))?;
    found.next().with_context(|| format!("`{host}` has no address"))
}
