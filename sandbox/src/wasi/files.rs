//! The guest's files: read-only, below granted directories, resolved by the kernel.
//!
//! Every path goes through `openat2` with `RESOLVE_BENEATH`: no `..`, absolute path or symbolic link
//! leads out of a granted directory, whatever else runs at the time.

use std::sync::Arc;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, Stat};

use super::errno::Errno;
use crate::grants::Mount;

/// Files that a guest may have open at once.
const OPEN_FILES: usize = 256;

/// The one directory that the guest finds open: the root, under which its mounts are.
pub(crate) const ROOT: u32 = 3;

/// What a descriptor of the guest is.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Standard input: empty.
    Input,
    /// Standard output (1) or standard error (2).
    Output(u8),
    /// The directory above all mounts.
    Root,
    /// `/dev/null`, which libraries open as a matter of course.
    Null,
    /// A regular file.
    File(OwnedFd),
    /// A directory, and its entries once they were asked for.
    Dir(OwnedFd, Option<Vec<DirEntry>>),
}

/// One name in a directory.
#[derive(Debug)]
pub(crate) struct DirEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) inode: u64,
    pub(crate) kind: FileType,
}

/// The descriptors of one instance.
#[derive(Debug)]
pub(crate) struct Files {
    entries: Vec<Option<Entry>>,
    mounts: Arc<[Mount]>,
}

/// Where a path leads.
enum Place<'a> {
    Null,
    Root,
    Below(&'a OwnedFd, &'a str),
}

impl Files {
    pub(crate) fn new(mounts: Arc<[Mount]>) -> Self {
        let entries = vec![
            Some(Entry::Input),
            Some(Entry::Output(1)),
            Some(Entry::Output(2)),
            Some(Entry::Root),
        ];
        Self { entries, mounts }
    }

    pub(crate) fn get(&mut self, fd: u32) -> Result<&mut Entry, Errno> {
        self.entries.get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::BADF)
    }

    pub(crate) fn close(&mut self, fd: u32) -> Result<(), Errno> {
        let entry = self.entries.get_mut(fd as usize).ok_or(Errno::BADF)?;
        entry.take().map(drop).ok_or(Errno::BADF)
    }

    /// Opens `path` below the directory `dir` for reading.
    pub(crate) fn open(&mut self, dir: u32, path: &str, follow: bool) -> Result<u32, Errno> {
        let entry = match self.place(dir, path)? {
            Place::Null => Entry::Null,
            Place::Root => Entry::Root,
            Place::Below(base, path) => {
                // Not to wait for the other end of a named pipe.
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                let file = open_beneath(base, path, flags, follow)?;
                match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
                    FileType::RegularFile => Entry::File(file),
                    FileType::Directory => Entry::Dir(file, None),
                    _ => return Err(Errno::ACCES),
                }
            }
        };
        let free = self.entries.iter().position(Option::is_none);
        let fd = free.unwrap_or(self.entries.len());
        if fd >= OPEN_FILES {
            return Err(Errno::MFILE);
        }
        if fd == self.entries.len() {
            self.entries.push(None);
        }
        self.entries[fd] = Some(entry);
        u32::try_from(fd).map_err(|_| Errno::MFILE)
    }

    /// The status of `path` below the directory `dir`; `None` for what is no file of the host.
    pub(crate) fn stat(&self, dir: u32, path: &str, follow: bool) -> Result<Status, Errno> {
        match self.place(dir, path)? {
            Place::Null => Ok(Status::virtual_of(FileType::CharacterDevice)),
            Place::Root => Ok(Status::virtual_of(FileType::Directory)),
            Place::Below(base, path) => {
                let file = open_beneath(base, path, OFlags::PATH, follow)?;
                Ok(Status::of(&rustix::fs::fstat(file)?))
            }
        }
    }

    /// Where the symbolic link `path` points to.
    pub(crate) fn read_link(&self, dir: u32, path: &str) -> Result<Vec<u8>, Errno> {
        let Place::Below(base, path) = self.place(dir, path)? else { return Err(Errno::INVAL) };
        let link = open_beneath(base, path, OFlags::PATH, false)?;
        Ok(rustix::fs::readlinkat(link, "", Vec::new())?.into_bytes())
    }

    fn place<'a>(&'a self, dir: u32, path: &'a str) -> Result<Place<'a>, Errno> {
        let entry = self.entries.get(dir as usize).and_then(Option::as_ref).ok_or(Errno::BADF)?;
        match entry {
            Entry::Root => {}
            Entry::Dir(base, _) => return Ok(Place::Below(base, path)),
            _ => return Err(Errno::NOTDIR),
        }
        let path = path.trim_start_matches("./").trim_end_matches('/');
        if path.is_empty() || path == "." {
            return Ok(Place::Root);
        }
        if path == "dev/null" {
            return Ok(Place::Null);
        }
        let below = |mount: &'a Mount| Some(Place::Below(&mount.dir, mount.inside(path)?));
        self.mounts.iter().find_map(below).ok_or(Errno::ACCES)
    }
}

