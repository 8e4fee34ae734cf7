//! Where blobs are: files of a directory, or objects of a bucket. What follows from the one or the other is decided here and in
//! the two, and nowhere else.

use std::io;

use bytes::Bytes;

use crate::Store;
use crate::blob_config::{BlobConfig, BlobPlace};
use crate::blob_files::{BlobFiles, Kept};
use crate::blob_name::{BlobName, Reference};
use crate::bucket::{BlobReader, Bucket};
use crate::error::StoreError;

/// Where blobs are; a cheap clone.
#[derive(Clone)]
pub(crate) enum Blobs {
    /// On this machine, where all gateways and dispatchers are.
    Directory(BlobFiles),
    /// Elsewhere.
    Bucket(Bucket),
}

impl Blobs {
    pub(crate) fn open(config: BlobConfig) -> Result<Self, StoreError> {
        match config.place.clone() {
            BlobPlace::Directory(directory) => BlobFiles::open(config, directory.clone())
                .map(Self::Directory)
                .map_err(|source| StoreError::BlobDirectory { directory, source }),
            BlobPlace::Bucket(place) => Bucket::open(&config, &place).map(Self::Bucket),
        }
    }

    /// Writes a blob. What is returned beside the reference is to be kept until a key has that.
    pub(crate) async fn write(
        &self,
        name: BlobName,
        bytes: &Bytes,
    ) -> io::Result<(Reference, Kept)> {
        match self {
            Self::Directory(files) => {
                let kept = files.write(name, bytes.clone()).await?;
                Ok((Reference::new(name, bytes.len() as u64), kept))
            }
            Self::Bucket(bucket) => Ok((bucket.write(name, bytes).await?, Kept::nothing())),
        }
    }

    /// The whole of a blob, if it is whole.
    pub(crate) async fn read(&self, reference: Reference) -> io::Result<Bytes> {
        match self {
            Self::Directory(files) => files.read(reference).await,
            Self::Bucket(bucket) => bucket.read(reference).await,
        }
    }

    /// So many bytes from `start` on, fewer at its end.
    pub(crate) async fn read_part(
        &self,
        reference: Reference,
        start: u64,
        length: u64,
    ) -> io::Result<Bytes> {
        match self {
            Self::Directory(files) => files.read_part(reference, start, length).await,
            Self::Bucket(bucket) => bucket.read_part(reference, start, length).await,
        }
    }

    /// A blob from its byte `start` on, as it comes.
    pub(crate) async fn open_at(&self, reference: Reference, start: u64) -> io::Result<BlobReader> {
        match self {
            Self::Directory(files) => Ok(Box::pin(files.open_at(reference, start).await?)),
            Self::Bucket(bucket) => bucket.open_at(reference, start).await,
        }
    }

    /// The error of a blob that cannot be written, or of blobs that cannot be looked through.
    pub(crate) fn unwritten(&self, source: io::Error) -> StoreError {
        match self {
            Self::Directory(_) => StoreError::UnwrittenBlob(source),
            Self::Bucket(bucket) => StoreError::BucketAway { bucket: bucket.url(), source },
        }
    }

    /// The error of a blob that cannot be read.
    pub(crate) fn unread(&self, what: &str, why: io::Error) -> StoreError {
        let is_lost = matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData);
        match self {
            // It is there, and can be read later.
            Self::Bucket(_) if !is_lost => self.unwritten(why),
            _ => lost(what, &why),
        }
    }
}

impl Store {
    /// The error of a blob that cannot be read.
    pub(crate) fn unread(&self, what: &str, why: io::Error) -> StoreError {
        match &self.inner.blobs {
            Some(blobs) => blobs.unread(what, why),
            None => lost(what, &why),
        }
    }
}

pub(crate) fn no_directory() -> io::Error {
    io::Error::other("it is in a file, and this process has no directory of blobs (--blobs)")
}

/// The error of a blob that cannot be had.
pub(crate) fn lost(what: &str, why: &io::Error) -> StoreError {
    let why = format!("its file cannot be read: {why}");
    StoreError::Corrupt { what: what.to_owned(), why }
}
