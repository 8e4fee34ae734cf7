//! What headers a function may send and gets to see.

use belljar_core::http::{HTTP_HEADER_BYTES, HTTP_HEADERS, HttpTarget};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::message::{Refusal, RefusalKind};

/// Those of one connection. What a function says of its own does not concern the worker's.
const OF_CONNECTION: [HeaderName; 4] =
    [header::CONNECTION, header::TE, header::TRAILER, header::EXPECT];
/// The same, which have no constant.
const OF_CONNECTION_BY_NAME: [&str; 2] = ["keep-alive", "proxy-connection"];

/// The headers of a request, checked: the worker writes those itself that say where it goes and how long it is.
pub(super) fn to_send(
    given: &[(String, String)],
    body_bytes: usize,
    target: &HttpTarget,
) -> Result<HeaderMap, Refusal> {
    let invalid = |text: String| Refusal::new(RefusalKind::Invalid, text);
    let bytes: usize = given.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    if given.len() > HTTP_HEADERS || bytes > HTTP_HEADER_BYTES {
        let text = format!(
            "a request may have {HTTP_HEADERS} headers with {HTTP_HEADER_BYTES} bytes, and this one has {} with {bytes}",
            given.len()
        );
        return Err(Refusal::new(RefusalKind::Limit, text));
    }
    let mut headers = HeaderMap::with_capacity(given.len() + 1);
    for (name, value) in given {
        let cut: String = name.chars().take(64).collect();
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(format!("`{}` is no name of a header", cut.escape_debug())))?;
        let value =
            latin_1(value).and_then(|value| HeaderValue::from_bytes(&value).ok()).ok_or_else(
                || invalid(format!("the header `{name}` has a byte that no header may have")),
            )?;
        let is = |expected: String| value.as_bytes().eq_ignore_ascii_case(expected.as_bytes());
        let with_port = || format!("{}:{}", target.host, target.port);
        let own = match name {
            header::HOST => is(target.authority()) || is(with_port()),
            header::CONTENT_LENGTH => is(body_bytes.to_string()),
            header::TRANSFER_ENCODING | header::UPGRADE => false,
            _ if is_of_connection(&name) => true,
            _ => {
                headers.append(name, value);
                continue;
            }
        };
        if !own {
            let text = format!("the header `{name}` is the worker's own, and this one differs");
            return Err(invalid(text));
        }
    }
    Ok(headers)
}

fn is_of_connection(name: &HeaderName) -> bool {
    OF_CONNECTION.contains(name) || OF_CONNECTION_BY_NAME.contains(&name.as_str())
}

/// The headers of a response for the guest: those that are about the connection, and about how the body was sent,
/// are replaced by what holds for the body that it gets.
pub(super) fn to_show(headers: &HeaderMap, body_bytes: Option<usize>) -> Vec<(String, String)> {
    let is_shown = |name: &HeaderName| {
        !(is_of_connection(name)
            || *name == header::TRANSFER_ENCODING
            || *name == header::UPGRADE
            || (body_bytes.is_some() && *name == header::CONTENT_LENGTH))
    };
    let text = |value: &HeaderValue| value.as_bytes().iter().copied().map(char::from).collect();
    let shown = headers.iter().filter(|(name, _)| is_shown(name));
    let mut shown: Vec<_> =
        shown.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    if let Some(bytes) = body_bytes {
        shown.push((header::CONTENT_LENGTH.to_string(), bytes.to_string()));
    }
    shown.push((header::CONNECTION.to_string(), "close".to_owned()));
    shown
}

/// The bytes that the characters stand for.
pub(super) fn latin_1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(character).ok()).collect()
}
