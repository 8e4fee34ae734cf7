//! Blobs: arguments and results that are too large for scripts.
//!
//! Redis hashes every string that a script touches in full, some 1.5 ms a MiB each time. A blob is
//! therefore a key of its own: written before the script that takes it over, read after the one that
//! names it. Until a script takes it over it expires soon, so that a writer that dies leaves nothing.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::Store;
use crate::error::StoreError;

/// What is larger than this stays out of scripts. The next command costs a tenth of a millisecond, about
/// as much as the hashing of so many bytes.
pub const BLOB_BYTES: usize = 64 * 1024;

/// How long a blob waits for the script that takes it over: many times a command's timeout.
pub(crate) const UNCLAIMED_TTL: Duration = Duration::from_secs(120);

pub(crate) const fn is_blob(value: &Bytes) -> bool {
    value.len() > BLOB_BYTES
}

impl Store {
    /// Writes values that a script is about to take over. What stands there already is kept: it is the
    /// same, written by a try whose answer was lost, and a script may have taken it over.
    pub(crate) async fn put_blobs(
        &self,
        what: &'static str,
        values: impl IntoIterator<Item = (String, &Bytes)>,
    ) -> Result<(), StoreError> {
        self.put_for(UNCLAIMED_TTL, what, values).await
    }

    /// Writes files of attempts that are about to end. They need no script to take them over: an attempt that turns
    /// out to be late has keys of its own, of which nobody knows.
    pub(crate) async fn put_files(&self, values: Vec<(String, &Bytes)>) -> Result<(), StoreError> {
        let results_live = Duration::from_millis(self.result_ttl_ms());
        self.put_for(results_live + UNCLAIMED_TTL, "complete", values).await
    }

    async fn put_for(
        &self,
        ttl: Duration,
        what: &'static str,
        values: impl IntoIterator<Item = (String, &Bytes)>,
    ) -> Result<(), StoreError> {
        let writes = values.into_iter().map(async |(key, value)| {
            let mut command = redis::Cmd::with_capacity(6, value.len() + 128);
            command.arg("SET").arg(key).arg(&value[..]);
            command.arg("PX").arg(ttl.as_millis()).arg("NX");
            self.ask::<Option<String>>(what, &command).await
        });
        try_join_all(writes).await.map(|_| ())
    }

    /// The values of these keys, empty where there is none.
    pub(crate) async fn get_blobs(
        &self,
        what: &'static str,
        keys: Vec<String>,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(what, redis::cmd("MGET").arg(keys)).await
    }

    /// Removes values that no script took over, as far as the server answers: they expire anyway.
    pub(crate) async fn drop_blobs(&self, what: &'static str, keys: Vec<String>) {
        if !keys.is_empty() {
            let _ = self.ask::<u64>(what, redis::cmd("UNLINK").arg(keys)).await;
        }
    }
}
