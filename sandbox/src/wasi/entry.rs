//! What a descriptor of the guest is, and what the guest learns about a file.

use rustix::fd::OwnedFd;
use rustix::fs::FileType;

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
    /// A regular file of the host.
    File(OwnedFd),
    /// A directory of the host, and its entries once they were asked for.
    Dir(OwnedFd, Option<Vec<DirEntry>>),
    /// A file of the scratch directory.
    ScratchFile(ScratchFile),
    /// A directory there, and its entries once they were asked for.
    ScratchDir(u64, Option<Vec<DirEntry>>),
}

/// A file of the scratch directory, open.
#[derive(Debug)]
pub(crate) struct ScratchFile {
    pub(crate) inode: u64,
    /// Where the next read or write begins.
    pub(crate) place: u64,
    pub(crate) access: Access,
}

/// What a descriptor is opened for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Access {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
}

/// One name in a directory.
#[derive(Debug)]
pub(crate) struct DirEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) inode: u64,
    pub(crate) kind: FileType,
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
    /// Of a file that the host does not have.
    pub(crate) const fn virtual_of(kind: FileType) -> Self {
        Self { device: 0, inode: 0, kind, links: 1, size: 0, modified_ns: 0 }
    }
}
