//! What a guest may reach: directories, read-only, and nothing else.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};

use crate::error::Error;

/// What the guest may reach besides its own standard library.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    paths: Vec<Mount>,
}

/// A host directory under a name in the guest.
#[derive(Debug, Clone)]
pub(crate) struct Mount {
    /// Its path in the guest, without the leading slash.
    pub(crate) name: String,
    pub(crate) dir: Arc<OwnedFd>,
}

impl Grants {
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
        self.paths.push(Mount::open(format!("path/{}", self.paths.len()), dir)?);
        Ok(self)
    }

    /// How many directories are on `sys.path` besides the standard library.
    pub(crate) const fn len(&self) -> usize {
        self.paths.len()
    }

    /// Everything that a guest whose own directories are `own` may open.
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

    /// What is left of `path` inside this mount.
    pub(crate) fn inside<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(self.name.as_str())?;
        match rest.strip_prefix('/') {
            Some(rest) => Some(rest),
            None => rest.is_empty().then_some("."),
        }
    }
}
