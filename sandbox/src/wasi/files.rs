//! The guest's descriptors, and where its paths lead: to granted directories of the host, which it may
//! only read, and to its scratch directory, where one was granted.

use std::sync::Arc;

use belljar_core::access::Denied;
use rustix::fd::OwnedFd;
use rustix::fs::FileType;

use super::denied;
use super::entry::{Access, Body, Entry, OpenFile, Status, Taker};
use super::errno::Errno;
use super::host::{self, Opened};
use super::http::HttpDevice;
use super::scratch::{How, Scratch, TOP};
use super::sources::Sources;
use crate::grants::{GrantedAccess, Mount, ProgressChannel};

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
    pub(crate) follow: bool,
}

/// The descriptors of one instance.
#[derive(Debug)]
pub(crate) struct Files {
    pub(super) entries: Vec<Option<Entry>>,
    mounts: Arc<[Mount]>,
    pub(crate) scratch: Option<Scratch>,
    pub(super) http: Option<HttpDevice>,
    pub(super) progress: Option<Arc<dyn ProgressChannel>>,
    /// Descriptors below this are not given out: a session's files that were left open still have their numbers.
    pub(crate) reserved: usize,
    /// What was refused.
    pub(crate) denied: Vec<Denied>,
    /// What was looked at below directories on `sys.path`, where that is to be noted.
    pub(crate) sources: Option<Sources>,
}

/// Where a path leads.
enum Place<'f, 'p> {
    Null,
    Http,
    Progress,
    Root,
    Below(&'f OwnedFd, &'p str),
    Scratch(u64, &'p str),
}

impl Files {
    pub(crate) fn new(mounts: Arc<[Mount]>) -> Self {
        let entries = vec![
            Some(Entry::Input),
            Some(Entry::Output(1)),
            Some(Entry::Output(2)),
            Some(Entry::Root),
        ];
        let (scratch, http, progress) = (None, None, None);
        let (reserved, denied, sources) = (0, Vec::new(), None);
        Self { entries, mounts, scratch, http, progress, reserved, denied, sources }
    }

    /// Adds what a call is granted: directories of the host, a scratch directory, the device for HTTP requests.
    pub(crate) fn grant(&mut self, granted: &GrantedAccess) {
        if !granted.dirs.is_empty() {
            self.mounts = self.mounts.iter().chain(&granted.dirs).cloned().collect();
        }
        if granted.scratch_bytes > 0 {
            self.scratch = Some(Scratch::new(granted.scratch_bytes));
        }
        self.http = granted.http.clone().map(HttpDevice::new);
        self.progress.clone_from(&granted.progress);
    }

    /// How many descriptors have been in use at once, those in front of the last that is open.
    pub(crate) fn in_use(&self) -> usize {
        let last = self.entries.iter().rposition(Option::is_some);
        last.map_or(0, |last| last + 1).max(self.reserved)
    }

    /// Whether the guest has nothing open, has made no file and was refused nothing.
    pub(crate) fn is_untouched(&self) -> bool {
        let is_closed = self.entries[ROOT as usize + 1..].iter().all(Option::is_none);
        let has_files = self.scratch.as_ref().is_some_and(|scratch| !scratch.is_untouched());
        is_closed && !has_files && self.denied.is_empty()
    }

    pub(crate) fn look(&self, fd: u32) -> Result<&Entry, Errno> {
        self.entries.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::BADF)
    }

    /// The regular file `fd`.
    pub(crate) fn file(&mut self, fd: u32) -> Result<&mut OpenFile, Errno> {
        match self.entries.get_mut(fd as usize) {
            Some(Some(Entry::File(file))) => Ok(file),
            _ => Err(Errno::BADF),
        }
    }

    /// Refuses what is no directory, as a place for paths to begin at.
    pub(crate) fn is_dir(&self, fd: u32) -> Result<(), Errno> {
        match self.look(fd)? {
            Entry::Root | Entry::Dir(_) | Entry::ScratchDir(_) => Ok(()),
            _ => Err(Errno::NOTDIR),
        }
    }

