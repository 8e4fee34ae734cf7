//! The file of an audit log. Lines are only appended. Several processes may write it, as the file is locked meanwhile; and
//! it may be renamed, as `logrotate` does: then a new one goes on where it ended.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use belljar_store::StoreError;

use super::chain::{self, ChainHash, Line};
use super::record::{Action, AuditRecord};

/// Its user alone reads it.
const MODE: u32 = 0o600;
/// The end of a file that is looked at: more than the longest line and a torn one.
const TAIL: u64 = 64 * 1024;

/// Why an audit log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum AuditLogError {
    /// The system refuses it.
    #[error("the audit log `{path}` cannot be written")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ends with something else than a record, or with one that was changed.
    #[error(
        "the audit log `{path}` ends with a line that is no record as it was written: `belljar audit verify` finds \
         what was changed; move the file away to begin a new one"
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The store does not take it.
    #[error("the audit log in the store cannot be written")]
    Store(#[source] StoreError),
    /// That of the store ends with something else than a record.
    #[error(
        "the audit log in the store ends with an entry that is no record as it was written: `belljar audit verify --stream` \
         names it, and `XDEL` removes it"
    )]
    StreamChanged,
    /// The thread that writes it cannot be started.
    #[error("the audit log cannot be written")]
    Thread(#[source] io::Error),
}

/// A log that is open for appending.
#[derive(Debug)]
pub struct AuditFile {
    path: PathBuf,
    file: File,
    /// What is known of its end.
    end: End,
}

/// The end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    size: u64,
    /// The hash of its last whole line; or of that of the file before.
    last: ChainHash,
    /// How many bytes of torn lines follow.
    torn: u64,
    /// Whether its last line lacks its end.
    is_open: bool,
}

impl AuditFile {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// It cannot be written, or ends with something else than a record.
    pub fn open(path: &Path) -> Result<Self, AuditLogError> {
        let path = path.to_owned();
        let unusable = |source| AuditLogError::Unusable { path: path.clone(), source };
        let file = open(&path).map_err(unusable)?;
        let size = file.metadata().map_err(unusable)?.len();
        let end = End::of(&file, size, ChainHash::NONE).map_err(unusable)?;
        let end = end.ok_or_else(|| AuditLogError::Changed { path: path.clone() })?;
        Ok(Self { path, file, end })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends records. Returns how many stand in the file, also where it then failed.
    pub fn append(&mut self, records: &[AuditRecord]) -> (usize, Result<(), AuditLogError>) {
        match self
            .lock_current()
            .and_then(|end| end.map(|end| self.write(end, records)).transpose())
        {
            Ok(Some((written, None))) => (written, Ok(())),
            Ok(Some((written, Some(source)))) => (written, Err(self.unusable(source))),
            Ok(None) => (0, Err(AuditLogError::Changed { path: self.path.clone() })),
            Err(source) => (0, Err(self.unusable(source))),
        }
    }

    /// Puts what was written on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn unusable(&self, source: io::Error) -> AuditLogError {
        AuditLogError::Unusable { path: self.path.clone(), source }
    }

    /// Locks the file that has the path now. Its end; `None` if that was changed.
    fn lock_current(&mut self) -> io::Result<Option<End>> {
        loop {
            self.file.lock()?;
            let size = self.file.metadata()?.len();
            if size != self.end.size || self.end.is_open {
                // Another process has written, or this one not to the end.
                let Some(end) = End::of(&self.file, size, self.end.last)? else {
                    self.file.unlock()?;
                    return Ok(None);
                };
                self.end = end;
            }
            let (ours, current) = (self.file.metadata()?, std::fs::metadata(&self.path));
            if current.is_ok_and(|it| (it.dev(), it.ino()) == (ours.dev(), ours.ino())) {
                return Ok(Some(self.end));
            }
            // It was renamed: the next one goes on where it ended. Nobody else appends to the old one after this, as
            // they look at the path under the same lock.
            if self.end.torn > 0
                && let (_, Some(error)) = self.write(self.end, &[])?
            {
                return Err(error);
            }
            self.file = open(&self.path)?;
            self.end = End { last: self.end.last, ..End::EMPTY };
        }
    }

    /// Writes records after `end`, and unlocks. Returns how many, and what failed.
    fn write(
        &mut self,
        end: End,
        records: &[AuditRecord],
    ) -> io::Result<(usize, Option<io::Error>)> {
        let (mut text, mut last) = (String::new(), end.last);
        if end.is_open {
            text.push('\n');
        }
        if end.torn > 0 {
            let torn = AuditRecord::now(Action::EndTornLine).by_process().times(end.torn);
            let (line, hash) = chain::line(&torn, last);
            text.push_str(&line);
            last = hash;
        }
        // Where each record ends, and its hash.
        let mut ends = Vec::with_capacity(records.len());
        for record in records {
            let (line, hash) = chain::line(record, last);
            text.push_str(&line);
            last = hash;
            ends.push((text.len(), hash));
        }
        let (count, failed) = write_some(&self.file, text.as_bytes());
        let written = ends.partition_point(|(end, _)| *end <= count);
        // Where it failed, the end is looked at before the next try.
        let is_open = failed.is_some();
        self.end = End { size: end.size + count as u64, last, torn: 0, is_open };
        self.file.unlock()?;
        Ok((written, failed))
    }
}

/// Writes as much as can be: how many bytes, and why not all.
fn write_some(mut file: &File, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut count = 0;
    while count < bytes.len() {
        match file.write(&bytes[count..]) {
            Ok(0) => return (count, Some(io::ErrorKind::WriteZero.into())),
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (count, Some(error)),
        }
    }
    (count, None)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(path)
}

impl End {
    /// That of a new log.
    const EMPTY: Self = Self { size: 0, last: ChainHash::NONE, torn: 0, is_open: false };

    /// The end of a file of `size` bytes; `before` is the hash of the last line known, for an empty one. `None` if it ends
    /// with something else than a line or the beginning of one.
    fn of(file: &File, size: u64, before: ChainHash) -> io::Result<Option<Self>> {
        let start = size.saturating_sub(TAIL);
        let mut bytes = vec![0; usize::try_from(size - start).unwrap_or_default()];
        file.read_exact_at(&mut bytes, start)?;
        Ok(Self::in_bytes(&bytes, start, size, before))
    }

    fn in_bytes(bytes: &[u8], start: u64, size: u64, before: ChainHash) -> Option<Self> {
        let is_open = !bytes.is_empty() && !bytes.ends_with(b"\n");
        let (mut torn, mut rest) = (0, bytes);
        while !rest.is_empty() {
            let line = rest.strip_suffix(b"\n").unwrap_or(rest);
            let begin = line.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            match Line::read(&line[begin..]) {
                Line::Sound(sound) => return Some(Self { size, last: sound.hash, torn, is_open }),
                Line::Torn => torn += (line.len() - begin) as u64,
                Line::Changed => return None,
            }
            rest = &rest[..begin];
        }
        // Nothing but torn lines: that is a whole file of them, or else more than was looked at.
        (start == 0).then_some(Self { size, last: before, torn, is_open })
    }
}

#[cfg(test)]
mod tests;
