//! Files of values that clients upload, and the names under which tasks hold them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use belljar_core::id::{BlobId, TaskId};
use belljar_core::sha256::Sha256Hash;
use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::blob_files::{BlobFiles, Inner, Kept, PART, UNFINISHED, sync_directory};
use crate::blob_name::{BlobName, Reference};

/// So much of a file is read at once to hash it.
const READ_BYTES: usize = 1 << 20;

/// A value on its way into a file.
pub(crate) struct NewFile {
    file: File,
    path: PathBuf,
    /// Of one that comes at once; another is hashed when it is whole.
    hasher: Option<Sha256>,
    pub(crate) bytes: u64,
}

impl NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn hash(&mut self) -> io::Result<Sha256Hash> {
        if let Some(hasher) = self.hasher.take() {
            return Ok(Sha256Hash(hasher.finalize().into()));
        }
        self.file.seek(SeekFrom::Start(0))?;
        let (mut hasher, mut piece) = (Sha256::new(), vec![0; READ_BYTES]);
        loop {
            match self.file.read(&mut piece)? {
                0 => return Ok(Sha256Hash(hasher.finalize().into())),
                read => hasher.update(&piece[..read]),
            }
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // One that comes in pieces stays for those that follow. One that has its name is not there under this one.
        if !self
            .path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(PART.as_bytes()))
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl BlobFiles {
    /// A file for a value that comes at once. It is removed unless it is kept.
    pub(crate) async fn new_file(&self) -> io::Result<NewFile> {
        self.blocking(|inner| {
            let id = TaskId::random();
            let [.., last] = *id.as_bytes();
            let path = inner.shard(last).join(format!("{UNFINISHED}{id}"));
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            Ok(NewFile { file, path, hasher: Some(Sha256::new()), bytes: 0 })
        })
        .await
    }

    /// The file of a value that comes in pieces, with what has come. Nobody else has it until this is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: somebody else has it.
    pub(crate) async fn part(&self, id: BlobId) -> io::Result<NewFile> {
        self.blocking(move |inner| {
            let path = inner.part_path(id);
            let mut options = OpenOptions::new();
            let file = options.read(true).append(true).create(true).open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => return Err(io::ErrorKind::WouldBlock.into()),
                locked => locked?,
            }
            let bytes = file.metadata()?.len();
            Ok(NewFile { file, path, hasher: None, bytes })
        })
        .await
    }

    /// How much has come of a value in pieces.
    pub(crate) async fn part_bytes(&self, id: BlobId) -> io::Result<u64> {
        self.blocking(move |inner| match fs::metadata(inner.part_path(id)) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        })
        .await
    }

    /// Removes what has come of a value in pieces.
    pub(crate) async fn drop_part(&self, id: BlobId) -> io::Result<()> {
        self.blocking(move |inner| fs::remove_file(inner.part_path(id))).await
    }

    /// Appends to a new file.
    pub(crate) async fn append(&self, mut file: NewFile, bytes: Bytes) -> io::Result<NewFile> {
        self.blocking(move |_| file.write(&bytes).map(|()| file)).await
    }

    /// The hash of what a new file has.
    pub(crate) async fn hash(&self, mut file: NewFile) -> io::Result<(NewFile, Sha256Hash)> {
        self.blocking(move |_| file.hash().map(|hash| (file, hash))).await
    }

    /// Gives a new file its name. What is returned is to be kept until a key refers to it.
    pub(crate) async fn keep(&self, file: NewFile, id: BlobId) -> io::Result<Kept> {
        self.blocking(move |inner| inner.publish(&file.path, BlobName::Upload(id))).await
    }

    /// The file of a value, to be read from there on.
    pub(crate) async fn open_at(
        &self,
        reference: Reference,
        start: u64,
    ) -> io::Result<tokio::fs::File> {
        let file = self.blocking(move |inner| {
            let mut file = inner.open(&reference)?;
            file.seek(SeekFrom::Start(start)).map(|_| file)
        });
        file.await.map(tokio::fs::File::from_std)
    }

    /// Keeps a value for a task; false where it is not there.
    pub(crate) async fn hold(&self, from: BlobName, held: BlobName) -> io::Result<bool> {
        self.blocking(move |inner| {
            let (from, path) = (inner.path(from), inner.path(held));
            match fs::hard_link(&from, &path) {
                // Unless all of the directory is away.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && path.parent().is_some_and(Path::is_dir) =>
                {
                    return Ok(false);
                }
                // By a try whose answer was lost.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(true),
                linked => linked?,
            }
            if inner.config.is_synced {
                sync_directory(&path)?;
            }
            Ok(true)
        })
        .await
    }

    /// Whether a task holds this value.
    pub(crate) async fn is_held(&self, name: BlobName) -> io::Result<bool> {
        self.blocking(move |inner| Ok(fs::metadata(inner.path(name))?.nlink() > 1)).await
    }
}

impl Inner {
    fn part_path(&self, id: BlobId) -> PathBuf {
        let [.., last] = *id.as_bytes();
        self.shard(last).join(format!("{PART}{id}"))
    }
}
