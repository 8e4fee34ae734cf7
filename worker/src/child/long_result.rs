//! A long result on its way from a child to its file: it is never in memory as a whole.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use belljar_core::id::TaskId;
use belljar_core::result_file;
use belljar_core::task::TaskAttempt;
use bytes::{Bytes, BytesMut};

/// What is being written has such a name, by which it is found if this process is killed.
const UNFINISHED: &str = "tmp-";

/// Where the result of a call goes if it is long.
#[derive(Debug)]
pub(crate) struct ResultPlace {
    /// The directory of blobs.
    pub(crate) directory: Arc<Path>,
    pub(crate) task: TaskAttempt,
    pub(crate) max_bytes: u64,
}

/// The file of a result. It is removed unless it is finished.
#[derive(Debug)]
pub(crate) struct ResultFile {
    file: Arc<File>,
    unfinished: PathBuf,
    path: PathBuf,
    bytes: u64,
    is_finished: bool,
}

impl ResultFile {
    pub(crate) async fn create(place: &ResultPlace) -> io::Result<Self> {
        let path = place.directory.join(result_file::path(place.task));
        let unfinished = path.with_file_name(format!("{UNFINISHED}{}", TaskId::random()));
        let created = unfinished.clone();
        let file = blocking(move || {
            OpenOptions::new().read(true).write(true).create_new(true).open(created)
        });
        let file = Arc::new(file.await?);
        Ok(Self { file, unfinished, path, bytes: 0, is_finished: false })
    }

    /// One that gets no name.
    #[cfg(test)]
    pub(crate) fn of(file: Arc<File>) -> Self {
        let (unfinished, path) = (PathBuf::new(), PathBuf::new());
        Self { file, unfinished, path, bytes: 0, is_finished: false }
    }

    /// How much of it is written.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) async fn append(&mut self, piece: &Bytes) -> io::Result<()> {
        let (file, piece, at) = (Arc::clone(&self.file), piece.clone(), self.bytes);
        let bytes = piece.len() as u64;
        blocking(move || file.write_all_at(&piece, at)).await?;
        self.bytes += bytes;
        Ok(())
    }

    /// What is written so far.
    pub(crate) async fn read_back(&self) -> io::Result<BytesMut> {
        let (file, bytes) = (Arc::clone(&self.file), usize::try_from(self.bytes).unwrap_or(0));
        blocking(move || {
            let mut read = BytesMut::zeroed(bytes);
            file.read_exact_at(&mut read, 0).map(|()| read)
        })
        .await
    }

    /// Gives it its name.
    pub(crate) async fn finish(mut self) -> io::Result<()> {
        let (from, to) = (self.unfinished.clone(), self.path.clone());
        blocking(move || fs::rename(from, to)).await?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for ResultFile {
    fn drop(&mut self) {
        if !self.is_finished {
            // Else it is found later.
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(io::Error::other("work on a file panicked")))
}
