//! Syncs the append-only file of the private Redis to the disk once a second, so that acknowledged data
//! survives a crash of the machine. It survives a crash of the server anyway: the kernel has it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A crash of the machine loses at most the data of this time and of one sync.
const INTERVAL: Duration = Duration::from_secs(1);
/// Where Redis 7 keeps its append-only files, below its directory.
const FILES: &str = "appendonlydir";

/// Syncs the files below `data` that have grown, until it is dropped.
pub(super) async fn every_second(data: PathBuf) {
    let mut interval = tokio::time::interval(INTERVAL);
    let mut lengths = HashMap::new();
    loop {
        interval.tick().await;
        let dir = data.join(FILES);
        let synced = tokio::task::spawn_blocking(move || {
            let synced = sync(&dir, &mut lengths);
            (lengths, synced)
        });
        let Ok((known, synced)) = synced.await else { return };
        lengths = known;
        if let Err(error) = synced {
            tracing::error!(%error, "cannot sync the data of Redis to the disk");
        }
    }
}

/// Syncs the files of `dir` whose length has changed, and returns their number.
fn sync(dir: &Path, lengths: &mut HashMap<PathBuf, u64>) -> io::Result<usize> {
    let mut synced = 0;
    let mut now = HashMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        // A rewrite removes files meanwhile.
        let Ok(file) = File::open(&path) else { continue };
        let length = file.metadata()?.len();
        if lengths.get(&path) != Some(&length) {
            file.sync_data()?;
            synced += 1;
        }
        now.insert(path, length);
    }
    *lengths = now;
    Ok(synced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_grown_is_synced() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut lengths = HashMap::new();
        let mut sync = || sync(dir.path(), &mut lengths).expect("readable");
        let path = dir.path().join("appendonly.aof.1.incr.aof");
        fs::write(&path, "a").expect("written");
        assert_eq!((sync(), sync()), (1, 0));
        fs::write(&path, "ab").expect("written");
        assert_eq!((sync(), sync()), (1, 0));
        fs::remove_file(&path).expect("removed");
        assert_eq!(sync(), 0);
    }
}
