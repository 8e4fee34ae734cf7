//! One keep-alive connection to the service: hyper's HTTP/1.1, nothing between it and the socket, so
//! that the client costs little of the processors that it shares with what it measures.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The longest time that any answer may take: longer than the longest poll, shorter than a report.
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
        // Ends with the sender; what breaks it is told to the request that was under way.
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string() })
    }

    /// The body of the answer, whatever its status.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes)> {
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
        answer.map_err(|_| anyhow::anyhow!("no answer to `{path}` within {TIMEOUT:?}"))?
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Bytes> {
        let (status, body) = self.ask(Method::GET, path, Bytes::new()).await?;
        accepted(path, status, body)
    }

    pub(crate) async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Result<Bytes> {
        let (status, body) = self.ask(Method::POST, path, body.into()).await?;
        accepted(path, status, body)
    }
}

/// The address in `http://HOST:PORT`.
pub(crate) fn address_of(url: &str) -> Result<SocketAddr> {
    use std::net::ToSocketAddrs as _;
    let Some(host) = url.trim_end_matches('/').strip_prefix("http://") else {
        bail!("`{url}` is not of the form http://HOST:PORT");
    };
    let mut found = host.to_socket_addrs().with_context(|| format!("cannot resolve `{host}`"))?;
    found.next().with_context(|| format!("`{host}` has no address"))
}

fn accepted(path: &str, status: StatusCode, body: Bytes) -> Result<Bytes> {
    ensure!(status.is_success(), "`{path}`: {status}: {}", String::from_utf8_lossy(&body));
    Ok(body)
}
