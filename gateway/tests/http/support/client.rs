//! An HTTP/1.1 client that sends exactly the given bytes and shows exactly the received ones.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn text_at(&self, field: &str) -> String {
        let json = self.json();
        json[field].as_str().unwrap_or_else(|| panic!("no {field}: {json}")).to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Checks the status, the code and the shape that all errors have.
    pub(crate) fn is_error(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        let json = self.json();
        assert_eq!(json["code"], code, "{json}");
        if status == 422 {
            let problems = json["detail"].as_array().expect("a list");
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(problem["type"].is_string() && problem["msg"].is_string(), "{problem}");
                assert!(problem["loc"].is_array(), "{problem}");
            }
        } else {
            assert!(json["detail"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
        }
        if status == 503 || status == 429 {
            assert!(self.header("retry-after").is_some());
        }
    }

    /// `type` and the last part of `loc` of each problem of a 422.
    pub(crate) fn problems(&self) -> Vec<(String, String)> {
        self.is_error(422, "invalid_request");
        let json = self.json();
        let problems = json["detail"].as_array().expect("a list").iter();
        problems
            .map(|problem| {
                let loc = problem["loc"].as_array().expect("a list");
                let last = loc.last().expect("a place");
                let last = last.as_str().map_or_else(|| last.to_string(), str::to_owned);
                (problem["type"].as_str().expect("text").to_owned(), last)
            })
            .collect()
    }
}

/// Sends requests to an address, each over its own connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    address: SocketAddr,
}

impl Client {
    pub(crate) const fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    pub(crate) async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        Connection::over(stream)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_raw(path, body.to_string().as_bytes()).await
    }

    pub(crate) async fn post_raw(&self, path: &str, body: &[u8]) -> Reply {
        self.send("POST", path, &[("content-type", "application/json")], body).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut connection = self.connect().await;
        connection.write(&request(method, path, headers, body)).await;
        connection.reply().await.expect("a reply")
    }
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        text.push_str("host: localhost\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) struct Connection<S = TcpStream> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Over a stream that is open.
    pub(crate) const fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends. A connection that the peer has closed is not an error.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Reads more. `false` at the end.
    async fn fill(&mut self) -> bool {
        let mut part = vec![0; 64 * 1024];
        let read = timeout(PATIENCE, self.stream.read(&mut part)).await.expect("an answer in time");
        let count = read.unwrap_or(0);
        self.buffer.extend_from_slice(&part[..count]);
        count > 0
    }

    /// Reads until the other side closes, and returns all of it.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads until the received text contains `needle`.
    pub(crate) async fn until(&mut self, needle: &str) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.buffer).into_owned();
            if text.contains(needle) {
                return text;
            }
            assert!(self.fill().await, "ended without {needle:?}: {text}");
        }
    }

    /// The next reply. `None` if the connection ends first.
    pub(crate) async fn reply(&mut self) -> Option<Reply> {
        let head_end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        // Streams that do not end come in chunks too: these are read as they come.
        if headers.iter().any(|(name, _)| name == "content-encoding") {
            self.buffer.drain(..head_end);
            let body = self.chunks().await?;
            return Some(Reply { status, headers, body });
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.map_or(0, |(_, value)| value.parse().expect("a length"));
        while self.buffer.len() < head_end + length {
            if !self.fill().await {
                return None;
            }
        }
        let rest = self.buffer.split_off(head_end + length);
        let body = self.buffer.split_off(head_end);
        self.buffer = rest;
        Some(Reply { status, headers, body })
    }

    /// A body in chunks.
    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let Some(line) = self.buffer.windows(2).position(|two| two == b"\r\n") else {
                if !self.fill().await {
                    return None;
                }
                continue;
            };
            let size = std::str::from_utf8(&self.buffer[..line]).expect("a size");
            let size = usize::from_str_radix(size, 16).expect("a size");
            let end = line + 2 + size + 2;
            while self.buffer.len() < end {
                if !self.fill().await {
                    return None;
                }
            }
            body.extend_from_slice(&self.buffer[line + 2..end - 2]);
            self.buffer.drain(..end);
            if size == 0 {
                return Some(body);
            }
        }
    }
}
