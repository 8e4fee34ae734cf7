//! Why a request is refused before its handler.

use belljar_core::api_key::Scope;
use belljar_core::task::Runtime;
use http::{HeaderValue, StatusCode};

use crate::oidc::TokenProblem;

/// Why a caller may not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "the request shows no key: send the header `Authorization: Bearer KEY`; an operator makes one with `belljar key create`"
    )]
    Missing,
    #[error("the `Authorization` header holds no key: it reads `Bearer bj_...`, once")]
    Malformed,
    #[error("the key is not known here: check that it is whole, and made for this service")]
    Unknown,
    #[error("the key has expired: ask the operator for a new one (`belljar key rotate`)")]
    Expired,
    #[error("the key was revoked: ask the operator for a new one")]
    Revoked,
    #[error(
        "no key was made for the common name of the client's certificate: an operator does, with `belljar key create --certificate NAME`"
    )]
    UnknownCertificate,
    #[error("the client's certificate does not name a key: its subject must have one common name")]
    UnnamedCertificate,
    #[error("the client's certificate has expired: connect with a new one")]
    ExpiredCertificate,
    #[error(transparent)]
    Token(#[from] TokenProblem),
    #[error("the token lacks the scope `belljar:{0}`: its issuer gives it")]
    TokenScope(Scope),
    #[error(
        "the key lacks the scope `{0}`: an operator makes one that has it, with `belljar key create --scope {0}`"
    )]
    Scope(Scope),
    #[error(
        "the key allows no function to run in the runtime `{0}`: register it for the other one"
    )]
    Runtime(Runtime),
}

impl Refusal {
    /// The HTTP status and the word for programs.
    pub(crate) const fn status_and_code(self) -> (StatusCode, &'static str) {
        match self {
            Self::Missing => (StatusCode::UNAUTHORIZED, "key_missing"),
            Self::Malformed
            | Self::Unknown
            | Self::UnknownCertificate
            | Self::UnnamedCertificate => (StatusCode::UNAUTHORIZED, "key_invalid"),
            Self::Expired | Self::ExpiredCertificate => (StatusCode::UNAUTHORIZED, "key_expired"),
            Self::Revoked => (StatusCode::UNAUTHORIZED, "key_revoked"),
            Self::Token(TokenProblem::Expired) => (StatusCode::UNAUTHORIZED, "token_expired"),
            Self::Token(_) => (StatusCode::UNAUTHORIZED, "token_invalid"),
            Self::Scope(_) | Self::TokenScope(_) => (StatusCode::FORBIDDEN, "scope_missing"),
            Self::Runtime(_) => (StatusCode::FORBIDDEN, "runtime_forbidden"),
        }
    }

    /// Why, for the end of a stream, in plain characters.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Expired => "the key has expired: connect again with a new one",
            _ => "the key is not taken any more: connect again with another",
        }
    }

    /// The header `WWW-Authenticate`, as RFC 6750 has it.
    pub(crate) fn challenge(self) -> HeaderValue {
        let text = match self {
            Self::Missing => "Bearer realm=\"belljar\"".to_owned(),
            Self::Scope(scope) | Self::TokenScope(scope) => {
                format!("Bearer realm=\"belljar\", error=\"insufficient_scope\", scope=\"{scope}\"")
            }
            Self::Runtime(_) => "Bearer realm=\"belljar\", error=\"insufficient_scope\"".to_owned(),
            _ => "Bearer realm=\"belljar\", error=\"invalid_token\"".to_owned(),
        };
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer"))
    }
}
