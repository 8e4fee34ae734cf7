//! A writable `/tmp` that is nothing but memory of this process: bounded, seen by one call, gone with it.
//! No file of the host is behind it. It behaves as a file system of Linux without links.
//!
//! * [`tree`]: nodes, names, and where paths lead.

mod tree;

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::FileType;

use super::entry::{DirEntry, Status, Taker};
use super::errno::Errno;
pub(crate) use tree::TOP;
use tree::{Body, Tree};

/// The device number that tells these files from the host's.
const DEVICE: u64 = u64::MAX;
/// No place in a file is beyond it.
const LAST_PLACE: u64 = i64::MAX as u64;

/// Files and directories by their inode numbers.
#[derive(Debug)]
pub(crate) struct Scratch {
    tree: Tree,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How {
    pub(crate) create: bool,
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
    /// It must be a directory.
    pub(crate) directory: bool,
    /// For writing as well.
    pub(crate) write: bool,
}

impl Scratch {
    /// An empty directory for at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { tree: Tree::new(limit) }
    }

    /// Whether nothing was ever made in it.
    pub(crate) fn is_untouched(&self) -> bool {
        self.tree.is_untouched()
    }

    /// Opens what `path` below the directory `base` leads to, and counts the descriptor.
    pub(crate) fn open(&mut self, base: u64, path: &str, how: How) -> Result<u64, Errno> {
        if how.create && self.tree.last(base, path).is_ok_and(|last| last.slash) {
            return Err(Errno::ISDIR);
        }
        let inode = match self.tree.find(base, path) {
            Ok(_) if how.create && how.exclusive => return Err(Errno::EXIST),
            Ok(inode) => inode,
            Err(Errno::NOENT) if how.create => {
                self.tree.make(self.tree.last(base, path)?, Body::File(Vec::new()))?
            }
            Err(errno) => return Err(errno),
        };
        let is_dir = self.tree.is_dir(inode);
        if is_dir && (how.write || how.create || how.truncate) {
            return Err(Errno::ISDIR);
        }
        if !is_dir && how.directory {
            return Err(Errno::NOTDIR);
        }
        if how.truncate {
            self.resize(inode, 0)?;
        }
        self.tree.node(inode)?.opened += 1;
        Ok(inode)
    }

    /// Counts one descriptor less.
    pub(crate) fn close(&mut self, inode: u64) {
        if let Ok(node) = self.tree.node(inode) {
            node.opened = node.opened.saturating_sub(1);
        }
        self.tree.forget_unused(inode);
    }

    /// The inode that `path` below the directory `base` leads to.
    pub(crate) fn find(&self, base: u64, path: &str) -> Result<u64, Errno> {
        self.tree.find(base, path)
    }

    pub(crate) fn is_dir(&self, inode: u64) -> bool {
        self.tree.is_dir(inode)
    }

    pub(crate) fn status(&self, inode: u64) -> Result<Status, Errno> {
        let node = self.tree.look(inode)?;
        let (kind, size) = match &node.body {
            Body::File(bytes) => (FileType::RegularFile, bytes.len() as u64),
            Body::Dir { .. } => (FileType::Directory, 0),
        };
        let links = u64::from(node.name.is_some());
        Ok(Status { device: DEVICE, inode, kind, links, size, times: node.times })
    }

    /// Sets when a file was last read and written, each where it is given, in nanoseconds.
    pub(crate) fn set_times(
        &mut self,
        inode: u64,
        accessed: Option<u64>,
        modified: Option<u64>,
    ) -> Result<(), Errno> {
        let times = &mut self.tree.node(inode)?.times;
        times.accessed = accessed.unwrap_or(times.accessed);
        times.modified = modified.unwrap_or(times.modified);
        times.changed = now();
        Ok(())
    }

    pub(crate) fn read(&self, inode: u64, buffer: &mut [u8], at: u64) -> Result<usize, Errno> {
        if at > LAST_PLACE {
            return Err(Errno::INVAL);
        }
        let Body::File(bytes) = &self.tree.look(inode)?.body else { return Err(Errno::ISDIR) };
        let start = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let length = buffer.len().min(bytes.len() - start);
        buffer[..length].copy_from_slice(&bytes[start..start + length]);
        Ok(length)
    }

    /// Writes at `at`, or at the end. Returns where the file's place is then.
    pub(crate) fn write(&mut self, inode: u64, data: &[u8], at: Option<u64>) -> Result<u64, Errno> {
        let size = self.tree.file(inode)?.len() as u64;
        let start = at.unwrap_or(size);
        let end = start.checked_add(data.len() as u64);
        let end = end.filter(|&end| end <= LAST_PLACE).ok_or(Errno::INVAL)?;
        if data.is_empty() {
            return Ok(start);
        }
        self.tree.resize(inode, end.max(size))?;
        let bytes = self.tree.file(inode)?;
        // Below the limit, which fits into memory.
        let from = usize::try_from(start).map_err(|_| Errno::FBIG)?;
        bytes[from..from + data.len()].copy_from_slice(data);
        Ok(end)
    }

