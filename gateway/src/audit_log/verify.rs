//! Whether an audit log is whole: no line of it was changed, removed or put in between.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use belljar_store::{AuditEntryId, Store, StoreError};

use super::chain::{ChainHash, Line};

/// The longest line that is read. Records are far shorter.
const MAX_LINE: u64 = 64 * 1024;
/// Entries of the store that are read at once.
const ENTRIES: usize = 1_000;

/// A log that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many records it has.
    pub records: u64,
    /// The hash that its first line names: [`ChainHash::NONE`] where the log begins.
    pub before: ChainHash,
    /// The hash of its last whole line.
    pub last: ChainHash,
    /// Lines that were not written to their end, each as `FILE:LINE`.
    pub torn: Vec<String>,
    /// Whether the last one is among them.
    pub ends_torn: bool,
}

/// Where a log is not whole.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("`{path}` cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line is not as it was written.
    #[error("`{path}` line {line}: {why}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An entry of the store is not as it was written.
    #[error("entry {id}: {why}")]
    BrokenEntry {
        /// Its name in Redis.
        id: AuditEntryId,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The store does not answer.
    #[error("the audit log in the store cannot be read")]
    Store(#[source] StoreError),
    /// There is no record.
    #[error("there is no record")]
    Empty,
    /// No record has the hash that is asked for.
    #[error(
        "no record has the hash `{0}`: what was recorded up to there is not in this log any more"
    )]
    Missing(ChainHash),
}

/// Reads files that follow each other, the oldest first, and checks that each line follows the one before, and that one of them
/// has the hash `contained`.
///
/// # Errors
/// They do not, or cannot be read.
pub fn verify(paths: &[PathBuf], contained: Option<ChainHash>) -> Result<Verified, VerifyError> {
    let mut reader = Reader::default();
    let mut is_found = contained.is_none();
    for path in paths {
        reader.read(path, |hash| is_found |= Some(hash) == contained)?;
    }
    reader.end(contained.filter(|_| !is_found))
}

/// The same for the log of a store.
///
/// # Errors
/// The records do not follow each other, or the store does not answer.
pub async fn verify_stream(
    store: &Store,
    contained: Option<ChainHash>,
) -> Result<Verified, VerifyError> {
    let mut reader = Reader::default();
    let mut is_found = contained.is_none();
    let mut last: Option<AuditEntryId> = None;
    loop {
        let part = store.audit_lines(last.as_deref(), ENTRIES).await.map_err(VerifyError::Store)?;
        if part.is_empty() {
            return reader.end(contained.filter(|_| !is_found));
        }
        for (id, line) in part {
            let broken = |why| VerifyError::BrokenEntry { id: id.clone(), why };
            let Line::Sound(sound) = Line::read(&line) else { return Err(broken(CHANGED)) };
            reader.follow(sound.before, sound.hash, sound.torn).map_err(broken)?;
            is_found |= Some(sound.hash) == contained;
            last = Some(id);
        }
    }
}

const CHANGED: &str = "it is not as it was written";

/// What has been read so far.
#[derive(Default)]
struct Reader {
    verified: Option<Verified>,
    /// Bytes of torn lines that no record has ended yet, and their places.
    torn: (u64, Vec<String>),
}

impl Reader {
    fn read(&mut self, path: &Path, mut found: impl FnMut(ChainHash)) -> Result<(), VerifyError> {
        let unreadable = |source| VerifyError::Read { path: path.to_owned(), source };
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(unreadable)?;
            if line.is_empty() {
                break;
            }
            line.pop_if(|byte| *byte == b'\n');
            let broken = |why| VerifyError::Broken { path: path.to_owned(), line: number, why };
            match Line::read(&line) {
                Line::Sound(sound) => {
                    self.follow(sound.before, sound.hash, sound.torn).map_err(broken)?;
                    found(sound.hash);
                }
                Line::Torn => self.tear(path, number, &line),
                Line::Changed => return Err(broken(CHANGED)),
            }
        }
        Ok(())
    }

    /// What was read, unless the record with the hash `missing` was to be among it.
    fn end(self, missing: Option<ChainHash>) -> Result<Verified, VerifyError> {
        if let Some(hash) = missing {
            return Err(VerifyError::Missing(hash));
        }
        let (_, torn) = self.torn;
        let mut verified = self.verified.ok_or(VerifyError::Empty)?;
        verified.ends_torn = !torn.is_empty();
        verified.torn.extend(torn);
        Ok(verified)
    }

    fn tear(&mut self, path: &Path, number: u64, line: &[u8]) {
        self.torn.0 += line.len() as u64;
        self.torn.1.push(format!("{}:{number}", path.display()));
    }

    fn follow(
        &mut self,
        before: ChainHash,
        hash: ChainHash,
        ended: Option<u64>,
    ) -> Result<(), &'static str> {
        let (bytes, places) = std::mem::take(&mut self.torn);
        if ended.unwrap_or_default() != bytes {
            return Err("the line before is torn, and this one does not say so");
        }
        let verified = self.verified.get_or_insert_with(|| Verified {
            records: 0,
            before,
            last: before,
            torn: Vec::new(),
            ends_torn: false,
        });
        if verified.last != before {
            return Err("it does not follow the line before: lines were removed, added or moved");
        }
        verified.records += 1;
        verified.last = hash;
        verified.torn.extend(places);
        Ok(())
    }
}
