//! Tokens of an OpenID Connect issuer, which clients may show in place of a key.
//!
//! A token is a JWT that the issuer has signed for this service. Its claims name a tenant and scopes. What is checked: the signature, by
//! a key of the issuer and an asymmetric algorithm that fits that key; `iss`, `aud`, `exp` and `nbf`.
//!
//! # Layout
//!
//! * here: the configuration, and what a token says.
//! * `keys`: the issuer's keys; `fetch`: how they are fetched.
//! * `signatures`: which algorithms are accepted, and how they check.

mod fetch;
mod keys;
mod signatures;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use belljar_core::api_key::{Scope, Scopes};
use belljar_core::tenant::Tenant;
use belljar_store::record::Timestamp;
use http::Uri;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

pub(crate) use keys::IssuerDown;
pub use keys::KeyTimes;

use keys::IssuerKeys;

/// How far the clocks of issuer and gateway may differ.
const LEEWAY: Duration = Duration::from_secs(60);
/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// What scopes of this service begin with among those of a token.
const SCOPE_PREFIX: &str = "belljar:";
/// The longest name of a holder that is kept.
const MAX_SUBJECT_BYTES: usize = 256;

/// The URL by which an issuer calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerUrl {
    /// As tokens have it, letter by letter.
    text: String,
    /// Where it says what its keys are.
    discovery: Uri,
}

/// A text that is no URL of an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it reads https://HOST[:PORT][/PATH], as tokens have it in `iss`; http:// is for issuers on this machine"
)]
pub struct InvalidIssuer;

impl FromStr for IssuerUrl {
    type Err = InvalidIssuer;

    fn from_str(text: &str) -> Result<Self, InvalidIssuer> {
        let own: Uri = text.parse().map_err(|_| InvalidIssuer)?;
        if fetch::is_secure(&own).is_none() || own.query().is_some() || text.contains('#') {
            return Err(InvalidIssuer);
        }
        let discovery = format!("{}/.well-known/openid-configuration", text.trim_end_matches('/'));
        let discovery = discovery.parse().map_err(|_| InvalidIssuer)?;
        Ok(Self { text: text.to_owned(), discovery })
    }
}

/// Whose tokens are taken, and what they say.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    /// Who signs them.
    pub issuer: IssuerUrl,
    /// What they name this service.
    pub audience: String,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// The claim with the scopes: words in one text, or a list.
    pub scope_claim: String,
    /// How long the issuer's keys are believed.
    pub times: KeyTimes,
}

/// Who a token is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenHolder {
    pub(crate) tenant: Tenant,
    pub(crate) scopes: Scopes,
    /// When the token ends, with the leeway of clocks.
    pub(crate) ends: Timestamp,
    /// What the issuer calls them.
    pub(crate) subject: Option<String>,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenProblem {
    #[error("the token cannot be read: it is no JWT that is signed by RS, PS, ES or EdDSA")]
    Unreadable,
    #[error("the token is signed by an algorithm that is not accepted for its key")]
    Algorithm,
    #[error(
        "the token is signed by a key that its issuer does not have (any more): ask for a new one"
    )]
    UnknownKey,
    #[error("the signature of the token is wrong")]
    Signature,
    #[error("the token is of another issuer than this service trusts")]
    Issuer,
    #[error("the token is not for this service: ask the issuer for one with its audience")]
    Audience,
    #[error("the token has expired: ask the issuer for a new one")]
    Expired,
    #[error("the token is not valid yet: compare the clocks")]
    Early,
    #[error(
        "the token lacks a claim that it must have, or has it in another form: `exp`, `iss` and `aud`"
    )]
    Claims,
    #[error(
        "the token names no tenant: its claim for that is absent, or no name of a tenant (lower-case letters, digits, `-`, `_`, `.`)"
    )]
    Tenant,
}

/// Reads tokens.
pub(crate) struct Oidc {
    config: OidcConfig,
    keys: Arc<IssuerKeys>,
}

impl Oidc {
    /// Nothing is asked yet.
    pub(crate) fn new(config: OidcConfig) -> Self {
        signatures::install();
        let IssuerUrl { text, discovery } = config.issuer.clone();
        Self { keys: Arc::new(IssuerKeys::new(text, discovery, config.times)), config }
    }

    /// Whether a text has the form of a token: three parts of base64url, the first of which begins as JSON does.
    pub(crate) fn is_token(shown: &[u8]) -> bool {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        shown.starts_with(b"ey")
            && shown.len() <= MAX_TOKEN_BYTES
            && shown.iter().filter(|&&byte| byte == b'.').count() == 2
            && shown.iter().all(is_part)
    }

