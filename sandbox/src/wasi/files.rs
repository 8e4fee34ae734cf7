//! The guest's descriptors, and where its paths lead: to granted directories of the host, which it may
//! only read, and to its scratch directory, where one was granted.

use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, SeekFrom};

use super::entry::{Access, DirEntry, Entry, ScratchFile, Status};
use super::errno::Errno;
use super::host;
use super::scratch::{How, Scratch, TOP};
use crate::grants::Mount;

/// Files that a guest may have open at once.
const OPEN_FILES: usize = 256;

/// The one directory that the guest finds open: the root, under which its mounts are.
pub(crate) const ROOT: u32 = 3;

/// The guest's name of the scratch directory, without the leading slash.
const SCRATCH: &str = "tmp";

/// How a path is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Open {
    pub(crate) access: Access,
    pub(crate) how: How,
    pub(crate) directory: bool,
    pub(crate) follow: bool,
}

/// The descriptors of one instance.
#[derive(Debug)]
pub(crate) struct Files {
    entries: Vec<Option<Entry>>,
    mounts: Arc<[Mount]>,
    scratch: Option<Scratch>,
}

/// Where a path leads.
enum Place<'a> {
    Null,
    Root,
    Below(&'a OwnedFd, &'a str),
    Scratch(u64, &'a str),
}

impl Files {
    pub(crate) fn new(mounts: Arc<[Mount]>) -> Self {
        let entries = vec![
            Some(Entry::Input),
            Some(Entry::Output(1)),
            Some(Entry::Output(2)),
            Some(Entry::Root),
        ];
        Self { entries, mounts, scratch: None }
    }

    /// Adds directories of the host, and a scratch directory of so many bytes unless that is 0.
    pub(crate) fn grant(&mut self, more: &[Mount], scratch_bytes: u64) {
        if !more.is_empty() {
            self.mounts = self.mounts.iter().chain(more).cloned().collect();
        }
        if scratch_bytes > 0 {
            self.scratch = Some(Scratch::new(scratch_bytes));
        }
    }

    pub(crate) fn get(&mut self, fd: u32) -> Result<&mut Entry, Errno> {
        entry(&mut self.entries, fd)
    }

    pub(crate) fn close(&mut self, fd: u32) -> Result<(), Errno> {
        let entry = self.entries.get_mut(fd as usize).and_then(Option::take);
        let inode = match entry.ok_or(Errno::BADF)? {
            Entry::ScratchFile(ScratchFile { inode, .. }) | Entry::ScratchDir(inode, _) => inode,
            _ => return Ok(()),
        };
        self.scratch()?.close(inode);
        Ok(())
    }

    /// Opens `path` below the directory `dir`.
    pub(crate) fn open(&mut self, dir: u32, path: &str, open: Open) -> Result<u32, Errno> {
        let changes = open.access.write || open.how.create || open.how.truncate;
        let free = self.entries.iter().position(Option::is_none);
        let fd = free.unwrap_or(self.entries.len());
        if fd >= OPEN_FILES {
            return Err(Errno::MFILE);
        }
        let entry = match self.place(dir, path)? {
            Place::Null if open.directory => return Err(Errno::NOTDIR),
            Place::Null => Entry::Null,
            Place::Root => Entry::Root,
            Place::Below(base, path) => match host::open(base, path, open.follow) {
                // A name that could be made, were this not read-only.
                Err(Errno::NOENT) if changes => return Err(Errno::ACCES),
                Ok(Entry::File(_)) if changes => return Err(Errno::ACCES),
                Ok(Entry::File(_)) if open.directory => return Err(Errno::NOTDIR),
                entry => entry?,
            },
            Place::Scratch(base, path) => {
                let path = path.to_owned();
                self.open_scratch(base, &path, open)?
            }
        };
        if matches!(entry, Entry::Dir(..) | Entry::Root) && changes && !open.access.read {
            return Err(Errno::ACCES);
        }
        if fd == self.entries.len() {
            self.entries.push(None);
        }
        self.entries[fd] = Some(entry);
        u32::try_from(fd).map_err(|_| Errno::MFILE)
    }

