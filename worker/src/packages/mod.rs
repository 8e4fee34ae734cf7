//! Folders with the packages that functions ask for: each holds what one lock lists, is made once, by pip, from the index that this
//! worker's operator offers, and is shared by all calls of this machine, read-only.
//!
//! A folder lies in the cache under a name made of its content. Who uses it holds a shared lock on it; of more than [`KEPT`] those that
//! nobody uses are removed, longest unused first.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use belljar_core::requirements::{PIP_ENVIRONMENT, PackageLock};
use belljar_core::task::{PythonVersion, TaskClass};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

const SCRIPT: &str = include_str!("install.py");
/// How long one installation may take.
const TIME: Duration = Duration::from_secs(300);
/// How many folders stay although nobody uses them.
const KEPT: usize = 64;

/// Why a function's packages are not there.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// The operator offers none.
    #[error("this worker offers no packages: it must be started with `--requirements URL`")]
    NotOffered,
    /// The installation failed.
    #[error("the packages of the function cannot be installed: {0}")]
    Install(String),
}

impl From<io::Error> for PackagesError {
    fn from(error: io::Error) -> Self {
        Self::Install(error.to_string())
    }
}

/// Makes folders with packages.
#[derive(Debug)]
pub struct PackageStore {
    index: String,
    dir: PathBuf,
    pythons: Vec<(PythonVersion, PathBuf)>,
    python: PathBuf,
    /// One at a time: it takes network and processors from calls.
    installing: Mutex<()>,
}

/// A folder that stays as long as this lives.
#[derive(Debug)]
pub(crate) struct PackageFolder {
    path: PathBuf,
    _shared: File,
}

/// What is asked of the script.
#[derive(Serialize)]
struct Request<'a> {
    index: &'a str,
    python: String,
    wheels: Vec<(String, String)>,
    target: &'a Path,
}

/// What it answers.
#[derive(Deserialize)]
struct Answer {
    error: Option<String>,
}

impl PackageStore {
    /// Installs from the index at the URL `index` into folders below `dir`, by the pip of the Python that runs the function if it is among
    /// `pythons`, which also compiles the modules ahead, else by that of `python`.
    #[must_use]
    pub fn new(
        index: String,
        dir: PathBuf,
        pythons: Vec<(PythonVersion, PathBuf)>,
        python: PathBuf,
    ) -> Self {
        Self { index, dir, pythons, python, installing: Mutex::new(()) }
    }

    /// The folder with these packages for functions of this class.
    pub(crate) async fn folder(
        &self,
        class: TaskClass,
        packages: &PackageLock,
    ) -> Result<PackageFolder, PackagesError> {
        let path = self.dir.join(format!("{}-{}-{}", class.runtime, class.python, packages.id()));
        if let Some(folder) = PackageFolder::open(&path)? {
            return Ok(folder);
        }
        let _installing = self.installing.lock().await;
        // Made meanwhile, by another slot.
        if let Some(folder) = PackageFolder::open(&path)? {
            return Ok(folder);
        }
        fs::create_dir_all(&self.dir)?;
        let dir = self.dir.clone();
        // The folders may be large.
        let _ = spawn_blocking(move || evict(&dir)).await;
        let scratch = tempfile::Builder::new().prefix(".new-").tempdir_in(&self.dir)?;
        let target = scratch.path().join("packages");
        let installed = timeout(TIME, self.install(class.python, packages, &target)).await;
        installed.map_err(|_| PackagesError::Install(format!("pip took more than {TIME:?}")))??;
        // A folder cannot be moved that cannot be written to. It is as good as this one where another worker was quicker.
        set_mode(&target, 0o755)?;
        let moved = fs::rename(&target, &path);
        set_mode(if moved.is_ok() { &path } else { &target }, 0o555)?;
        remove(&target);
        PackageFolder::open(&path)?.ok_or_else(|| match moved {
            Err(error) => error.into(),
            Ok(()) => PackagesError::Install("the folder is gone".to_owned()),
        })
    }

