//! Requests and answers as the guest writes and reads them: the length of a JSON object (four bytes,
//! little-endian), the object, and the body.

use std::time::Duration;

use belljar_core::http::{HTTP_HEADER_BYTES, HTTP_REQUEST_BYTES, HttpTarget};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Refusal as R;

/// The longest JSON object of a request: headers and a path, each character at most as six.
const HEAD_BYTES: usize = 8 * HTTP_HEADER_BYTES;
/// The longest time that a request may give itself, in milliseconds: more than any call has.
const TIMEOUT_MS: u64 = 1 << 40;

/// What a function asks for. Headers are as they were written, each character a byte.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    pub(super) method: String,
    scheme: String,
    host: String,
    port: u64,
    /// The path and the query.
    target: String,
    pub(super) headers: Vec<(String, String)>,
    timeout_ms: Option<u64>,
    #[serde(skip)]
    pub(super) body: Bytes,
}

/// A response.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) headers: Vec<(String, String)>,
    #[serde(skip)]
    pub(super) body: Bytes,
}

/// Why there is no response.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    #[serde(rename = "error")]
    pub(super) kind: RefusalKind,
    pub(super) text: String,
    /// The grant that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grant: Option<String>,
}

/// The same for the guest's code, which makes another exception of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RefusalKind {
    /// The request is not granted.
    Denied,
    /// It is no request that may be sent.
    Invalid,
    /// A limit is reached.
    Limit,
    /// The name of the host leads nowhere.
    Name,
    /// No connection.
    Connect,
    /// No TLS.
    Tls,
    /// The request's own time is over.
    Timeout,
    /// The server broke off, or does not speak HTTP.
    Broken,
}

/// The request in a message.
pub(super) fn read(message: &Bytes) -> Result<Request, Refusal> {
    let malformed = || R::new(RefusalKind::Invalid, "the request is malformed");
    if message.len() > HTTP_REQUEST_BYTES {
        let text = format!("a request may have {} MiB", HTTP_REQUEST_BYTES >> 20);
        return Err(R::new(RefusalKind::Limit, text));
    }
    let length = message.first_chunk::<4>().ok_or_else(malformed)?;
    let end = 4 + u32::from_le_bytes(*length) as usize;
    if end > 4 + HEAD_BYTES {
        let text = format!("the headers of a request may have {HTTP_HEADER_BYTES} bytes");
        return Err(R::new(RefusalKind::Limit, text));
    }
    let head = message.get(4..end).ok_or_else(malformed)?;
    let request: Request = serde_json::from_slice(head).map_err(|_| malformed())?;
    Ok(Request { body: message.slice(end..), ..request })
}

/// A message with the answer.
pub(super) fn write(answer: Result<Answer, Refusal>) -> Bytes {
    let (head, body) = match answer {
        Ok(answer) => (serde_json::to_vec(&answer), answer.body),
        Err(refusal) => (serde_json::to_vec(&refusal), Bytes::new()),
    };
    #[expect(clippy::expect_used, reason = "our own types into memory")]
    let head = head.expect("answers are serializable");
    let length = u32::try_from(head.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), &*head, &*body].concat().into()
}

impl Request {
    /// Where it goes.
    pub(super) fn target(&self) -> Result<HttpTarget, Refusal> {
        let Self { method, scheme, host, port, target, .. } = self;
        HttpTarget::new(method, scheme, host, *port, target)
            .map_err(|error| R::new(RefusalKind::Invalid, error.to_string()))
    }

    /// How long the function waits.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout_ms.map(|limit| Duration::from_millis(limit.min(TIMEOUT_MS)))
    }
}
