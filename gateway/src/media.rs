//! In which form bodies come and answers go: JSON as everybody knows it, MessagePack with bytes where JSON has base64,
//! or a single pickle as it is.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};

/// The content type of MessagePack.
pub(crate) const MESSAGE_PACK: &str = "application/msgpack";
/// The content type of a pickle that stands alone.
pub(crate) const PICKLE: &str = "application/octet-stream";
/// A client that takes JSON and MessagePack alike gets MessagePack from this size of results on: below, reading JSON
/// costs it less.
const LARGE_BYTES: u64 = 4 * 1024;

/// The form of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyForm {
    /// Also of what says nothing, or something else.
    Json,
    MessagePack,
    Pickle,
}

impl BodyForm {
    /// What the content type says.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let end = text.iter().position(|&byte| byte == b';').unwrap_or(text.len());
        let name = text[..end].trim_ascii();
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("application/json") {
            Self::Json
        } else if is(MESSAGE_PACK) || is("application/x-msgpack") || is("application/vnd.msgpack") {
            Self::MessagePack
        } else if is(PICKLE) {
            Self::Pickle
        } else {
            Self::Json
        }
    }
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyForm {
    Json,
    MessagePack,
}

/// The forms of answers that a client takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    message_pack: bool,
    /// Whether it takes JSON beside MessagePack.
    json_too: bool,
    /// Whether a result that is asked for alone may stand alone.
    pub(crate) pickle: bool,
}

impl Accepted {
    /// What the header `Accept` says.
    fn of(headers: &HeaderMap) -> Self {
        let mut accepted = Self::default();
        for value in headers.get_all(header::ACCEPT) {
            let text = value.to_str().unwrap_or_default();
            // What nearly all clients send needs no further look.
            if !text.contains("msgpack") && !text.contains(PICKLE) {
                accepted.json_too = true;
                continue;
            }
            for part in text.split(',') {
                let mut words = part.split(';').map(str::trim);
                let name = words.next().unwrap_or_default();
                if words.any(|word| word == "q=0") {
                    continue;
                }
                match name {
                    MESSAGE_PACK | "application/x-msgpack" | "application/vnd.msgpack" => {
                        accepted.message_pack = true;
                    }
                    PICKLE => accepted.pickle = true,
                    "application/json" | "application/*" | "*/*" => accepted.json_too = true,
                    _ => {}
                }
            }
        }
        accepted
    }

    /// The form of an answer with so many bytes of results.
    pub(crate) const fn form(self, result_bytes: u64) -> ReplyForm {
        if self.message_pack && (!self.json_too || result_bytes >= LARGE_BYTES) {
            ReplyForm::MessagePack
        } else {
            ReplyForm::Json
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Accepted {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_content_type_names_the_form() {
        let form = |value| BodyForm::of(&headers(header::CONTENT_TYPE, value));
        assert_eq!(form("application/msgpack"), BodyForm::MessagePack);
        assert_eq!(form("Application/X-Msgpack; a=b"), BodyForm::MessagePack);
        assert_eq!(form("application/octet-stream"), BodyForm::Pickle);
        for json in ["application/json; charset=utf-8", "text/plain", ""] {
            assert_eq!(form(json), BodyForm::Json, "{json}");
        }
        assert_eq!(BodyForm::of(&HeaderMap::new()), BodyForm::Json);
    }

    #[test]
    fn a_client_that_takes_both_gets_what_costs_less() {
        let form = |value, bytes| Accepted::of(&headers(header::ACCEPT, value)).form(bytes);
        let both = "application/json, application/msgpack";
        assert_eq!(
            (form(both, 10), form(both, 1 << 20)),
            (ReplyForm::Json, ReplyForm::MessagePack)
        );
        assert_eq!(form("application/msgpack", 0), ReplyForm::MessagePack);
        assert_eq!(form("application/msgpack;q=0, */*", 1 << 20), ReplyForm::Json);
        for json in ["*/*", "application/json", "text/html,*/*;q=0.8"] {
            assert_eq!(form(json, 1 << 20), ReplyForm::Json, "{json}");
        }
        assert_eq!(Accepted::default().form(1 << 20), ReplyForm::Json);
        assert!(Accepted::of(&headers(header::ACCEPT, "application/octet-stream")).pickle);
        assert!(!Accepted::of(&headers(header::ACCEPT, "*/*")).pickle);
    }
}
