//! A Redis with a directory of values beside it, and what is in that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use belljar_store::{BlobConfig, BlobPlace, BucketPlace, Store, StoreConfig};
use belljar_testkit::Bucket;

use crate::harness::Redis;

/// Sweeps that look at every file.
const ALL: usize = 16;

/// A Redis, and a directory beside it in which no file is too young to be removed.
pub(crate) struct Beside {
    pub(crate) redis: Redis,
    pub(crate) directory: tempfile::TempDir,
}

impl Beside {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { redis: Redis::start().await, directory }
    }

    pub(crate) fn config(&self, grace: Duration) -> StoreConfig {
        let blobs = BlobConfig::new(self.directory.path().to_owned());
        StoreConfig { blobs: Some(BlobConfig { grace, ..blobs }), ..self.redis.config() }
    }

    pub(crate) async fn store(&self) -> Store {
        Store::connect(self.config(Duration::ZERO)).await.expect("the server is fit")
    }

    /// The files of values, by their names.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut found = files_in(self.directory.path());
        found.retain(|path| path.parent() != Some(self.directory.path()));
        let mut names: Vec<_> = found.iter().map(name_of).collect();
        names.sort();
        names
    }

    pub(crate) fn path_of(&self, beginning: &str) -> PathBuf {
        let files = files_in(self.directory.path());
        files.into_iter().find(|path| name_of(path).starts_with(beginning)).expect("the file")
    }
}

/// Values in a bucket, in which nothing is too young to be removed.
pub(crate) fn in_bucket(bucket: &Bucket) -> BlobConfig {
    let env = bucket.env().map(|(name, value)| (name.to_owned(), value));
    let place = BucketPlace::new(&bucket.url(), env).expect("a bucket");
    BlobConfig { grace: Duration::ZERO, ..BlobConfig::at(BlobPlace::Bucket(Box::new(place))) }
}

/// The objects of values in a bucket, by their names without what tells copies apart.
pub(crate) fn objects(bucket: &Bucket) -> Vec<String> {
    let files = files_in(&bucket.directory().join("values"));
    let names = files.iter().map(name_of).filter(|name| !name.starts_with('.') && name != "owner");
    let mut names: Vec<_> =
        names.map(|name| name.split('.').next().unwrap_or_default().to_owned()).collect();
    names.sort();
    names
}

pub(crate) fn files_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let entries = entries.map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
}

pub(crate) fn name_of(path: impl AsRef<Path>) -> String {
    path.as_ref().file_name().expect("a name").to_string_lossy().into_owned()
}

/// Looks at every file, and says how many were removed.
pub(crate) async fn sweep(store: &Store) -> usize {
    let mut removed = 0;
    for _ in 0..ALL {
        removed += store.sweep_blobs().await.expect("swept");
    }
    removed
}