    async fn install(
        &self,
        version: PythonVersion,
        packages: &PackageLock,
        target: &Path,
    ) -> Result<(), PackagesError> {
        let own = self.pythons.iter().find(|(of, _)| *of == version).map(|(_, python)| python);
        let mut command = Command::new(own.unwrap_or(&self.python));
        command.args(["-I", "-c", SCRIPT]).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_clear().env("PIP_CONFIG_FILE", "/dev/null");
        command
            .envs(PIP_ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        let wheels = packages.wheels().iter().map(|wheel| (wheel.pinned(), wheel.sha256()));
        let (index, python) = (&*self.index, version.to_string());
        let request = Request { index, python, wheels: wheels.collect(), target };
        let request = serde_json::to_vec(&request).map_err(io::Error::from)?;
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&request).await?;
        }
        let output = child.wait_with_output().await?;
        match serde_json::from_slice(&output.stdout) {
            Ok(Answer { error: None }) => Ok(()),
            Ok(Answer { error: Some(error) }) => Err(PackagesError::Install(error)),
            Err(_) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let last = said.lines().last().unwrap_or("pip said nothing");
                Err(PackagesError::Install(last.to_owned()))
            }
        }
    }
}

impl PackageFolder {
    /// Uses the folder; `None` where it is not there.
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let shared = match File::open(path) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        flock(&shared, FlockOperation::LockShared)?;
        shared.set_modified(SystemTime::now())?;
        // Who removes a folder moves it away first.
        Ok(path.exists().then(|| Self { path: path.to_owned(), _shared: shared }))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes folders that nobody uses, but for those used last, and what workers that were killed left half made.
fn evict(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let modified = |entry: &fs::DirEntry| entry.metadata().and_then(|data| data.modified()).ok();
    let all = entries.filter_map(|entry| Some((modified(&entry)?, entry.path())));
    let (hidden, mut folders): (Vec<_>, Vec<_>) = all.partition(|(_, path)| is_hidden(path));
    let is_old = |since: &SystemTime| since.elapsed().is_ok_and(|age| age > 2 * TIME);
    hidden.iter().filter(|(since, _)| is_old(since)).for_each(|(_, path)| remove(path));
    folders.sort_unstable();
    let surplus = folders.len().saturating_sub(KEPT);
    for (_, path) in &folders[..surplus] {
        let Ok(folder) = File::open(path) else { continue };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = path.with_file_name(format!(".old-{name}"));
        let is_free = flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok();
        if is_free && set_mode(path, 0o755).is_ok() && fs::rename(path, &aside).is_ok() {
            remove(&aside);
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Removes a folder whose parts are read-only.
fn remove(path: &Path) {
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let _ = set_mode(&folder, 0o755);
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.extend(inner.map(|entry| entry.path()));
    }
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "packages cannot be removed");
    }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(dir: &Path, number: usize) -> PathBuf {
        let path = dir.join(format!("native-3.11-{number:03}"));
        fs::create_dir_all(path.join("package")).expect("created");
        fs::write(path.join("package/module.py"), "").expect("written");
        for dir in [path.join("package"), path.clone()] {
            let then = SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64);
            File::open(&dir).and_then(|dir| dir.set_modified(then)).expect("a time");
            set_mode(&dir, 0o555).expect("a mode");
        }
        path
    }

    #[test]
    fn what_nobody_used_for_longest_is_removed_unless_somebody_uses_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let paths: Vec<_> = (0..KEPT + 3).map(|number| folder(dir.path(), number)).collect();
        let left = [".new-a", ".new-b"].map(|name| dir.path().join(name));
        left.iter().for_each(|path| fs::create_dir(path).expect("created"));
        let long_ago = SystemTime::UNIX_EPOCH;
        File::open(&left[0]).and_then(|dir| dir.set_modified(long_ago)).expect("a time");
        let used = File::open(&paths[1]).expect("opened");
        flock(&used, FlockOperation::LockShared).expect("locked");
        evict(dir.path());
        let there: Vec<_> = paths.iter().map(|path| path.exists()).collect();
        assert_eq!(there[..4], [false, true, false, true]);
        assert_eq!(left.map(|path| path.exists()), [false, true], "what is being made stays");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), KEPT + 2);
        paths.iter().for_each(|path| remove(path));
    }

    #[test]
    fn a_folder_in_use_is_touched() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = folder(dir.path(), 1);
        assert!(PackageFolder::open(&dir.path().join("missing")).expect("looked").is_none());
        let opened = PackageFolder::open(&path).expect("looked").expect("there");
        assert_eq!(opened.path(), path);
        let modified = fs::metadata(&path).and_then(|data| data.modified()).expect("a time");
        assert!(modified.elapsed().expect("the past") < Duration::from_secs(3_600));
        remove(&path);
    }
}
