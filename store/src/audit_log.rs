//! The audit log of all gateways: a stream of lines, which are text to the store.

use bytes::Bytes;

use crate::Store;
use crate::error::StoreError;
use crate::keys::AUDIT_LOG;

/// Names an entry of the audit log to Redis.
pub type AuditEntryId = String;

/// An entry as Redis has it: its name, and its one field with the value.
type Entry = (AuditEntryId, Vec<Bytes>);

impl Store {
    /// Appends lines to the audit log, if its newest line ends with `end`, or there is none. Of all lines about the newest `keep` are
    /// kept, where there is such a number. Where another line is the newest, nothing is appended and it comes back.
    ///
    /// # Errors
    /// Redis does not answer or refuses. [`StoreError::Unanswered`]: the lines may have been appended.
    pub async fn append_audit_lines(
        &self,
        end: &str,
        keep: Option<u64>,
        lines: &[String],
    ) -> Result<Option<Bytes>, StoreError> {
        let bytes = lines.iter().map(String::len).sum();
        let mut call = self.inner.scripts.audit_append.call(2 + lines.len(), bytes);
        call.arg(end).number(keep.unwrap_or(0));
        for line in lines {
            call.arg(line);
        }
        call.run(self).await
    }

    /// The newest lines of the audit log, the newest first.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn newest_audit_lines(&self, count: usize) -> Result<Vec<Bytes>, StoreError> {
        let mut range = redis::cmd("XREVRANGE");
        range.arg(self.inner.keys.key(AUDIT_LOG)).arg("+").arg("-").arg("COUNT").arg(count);
        let entries: Vec<Entry> = self.ask("newest_audit_lines", &range).await?;
        Ok(entries.into_iter().map(|entry| text_of(entry).1).collect())
    }

    /// Lines of the audit log with their names, the oldest first: the first ones, or those that follow the one named `after`.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn audit_lines(
        &self,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<(AuditEntryId, Bytes)>, StoreError> {
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let mut range = redis::cmd("XRANGE");
        range.arg(self.inner.keys.key(AUDIT_LOG)).arg(from).arg("+").arg("COUNT").arg(count);
        let entries: Vec<Entry> = self.ask("audit_lines", &range).await?;
        Ok(entries.into_iter().map(text_of).collect())
    }
}

/// The line of an entry; what somebody else has put into the stream is no line, which its reader finds out.
fn text_of((id, mut fields): Entry) -> (AuditEntryId, Bytes) {
    let line = if fields.len() == 2 { fields.pop() } else { None };
    (id, line.unwrap_or_default())
}
