//! Blobs: arguments and results that are too large for scripts.
//!
//! Redis hashes every string that a script touches in full, some 1.5 ms a MiB each time. A blob is
//! therefore a key of its own: written before the script that takes it over, read after the one that
//! names it. Until a script takes it over it expires soon, so that a writer that dies leaves nothing.
//! Where there is a directory or a bucket for blobs the key refers to a file or an object there: see `blobs`.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use belljar_core::args::{self, ArgsPiece};
use belljar_core::limits::SHARED_ARGS_BYTES;
use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};

use crate::Store;
use crate::blob_name::{BlobName, REFERENCE_BYTES, Reference};
use crate::blobs::{Blobs, no_directory};
use crate::config::NamedArgs;
use crate::error::StoreError;
use crate::keys::BATCHES;
use crate::layout::LIVE;
use crate::server;

/// What is larger than this stays out of scripts. The next command costs a tenth of a millisecond, about
/// as much as the hashing of so many bytes.
pub const BLOB_BYTES: usize = 64 * 1024;

/// How long a blob waits for the script that takes it over: many times a command's timeout.
pub(crate) const UNCLAIMED_TTL: Duration = Duration::from_secs(120);

/// What tells a list of pieces from other arguments.
const LIST_HEAD_BYTES: u64 = 16;

/// How many files are compared with their keys at once.
const SWEPT_AT_ONCE: usize = 500;

const _: () = assert!(BLOB_BYTES as u64 > REFERENCE_BYTES, "a reference is no blob");

pub(crate) const fn is_blob(value: &Bytes) -> bool {
    value.len() > BLOB_BYTES
}

/// What a key has.
#[derive(Debug)]
pub(crate) enum Blob {
    /// Nothing: it has expired, or a script has removed it.
    Gone,
    /// These bytes.
    Here(Bytes),
    /// A reference to a file that is not there, not whole, or cannot be read now; and why.
    Lost(io::Error),
}

impl Store {
    /// Writes values that a script is about to take over. What stands there already is kept: it is the
    /// same, written by a try whose answer was lost, and a script may have taken it over.
    pub(crate) async fn put_blobs(
        &self,
        what: &'static str,
        values: impl IntoIterator<Item = (BlobName, &Bytes)>,
    ) -> Result<(), StoreError> {
        self.put_for(UNCLAIMED_TTL, what, values).await
    }

    /// Writes files of attempts that are about to end. They need no script to take them over: an attempt that turns
    /// out to be late has keys of its own, of which nobody knows.
    pub(crate) async fn put_left(&self, values: Vec<(BlobName, &Bytes)>) -> Result<(), StoreError> {
        let results_live = Duration::from_millis(self.result_ttl_ms());
        self.put_for(results_live + UNCLAIMED_TTL, "complete", values).await
    }

    async fn put_for(
        &self,
        ttl: Duration,
        what: &'static str,
        values: impl IntoIterator<Item = (BlobName, &Bytes)>,
    ) -> Result<(), StoreError> {
        let writes = values.into_iter().map(async |(name, value)| {
            let blobs = self.inner.blobs.as_ref().filter(|_| is_blob(value));
            let written = match blobs {
                None => None,
                Some(blobs) => match blobs.write(name, value).await {
                    Ok((reference, kept)) => {
                        if name.is_args() {
                            fail::fail_point!("args_written");
                        }
                        Some((reference.text(), kept))
                    }
                    Err(error) if name.is_args() => return Err(blobs.unwritten(error)),
                    // What has ended cannot wait: it is in Redis then.
                    Err(error) => {
                        tracing::error!(%error, "a large result cannot be written, and goes to Redis");
                        None
                    }
                },
            };
            let reference = written.as_ref().map(|(reference, _kept)| reference);
            let value = reference.map_or(&value[..], |reference| reference.as_bytes());
            self.set_blob(what, name, (value, ttl)).await
        });
        try_join_all(writes).await.map(|_| ())
    }

    /// Makes the key of a blob whose file is there already. A script is about to take it over.
    pub(crate) async fn put_reference(
        &self,
        what: &'static str,
        reference: Reference,
    ) -> Result<(), StoreError> {
        let text = reference.text();
        self.set_blob(what, reference.name, (text.as_bytes(), UNCLAIMED_TTL)).await
    }

