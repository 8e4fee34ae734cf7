//! What a guest may reach: directories, read-only, environment variables, a `/tmp` in memory, HTTP requests through
//! its parent, and nothing else.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use belljar_core::files::CallFiles;
use belljar_core::grants::{InvalidGrant, check_name, check_path};
use belljar_core::live::Progress;
use bytes::Bytes;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};

use crate::error::Error;

/// Takes a request and waits for its answer. Both are in the words of the guest's code and of who makes the
/// request; the sandbox looks at neither.
pub trait HttpChannel: fmt::Debug + Send + Sync {
    /// Exchanges one request for its answer.
    ///
    /// # Errors
    /// The request is too long ([`io::ErrorKind::FileTooLarge`]), or nobody answers.
    fn exchange(&self, request: &[u8]) -> io::Result<Bytes>;
}

/// Is told how far a call has come.
pub trait ProgressChannel: fmt::Debug + Send + Sync {
    /// The running call says so.
    fn tell(&self, progress: Progress);
}

/// Where in the guest the directories on `sys.path` are.
const ON_PATH: &str = "path/";

/// What the guest may reach besides its own standard library.
#[derive(Debug, Clone, Default)]
pub struct GrantedAccess {
    paths: Vec<Mount>,
    pub(crate) dirs: Vec<Mount>,
    env: Vec<u8>,
    pub(crate) scratch_bytes: u64,
    pub(crate) http: Option<Arc<dyn HttpChannel>>,
    pub(crate) progress: Option<Arc<dyn ProgressChannel>>,
    /// And how many bytes of files it may leave.
    pub(crate) files: Option<Arc<(CallFiles, u64)>>,
}

/// A host directory under a name in the guest.
#[derive(Debug, Clone)]
pub(crate) struct Mount {
    /// Its path in the guest, without the leading slash.
    pub(crate) name: String,
    pub(crate) dir: Arc<OwnedFd>,
}

impl GrantedAccess {
    /// Nothing: no file but the standard library's, no environment, no network.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Lets the guest import from `dir`, which it may read but not write.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn python_path(mut self, dir: &Path) -> Result<Self, Error> {
        self.paths.push(Mount::open(format!("{ON_PATH}{}", self.paths.len()), dir)?);
        Ok(self)
    }

    /// Lets the guest read the directory at the absolute path `dir`, under the same path.
    ///
    /// # Errors
    /// The directory cannot be opened, or its path means something else in the guest.
    pub fn read(mut self, dir: &str) -> Result<Self, Error> {
        check_path(dir)?;
        self.dirs.push(Mount::open(dir[1..].to_owned(), Path::new(dir))?);
        Ok(self)
    }

    /// Lets the guest see the environment variable `name`, in calls that get these grants.
    ///
    /// # Errors
    /// It is no name or no value of an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Result<Self, Error> {
        check_name(name)?;
        if value.contains('\0') {
            return Err(InvalidGrant::Env(format!("{name}={value}")).into());
        }
        if !self.env.is_empty() {
            self.env.push(0);
        }
        self.env.extend_from_slice(format!("{name}={value}").as_bytes());
        Ok(self)
    }

    /// Gives each call an empty, writable `/tmp` of at most `bytes` in this process's memory.
    #[must_use]
    pub const fn scratch(mut self, bytes: u64) -> Self {
        self.scratch_bytes = bytes;
        self
    }

    /// Lets each call make HTTP requests, which `channel` takes.
    #[must_use]
    pub fn http(mut self, channel: Arc<dyn HttpChannel>) -> Self {
        self.http = Some(channel);
        self
    }

    /// Tells `channel` how far each call has come.
    #[must_use]
    pub fn progress(mut self, channel: Arc<dyn ProgressChannel>) -> Self {
        self.progress = Some(channel);
        self
    }

    /// Gives a call files in its working directory, which is `/tmp`, and puts the wanted ones of those that it leaves there
    /// into its answer, at most `max_bytes` bytes of them. Takes scratch space.
    #[must_use]
    pub fn files(mut self, files: CallFiles, max_bytes: u64) -> Self {
        self.files = Some(Arc::new((files, max_bytes)));
        self
    }

    /// The scratch space, and those of the directories to read that are named; `None` where one was never granted
    /// here.
    #[must_use]
    pub fn only(&self, names: &[String]) -> Option<Self> {
        let find = |name: &String| {
            self.dirs.iter().find(|mount| name.strip_prefix('/') == Some(&*mount.name)).cloned()
        };
        let dirs = names.iter().map(find).collect::<Option<_>>()?;
        let (scratch_bytes, progress) = (self.scratch_bytes, self.progress.clone());
        Some(Self { dirs, scratch_bytes, progress, ..Self::none() })
    }

    /// The directories, for who restricts this process to them.
    pub fn directories(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.paths.iter().chain(&self.dirs).map(|mount| mount.dir.as_fd())
    }

    /// The variables as the guest's runner takes them: `NAME=VALUE`, a zero byte between two.
    pub(crate) fn environment(&self) -> &[u8] {
        &self.env
    }

    /// Whether a call is given nothing that an import could see: no variable, no directory, no file.
    pub(crate) fn are_bare(&self) -> bool {
        self.env.is_empty() && self.dirs.is_empty() && self.files.is_none()
    }

    /// How many directories are on `sys.path` besides the standard library.
    pub(crate) const fn len(&self) -> usize {
        self.paths.len()
    }

    /// What every guest may open whose own directories are `own`.
    pub(crate) fn mounts(&self, own: &[Mount]) -> Arc<[Mount]> {
        own.iter().chain(&self.paths).cloned().collect()
    }
}

impl Mount {
    pub(crate) fn open(name: String, dir: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(dir, flags, Mode::empty());
        let opened = opened.map_err(|e| Error::Grant { path: dir.into(), source: e.into() })?;
        Ok(Self { name, dir: Arc::new(File::from(opened).into()) })
    }

    /// Whether it is on the guest's `sys.path`.
    pub(crate) fn is_on_path(&self) -> bool {
        self.name.starts_with(ON_PATH)
    }

    /// What is left of `path` inside this mount.
    pub(crate) fn inside<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(self.name.as_str())?;
        match rest.trim_start_matches('/') {
            "" => Some("."),
            inside => rest.starts_with('/').then_some(inside),
        }
    }
}
