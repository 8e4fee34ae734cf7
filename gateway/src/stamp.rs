//! Whether a file has changed.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// How often files are looked at that are read again when they change.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// What changes with a file: its inode, its time and its length; nothing where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(Option<(u64, i64, i64, u64)>);

impl Stamp {
    /// The stamp of a file now.
    pub(crate) fn of(path: &Path) -> Self {
        let file = std::fs::metadata(path).ok();
        Self(file.map(|file| (file.ino(), file.mtime(), file.mtime_nsec(), file.len())))
    }
}
