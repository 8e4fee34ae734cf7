//! Blobs in files beside Redis, where the gateways and dispatchers of a deployment are on one machine: what Redis would copy
//! several times and write to its append-only file is written once.
//!
//! Each blob still has its key in Redis, and scripts do to it what they ever did: they take it over, rename it, let it
//! expire. In place of the bytes it holds a reference, the name of a file and its length. So a file is needed for as long as
//! a key refers to it, and there is nothing else to count. It is written whole before its key is, and removed after its key
//! is gone: a process that is killed in between leaves a file that no key refers to, which [`crate::Store::sweep_blobs`] finds.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use belljar_core::id::TaskId;
use belljar_core::result_file::{self, SHARDS};
use bytes::Bytes;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::blob_config::BlobConfig;
use crate::blob_name::{BlobName, Reference};

/// What is being written.
pub(crate) const UNFINISHED: &str = "tmp-";
/// What is being uploaded in pieces; the id follows.
pub(crate) const PART: &str = "part-";
/// The lock between those who remove files and those who need one that was there before them.
const LOCK: &str = "lock";
/// How long values are held for a task that has ended: a server that is killed may have forgotten that, and the task runs again.
pub(crate) const HELD_ON: Duration = Duration::from_secs(5);
/// How often new files are carried to the disk, where that is not waited for.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The files of one directory; a cheap clone.
#[derive(Clone)]
pub(crate) struct BlobFiles(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: BlobConfig,
    directory: PathBuf,
    /// Written and not carried to the disk yet.
    unsynced: Mutex<Vec<PathBuf>>,
    /// Tasks that were claimed here whose arguments are in files: these go when the task has ended.
    /// With each, how many values it holds.
    claimed: Mutex<HashMap<TaskId, u32>>,
    /// Tasks that ended here, when, and how many values each held.
    let_go: Mutex<Vec<(Instant, TaskId, u32)>>,
    /// The directory to be looked through next.
    next_shard: AtomicUsize,
    _sync: DropGuard,
}

