//! Ids: random UUIDs in lower-case hyphenated form, one type for each kind of thing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is no UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a UUID")]
pub struct InvalidId(pub String);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id of 122 random bits: an id cannot be guessed from another.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// The id as its 16 bytes, the form in keys and on wires.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id that [`Self::as_bytes`] gave.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Accepts the 36-character hyphenated form in either case; braces, URNs and the form
            /// without hyphens are refused, so that one id has one spelling.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if text.len() != 36 {
                    return Err(InvalidId(text.to_owned()));
                }
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId(text.to_owned()))
            }
        }
    };
}

id! {
    /// Names one submitted call.
    TaskId
}
impl TaskId {
    /// The id that belongs to `seed`: the same for the same, and as hard to guess as the seed is.
    #[must_use]
    pub fn derived(seed: &[u8]) -> Self {
        let [bytes @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            *blake3::hash(seed).as_bytes();
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

id! {
    /// Names one uploaded value.
    BlobId
}
impl BlobId {
    /// The id of the value with this SHA-256 hash that `tenant` uploads: the same value has the same id, and another with another
    /// tenant.
    #[must_use]
    pub fn derived(tenant: &str, sha256: &[u8; 32]) -> Self {
        let [bytes @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            *blake3::hash(&[b"blob\0", tenant.as_bytes(), b"\0", sha256].concat()).as_bytes();
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

id! {
    /// Names one session: calls that go on where the one before has ended.
    SessionId
}
id! {
    /// Names one registered function.
    FunctionId
}
id! {
    /// Names one run of a dispatcher process; a restarted dispatcher has a new one.
    DispatcherId
}
id! {
    /// Names one run of a worker process.
    WorkerId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_comes_back_exactly() {
        let id = TaskId::random();
        assert_eq!(id.to_string().parse::<TaskId>(), Ok(id));
        assert_eq!(TaskId::from_bytes(*id.as_bytes()), id);
        assert_eq!(id.to_string(), id.to_string().to_lowercase());
    }

    #[test]
    fn other_spellings_are_refused() {
        let id = TaskId::random().to_string();
        for text in
            [format!("{{{id}}}"), id.replace('-', ""), format!("urn:uuid:{id}"), String::new()]
        {
            assert!(text.parse::<TaskId>().is_err(), "{text}");
        }
    }
}
