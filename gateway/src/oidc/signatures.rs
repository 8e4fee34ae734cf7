//! Checks signatures of tokens with the cryptography that TLS has, for the crate that reads tokens.
//!
//! Asymmetric algorithms only: with a shared secret, who can check a token can make one.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error as SignatureError, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

/// The algorithms that are accepted.
pub(super) const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: |algorithm, key| Ok(Box::new(SignatureCheck::new(*algorithm, key)?)),
    // Keys are read, never made.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes the crate use these checks, in all of this process.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Nothing else in this process reads tokens.
        let _ = PROVIDER.install_default();
    });
}

/// How an algorithm checks.
enum Method {
    Rsa(&'static RsaParameters),
    Other(&'static dyn VerificationAlgorithm),
}

struct SignatureCheck {
    algorithm: Algorithm,
    method: Method,
    key: DecodingKey,
}

impl SignatureCheck {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self> {
        let (family, method) = match algorithm {
            Algorithm::RS256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => {
                (AlgorithmFamily::Ec, Method::Other(&signature::ECDSA_P256_SHA256_FIXED))
            }
            Algorithm::ES384 => {
                (AlgorithmFamily::Ec, Method::Other(&signature::ECDSA_P384_SHA384_FIXED))
            }
            Algorithm::EdDSA => (AlgorithmFamily::Ed, Method::Other(&signature::ED25519)),
            _ => return Err(ErrorKind::InvalidAlgorithm.into()),
        };
        if key.family() != family {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        Ok(Self { algorithm, method, key: key.clone() })
    }
}

fn rsa(parameters: &'static RsaParameters) -> (AlgorithmFamily, Method) {
    (AlgorithmFamily::Rsa, Method::Rsa(parameters))
}

impl Verifier<Vec<u8>> for SignatureCheck {
    fn verify(
        &self,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> std::result::Result<(), SignatureError> {
        let checked = match (&self.method, self.key.kind()) {
            (Method::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Method::Other(algorithm), DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(*algorithm, key).verify(message, signature)
            }
            _ => return Err(SignatureError::new()),
        };
        checked.map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for SignatureCheck {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