fn open_beneath(base: &OwnedFd, path: &str, flags: OFlags, follow: bool) -> Result<OwnedFd, Errno> {
    let mut flags = flags | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !follow);
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let path = if path.is_empty() { "." } else { path };
    Ok(rustix::fs::openat2(base, path, flags, Mode::empty(), resolve)?)
}

/// What a guest learns about a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) kind: FileType,
    pub(crate) links: u64,
    pub(crate) size: u64,
    pub(crate) modified_ns: u64,
}

impl Status {
    pub(crate) fn virtual_of(kind: FileType) -> Self {
        Self { device: 0, inode: 0, kind, links: 1, size: 0, modified_ns: 0 }
    }

    #[expect(
        clippy::cast_sign_loss,
        reason = "sizes are not negative; a time before 1970 only looks odd to the guest"
    )]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            kind: FileType::from_raw_mode(stat.st_mode),
            links: stat.st_nlink,
            size: stat.st_size as u64,
            modified_ns: (stat.st_mtime as u64)
                .wrapping_mul(1_000_000_000)
                .wrapping_add(stat.st_mtime_nsec),
        }
    }
}

impl Entry {
    /// The status of what is open.
    pub(crate) fn status(&self) -> Result<Status, Errno> {
        Ok(match self {
            Self::File(file) | Self::Dir(file, _) => Status::of(&rustix::fs::fstat(file)?),
            Self::Root => Status::virtual_of(FileType::Directory),
            Self::Null | Self::Input | Self::Output(_) => {
                Status::virtual_of(FileType::CharacterDevice)
            }
        })
    }

    /// Reads at the file's place, or at `offset`.
    pub(crate) fn read(&mut self, buffer: &mut [u8], offset: Option<u64>) -> Result<usize, Errno> {
        match (self, offset) {
            (Self::Input | Self::Null, _) => Ok(0),
            (Self::File(file), None) => Ok(rustix::io::read(file, buffer)?),
            (Self::File(file), Some(offset)) => Ok(rustix::io::pread(file, buffer, offset)?),
            (Self::Dir(..) | Self::Root, _) => Err(Errno::ISDIR),
            (Self::Output(_), _) => Err(Errno::BADF),
        }
    }

    /// The names in a directory.
    pub(crate) fn list(&mut self) -> Result<&[DirEntry], Errno> {
        match self {
            Self::Dir(dir, entries) => {
                if entries.is_none() {
                    *entries = Some(list(dir)?);
                }
                Ok(entries.as_deref().unwrap_or_default())
            }
            Self::Root => Err(Errno::ACCES),
            _ => Err(Errno::NOTDIR),
        }
    }
}

/// Reads with `getdents64` alone: the convenient way opens the directory once more, by a call that the
/// second wall forbids.
fn list(dir: &OwnedFd) -> Result<Vec<DirEntry>, Errno> {
    rustix::fs::seek(dir, SeekFrom::Start(0))?;
    let mut buffer = Vec::with_capacity(8 << 10);
    let mut names = RawDir::new(dir.as_fd(), buffer.spare_capacity_mut());
    let mut entries = Vec::new();
    while let Some(entry) = names.next() {
        let entry = entry?;
        entries.push(DirEntry {
            name: entry.file_name().to_bytes().to_vec(),
            inode: entry.ino(),
            kind: entry.file_type(),
        });
    }
    Ok(entries)
}

/// Fills `buffer` with the kernel's randomness.
pub(crate) fn randomness(buffer: &mut [u8]) -> Result<(), Errno> {
    let mut filled = 0;
    while filled < buffer.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut buffer[filled..], flags)?;
    }
    Ok(())
}
