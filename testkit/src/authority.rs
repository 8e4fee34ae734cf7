//! An authority that signs certificates.

use std::path::Path;
use std::time::SystemTime;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};

/// An authority with a key of its own.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new one, which nobody trusts yet.
    ///
    /// # Errors
    /// No key can be made.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate with the name of its issuer for one that signed itself.
        params.distinguished_name.push(DnType::CommonName, "belljar's tests");
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its own certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes a certificate for `host`, a name or an address, and its key.
    ///
    /// # Errors
    /// `host` is neither, or a file cannot be written.
    pub fn sign(&self, host: &str, certificate: &Path, key: &Path) -> Result<()> {
        let pair = KeyPair::generate()?;
        let signed =
            CertificateParams::new(vec![host.to_owned()])?.signed_by(&pair, &self.issuer)?;
        std::fs::write(certificate, signed.pem())?;
        Ok(std::fs::write(key, pair.serialize_pem())?)
    }

    /// A certificate of a client whose subject has these common names, at most two, and its key, both as PEM. It is valid until `ends`.
    ///
    /// # Errors
    /// No key can be made.
    pub fn sign_client(&self, common_names: &[&str], ends: SystemTime) -> Result<(String, String)> {
        let pair = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.not_after = ends.into();
        // The usual type holds one only.
        let kinds = [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])];
        params.distinguished_name = DistinguishedName::new();
        for (kind, name) in kinds.into_iter().zip(common_names) {
            params.distinguished_name.push(kind, *name);
        }
        Ok((params.signed_by(&pair, &self.issuer)?.pem(), pair.serialize_pem()))
    }
}
