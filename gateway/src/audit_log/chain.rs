//! How the lines of an audit log hang together: the last field of a line is the SHA-256 of what stands before it, and the
//! field before that is the hash of the line before.

use std::fmt;
use std::str::FromStr;

use belljar_core::sha256::{InvalidHash, Sha256Hash};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::record::AuditRecord;

/// What stands between the text of a line and its hash. It cannot stand within a string of JSON.
const SEAM: &str = ",\"hash\":\"";
/// What a line ends with.
const END: &str = "\"}";

/// The hash of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHash(Sha256Hash);

impl ChainHash {
    /// What the first line of a log names as the one before.
    pub const NONE: Self = Self(Sha256Hash([0; 32]));

    fn of(text: &str) -> Self {
        Self(Sha256Hash(Sha256::digest(text).into()))
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ChainHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        text.parse().map(Self)
    }
}

/// The line of a record after the one with the hash `before`, and its own hash.
pub(super) fn line(record: &AuditRecord, before: ChainHash) -> (String, ChainHash) {
    // Strings and numbers: this cannot fail.
    let mut text = serde_json::to_string(record).unwrap_or_default();
    text.truncate(text.trim_end_matches('}').len());
    text.push_str(&format!(",\"prev\":\"{before}\""));
    let hash = ChainHash::of(&text);
    text.push_str(&end_of_line(hash));
    text.push('\n');
    (text, hash)
}

/// What the line with this hash ends with.
pub(super) fn end_of_line(hash: ChainHash) -> String {
    format!("{SEAM}{hash}{END}")
}

/// A line as it stands in a file, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Whole, and as it was written.
    Sound(Sound),
    /// The beginning of a line.
    Torn,
    /// Something else: it was changed, or never was a line of a log.
    Changed,
}

/// A line that is as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sound {
    pub(super) before: ChainHash,
    pub(super) hash: ChainHash,
    /// How many bytes of a torn line this one says it ends.
    pub(super) torn: Option<u64>,
}

#[derive(Deserialize)]
struct Fields {
    prev: String,
    action: String,
    count: Option<u64>,
}

impl Line {
    /// Reads a line.
    pub(super) fn read(line: &[u8]) -> Self {
        Self::sound(line).map_or_else(|| Self::broken(line), Self::Sound)
    }

    fn sound(line: &[u8]) -> Option<Sound> {
        let line = std::str::from_utf8(line).ok()?;
        let (text, hash) = line.strip_suffix(END)?.rsplit_once(SEAM)?;
        let hash = hash.parse().ok().filter(|hash| *hash == ChainHash::of(text))?;
        let fields: Fields = serde_json::from_str(line).ok()?;
        let torn = fields.count.filter(|_| fields.action == "end_torn_line");
        Some(Sound { before: fields.prev.parse().ok()?, hash, torn })
    }

    /// Every beginning of a line is torn; one with all of its hash is not.
    fn broken(line: &[u8]) -> Self {
        const BEGINNING: &[u8] = b"{\"time\":\"";
        let begins = line.iter().zip(BEGINNING).all(|(ours, theirs)| ours == theirs);
        let is_whole = line.ends_with(END.as_bytes())
            && line.windows(SEAM.len()).any(|window| window == SEAM.as_bytes());
        if begins && !line.is_empty() && !is_whole { Self::Torn } else { Self::Changed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit_log::Action;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let record = AuditRecord::now(Action::Start).about("a\",\"hash\":\"b".to_owned());
        let (first, hash) = line(&record, ChainHash::NONE);
        let (second, _) = line(&AuditRecord::now(Action::EndTornLine).times(7), hash);
        let read = |text: &str| Line::read(text.trim_end().as_bytes());
        assert_eq!(read(&first), Line::Sound(Sound { before: ChainHash::NONE, hash, torn: None }));
        let Line::Sound(second) = read(&second) else { panic!("{second}") };
        assert_eq!((second.before, second.torn), (hash, Some(7)));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for cut in 1..first.len() - 1 {
            assert_eq!(read(&first[..cut]), Line::Torn, "{}", &first[..cut]);
        }
    }

    #[test]
    fn every_change_is_noticed() {
        let (text, _) = line(&AuditRecord::now(Action::Submit).times(3), ChainHash::NONE);
        let text = text.trim_end();
        for at in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] ^= 1;
            assert!(!matches!(Line::read(&changed), Line::Sound(_)), "at {at}");
        }
        assert_eq!(Line::read(text.replacen(":3,", ":4,", 1).as_bytes()), Line::Changed);
        assert_eq!(Line::read(b"a line of another file"), Line::Changed);
        assert_eq!(Line::read(b""), Line::Changed);
    }
}