    /// Cuts a file, or lengthens it with zeros.
    pub(crate) fn resize(&mut self, inode: u64, size: u64) -> Result<(), Errno> {
        if size > LAST_PLACE {
            return Err(Errno::INVAL);
        }
        self.tree.resize(inode, size)
    }

    pub(crate) fn make_dir(&mut self, base: u64, path: &str) -> Result<(), Errno> {
        let last = match self.tree.last(base, path) {
            Err(Errno::BUSY) => return Err(Errno::EXIST),
            last => last?,
        };
        if self.tree.has(last) {
            return Err(Errno::EXIST);
        }
        self.tree.make(last, Body::empty_dir()).map(drop)
    }

    /// Takes the name of a directory, if it is empty, or else of a file away.
    pub(crate) fn remove(&mut self, base: u64, path: &str, is_dir: bool) -> Result<(), Errno> {
        let last = match self.tree.last(base, path) {
            Err(Errno::BUSY) => return Err(self.dots(base, path, is_dir)),
            last => last?,
        };
        let inode = self.tree.find(base, path)?;
        match &self.tree.look(inode)?.body {
            Body::File(_) if is_dir => return Err(Errno::NOTDIR),
            Body::Dir { .. } if !is_dir => return Err(Errno::ISDIR),
            Body::Dir { names, .. } if !names.is_empty() => return Err(Errno::NOTEMPTY),
            _ => {}
        }
        self.tree.take_name(last)?;
        self.tree.charge(last.name.len(), 0)?;
        self.tree.forget_unused(inode);
        Ok(())
    }

    /// What Linux says to the removal of a path that ends in `.` or `..`.
    fn dots(&self, base: u64, path: &str, is_dir: bool) -> Errno {
        match self.tree.find(base, path) {
            Err(errno) => errno,
            Ok(_) if !is_dir => Errno::ISDIR,
            Ok(_) if path.trim_end_matches('/').ends_with("..") => Errno::NOTEMPTY,
            Ok(_) => Errno::INVAL,
        }
    }

    pub(crate) fn rename(&mut self, from: (u64, &str), to: (u64, &str)) -> Result<(), Errno> {
        let (old, new) = match (self.tree.last(from.0, from.1), self.tree.last(to.0, to.1)) {
            // That there are such directories is looked at before what can be moved.
            (Err(Errno::BUSY), Err(errno)) => return Err(errno),
            (old, new) => (old?, new?),
        };
        let inode = match self.tree.find(from.0, from.1) {
            // A slash behind a file is looked at after the new name.
            Err(Errno::NOTDIR) => {
                return Err(self.tree.can_take(new).err().unwrap_or(Errno::NOTDIR));
            }
            found => found?,
        };
        let is_dir = self.tree.is_dir(inode);
        if new.slash && !is_dir {
            return Err(Errno::NOTDIR);
        }
        if self.tree.is_within(new.parent, inode) {
            return Err(Errno::INVAL);
        }
        self.tree.can_take(new)?;
        let replaced = match self.tree.find(to.0, to.1) {
            Ok(same) if same == inode => return Ok(()),
            Ok(above) if self.tree.is_within(old.parent, above) => return Err(Errno::NOTEMPTY),
            Ok(_) => true,
            Err(Errno::NOENT) => false,
            Err(errno) => return Err(errno),
        };
        self.tree.charge(old.name.len(), new.name.len())?;
        if replaced && let Err(errno) = self.remove(to.0, to.1, is_dir) {
            self.tree.charge(new.name.len(), old.name.len())?;
            return Err(errno);
        }
        self.tree.move_name(old, new)
    }

    /// Gives `take` the entries from the cookie `from` on. A name's cookie is its inode number, so that
    /// nothing is kept between two calls, and what is renamed or removed meanwhile moves no other entry.
    pub(crate) fn list(&self, inode: u64, from: u64, take: Taker<'_>) -> Result<(), Errno> {
        let node = self.tree.look(inode)?;
        let Body::Dir { order, .. } = &node.body else { return Err(Errno::NOTDIR) };
        let dots = [(0, ".", inode), (1, "..", node.parent)];
        for (cookie, name, inode) in dots.into_iter().filter(|(cookie, ..)| *cookie >= from) {
            let (name, kind, next) = (name.as_bytes(), FileType::Directory, cookie + 1);
            if !take(DirEntry { name, inode, kind, next }) {
                return Ok(());
            }
        }
        for (&inode, name) in order.range(from..) {
            let kind = self.status(inode)?.kind;
            if !take(DirEntry { name: name.as_bytes(), inode, kind, next: inode + 1 }) {
                break;
            }
        }
        Ok(())
    }
}

/// Files that a call is given, and those that it leaves.
impl Scratch {
    /// Makes a file with its directories.
    pub(crate) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), Errno> {
        for (end, _) in name.match_indices('/') {
            match self.make_dir(TOP, &name[..end]) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        let how = How { create: true, write: true, ..How::default() };
        let inode = self.open(TOP, name, how)?;
        let written = self.write(inode, bytes, Some(0)).map(drop);
        self.close(inode);
        written
    }

    /// Shows `take` every file with its path, until it fails.
    pub(crate) fn each<E>(
        &self,
        mut take: impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.tree.each(TOP, &mut String::new(), &mut take)
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
