//! The files that a function's imports looked at: as long as they are what they were, its image is.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustix::fd::OwnedFd;

use super::host;
use crate::grants::Mount;

/// What was looked at below directories on `sys.path`, by path.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    by_path: BTreeMap<String, Source>,
    /// There was more than is noted.
    is_cut: bool,
}

/// Paths that are noted at most. A large package has some hundred modules, each sought in a few places.
const NOTED_SOURCES: usize = 4096;

/// A path below a mount, and what was there.
#[derive(Debug)]
struct Source {
    dir: Arc<OwnedFd>,
    path: String,
    stamp: Option<Stamp>,
}

/// Size, inode, and when it was modified and changed: another where a file was written or replaced.
type Stamp = (u64, u64, u64, u64);

impl Sources {
    /// Notes `path` in the guest, if it is below one of `mounts` and on `sys.path`.
    pub(super) fn note(&mut self, mounts: &[Mount], path: &str) {
        let on_path = mounts.iter().filter(|mount| mount.is_on_path());
        let below = on_path.filter_map(|mount| Some((mount, mount.inside(path)?)));
        for (mount, inside) in below {
            if self.by_path.contains_key(path) {
                return;
            }
            self.is_cut |= self.by_path.len() == NOTED_SOURCES;
            if !self.is_cut {
                let (dir, stamp) = (Arc::clone(&mount.dir), stamp(&mount.dir, inside));
                self.by_path
                    .insert(path.to_owned(), Source { dir, path: inside.to_owned(), stamp });
            }
        }
    }

    /// Something was looked at that cannot be noted.
    pub(super) const fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Whether more was looked at than is noted.
    pub(crate) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether all that was looked at is as it was.
    pub(crate) fn are_current(&self) -> bool {
        let is_current = |source: &Source| stamp(&source.dir, &source.path) == source.stamp;
        !self.is_cut && self.by_path.values().all(is_current)
    }
}

fn stamp(dir: &OwnedFd, path: &str) -> Option<Stamp> {
    let status = host::stat(dir, path, true).ok()?;
    Some((status.size, status.inode, status.times.modified, status.times.changed))
}
