//! SHA-256 hashes, and how they are written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A SHA-256 hash. Written in hexadecimal digits.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Sha256Hash(#[serde(with = "serde_bytes")] pub [u8; 32]);

/// A text that is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash has 64 digits from 0 to 9 and a to f")]
pub struct InvalidHash;

impl fmt::Display for Sha256Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Sha256Hash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let digit = |byte: &u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(InvalidHash),
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(InvalidHash) };
        let pairs: &[[u8; 2]; 32] = pairs.try_into().map_err(|_| InvalidHash)?;
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(high)? << 4 | digit(low)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_go_there_and_back() {
        let hash = Sha256Hash(std::array::from_fn(|at| at as u8 * 8));
        let text = hash.to_string();
        assert!(text.starts_with("000810182028") && text.len() == 64, "{text}");
        assert_eq!(text.parse(), Ok(hash));
        for wrong in
            [&text[..62], &text[..63], &text.replace('f', "F"), &text.replace('8', "+"), ""]
        {
            assert_eq!(wrong.parse::<Sha256Hash>(), Err(InvalidHash), "{wrong}");
        }
    }
}
