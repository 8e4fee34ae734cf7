//! Keys of clients: what proves who sends a request, and what its sender may do.
//!
//! Only the hash of a key is stored. It is a fast one, since a slow one protects what can be guessed, as
//! passwords can: a key has 200 random bits, and no number of tries finds one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::task::InvalidWord;

/// What every key begins with, so that people and scanners of leaked secrets know it.
const PREFIX: &str = "bj_";

/// Keeps the hashes of certificates' names apart from those of keys.
const CERTIFICATE_CONTEXT: &str = "belljar 2026-11 common name of a client certificate";

/// Keeps the hashes of tokens apart from those of keys.
const TOKEN_CONTEXT: &str = "belljar 2026-11 token of an OpenID Connect issuer";

/// The characters after the prefix: five bits each. No `i`, `l`, `o` and `u`, which are misread.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const CHARACTERS: usize = ApiKeySecret::RANDOM_BYTES * 8 / 5;

/// A key, as its holder has it. Its text is shown once and stored nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeySecret(String);

impl ApiKeySecret {
    /// The random bytes of a key.
    pub const RANDOM_BYTES: usize = 25;

    /// The key of bytes from the random numbers of the operating system.
    #[must_use]
    pub fn new(random: [u8; Self::RANDOM_BYTES]) -> Self {
        let mut text = PREFIX.to_owned();
        for part in random.as_chunks::<5>().0 {
            let bits = part.iter().fold(0u64, |bits, &byte| (bits << 8) | u64::from(byte));
            let character = |n: u32| char::from(ALPHABET[(bits >> (35 - 5 * n)) as usize & 31]);
            text.extend((0..8).map(character));
        }
        Self(text)
    }

    /// The text, for its holder.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> ApiKeyHash {
        ApiKeyHash(blake3::hash(self.0.as_bytes()))
    }
}

impl fmt::Debug for ApiKeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeySecret(..)")
    }
}

/// The hash of a key, by which the store finds it. Compared in constant time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ApiKeyHash(blake3::Hash);

impl ApiKeyHash {
    /// The hash of what a request shows; `None` if it has not the form of a key.
    #[must_use]
    pub fn of(shown: &[u8]) -> Option<Self> {
        let random = shown.strip_prefix(PREFIX.as_bytes())?;
        let is_key =
            random.len() == CHARACTERS && random.iter().all(|byte| ALPHABET.contains(byte));
        is_key.then(|| Self(blake3::hash(shown)))
    }

    /// The hash that stands for client certificates with this common name. No text that a request shows has it.
    #[must_use]
    pub fn of_certificate(common_name: &str) -> Self {
        Self(blake3::derive_key(CERTIFICATE_CONTEXT, common_name.as_bytes()).into())
    }

    /// The hash that stands for a token of an issuer. No key has it.
    #[must_use]
    pub fn of_token(token: &str) -> Self {
        Self(blake3::derive_key(TOKEN_CONTEXT, token.as_bytes()).into())
    }

    /// The name by which operators speak of the key: the first digits of the hash.
    #[must_use]
    pub fn id(&self) -> String {
        self.0.to_hex()[..Self::ID_DIGITS].to_owned()
    }

    /// The digits of an id.
    pub const ID_DIGITS: usize = 12;
}

impl fmt::Display for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl FromStr for ApiKeyHash {
    type Err = blake3::HexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        blake3::Hash::from_hex(text).map(Self)
    }
}

/// One thing that a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Submit calls.
    Submit,
    /// Read tasks, results, functions and events.
    Read,
    /// Cancel tasks.
    Cancel,
    /// Register functions.
    Register,
    /// Everything, and what is about the service as a whole: workers, counters, metrics.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] =
        [Self::Submit, Self::Read, Self::Cancel, Self::Register, Self::Admin];

    /// The word used in HTTP, in the store and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Cancel => "cancel",
            Self::Register => "register",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| InvalidWord {
            what: "scope",
            text: text.to_owned(),
            expected: "submit, read, cancel, register or admin",
        })
    }
}

/// What a key allows.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scopes(u8);

impl Scopes {
    /// All scopes, as where no keys are in use.
    pub const ALL: Self = Self((1 << Scope::ALL.len()) - 1);

    /// Whether `scope` is allowed.
    #[must_use]
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & (bit(scope) | bit(Scope::Admin)) != 0
    }

    /// The scopes that are named.
    pub fn named(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |&scope| self.0 & bit(scope) != 0)
    }
}

const fn bit(scope: Scope) -> u8 {
    1 << scope as u8
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | bit(scope)))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.named().map(Scope::as_str).collect();
        f.pad(&names.join(","))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Scopes {
    type Error = InvalidWord;

    fn try_from(text: String) -> Result<Self, InvalidWord> {
        text.split(',').filter(|word| !word.is_empty()).map(str::parse).collect()
    }
}

impl From<Scopes> for String {
    fn from(scopes: Scopes) -> Self {
        scopes.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM_BYTES: usize = ApiKeySecret::RANDOM_BYTES;

    #[test]
    fn a_key_is_known_by_its_form() {
        let secret = ApiKeySecret::new([0xa7; RANDOM_BYTES]);
        let text = secret.reveal();
        assert_eq!(text.len(), 43);
        assert_eq!(ApiKeyHash::of(text.as_bytes()), Some(secret.hash()));
        let hash = secret.hash().to_string();
        assert_eq!(hash.parse().ok(), Some(secret.hash()));
        assert!(hash.starts_with(&secret.hash().id()));
        let upper = text.to_uppercase();
        for other in ["", "bj_", &text[..42], &format!("{text}0"), &text[3..], &upper, "bj_\u{e9}"]
        {
            assert_eq!(ApiKeyHash::of(other.as_bytes()), None, "{other}");
        }
        assert!(!format!("{secret:?}").contains(&text[3..8]));
        assert_ne!(ApiKeyHash::of_certificate(text), secret.hash(), "a certificate is not its key");
    }

    #[test]
    fn every_bit_of_the_random_bytes_counts() {
        let of = |bytes| ApiKeySecret::new(bytes).reveal().to_owned();
        let zero = of([0; RANDOM_BYTES]);
        for bit in 0..RANDOM_BYTES * 8 {
            let mut bytes = [0; RANDOM_BYTES];
            bytes[bit / 8] = 1 << (bit % 8);
            let changed = of(bytes).bytes().zip(zero.bytes()).filter(|(a, b)| a != b).count();
            assert_eq!(changed, 1, "bit {bit}");
        }
    }

    #[test]
    fn scopes_allow_what_they_name_and_admin_allows_everything() {
        let scopes: Scopes = [Scope::Submit, Scope::Read].into_iter().collect();
        assert!(scopes.allow(Scope::Submit) && scopes.allow(Scope::Read));
        assert!(!scopes.allow(Scope::Cancel) && !scopes.allow(Scope::Admin));
        let admin: Scopes = [Scope::Admin].into_iter().collect();
        assert!(Scope::ALL.into_iter().all(|scope| admin.allow(scope)));
        assert_eq!(Scopes::ALL.named().count(), 5);
        assert_eq!(Scopes::try_from("submit,read".to_owned()), Ok(scopes));
        assert_eq!(scopes.to_string(), "submit,read");
        assert!(Scopes::try_from("submit,write".to_owned()).is_err());
    }
}