    pub(crate) fn close(&mut self, fd: u32) -> Result<(), Errno> {
        let entry = self.entries.get_mut(fd as usize).and_then(Option::take);
        let inode = match entry.ok_or(Errno::BADF)? {
            Entry::File(OpenFile { body: Body::Scratch(inode), .. }) => inode,
            Entry::ScratchDir(inode) => inode,
            _ => return Ok(()),
        };
        self.scratch()?.close(inode);
        Ok(())
    }

    /// Makes what is open as `from` open as `to` instead, in place of what that was.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.look(from)?;
        self.look(to)?;
        if from != to {
            self.close(to)?;
            self.entries.swap(from as usize, to as usize);
        }
        Ok(())
    }

    /// Opens `path` below the directory `dir`.
    pub(crate) fn open(&mut self, dir: u32, path: &str, open: Open) -> Result<u32, Errno> {
        let Open { access, how, follow } = open;
        self.note(dir, path);
        let changes = how.write || how.create || how.truncate;
        self.is_dir(dir)?;
        if how.directory && (how.create || how.exclusive || how.truncate) {
            return Err(Errno::INVAL);
        }
        let free = self.entries.iter().skip(self.reserved).position(Option::is_none);
        let fd = free.map_or(self.entries.len().max(self.reserved), |free| free + self.reserved);
        if fd >= OPEN_FILES {
            return Err(Errno::MFILE);
        }
        let place = match self.place(dir, path) {
            Err(Errno::ACCES) => {
                denied::note(&mut self.denied, path, how);
                return Err(Errno::ACCES);
            }
            found => found?,
        };
        let entry = match place {
            Place::Null | Place::Http | Place::Progress if how.directory => {
                return Err(Errno::NOTDIR);
            }
            Place::Null => Entry::Null,
            Place::Http => Entry::Http,
            Place::Progress => Entry::Progress,
            Place::Root | Place::Below(..) if changes => return Err(Errno::ACCES),
            Place::Root => Entry::Root,
            Place::Below(base, path) => match host::open(base, path, follow)? {
                Opened::File(_) if how.directory => return Err(Errno::NOTDIR),
                Opened::File(file) => {
                    Entry::File(OpenFile { body: Body::Host(file), place: 0, access })
                }
                Opened::Dir(dir) => Entry::Dir(dir),
            },
            Place::Scratch(base, path) => {
                let scratch = self.scratch()?;
                let inode = scratch.open(base, path, how)?;
                if scratch.is_dir(inode) {
                    Entry::ScratchDir(inode)
                } else {
                    Entry::File(OpenFile { body: Body::Scratch(inode), place: 0, access })
                }
            }
        };
        if fd >= self.entries.len() {
            self.entries.resize_with(fd + 1, || None);
        }
        self.entries[fd] = Some(entry);
        u32::try_from(fd).map_err(|_| Errno::MFILE)
    }

    /// Notes a path that is looked at.
    fn note(&mut self, dir: u32, path: &str) {
        if let Some(sources) = &mut self.sources {
            match dir {
                ROOT => sources.note(&self.mounts, path),
                // What the descriptor is, is not known here.
                _ => sources.cut(),
            }
        }
    }

    /// The status of `path` below the directory `dir`.
    pub(crate) fn stat(&mut self, dir: u32, path: &str, follow: bool) -> Result<Status, Errno> {
        self.note(dir, path);
        match self.place(dir, path)? {
            Place::Null | Place::Http | Place::Progress => {
                Ok(Status::virtual_of(FileType::CharacterDevice))
            }
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
        match self.look(fd)? {
            Entry::File(OpenFile { body: Body::Host(file), .. }) | Entry::Dir(file) => {
                host::status(file)
            }
            Entry::Root => Ok(Status::virtual_of(FileType::Directory)),
            Entry::Null | Entry::Http | Entry::Progress | Entry::Input | Entry::Output(_) => {
                Ok(Status::virtual_of(FileType::CharacterDevice))
            }
            Entry::File(OpenFile { body: Body::Scratch(inode), .. }) | Entry::ScratchDir(inode) => {
                self.scratch.as_ref().ok_or(Errno::BADF)?.status(*inode)
            }
        }
    }

    /// Where the symbolic link `path` points to.
    pub(crate) fn read_link(&self, dir: u32, path: &str) -> Result<Vec<u8>, Errno> {
        match self.place(dir, path)? {
            Place::Below(base, path) => host::read_link(base, path),
            Place::Null | Place::Http | Place::Progress | Place::Root => Err(Errno::INVAL),
            // There are none.
            Place::Scratch(base, path) => {
                self.scratch.as_ref().ok_or(Errno::ACCES)?.find(base, path)?;
                Err(Errno::INVAL)
            }
        }
    }

    /// Gives `take` the names in a directory from the cookie `from` on, for an answer of `room` bytes.
    pub(crate) fn list(
        &self,
        fd: u32,
        from: u64,
        room: usize,
        take: Taker<'_>,
    ) -> Result<(), Errno> {
        match self.look(fd)? {
            Entry::Dir(dir) => host::list(dir, from, room, take),
            Entry::ScratchDir(inode) => {
                self.scratch.as_ref().ok_or(Errno::BADF)?.list(*inode, from, take)
            }
            Entry::Root => Err(Errno::ACCES),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// The scratch directory and the inode of what is open in it.
    pub(crate) fn opened_in_scratch(&mut self, fd: u32) -> Result<(&mut Scratch, u64), Errno> {
        let inode = match self.look(fd)? {
            Entry::File(OpenFile { body: Body::Scratch(inode), .. }) | Entry::ScratchDir(inode) => {
                *inode
            }
            Entry::Input | Entry::Output(_) => return Err(Errno::BADF),
            _ => return Err(Errno::ACCES),
        };
        Ok((self.scratch()?, inode))
    }

    /// The scratch directory, the directory in it that `path` is relative to, and what is left of it.
    pub(crate) fn in_scratch<'p>(
        &mut self,
        dir: u32,
        path: &'p str,
    ) -> Result<(&mut Scratch, u64, &'p str), Errno> {
        let Place::Scratch(base, rest) = self.place(dir, path)? else { return Err(Errno::ACCES) };
        Ok((self.scratch()?, base, rest))
    }

    fn scratch(&mut self) -> Result<&mut Scratch, Errno> {
        self.scratch.as_mut().ok_or(Errno::ACCES)
    }

    fn place<'p>(&self, dir: u32, path: &'p str) -> Result<Place<'_, 'p>, Errno> {
        match self.look(dir)? {
            // The guest's own library makes paths relative to a directory that it has open.
            Entry::Root if path.starts_with('/') => Err(Errno::ACCES),
            Entry::Root if path.is_empty() => Err(Errno::NOENT),
            Entry::Root => self.place_below_root(path),
            Entry::Dir(base) => Ok(Place::Below(base, path)),
            Entry::ScratchDir(inode) => Ok(Place::Scratch(*inode, path)),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn place_below_root<'p>(&self, mut path: &'p str) -> Result<Place<'_, 'p>, Errno> {
        while let Some(rest) = path.strip_prefix("./") {
            path = rest.trim_start_matches('/');
        }
        match path {
            "" | "." => return Ok(Place::Root),
            "dev/null" => return Ok(Place::Null),
            "dev/http" if self.http.is_some() => return Ok(Place::Http),
            "dev/progress" if self.progress.is_some() => return Ok(Place::Progress),
            "dev/null/" => return Err(Errno::NOTDIR),
            _ => {}
        }
        // Also one below `/tmp`: it was granted by name.
        for mount in self.mounts.iter() {
            if let Some(rest) = mount.inside(path) {
                return Ok(Place::Below(&mount.dir, rest));
            }
        }
        match path.strip_prefix(SCRATCH).map(|rest| (rest, rest.trim_start_matches('/'))) {
            _ if self.scratch.is_none() => Err(Errno::ACCES),
            Some(("", _)) | Some((_, "")) => Ok(Place::Scratch(TOP, ".")),
            Some((slash, rest)) if slash.starts_with('/') => Ok(Place::Scratch(TOP, rest)),
            _ => Err(Errno::ACCES),
        }
    }
}
