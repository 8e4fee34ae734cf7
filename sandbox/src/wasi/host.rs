//! Files of the host: read-only, below granted directories, resolved by the kernel.
//!
//! Every path goes through `openat2` with `RESOLVE_BENEATH`: no `..`, absolute path or symbolic link
//! leads out of a granted directory, whatever else runs at the time.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, Stat};

use super::entry::{DirEntry, Entry, Status};
use super::errno::Errno;

/// Opens `path` below `base` for reading.
pub(crate) fn open(base: &OwnedFd, path: &str, follow: bool) -> Result<Entry, Errno> {
    // Not to wait for the other end of a named pipe.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open_beneath(base, path, flags, follow)?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(Entry::File(file)),
        FileType::Directory => Ok(Entry::Dir(file, None)),
        _ => Err(Errno::ACCES),
    }
}

/// The status of `path` below `base`.
pub(crate) fn stat(base: &OwnedFd, path: &str, follow: bool) -> Result<Status, Errno> {
    status(&open_beneath(base, path, OFlags::PATH, follow)?)
}

/// The status of what is open.
pub(crate) fn status(file: &OwnedFd) -> Result<Status, Errno> {
    Ok(status_of(&rustix::fs::fstat(file)?))
}

/// Where the symbolic link `path` below `base` points to.
pub(crate) fn read_link(base: &OwnedFd, path: &str) -> Result<Vec<u8>, Errno> {
    let link = open_beneath(base, path, OFlags::PATH, false)?;
    Ok(rustix::fs::readlinkat(link, "", Vec::new())?.into_bytes())
}

/// Reads with `getdents64` alone: the convenient way opens the directory once more, by a call that the
/// system call filter forbids.
pub(crate) fn list(dir: &OwnedFd) -> Result<Vec<DirEntry>, Errno> {
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

fn open_beneath(base: &OwnedFd, path: &str, flags: OFlags, follow: bool) -> Result<OwnedFd, Errno> {
    let mut flags = flags | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !follow);
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let path = if path.is_empty() { "." } else { path };
    Ok(rustix::fs::openat2(base, path, flags, Mode::empty(), resolve)?)
}

#[expect(
    clippy::cast_sign_loss,
    reason = "sizes are not negative; a time before 1970 only looks odd to the guest"
)]
fn status_of(stat: &Stat) -> Status {
    Status {
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
