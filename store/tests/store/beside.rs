//! A Redis with a directory of values beside it, and what is in that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use belljar_store::{BlobConfig, Store, StoreConfig};

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
