//! What requests show to say who sends them: a key, a token, or the certificate of their client.

use axum::extract::Request;
use belljar_core::api_key::ApiKeyHash;
use http::{HeaderMap, header};

use crate::client_certificate::ClientCertificate;
use crate::keys::now;
use crate::oidc::Oidc;
use crate::refusal::Refusal;

/// What a request shows of its sender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShownKey<'a> {
    /// The key, or what stands for it.
    pub(crate) hash: ApiKeyHash,
    pub(crate) kind: ShownKind<'a>,
}

/// In which form a key is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShownKind<'a> {
    /// Itself.
    Key,
    /// A certificate stands for it.
    Certificate,
    /// A token of the issuer.
    Token(&'a str),
}

impl<'a> ShownKey<'a> {
    /// The key or, where those are taken, the token that a request shows; else the key of its client's certificate.
    pub(crate) fn of(request: &'a Request, takes_tokens: bool) -> Result<Self, Refusal> {
        match shown(request.headers(), takes_tokens) {
            Err(Refusal::Missing) => {
                let certificate = request.extensions().get::<ClientCertificate>();
                let certificate = certificate.ok_or(Refusal::Missing)?;
                Ok(Self { hash: certificate.key(now())?, kind: ShownKind::Certificate })
            }
            shown => shown,
        }
    }

    /// A refusal of it, in words that fit what was shown.
    pub(crate) fn refused(self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::Unknown if self.kind == ShownKind::Certificate => Refusal::UnknownCertificate,
            other => other,
        }
    }
}

/// What these headers show.
fn shown(headers: &HeaderMap, takes_tokens: bool) -> Result<ShownKey<'_>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).into_iter();
    let Some(value) = values.next() else { return Err(Refusal::Missing) };
    let value = value.as_bytes();
    let (scheme, key) =
        value.split_at(value.iter().position(|&byte| byte == b' ').unwrap_or(value.len()));
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Refusal::Missing);
    }
    // Two keys are two answers to the question who sends it.
    if values.next().is_some() {
        return Err(Refusal::Malformed);
    }
    let key = key.trim_ascii();
    if let Some(hash) = ApiKeyHash::of(key) {
        return Ok(ShownKey { hash, kind: ShownKind::Key });
    }
    match std::str::from_utf8(key) {
        Ok(token) if takes_tokens && Oidc::is_token(key) => {
            Ok(ShownKey { hash: ApiKeyHash::of_token(token), kind: ShownKind::Token(token) })
        }
        _ => Err(Refusal::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use belljar_core::api_key::ApiKeySecret;
    use http::HeaderValue;

    use super::*;

    fn of(values: &[&str]) -> Result<ApiKeyHash, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).expect("a value"));
        }
        shown(&headers, true).map(|shown| shown.hash)
    }

    #[test]
    fn a_key_is_taken_from_one_bearer_header() {
        let secret = ApiKeySecret::new([5; 25]);
        let key = secret.reveal();
        for scheme in ["Bearer", "bearer", "BEARER"] {
            assert_eq!(of(&[&format!("{scheme} {key}")]), Ok(secret.hash()));
        }
        assert_eq!(of(&[]), Err(Refusal::Missing));
        assert_eq!(of(&["Basic dXNlcjpwYXNz"]), Err(Refusal::Missing));
        for malformed in ["Bearer", "Bearer ", "Bearer x", &format!("Bearer {key}0")] {
            assert_eq!(of(&[malformed]), Err(Refusal::Malformed), "{malformed}");
        }
        let whole = format!("Bearer {key}");
        assert_eq!(of(&[&whole, &whole]), Err(Refusal::Malformed));
        assert_eq!(of(&[key]), Err(Refusal::Missing), "without its scheme");
    }
}