    fn open_scratch(&mut self, base: u64, path: &str, open: Open) -> Result<Entry, Errno> {
        let scratch = self.scratch()?;
        let inode = scratch.open(base, path, open.how)?;
        let is_dir = scratch.status(inode)?.kind == FileType::Directory;
        if is_dir && open.access.write && !open.access.read || !is_dir && open.directory {
            scratch.close(inode);
            return Err(if is_dir { Errno::ISDIR } else { Errno::NOTDIR });
        }
        if is_dir {
            return Ok(Entry::ScratchDir(inode, None));
        }
        Ok(Entry::ScratchFile(ScratchFile { inode, place: 0, access: open.access }))
    }

    /// The status of `path` below the directory `dir`.
    pub(crate) fn stat(&self, dir: u32, path: &str, follow: bool) -> Result<Status, Errno> {
        match self.place(dir, path)? {
            Place::Null => Ok(Status::virtual_of(FileType::CharacterDevice)),
            Place::Root => Ok(Status::virtual_of(FileType::Directory)),
            Place::Below(base, path) => host::stat(base, path, follow),
            Place::Scratch(base, path) => {
                let scratch = self.scratch.as_ref().ok_or(Errno::ACCES)?;
                scratch.status(scratch.find(base, path)?)
            }
        }
    }

