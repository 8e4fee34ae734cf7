//! The bucket as a worker uses it: it reads arguments and writes results itself.
//!
//! What it reads goes to files without names: nothing of them is left when the process ends, however it does. Values that several calls refer to stay
//! open for the next one. An object never changes, so that its name says what it has.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use belljar_core::shared_blobs::{Answer, BlobBucket};
use belljar_core::task::TaskAttempt;
use tokio::sync::OnceCell;

use super::Bucket;
use super::files::new_file;
use crate::blob_config::{BlobConfig, BlobPlace};
use crate::blob_name::{BlobName, Reference};
use crate::bucket_place::BucketPlace;
use crate::error::StoreError;

/// How much of values that calls have read stays on this machine.
const KEPT_BYTES: u64 = 2 << 30;
/// And how many values: each is an open file.
const KEPT_VALUES: usize = 256;

/// A bucket of large values, for the slots of a worker.
pub struct SharedBucket {
    bucket: Bucket,
    url: String,
    owner: OnceCell<String>,
    kept: Mutex<Kept>,
}

/// Values that were read, for the calls to come.
#[derive(Default)]
struct Kept {
    values: HashMap<String, Value>,
    /// How often it was asked.
    asked: u64,
}

struct Value {
    file: Arc<OnceCell<Arc<File>>>,
    bytes: u64,
    /// When it was asked for last.
    asked: u64,
}

impl Kept {
    /// The place of a value. Those go that were not asked for the longest, where there are too many.
    fn place(&mut self, object: &str, bytes: u64, limit: u64) -> Arc<OnceCell<Arc<File>>> {
        if bytes > limit {
            return Arc::default();
        }
        self.asked += 1;
        let asked = self.asked;
        let new = || Value { file: Arc::default(), bytes, asked };
        let value = self.values.entry(object.to_owned()).or_insert_with(new);
        value.asked = asked;
        let file = Arc::clone(&value.file);
        let mut all: u64 = self.values.values().map(|value| value.bytes).sum();
        while all > limit || self.values.len() > KEPT_VALUES {
            let oldest = self.values.iter().min_by_key(|(_, value)| value.asked);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else { break };
            all -= self.values.remove(&name).map_or(0, |value| value.bytes);
        }
        file
    }
}

impl SharedBucket {
    /// One at a place. It is asked when it is needed.
    ///
    /// # Errors
    /// What says how it is reached is wrong.
    pub fn open(place: BucketPlace) -> Result<Self, StoreError> {
        let url = place.url();
        let config = BlobConfig::at(BlobPlace::Bucket(Box::new(place.clone())));
        let bucket = Bucket::open(&config, &place)?;
        Ok(Self { bucket, url, owner: OnceCell::new(), kept: Mutex::default() })
    }

    async fn fetched(&self, reference: Reference) -> io::Result<Arc<File>> {
        self.bucket.to_file(reference).await.map_err(|error| self.told(&error))
    }

    async fn fetch_or_find(&self, object: &str, bytes: u64) -> io::Result<Arc<File>> {
        let reference = Reference::of_object(object, bytes)
            .ok_or_else(|| io::Error::other(format!("`{object}` is no value")))?;
        // No other call needs these.
        if reference.name.is_args() {
            return self.fetched(reference).await;
        }
        let place = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .place(object, bytes, KEPT_BYTES);
        // Who comes meanwhile waits for the same. One that failed is tried again.
        place.get_or_try_init(|| self.fetched(reference)).await.cloned()
    }

    /// An error, with whose it is.
    fn told(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("the bucket `{}`: {error}", self.url))
    }
}

impl std::fmt::Debug for SharedBucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SharedBucket").field(&self.url).finish()
    }
}

impl BlobBucket for SharedBucket {
    fn url(&self) -> &str {
        &self.url
    }

    fn owner(&self) -> Answer<'_, String> {
        Box::pin(async {
            let ask = || async {
                self.bucket.owner().await?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            };
            self.owner.get_or_try_init(ask).await.cloned()
        })
    }

    fn fetch<'a>(&'a self, object: &'a str, bytes: u64) -> Answer<'a, Arc<File>> {
        Box::pin(self.fetch_or_find(object, bytes))
    }

    fn new_file(&self) -> io::Result<File> {
        new_file()
    }

    fn send(&self, task: TaskAttempt, file: Arc<File>, bytes: u64) -> Answer<'_, ()> {
        let reference = Reference::new(BlobName::Result(task), bytes);
        Box::pin(async move {
            let sent = self.bucket.write_from(reference, file).await;
            sent.map_err(|error| self.told(&error))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first() {
        let mut kept = Kept::default();
        let mut place = |object, bytes| kept.place(object, bytes, 10);
        let (first, _) = (place("a", 4), place("b", 4));
        assert!(Arc::ptr_eq(&first, &place("a", 4)));
        place("c", 4);
        place("there is no room for it", 20);
        let mut left: Vec<_> = kept.values.into_keys().collect();
        left.sort();
        assert_eq!(left, ["a", "c"]);
    }
}
