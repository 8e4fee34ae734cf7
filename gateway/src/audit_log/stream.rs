//! The audit log in the store: one for all gateways, whose lines hang together like those of a file.

use belljar_store::{Store, StoreError};

use super::AuditLogError;
use super::chain::{self, ChainHash, Line};
use super::record::AuditRecord;

/// So many of the newest lines are looked at where it is not known whether lines were written.
const LOOKED_AT: usize = 16_384;

/// A log that is open for appending.
#[derive(Clone)]
pub struct AuditStream {
    store: Store,
    /// About how many records are kept; all of them without.
    keep: Option<u64>,
    /// The newest line, as far as it is known.
    last: ChainHash,
    /// Lines that may have been written, as the store did not answer: the hash of the last one, and their number.
    unanswered: Option<(ChainHash, usize)>,
}

impl std::fmt::Debug for AuditStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditStream").field("last", &self.last).finish_non_exhaustive()
    }
}

impl AuditStream {
    /// The log of a store. Of its records about the newest `keep` are kept.
    ///
    /// # Errors
    /// The store does not answer, or the log ends with something else than a record.
    pub async fn open(store: Store, keep: Option<u64>) -> Result<Self, AuditLogError> {
        let newest = store.newest_audit_lines(1).await.map_err(AuditLogError::Store)?;
        let last = newest.first().map_or(Ok(ChainHash::NONE), |line| hash_of(line))?;
        Ok(Self { store, keep, last, unanswered: None })
    }

    /// The same where the store has such a log.
    ///
    /// # Errors
    /// The store does not answer, or the log ends with something else than a record.
    pub async fn existing(store: Store) -> Result<Option<Self>, AuditLogError> {
        let newest = store.newest_audit_lines(1).await.map_err(AuditLogError::Store)?;
        if newest.is_empty() {
            return Ok(None);
        }
        Self::open(store, None).await.map(Some)
    }

    /// Appends records. Returns how many of them stand in the log.
    ///
    /// # Errors
    /// The store does not answer or refuses, or the log ends with something else than a record.
    pub async fn append(&mut self, records: &[AuditRecord]) -> Result<usize, AuditLogError> {
        // Each round that ends with another try is one in which another gateway has appended.
        loop {
            let (mut lines, mut last) = (Vec::with_capacity(records.len()), self.last);
            for record in records {
                let (mut line, hash) = chain::line(record, last);
                line.truncate(line.trim_end().len());
                lines.push(line);
                last = hash;
            }
            let end = chain::end_of_line(self.last);
            match self.store.append_audit_lines(&end, self.keep, &lines).await {
                Ok(None) => {
                    (self.last, self.unanswered) = (last, None);
                    return Ok(records.len());
                }
                Ok(Some(newest)) => {
                    self.last = hash_of(&newest)?;
                    if let Some(written) = self.written().await? {
                        return Ok(written);
                    }
                }
                Err(error) => {
                    if matches!(error, StoreError::Unanswered(_)) {
                        self.unanswered = Some((last, records.len()));
                    }
                    return Err(AuditLogError::Store(error));
                }
            }
        }
    }

    /// How many records were written although the store did not answer. They were the first of those that are to be appended.
    async fn written(&mut self) -> Result<Option<usize>, AuditLogError> {
        let Some((hash, count)) = self.unanswered else { return Ok(None) };
        let newest = self.store.newest_audit_lines(LOOKED_AT).await;
        let newest = newest.map_err(AuditLogError::Store)?;
        let is_there = newest.iter().any(|line| hash_of(line).ok() == Some(hash));
        if is_there {
            self.unanswered = None;
        }
        Ok(is_there.then_some(count))
    }
}

/// The hash of a line of the log.
fn hash_of(line: &[u8]) -> Result<ChainHash, AuditLogError> {
    match Line::read(line) {
        Line::Sound(sound) => Ok(sound.hash),
        Line::Torn | Line::Changed => Err(AuditLogError::StreamChanged),
    }
}
