//! Certificates by which clients prove who they are, instead of showing a key.
//!
//! The rule: the common name of a certificate's subject names the key that `belljar key create --certificate` made. That key says what the
//! client may do, for which tenant and until when, and is revoked like any other.

use belljar_core::api_key::ApiKeyHash;
use belljar_store::record::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::refusal::Refusal;

/// The certificate of a connection's client, which one of the accepted authorities has signed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientCertificate {
    /// The key that its common name stands for; `None` if it has none, or several.
    key: Option<ApiKeyHash>,
    /// When it ends.
    ends: Timestamp,
}

impl ClientCertificate {
    /// What a certificate says, in the form in which TLS transmits it.
    pub(crate) fn read(der: &[u8]) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return Self { key: None, ends: Timestamp(0) };
        };
        let mut names = certificate.subject().iter_common_name();
        let name = match (names.next(), names.next()) {
            (Some(name), None) => name.as_str().ok().filter(|name| !name.is_empty()),
            _ => None,
        };
        let ends = certificate.validity().not_after.timestamp();
        let ends = u64::try_from(ends).unwrap_or_default().saturating_mul(1_000_000);
        Self { key: name.map(ApiKeyHash::of_certificate), ends: Timestamp(ends) }
    }

    /// The key that it stands for at `now`: a connection may outlast it.
    pub(crate) fn key(self, now: Timestamp) -> Result<ApiKeyHash, Refusal> {
        if self.ends < now {
            return Err(Refusal::ExpiredCertificate);
        }
        self.key.ok_or(Refusal::UnnamedCertificate)
    }
}
