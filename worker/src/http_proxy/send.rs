//! One request over a connection of its own.

use belljar_core::http::{HTTP_HEADER_BYTES, HTTP_HEADERS, HTTP_RESPONSE_BYTES, HttpTarget};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio_util::task::AbortOnDropHandle;

use super::connect::Stream;
use super::headers::to_show;
use super::message::{Answer, Refusal, RefusalKind};

/// Sends a request and waits for the whole response. Redirects are responses like others: whether to follow, the
/// function decides, and makes another request.
pub(super) async fn send(
    stream: Box<dyn Stream>,
    target: &HttpTarget,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Answer, Refusal> {
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(HTTP_HEADERS)
        .max_buf_size(HTTP_HEADER_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = request(target, headers, body)?;
    let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let (head, body) = response.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let text = "the server switches to another protocol";
        return Err(Refusal::new(RefusalKind::Broken, text));
    }
    let body = Limited::new(body, HTTP_RESPONSE_BYTES).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let text = format!("the response has over {} MiB", HTTP_RESPONSE_BYTES >> 20);
            Refusal::new(RefusalKind::Limit, text)
        } else {
            broken(&*error)
        }
    })?;
    let body = body.to_bytes();
    // What they say of its length is about a body that is not sent.
    let has_body = target.method() != "HEAD" && head.status != StatusCode::NOT_MODIFIED;
    Ok(Answer {
        status: head.status.as_u16(),
        reason: reason(&head),
        headers: to_show(&head.headers, has_body.then_some(body.len())),
        body,
    })
}

fn request(
    target: &HttpTarget,
    headers: HeaderMap,
    body: Bytes,
) -> Result<http::Request<Full<Bytes>>, Refusal> {
    let malformed = |_: http::Error| Refusal::new(RefusalKind::Invalid, "the request is malformed");
    let is_empty = body.is_empty();
    let mut request = http::Request::builder()
        .method(target.method())
        .uri(target.path_and_query())
        .body(Full::new(body))
        .map_err(malformed)?;
    let host = HeaderValue::try_from(target.authority());
    let host = host.map_err(|error| malformed(error.into()))?;
    *request.headers_mut() = headers;
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    // Without a body these would say nothing of its length.
    let has_length = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    if has_length && is_empty {
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(request)
}

fn reason(head: &http::response::Parts) -> String {
    let own = head.extensions.get::<hyper::ext::ReasonPhrase>();
    match own {
        Some(own) => own.as_bytes().iter().copied().map(char::from).collect(),
        None => head.status.canonical_reason().unwrap_or_default().to_owned(),
    }
}

fn broken(error: &(dyn std::error::Error + 'static)) -> Refusal {
    let mut text = format!("the server gave no whole response: {error}");
    if let Some(source) = error.source() {
        text = format!("{text}: {source}");
    }
    Refusal::new(RefusalKind::Broken, text)
}