    /// Who a token is about. An error where the issuer would have to be asked, and does not answer.
    pub(crate) async fn read(
        &self,
        token: &str,
    ) -> Result<Result<TokenHolder, TokenProblem>, IssuerDown> {
        let Some(header) = decode_header(token).ok().filter(|header| header.crit.is_none()) else {
            return Ok(Err(TokenProblem::Unreadable));
        };
        if !signatures::ALGORITHMS.contains(&header.alg) {
            return Ok(Err(TokenProblem::Algorithm));
        }
        let Some(key) = self.keys.find(header.kid.as_deref()).await? else {
            return Ok(Err(TokenProblem::UnknownKey));
        };
        if !key.algorithms.contains(&header.alg) {
            return Ok(Err(TokenProblem::Algorithm));
        }
        let claims = decode::<Map<String, Value>>(token, &key.key, &self.validation(header.alg));
        Ok(match claims {
            Ok(token) => self.holder(&token.claims),
            Err(error) => Err(problem(error.kind())),
        })
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.config.issuer.text]);
        validation.set_audience(&[&self.config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation
    }

    fn holder(&self, claims: &Map<String, Value>) -> Result<TokenHolder, TokenProblem> {
        let tenant = claims.get(&self.config.tenant_claim).and_then(Value::as_str);
        let tenant = tenant.and_then(|name| name.parse().ok()).ok_or(TokenProblem::Tenant)?;
        let exp = claims.get("exp").and_then(Value::as_f64).ok_or(TokenProblem::Claims)?;
        let ends = Duration::try_from_secs_f64(exp).unwrap_or(Duration::MAX).saturating_add(LEEWAY);
        let subject = claims.get("sub").and_then(Value::as_str);
        let subject = subject.filter(|it| it.len() <= MAX_SUBJECT_BYTES).map(str::to_owned);
        Ok(TokenHolder {
            tenant,
            scopes: claims.get(&self.config.scope_claim).map(scopes).unwrap_or_default(),
            ends: Timestamp(u64::try_from(ends.as_micros()).unwrap_or(u64::MAX)),
            subject,
        })
    }
}

/// The scopes of this service in a claim; the others are for somebody else.
fn scopes(claim: &Value) -> Scopes {
    let ours = |word: &str| word.strip_prefix(SCOPE_PREFIX)?.parse::<Scope>().ok();
    match claim {
        Value::String(words) => words.split_ascii_whitespace().filter_map(ours).collect(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).filter_map(ours).collect(),
        _ => Scopes::default(),
    }
}

fn problem(kind: &ErrorKind) -> TokenProblem {
    match kind {
        ErrorKind::InvalidSignature => TokenProblem::Signature,
        ErrorKind::ExpiredSignature => TokenProblem::Expired,
        ErrorKind::ImmatureSignature => TokenProblem::Early,
        ErrorKind::InvalidIssuer => TokenProblem::Issuer,
        ErrorKind::InvalidAudience => TokenProblem::Audience,
        ErrorKind::InvalidAlgorithm => TokenProblem::Algorithm,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => {
            TokenProblem::Claims
        }
        _ => TokenProblem::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_issuer_is_reached_over_tls_or_on_this_machine() {
        let url: IssuerUrl = "https://id.example.com/realms/a/".parse().expect("a URL");
        assert_eq!(
            url.discovery,
            "https://id.example.com/realms/a/.well-known/openid-configuration"
        );
        for local in ["http://127.0.0.1:9", "http://localhost:9/x", "http://[::1]:9"] {
            assert!(local.parse::<IssuerUrl>().is_ok(), "{local}");
        }
        for wrong in [
            "",
            "id.example.com",
            "http://id.example.com",
            "ftp://localhost",
            "https://h/?x",
            "https://h/#x",
        ] {
            assert_eq!(wrong.parse::<IssuerUrl>(), Err(InvalidIssuer), "{wrong}");
        }
    }

    #[test]
    fn scopes_are_those_of_this_service() {
        let [submit, read]: [Scopes; 2] =
            [[Scope::Submit], [Scope::Read]].map(|it| it.into_iter().collect());
        assert_eq!(scopes(&json!("openid belljar:submit submit")), submit);
        assert_eq!(scopes(&json!(["email", "belljar:read", 7])), read);
        for none in [json!("submit read"), json!(7), json!(null), json!("belljar:everything")] {
            assert_eq!(scopes(&none), Scopes::default(), "{none}");
        }
    }

    #[test]
    fn keys_have_not_the_form_of_tokens() {
        assert!(Oidc::is_token(b"eyJ.eyJ.c2ln"));
        for other in [&b"bj_000"[..], b"ey.ey", b"eyJ.e.J.x", b"abc.def.ghi", b"eyJ.e J.x"] {
            assert!(!Oidc::is_token(other));
        }
    }
}
