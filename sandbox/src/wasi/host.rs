//! Files of the host: read-only, below granted directories, resolved by the kernel.
//!
//! Every path goes through `openat2` with `RESOLVE_BENEATH`: no `..`, absolute path or symbolic link
//! leads out of a granted directory, whatever else runs at the time.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, Stat};
use rustix::io::Errno as HostErrno;

use super::entry::{DirEntry, Status, Taker, Times};
use super::errno::Errno;

/// How often a path is tried again that the kernel could not resolve because something on the machine was
/// renamed meanwhile.
const RENAMES: u32 = 100;

/// Room for the kernel's answer about a directory: at least one entry of the longest name, and no more
/// than it takes to be quick.
const LEAST_LISTING: usize = 512;
const MOST_LISTING: usize = 32 << 10;

/// What is found at a path.
pub(crate) enum Opened {
    File(OwnedFd),
    Dir(OwnedFd),
}

/// Opens `path` below `base` for reading.
pub(crate) fn open(base: &OwnedFd, path: &str, follow: bool) -> Result<Opened, Errno> {
    // Not to wait for the other end of a named pipe.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open_beneath(base, path, flags, follow)?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(Opened::File(file)),
        FileType::Directory => Ok(Opened::Dir(file)),
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
    if status(&link)?.kind != FileType::Symlink {
        return Err(Errno::INVAL);
    }
    Ok(rustix::fs::readlinkat(link, "", Vec::new())?.into_bytes())
}

/// Gives `take` the entries of `dir` from the cookie `from` on, for an answer of `room` bytes. Cookies are
/// the kernel's own, so that nothing is kept between two calls.
///
/// Reads with `getdents64` alone: the convenient way opens the directory once more, by a call that the
/// system call filter forbids.
pub(crate) fn list(dir: &OwnedFd, from: u64, room: usize, take: Taker<'_>) -> Result<(), Errno> {
    rustix::fs::seek(dir, SeekFrom::Start(from))?;
    let mut buffer = Vec::with_capacity(room.clamp(LEAST_LISTING, MOST_LISTING));
    let mut names = RawDir::new(dir.as_fd(), buffer.spare_capacity_mut());
    while let Some(entry) = names.next() {
        let entry = entry?;
        let (inode, kind, next) = (entry.ino(), entry.file_type(), entry.next_entry_cookie());
        if !take(DirEntry { name: entry.file_name().to_bytes(), inode, kind, next }) {
            break;
        }
    }
    Ok(())
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
    Ok(settled(|| rustix::fs::openat2(base, path, flags, Mode::empty(), resolve))?)
}

/// Asks again where the kernel says that the tree changed under it.
fn settled<T>(mut ask: impl FnMut() -> Result<T, HostErrno>) -> Result<T, HostErrno> {
    let mut answer = ask();
    for _ in 0..RENAMES {
        match answer {
            Err(HostErrno::AGAIN | HostErrno::INTR) => answer = ask(),
            _ => break,
        }
    }
    answer
}

fn status_of(stat: &Stat) -> Status {
    Status {
        device: stat.st_dev,
        inode: stat.st_ino,
        kind: FileType::from_raw_mode(stat.st_mode),
        links: stat.st_nlink,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        times: Times {
            accessed: nanoseconds(stat.st_atime, stat.st_atime_nsec),
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        },
    }
}

/// A time before 1970 only looks odd to the guest.
#[expect(clippy::cast_sign_loss, reason = "as said")]
const fn nanoseconds(seconds: i64, more: u64) -> u64 {
    (seconds as u64).wrapping_mul(1_000_000_000).wrapping_add(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_could_not_resolve_is_asked_again_and_not_endlessly() {
        let mut asked = 0;
        let third = settled(|| {
            asked += 1;
            if asked < 3 { Err(HostErrno::AGAIN) } else { Ok(asked) }
        });
        assert_eq!(third, Ok(3));
        let mut asked = 0;
        let never = settled(|| {
            asked += 1;
            Err::<(), _>(HostErrno::AGAIN)
        });
        assert_eq!((never, asked), (Err(HostErrno::AGAIN), RENAMES + 1));
        assert_eq!(settled(|| Err::<(), _>(HostErrno::NOENT)), Err(HostErrno::NOENT));
    }
}
