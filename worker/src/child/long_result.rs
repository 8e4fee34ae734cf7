//! A long result on its way from a child to its file, and from there to the bucket where there is one: it is never in memory as a whole.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use belljar_core::id::TaskId;
use belljar_core::limits::MAX_INLINE_RESULT_BYTES;
use belljar_core::outcome::{CallVerdict, Failure, FailureKind};
use belljar_core::result_file;
use belljar_core::shared_blobs::{BlobBucket, SharedBlobs};
use belljar_core::task::TaskAttempt;
use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// What is being written has such a name, by which it is found if this process is killed.
const UNFINISHED: &str = "tmp-";
/// How long a bucket may be away before a result is lost that is too long to go elsewhere.
const AWAY: Duration = Duration::from_secs(30);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the result of a call goes if it is long.
#[derive(Debug)]
pub(crate) struct ResultPlace {
    /// The directory or bucket of blobs.
    pub(crate) blobs: SharedBlobs,
    pub(crate) task: TaskAttempt,
    pub(crate) max_bytes: u64,
}

/// The file of a result. In the directory of blobs it is removed unless it is finished; for a bucket it has no name.
#[derive(Debug)]
pub(crate) struct ResultFile {
    file: Arc<File>,
    /// Its names before and after it is whole, in the directory.
    names: Option<(PathBuf, PathBuf)>,
    bytes: u64,
    is_finished: bool,
}

/// A long result that is whole.
#[derive(Debug)]
pub(crate) struct LongResult {
    pub(crate) bytes: u64,
    /// What is to go to the bucket.
    pub(crate) unsent: Option<UnsentResult>,
}

/// The result of an attempt on its way to the bucket.
#[derive(Debug)]
pub(crate) struct UnsentResult {
    bucket: Arc<dyn BlobBucket>,
    task: TaskAttempt,
    file: Arc<File>,
    bytes: u64,
}

impl ResultFile {
    pub(crate) async fn create(place: &ResultPlace) -> io::Result<Self> {
        let blobs = place.blobs.clone();
        let path = result_file::path(place.task);
        let (file, names) = blocking(move || match blobs {
            SharedBlobs::Directory(directory) => {
                let path = directory.join(path);
                let unfinished = path.with_file_name(format!("{UNFINISHED}{}", TaskId::random()));
                let mut options = OpenOptions::new();
                let file = options.read(true).write(true).create_new(true).open(&unfinished)?;
                Ok((file, Some((unfinished, path))))
            }
            SharedBlobs::Bucket(bucket) => Ok((bucket.new_file()?, None)),
        })
        .await?;
        Ok(Self { file: Arc::new(file), names, bytes: 0, is_finished: false })
    }

    /// One that gets no name.
    #[cfg(test)]
    pub(crate) fn of(file: Arc<File>) -> Self {
        Self { file, names: None, bytes: 0, is_finished: false }
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
        read_from(&self.file, self.bytes).await
    }

    /// Gives it its name in the directory, or has it ready for the bucket.
    pub(crate) async fn finish(mut self, place: &ResultPlace) -> io::Result<LongResult> {
        if let Some((from, to)) = self.names.clone() {
            blocking(move || fs::rename(from, to)).await?;
        }
        self.is_finished = true;
        let (bytes, task) = (self.bytes, place.task);
        let unsent = match &place.blobs {
            SharedBlobs::Directory(_) => None,
            SharedBlobs::Bucket(bucket) => {
                let (bucket, file) = (Arc::clone(bucket), Arc::clone(&self.file));
                Some(UnsentResult { bucket, task, file, bytes })
            }
        };
        Ok(LongResult { bytes, unsent })
    }
}

impl Drop for ResultFile {
    fn drop(&mut self) {
        if let Some((unfinished, _)) = self.names.as_ref().filter(|_| !self.is_finished) {
            // Else it is found later.
            let _ = fs::remove_file(unfinished);
        }
    }
}

impl UnsentResult {
    /// Has it in the bucket, and says how its call has ended. While the bucket is away one that has room in a message goes there, and a longer one
    /// waits for a while.
    pub(crate) async fn send(self, cancel: &CancellationToken) -> CallVerdict {
        let sent = cancel.run_until_cancelled(self.send_or_wait()).await;
        sent.unwrap_or(CallVerdict::Cancelled)
    }

    async fn send_or_wait(&self) -> CallVerdict {
        let (begun, bytes) = (Instant::now(), self.bytes);
        loop {
            fail::fail_point!("result_unnamed");
            let sent = self.bucket.send(self.task, Arc::clone(&self.file), bytes).await;
            let Err(error) = sent else {
                fail::fail_point!("result_named");
                return CallVerdict::CompletedInFile(bytes);
            };
            tracing::error!(%error, task_id = %self.task.task_id, "a large result cannot be written to the bucket");
            if bytes <= MAX_INLINE_RESULT_BYTES
                && let Ok(result) = read_from(&self.file, bytes).await
            {
                return CallVerdict::Completed(result.freeze());
            }
            if begun.elapsed() >= AWAY {
                let url = self.bucket.url();
                let text = format!(
                    "the result of {bytes} bytes cannot be written to the bucket `{url}` for large values: {error}"
                );
                return CallVerdict::Failed(Failure::by_platform(FailureKind::Limit, text));
            }
            sleep(PAUSE).await;
        }
    }
}

async fn read_from(file: &Arc<File>, bytes: u64) -> io::Result<BytesMut> {
    let (file, bytes) = (Arc::clone(file), usize::try_from(bytes).unwrap_or(0));
    blocking(move || {
        let mut read = BytesMut::zeroed(bytes);
        file.read_exact_at(&mut read, 0).map(|()| read)
    })
    .await
}

/// Work on a file, on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(io::Error::other("work on a file panicked")))
}
