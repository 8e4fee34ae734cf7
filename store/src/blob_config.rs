//! Where large values are kept, and how.

use std::path::PathBuf;
use std::time::Duration;

use crate::bucket_place::BucketPlace;

/// Where blobs are, the same in all processes that use the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobPlace {
    /// In a directory, where all of them are on one machine.
    Directory(PathBuf),
    /// In a bucket.
    Bucket(Box<BucketPlace>),
}

/// Where blobs are files or objects.
#[derive(Debug, Clone)]
pub struct BlobConfig {
    /// Where that is.
    pub place: BlobPlace,
    /// Whether a file is on the disk before what refers to it is accepted. Else it is within a second.
    pub is_synced: bool,
    /// How old a file must be before it may be removed as one that no key refers to: many times as old as a file can be
    /// before its key is written.
    pub grace: Duration,
    /// How long an upload in pieces may pause before what has come is removed.
    pub part_ttl: Duration,
}

impl BlobConfig {
    /// A directory, with the usual grace, without syncing each file.
    #[must_use]
    pub const fn new(directory: PathBuf) -> Self {
        Self::at(BlobPlace::Directory(directory))
    }

    /// The same of any place.
    #[must_use]
    pub const fn at(place: BlobPlace) -> Self {
        let part_ttl = Duration::from_secs(3_600);
        Self { place, is_synced: false, grace: Duration::from_secs(240), part_ttl }
    }
}