    /// The status of what is open.
    pub(crate) fn status(&self, fd: u32) -> Result<Status, Errno> {
        let entry = self.entries.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::BADF)?;
        match entry {
            Entry::File(file) | Entry::Dir(file, _) => host::status(file),
            Entry::Root => Ok(Status::virtual_of(FileType::Directory)),
            Entry::Null | Entry::Input | Entry::Output(_) => {
                Ok(Status::virtual_of(FileType::CharacterDevice))
            }
            Entry::ScratchFile(ScratchFile { inode, .. }) | Entry::ScratchDir(inode, _) => {
                self.scratch.as_ref().ok_or(Errno::BADF)?.status(*inode)
            }
        }
    }

    /// Where the symbolic link `path` points to.
    pub(crate) fn read_link(&self, dir: u32, path: &str) -> Result<Vec<u8>, Errno> {
        let Place::Below(base, path) = self.place(dir, path)? else { return Err(Errno::INVAL) };
        host::read_link(base, path)
    }

    /// Reads at the file's place, or at `offset`.
    pub(crate) fn read(
        &mut self,
        fd: u32,
        buffer: &mut [u8],
        offset: Option<u64>,
    ) -> Result<usize, Errno> {
        let Self { entries, scratch, .. } = self;
        match (entry(entries, fd)?, offset) {
            (Entry::Input | Entry::Null, _) => Ok(0),
            (Entry::File(file), None) => Ok(rustix::io::read(file, buffer)?),
            (Entry::File(file), Some(offset)) => Ok(rustix::io::pread(file, buffer, offset)?),
            (Entry::ScratchFile(file), offset) if file.access.read => {
                let scratch = scratch.as_ref().ok_or(Errno::BADF)?;
                let read = scratch.read(file.inode, buffer, offset.unwrap_or(file.place))?;
                if offset.is_none() {
                    file.place += read as u64;
                }
                Ok(read)
            }
            (Entry::Dir(..) | Entry::Root | Entry::ScratchDir(..), _) => Err(Errno::ISDIR),
            (Entry::Output(_) | Entry::ScratchFile(_), _) => Err(Errno::BADF),
        }
    }

    /// Writes to a file of the scratch directory, at its place or at `offset`, all or nothing.
    pub(crate) fn write(
        &mut self,
        fd: u32,
        data: &[u8],
        offset: Option<u64>,
    ) -> Result<usize, Errno> {
        let Self { entries, scratch, .. } = self;
        let Entry::ScratchFile(file) = entry(entries, fd)? else { return Err(Errno::BADF) };
        if !file.access.write {
            return Err(Errno::BADF);
        }
        let scratch = scratch.as_mut().ok_or(Errno::BADF)?;
        let at = if file.access.append { None } else { Some(offset.unwrap_or(file.place)) };
        let end = scratch.write(file.inode, data, at)?;
        if offset.is_none() {
            file.place = end;
        }
        Ok(data.len())
    }

    /// Moves a file's place; the new one.
    pub(crate) fn seek(&mut self, fd: u32, by: i64, whence: u32) -> Result<u64, Errno> {
        let Self { entries, scratch, .. } = self;
        match entry(entries, fd)? {
            Entry::File(file) => {
                let place = match whence {
                    0 => SeekFrom::Start(u64::try_from(by).map_err(|_| Errno::INVAL)?),
                    1 => SeekFrom::Current(by),
                    2 => SeekFrom::End(by),
                    _ => return Err(Errno::INVAL),
                };
                Ok(rustix::fs::seek(file, place)?)
            }
            Entry::ScratchFile(file) => {
                let from = match whence {
                    0 => 0,
                    1 => file.place,
                    2 => scratch.as_ref().ok_or(Errno::BADF)?.status(file.inode)?.size,
                    _ => return Err(Errno::INVAL),
                };
                file.place = from.checked_add_signed(by).ok_or(Errno::INVAL)?;
                Ok(file.place)
            }
            Entry::Null => Ok(0),
            _ => Err(Errno::SPIPE),
        }
    }

    /// The names in a directory.
    pub(crate) fn list(&mut self, fd: u32) -> Result<&[DirEntry], Errno> {
        let Self { entries, scratch, .. } = self;
        let (known, listed) = match entry(entries, fd)? {
            Entry::Dir(_, known @ Some(_)) | Entry::ScratchDir(_, known @ Some(_)) => {
                return Ok(known.as_deref().unwrap_or_default());
            }
            Entry::Dir(dir, known) => (known, host::list(dir)?),
            Entry::ScratchDir(inode, known) => {
                (known, scratch.as_ref().ok_or(Errno::BADF)?.list(*inode)?)
            }
            Entry::Root => return Err(Errno::ACCES),
            _ => return Err(Errno::NOTDIR),
        };
        Ok(known.insert(listed))
    }

    /// Cuts or lengthens a file of the scratch directory.
    pub(crate) fn resize(&mut self, fd: u32, size: u64) -> Result<(), Errno> {
        match self.get(fd)? {
            Entry::ScratchFile(file) if file.access.write => {
                let inode = file.inode;
                self.scratch()?.resize(inode, size)
            }
            _ => Err(Errno::ACCES),
        }
    }

    /// Whether `fd` is of the scratch directory: times may be set there, which changes nothing.
    pub(crate) fn is_scratch(&mut self, fd: u32) -> bool {
        matches!(self.get(fd), Ok(Entry::ScratchFile(_) | Entry::ScratchDir(..)))
    }

    /// The scratch directory, the directory in it that `path` is relative to, and what is left of it.
    pub(crate) fn in_scratch<'p>(
        &mut self,
        dir: u32,
        path: &'p str,
    ) -> Result<(&mut Scratch, u64, &'p str), Errno> {
        let Place::Scratch(base, rest) = self.place(dir, path)? else { return Err(Errno::ACCES) };
        let rest = &path[path.len() - rest.len()..];
        Ok((self.scratch()?, base, rest))
    }

    fn scratch(&mut self) -> Result<&mut Scratch, Errno> {
        self.scratch.as_mut().ok_or(Errno::ACCES)
    }

    fn place<'a>(&'a self, dir: u32, path: &'a str) -> Result<Place<'a>, Errno> {
        let entry = self.entries.get(dir as usize).and_then(Option::as_ref).ok_or(Errno::BADF)?;
        match entry {
            Entry::Root => {}
            Entry::Dir(base, _) => return Ok(Place::Below(base, path)),
            Entry::ScratchDir(inode, _) => return Ok(Place::Scratch(*inode, path)),
            _ => return Err(Errno::NOTDIR),
        }
        let path = path.trim_start_matches("./");
        let name = path.trim_end_matches('/');
        if name.is_empty() || name == "." {
            return Ok(Place::Root);
        }
        if name == "dev/null" {
            return Ok(Place::Null);
        }
        // Also one below `/tmp`: it was granted by name.
        let below = |mount: &'a Mount| Some(Place::Below(&mount.dir, mount.inside(name)?));
        if let Some(place) = self.mounts.iter().find_map(below) {
            return Ok(place);
        }
        if self.scratch.is_some()
            && let Some(rest) = path.strip_prefix(SCRATCH)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return Ok(Place::Scratch(TOP, rest));
        }
        Err(Errno::ACCES)
    }
}

fn entry(entries: &mut [Option<Entry>], fd: u32) -> Result<&mut Entry, Errno> {
    entries.get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::BADF)
}