/// A file that was there before may be one that is about to be removed: while this is held, none is.
pub(crate) struct Kept(#[expect(dead_code, reason = "unlocked when it is closed")] Option<File>);

impl Kept {
    /// What was not there before is not about to be removed.
    pub(crate) const fn nothing() -> Self {
        Self(None)
    }
}

impl BlobFiles {
    /// Makes the directory, where it is not there for its user alone.
    pub(crate) fn open(config: BlobConfig, directory: PathBuf) -> io::Result<Self> {
        let mut directories = DirBuilder::new();
        directories.recursive(true).mode(0o700);
        for shard in 0..SHARDS as u8 {
            directories.create(directory.join(result_file::shard(shard)))?;
        }
        let stop = CancellationToken::new();
        let files = Self(Arc::new(Inner {
            config,
            directory,
            unsynced: Mutex::default(),
            claimed: Mutex::default(),
            let_go: Mutex::default(),
            next_shard: AtomicUsize::new(0),
            _sync: stop.clone().drop_guard(),
        }));
        let inner = Arc::downgrade(&files.0);
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(SYNC_INTERVAL).await;
                let Some(inner) = inner.upgrade() else { return };
                let work = move || {
                    inner.sync();
                    inner.remove_let_go();
                };
                let _ = tokio::task::spawn_blocking(work).await;
            }
        }));
        Ok(files)
    }

    /// Where the files are.
    pub(crate) fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Writes a blob, unless it is there: then it is the same, written by a try whose answer was lost. What is returned is
    /// to be kept until a key refers to it.
    pub(crate) async fn write(&self, name: BlobName, bytes: Bytes) -> io::Result<Kept> {
        self.blocking(move |inner| inner.write(name, &bytes)).await
    }

    /// The whole of a blob, if it is whole.
    pub(crate) async fn read(&self, reference: Reference) -> io::Result<Bytes> {
        self.blocking(move |inner| {
            let mut file = inner.open(&reference)?;
            let mut bytes = Vec::with_capacity(usize::try_from(reference.bytes).unwrap_or(0));
            file.read_to_end(&mut bytes)?;
            Ok(bytes.into())
        })
        .await
    }

    /// Sees that a blob that another process has written is whole, and that it gets to the disk as others do.
    pub(crate) async fn adopt(&self, reference: Reference) -> io::Result<()> {
        self.blocking(move |inner| {
            let file = inner.open(&reference)?;
            inner.note_written(&file, &inner.path(reference.name))
        })
        .await
    }

    /// Where a whole blob is, below the directory.
    pub(crate) async fn named(&self, reference: Reference) -> io::Result<PathBuf> {
        self.blocking(move |inner| {
            inner.open(&reference)?;
            let shard = result_file::shard(reference.name.last_byte());
            Ok(PathBuf::from(shard).join(reference.name.file()))
        })
        .await
    }

    /// So many bytes from `start` on, fewer at its end.
    pub(crate) async fn read_part(
        &self,
        reference: Reference,
        start: u64,
        length: u64,
    ) -> io::Result<Bytes> {
        self.blocking(move |inner| {
            let mut file = inner.open(&reference)?;
            file.seek(SeekFrom::Start(start))?;
            let length = length.min(reference.bytes.saturating_sub(start));
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
            file.take(length).read_to_end(&mut bytes)?;
            Ok(bytes.into())
        })
        .await
    }

    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let inner = Arc::clone(&self.0);
        blocking(move || work(&inner)).await
    }

    /// Notes that a task was claimed here whose arguments are in a file, or that holds so many values.
    pub(crate) fn claimed(&self, id: TaskId, held: u32) {
        let mut claimed = self.0.claimed();
        let known = claimed.entry(id).or_default();
        *known = held.max(*known);
    }

    /// Removes the arguments of those of these tasks that were claimed here. They have ended.
    pub(crate) fn ended(&self, ids: impl Iterator<Item = TaskId>) {
        let mut claimed = self.0.claimed();
        if claimed.is_empty() {
            return;
        }
        let ended: Vec<_> = ids.filter_map(|id| Some((id, claimed.remove(&id)?))).collect();
        drop(claimed);
        for (id, held) in ended {
            // Else it is found later.
            let _ = fs::remove_file(self.0.path(BlobName::Args(id)));
            if held > 0 {
                self.0.let_go().push((Instant::now(), id, held));
            }
        }
    }

    /// The files of the next directory that are old enough to be removed if no key refers to them, by their names.
    pub(crate) async fn old_ones(&self) -> io::Result<Vec<BlobName>> {
        self.blocking(Inner::old_ones).await
    }

    /// Nobody may rely on a file that was there before while this is held; `None` if somebody does.
    pub(crate) async fn lock(&self) -> io::Result<Option<File>> {
        self.blocking(|inner| {
            let file = inner.lock_file()?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => Ok(Some(file)),
                Err(Errno::WOULDBLOCK) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// Removes these.
    pub(crate) async fn remove(&self, names: Vec<BlobName>) -> io::Result<usize> {
        self.blocking(move |inner| {
            let removed = names.iter().map(|name| fs::remove_file(inner.path(*name)));
            Ok(removed.filter(Result::is_ok).count())
        })
        .await
    }
}

impl Inner {
    fn claimed(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, u32>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn let_go(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, TaskId, u32)>> {
        self.let_go.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what tasks held that have ended a while ago. What is left when this process ends is found later.
    fn remove_let_go(&self) {
        let mut gone = Vec::new();
        self.let_go().retain(|(ended, id, held)| {
            let is_over = ended.elapsed() >= HELD_ON;
            gone.extend(
                (0..if is_over { *held } else { 0 }).map(|index| BlobName::Held(*id, index)),
            );
            !is_over
        });
        for name in gone {
            let _ = fs::remove_file(self.path(name));
        }
    }

    pub(crate) fn path(&self, name: BlobName) -> PathBuf {
        self.shard(name.last_byte()).join(name.file())
    }

    /// The directory of files whose id ends so: ids are random.
    pub(crate) fn shard(&self, last_byte: u8) -> PathBuf {
        self.directory.join(result_file::shard(last_byte))
    }

    fn lock_file(&self) -> io::Result<File> {
        File::create(self.directory.join(LOCK))
    }

    pub(crate) fn open(&self, reference: &Reference) -> io::Result<File> {
        let file = File::open(self.path(reference.name))?;
        let bytes = file.metadata()?.len();
        if bytes == reference.bytes {
            return Ok(file);
        }
        // A crash of the machine may cost the last second.
        let why = format!("it has {bytes} bytes, and {} were written", reference.bytes);
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }

    fn write(&self, name: BlobName, bytes: &[u8]) -> io::Result<Kept> {
        let path = self.path(name);
        let unfinished = path.with_file_name(format!("{UNFINISHED}{}", TaskId::random()));
        let written = self.write_new(&unfinished, &path, bytes);
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        if !matches!(&written, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
            return written.map(|()| Kept(None));
        }
        let lock = self.lock_file()?;
        flock(&lock, FlockOperation::LockShared)?;
        // It may have been removed before it was locked.
        match path.try_exists()? {
            true => Ok(Kept(Some(lock))),
            false => {
                self.write_new(&unfinished, &path, bytes)?;
                Ok(Kept(Some(lock)))
            }
        }
    }

    /// Gives a file that was written elsewhere its name; one that has it already is kept in its place. What is returned is to be
    /// kept until a key refers to it.
    pub(crate) fn publish(&self, written: &Path, name: BlobName) -> io::Result<Kept> {
        let path = self.path(name);
        let file = File::open(written)?;
        match self.rename_synced(&file, written, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            renamed => return renamed.map(|()| Kept(None)),
        }
        let lock = self.lock_file()?;
        flock(&lock, FlockOperation::LockShared)?;
        match path.try_exists()? {
            true => fs::remove_file(written)?,
            // It was removed before it was locked.
            false => self.rename_synced(&file, written, &path)?,
        }
        Ok(Kept(Some(lock)))
    }

    fn write_new(&self, unfinished: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create_new(unfinished)?;
        file.write_all(bytes)?;
        self.rename_synced(&file, unfinished, path)
    }

    fn rename_synced(&self, file: &File, unfinished: &Path, path: &Path) -> io::Result<()> {
        if self.config.is_synced {
            file.sync_data()?;
        }
        rename_new(unfinished, path)?;
        self.note_written(file, path)
    }

    /// Carries a file to the disk at once where that is wanted, else soon.
    fn note_written(&self, file: &File, path: &Path) -> io::Result<()> {
        if self.config.is_synced {
            file.sync_data()?;
            return sync_directory(path);
        }
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
        Ok(())
    }

    /// Carries new files to the disk. Those of short calls are gone by then, and cost the disk nothing.
    fn sync(&self) {
        let unsynced =
            std::mem::take(&mut *self.unsynced.lock().unwrap_or_else(PoisonError::into_inner));
        let mut directories = HashSet::new();
        for path in unsynced {
            match File::open(&path).and_then(|file| file.sync_data()) {
                Ok(()) => directories.extend(path.parent().map(Path::to_owned)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::error!(%error, "cannot sync a blob to the disk"),
            }
        }
        for directory in directories {
            if let Err(error) = File::open(directory).and_then(|file| file.sync_all()) {
                tracing::error!(%error, "cannot sync blobs to the disk");
            }
        }
    }

    fn old_ones(&self) -> io::Result<Vec<BlobName>> {
        let shard = self.next_shard.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut found = Vec::new();
        for entry in fs::read_dir(self.directory.join(format!("{shard:x}")))? {
            let entry = entry?;
            // It may be removed meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let blob = BlobName::of_file(name);
            let changed = match blob {
                // It has the content of another, and got this name later.
                Some(BlobName::Held(..)) => changed_at(&metadata),
                _ => metadata.modified().ok(),
            };
            let is_old = |least| has_passed(least, changed);
            if name.starts_with(UNFINISHED) && is_old(self.config.grace)
                || name.starts_with(PART) && is_old(self.config.part_ttl)
            {
                let _ = fs::remove_file(entry.path());
            }
            found.extend(blob.filter(|_| is_old(self.config.grace)));
        }
        Ok(found)
    }
}

/// When the names or the content of a file changed last.
fn changed_at(metadata: &Metadata) -> Option<SystemTime> {
    let seconds = Duration::from_secs(u64::try_from(metadata.ctime()).ok()?);
    let nanoseconds = Duration::from_nanos(u64::try_from(metadata.ctime_nsec()).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(seconds + nanoseconds)
}

/// Whether so much time has passed. A clock that was put back makes files young, never old.
fn has_passed(time: Duration, since: Option<SystemTime>) -> bool {
    let age = since.map(|since| SystemTime::now().duration_since(since));
    matches!(age, Some(Ok(age)) if age >= time)
}

/// Renames, unless something has the name: what a key may refer to already is never changed.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot, such as NFS.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Work on files, on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(io::Error::other("work on a blob panicked")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn files() -> (tempfile::TempDir, BlobFiles) {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("blobs");
        let config = BlobConfig { grace: Duration::ZERO, ..BlobConfig::new(place.clone()) };
        let files = BlobFiles::open(config, place).expect("made");
        (directory, files)
    }

    #[tokio::test]
    async fn what_was_written_is_never_changed() {
        let (directory, files) = files();
        let made = fs::metadata(directory.path().join("blobs")).expect("made").permissions();
        assert_eq!(made.mode() & 0o077, 0, "values are for nobody else");
        let name = BlobName::Args(TaskId::random());
        files.write(name, Bytes::from_static(b"first")).await.expect("written");
        files.write(name, Bytes::from_static(b"other")).await.expect("kept");
        let reference = || Reference::new(name, 5);
        assert_eq!(files.read(reference()).await.expect("read"), "first");
        assert_eq!(files.read_part(reference(), 3, 70).await.expect("read"), "st");
        let cut = files.read(Reference { bytes: 6, ..reference() }).await.expect_err("cut");
        assert_eq!(cut.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn nothing_is_removed_while_somebody_relies_on_what_was_there() {
        let (_directory, files) = files();
        let name = BlobName::Args(TaskId::random());
        let kept = files.write(name, Bytes::from_static(b"x")).await.expect("written");
        assert!(files.lock().await.expect("asked").is_some(), "a new file is young");
        drop(kept);
        let kept = files.write(name, Bytes::from_static(b"x")).await.expect("kept");
        assert!(files.lock().await.expect("asked").is_none());
        drop(kept);
        assert!(files.lock().await.expect("asked").is_some());
    }

    #[tokio::test]
    async fn what_a_killed_writer_left_is_removed() {
        let (directory, files) = files();
        let left = directory.path().join("blobs/3/tmp-1");
        fs::write(&left, "part").expect("written");
        for _ in 0..SHARDS {
            assert_eq!(files.old_ones().await.expect("read"), []);
        }
        assert!(!left.exists());
    }
}
