//! How both sides show that they hold the shared secret without ever sending it.
//!
//! The dispatcher makes a nonce for every connection and takes one proof for it, so that a recorded
//! proof is worth nothing later or elsewhere. The worker's nonce does the same for the dispatcher's
//! proof. The two proofs are made in different words, so that neither can be sent back as the other.
//! An attacker who can change the bytes between the two can still join in after the proofs: against
//! that there is TLS.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use uuid::Uuid;

use crate::message::{SessionId, VERSION, WorkerRegistration};

/// Makes a key of the secret that serves no other purpose.
const KEY_CONTEXT: &str = "belljar 2026-11 secret of dispatchers and workers";
const WORKER: &[u8] = b"belljar worker";
const DISPATCHER: &[u8] = b"belljar dispatcher";

/// A number used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Nonce(Uuid);

impl Nonce {
    /// A new one, of 122 random bits.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The nonce of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

/// A keyed BLAKE3 hash. Compared in constant time only, hence no `PartialEq` of its bytes.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Proof(ByteArray<32>);

impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        // The comparison of this type takes the same time for all values.
        blake3::Hash::from(self.0.into_array()) == blake3::Hash::from(other.0.into_array())
    }
}

impl Eq for Proof {}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(..)")
    }
}

/// A secret that could be found by trying: anyone who sees a proof can try any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret has {0} bytes: at least {least} are needed", least = Secret::LEAST_BYTES)]
pub struct SecretTooShort(pub usize);

/// The shared secret.
#[derive(Clone)]
pub struct Secret {
    key: [u8; 32],
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// The shortest secret taken.
    pub const LEAST_BYTES: usize = 16;

    /// The secret in `text`, without the white space around it.
    ///
    /// # Errors
    /// It is too short.
    pub fn new(text: &str) -> Result<Self, SecretTooShort> {
        let text = text.trim();
        if text.len() < Self::LEAST_BYTES {
            return Err(SecretTooShort(text.len()));
        }
        Ok(Self { key: blake3::derive_key(KEY_CONTEXT, text.as_bytes()) })
    }

    /// A worker's proof, for the dispatcher's `challenge`; it covers all that the worker says.
    #[must_use]
    pub fn prove_worker(&self, challenge: Nonce, registration: &WorkerRegistration) -> Proof {
        #[expect(clippy::expect_used, reason = "our own type into memory")]
        let bytes = rmp_serde::to_vec(registration).expect("a registration is serializable");
        self.proof(&[WORKER, &VERSION.to_be_bytes(), challenge.0.as_bytes(), &bytes])
    }

    /// A dispatcher's proof, for the nonce in the worker's registration.
    #[must_use]
    pub fn prove_dispatcher(&self, challenge: Nonce, worker: Nonce, session: SessionId) -> Proof {
        let (challenge, worker) = (challenge.0.as_bytes(), worker.0.as_bytes());
        self.proof(&[DISPATCHER, &VERSION.to_be_bytes(), challenge, worker, session.0.as_bytes()])
    }

    fn proof(&self, parts: &[&[u8]]) -> Proof {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        // All parts but the last are of fixed length in their own context: no two lists run together.
        parts.iter().for_each(|part| {
            hasher.update(part);
        });
        Proof(ByteArray::new(*hasher.finalize().as_bytes()))
    }
}

/// Whether `shown` is the expected proof; any is right where no secret is set here.
#[must_use]
pub fn accepts(shown: Option<&Proof>, expected: Option<&Proof>) -> bool {
    match (shown, expected) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(shown), Some(expected)) => shown == expected,
    }
}