    async fn set_blob(
        &self,
        what: &'static str,
        name: BlobName,
        (value, ttl): (&[u8], Duration),
    ) -> Result<(), StoreError> {
        let mut command = redis::Cmd::with_capacity(6, value.len() + 128);
        command.arg("SET").arg(name.key(&self.inner.keys)).arg(value);
        command.arg("PX").arg(ttl.as_millis()).arg("NX");
        self.ask::<Option<String>>(what, &command).await.map(|_| ())
    }

    /// What these keys have.
    pub(crate) async fn get_blobs(
        &self,
        what: &'static str,
        keys: Vec<String>,
    ) -> Result<Vec<Blob>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let values: Vec<Option<Bytes>> = self.ask(what, redis::cmd("MGET").arg(keys)).await?;
        Ok(join_all(values.into_iter().map(|value| self.referred(value))).await)
    }

    /// The same of arguments: long ones in files are named, where slots can read them.
    pub(crate) async fn get_args(
        &self,
        what: &'static str,
        keys: Vec<String>,
        named_from: Option<u64>,
    ) -> Result<Vec<Blob>, StoreError> {
        let (Some(blobs), Some(from)) = (&self.inner.blobs, named_from) else {
            return self.get_blobs(what, keys).await;
        };
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let values: Vec<Option<Bytes>> = self.ask(what, redis::cmd("MGET").arg(keys)).await?;
        let named = values.into_iter().map(async |value| {
            let reference = value.as_deref().and_then(Reference::read);
            match reference.filter(|reference| reference.bytes >= from) {
                None => self.referred(value).await,
                Some(long) => named_args(blobs, long).await.map_or_else(Blob::Lost, Blob::Here),
            }
        });
        Ok(join_all(named).await)
    }

    /// From how many bytes on arguments in files or objects are named. It may change at any time: one claim asks once.
    pub(crate) fn named_from(&self) -> Option<u64> {
        let from = self.inner.config.named_args_from.as_ref().map(NamedArgs::get)?;
        // What is far away costs a file here, and another question of the bucket.
        let is_bucket = matches!(self.inner.blobs, Some(Blobs::Bucket(_)));
        Some(if is_bucket { from.max(SHARED_ARGS_BYTES) } else { from })
    }

    /// The bytes of a value, or those that it refers to.
    async fn referred(&self, value: Option<Bytes>) -> Blob {
        let Some(value) = value else { return Blob::Gone };
        let Some(reference) = Reference::read(&value) else { return Blob::Here(value) };
        let read = match &self.inner.blobs {
            Some(blobs) => {
                if let (Blobs::Bucket(bucket), BlobName::Args(task)) = (blobs, reference.name) {
                    bucket.claimed(task, reference);
                }
                blobs.read(reference).await
            }
            None => Err(no_directory()),
        };
        read.map_or_else(Blob::Lost, Blob::Here)
    }

    /// `length` bytes from `start` on of what a key has, fewer at its end; nothing where it has nothing.
    pub(crate) async fn blob_part(
        &self,
        what: &'static str,
        key: String,
        (start, length): (u64, u64),
    ) -> Result<Bytes, StoreError> {
        if let Some(blobs) = &self.inner.blobs {
            let mut command = redis::cmd("GETRANGE");
            command.arg(&key).arg(0).arg(REFERENCE_BYTES - 1);
            let head: Bytes = self.ask(what, &command).await?;
            if let Some(reference) = Reference::read(&head) {
                let part = blobs.read_part(reference, start, length).await;
                return part.map_err(|error| blobs.unread("a large value", error));
            }
        }
        let mut command = redis::cmd("GETRANGE");
        command.arg(key).arg(start).arg(start + length.max(1) - 1);
        self.ask(what, &command).await
    }

    /// Removes values that no script took over, as far as the server answers: they expire anyway.
    pub(crate) async fn drop_blobs(&self, what: &'static str, keys: Vec<String>) {
        if !keys.is_empty() {
            let _ = self.ask::<u64>(what, redis::cmd("UNLINK").arg(keys)).await;
        }
    }

    /// Removes files or objects of blobs that no key refers to, of a part of all; returns how many. Call it now and then.
    ///
    /// # Errors
    /// Redis does not answer, or the directory or the bucket cannot be read.
    pub async fn sweep_blobs(&self) -> Result<usize, StoreError> {
        let files = match &self.inner.blobs {
            None => return Ok(0),
            Some(Blobs::Bucket(bucket)) => {
                // One that did not answer when this process began may be another's.
                if !bucket.is_owned() {
                    server::own_bucket(self, bucket).await?;
                }
                return self.sweep_bucket(bucket).await;
            }
            Some(Blobs::Directory(files)) => files,
        };
        let old = files.old_ones().await.map_err(StoreError::UnwrittenBlob)?;
        let mut removed = 0;
        for part in old.chunks(SWEPT_AT_ONCE) {
            // Held until they are removed: nobody can come to rely on one of them meanwhile.
            let lock = files.lock().await.map_err(StoreError::UnwrittenBlob)?;
            if lock.is_none() {
                break;
            }
            let needed = self.needed(part).await?;
            fail::fail_point!("sweeping");
            let left = part.iter().filter(|name| !needed.contains(name)).copied().collect();
            removed += files.remove(left).await.map_err(StoreError::UnwrittenBlob)?;
        }
        Ok(removed)
    }

    /// Those of these blobs that a key refers to, or that a task needs.
    async fn needed(&self, names: &[BlobName]) -> Result<HashSet<BlobName>, StoreError> {
        let keys = &self.inner.keys;
        let named = names.iter().filter(|name| !matches!(name, BlobName::Held(..)));
        let keys: Vec<_> =
            named.flat_map(|name| [Some(name.key(keys)), name.later_key(keys)]).flatten().collect();
        let mut needed = HashSet::new();
        if !keys.is_empty() {
            let values: Vec<Option<Bytes>> =
                self.ask("sweep", redis::cmd("MGET").arg(keys)).await?;
            let references =
                values.into_iter().flatten().filter_map(|value| Reference::read(&value));
            needed.extend(references.map(|reference| reference.name));
        }
        let others = names.iter().filter(|name| !needed.contains(name));
        let of_tasks = self.needed_by_tasks(others).await?;
        needed.extend(of_tasks);
        Ok(needed)
    }

    /// Those of these that tasks which have not ended refer to, or are the results of. Of a batch that is accepted and not unpacked there
    /// are no records yet.
    pub(crate) async fn needed_by_tasks<'a>(
        &self,
        names: impl Iterator<Item = &'a BlobName>,
    ) -> Result<HashSet<BlobName>, StoreError> {
        let tasks = names.filter_map(|name| match name {
            BlobName::Held(id, _) => Some((*name, *id)),
            // A worker has written it, and its end is not published yet.
            BlobName::Result(task) => Some((*name, task.task_id)),
            BlobName::Args(_) | BlobName::Left(..) => None,
            BlobName::Upload(_) | BlobName::Piece(..) => None,
        });
        let tasks: Vec<_> = tasks.collect();
        if tasks.is_empty() {
            return Ok(HashSet::new());
        }
        let batches = self.inner.keys.key(BATCHES);
        let unpacking: u64 = self.ask("sweep", redis::cmd("HLEN").arg(batches)).await?;
        let needed = tasks.into_iter().map(async |(name, id)| {
            let mut first = redis::cmd("GETRANGE");
            first.arg(self.inner.keys.task(id)).arg(0).arg(0);
            let first: Bytes = self.ask("sweep", &first).await?;
            let is_needed = first.first() == Some(&LIVE) || (first.is_empty() && unpacking > 0);
            Ok::<_, StoreError>(is_needed.then_some(name))
        });
        Ok(try_join_all(needed).await?.into_iter().flatten().collect())
    }
}

/// The name of a file or an object of arguments, as a list of pieces; or the list that it has.
async fn named_args(blobs: &Blobs, reference: Reference) -> io::Result<Bytes> {
    if let (Blobs::Bucket(bucket), BlobName::Args(task)) = (blobs, reference.name) {
        bucket.claimed(task, reference);
    }
    let head = blobs.read_part(reference, 0, LIST_HEAD_BYTES).await?;
    if args::is_list(&head) {
        return blobs.read(reference).await;
    }
    let path = match blobs {
        Blobs::Directory(files) => files.named(reference).await?,
        Blobs::Bucket(_) => reference.object().into(),
    };
    Ok(args::list(&[ArgsPiece::File(path, reference.bytes)]))
}
