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
    /// `/dev/http`.
    Http,
    /// `/dev/progress`.
    Progress,
    /// A regular file.
    File(OpenFile),
    /// A directory of the host.
    Dir(OwnedFd),
    /// A directory of the scratch directory.
    ScratchDir(u64),
}

/// A regular file, open.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) body: Body,
    /// Where the next read or write begins.
    pub(crate) place: u64,
    pub(crate) access: Access,
}

/// Where a file's bytes are.
#[derive(Debug)]
pub(crate) enum Body {
    /// In a file of the host.
    Host(OwnedFd),
    /// In the scratch directory, under this inode number.
    Scratch(u64),
}

/// What a descriptor is opened for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Access {
    pub(crate) read: bool,
    pub(crate) write: bool,
    /// Every write goes to the end.
    pub(crate) append: bool,
    /// Nothing waits here; the guest may still ask whether it said so.
    pub(crate) nonblocking: bool,
}

/// One name in a directory.
#[derive(Debug)]
pub(crate) struct DirEntry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) inode: u64,
    pub(crate) kind: FileType,
    /// The cookie of the entry after it.
    pub(crate) next: u64,
}

/// Takes the entries of a directory one by one, until it wants no more.
pub(crate) type Taker<'a> = &'a mut dyn FnMut(DirEntry<'_>) -> bool;

/// What a guest learns about a file. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) kind: FileType,
    pub(crate) links: u64,
    pub(crate) size: u64,
    pub(crate) times: Times,
}

/// When a file was last read, written, and changed in any way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    pub(crate) accessed: u64,
    pub(crate) modified: u64,
    pub(crate) changed: u64,
}

impl Status {
    /// Of a file that the host does not have.
    pub(crate) const fn virtual_of(kind: FileType) -> Self {
        let times = Times { accessed: 0, modified: 0, changed: 0 };
        Self { device: 0, inode: 0, kind, links: 1, size: 0, times }
    }
}
