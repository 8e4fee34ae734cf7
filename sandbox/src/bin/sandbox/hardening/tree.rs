//! Takes the machine's file tree away: the process's root is an empty directory, and each granted directory
//! a tree by itself, read-only, out of which no path leads.
//!
//! Needs a user namespace, or root. Where neither can be had, landlock alone forbids to open files; whether a
//! path exists can then be found out.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::fd::BorrowedFd;
use rustix::fs::AtFlags;
use rustix::io::Errno;

/// A directory that every system has. The empty root is put over it, and then in the place of everything.
const PLACE: &CStr = c"/proc";

/// Leaves the machine's file tree. `granted` stay open under their numbers.
///
/// # Errors
/// The kernel allows it not at all, or only in part.
pub(super) fn leave(granted: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    // Root needs no user namespace for what follows, and reaches directories of all users without.
    let is_root = unshare(libc::CLONE_NEWNS).is_ok();
    if !is_root {
        unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
    }
    let private = libc::MS_REC | libc::MS_PRIVATE;
    mount(c"none", c"/", None, private)?;
    let trees: Vec<_> = granted.iter().map(|dir| read_only_tree(*dir)).collect::<Result<_, _>>()?;
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    mount(c"none", PLACE, Some(c"tmpfs"), flags)?;
    change_root()?;
    for (dir, tree) in granted.iter().zip(&trees) {
        replace(*dir, tree)?;
    }
    if is_root { unshare(libc::CLONE_NEWUSER) } else { Ok(()) }
}

/// A copy of the mounts at and below `dir`, read-only, that is part of no tree: at its top `..` leads nowhere.
fn read_only_tree(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let path = rustix::fs::readlink(format!("/proc/self/fd/{}", dir.as_raw_fd()), Vec::new())?;
    let recursive = 0x8000_u32; // AT_RECURSIVE of linux/fcntl.h
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | recursive;
    #[expect(unsafe_code, reason = "no wrapper knows these calls")]
    // SAFETY: strings that end with a zero byte and a structure that outlive the calls; the new descriptor is
    // owned by nobody else.
    let tree = unsafe {
        let tree = libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags);
        let tree = OwnedFd::from_raw_fd(done(tree)?);
        let mut attributes: libc::mount_attr = std::mem::zeroed();
        attributes.attr_set = libc::MOUNT_ATTR_RDONLY
            | libc::MOUNT_ATTR_NOSUID
            | libc::MOUNT_ATTR_NODEV
            | libc::MOUNT_ATTR_NOEXEC;
        let flags = libc::AT_EMPTY_PATH as u32 | recursive;
        done(libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        ))?;
        tree
    };
    // Whatever the path led to meanwhile: this must be the directory that was opened.
    let identity = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    let same = identity(rustix::fs::statat(&tree, c"", AtFlags::EMPTY_PATH)?)
        == identity(rustix::fs::fstat(dir)?);
    if same { Ok(tree) } else { Err(Errno::STALE) }
}

/// Makes what is mounted at [`PLACE`] the root, and lets go of all else.
fn change_root() -> Result<(), Errno> {
    rustix::process::chdir(PLACE)?;
    #[expect(unsafe_code, reason = "no wrapper knows these calls")]
    // SAFETY: strings that end with a zero byte. The old root is put over the new one, and taken off it.
    unsafe {
        done(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))?;
        done(libc::umount2(c".".as_ptr(), libc::MNT_DETACH).into())?;
    }
    rustix::process::chdir(c"/")
}

/// Puts `tree` behind the number of `dir`, for all who know it by that.
fn replace(dir: BorrowedFd<'_>, tree: &OwnedFd) -> Result<(), Errno> {
    #[expect(unsafe_code, reason = "the owner of the number keeps it")]
    // SAFETY: both are open; the number stays open, and is still that of the same directory.
    let replaced = unsafe { libc::dup3(tree.as_raw_fd(), dir.as_raw_fd(), libc::O_CLOEXEC) };
    done(replaced.into()).map(drop)
}

fn unshare(flags: i32) -> Result<(), Errno> {
    #[expect(unsafe_code, reason = "unsharing files would be unsafe, which no flag here does")]
    // SAFETY: takes integers only.
    done(unsafe { libc::unshare(flags) }.into()).map(drop)
}

fn mount(
    source: &CStr,
    target: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
) -> Result<(), Errno> {
    let kind = kind.map_or(std::ptr::null(), CStr::as_ptr);
    let (source, target, data) = (source.as_ptr(), target.as_ptr(), std::ptr::null());
    #[expect(unsafe_code, reason = "no wrapper knows this call")]
    // SAFETY: null, or strings that end with a zero byte.
    done(unsafe { libc::mount(source, target, kind, flags, data) }.into()).map(drop)
}

/// The result of a system call.
fn done(result: i64) -> Result<i32, Errno> {
    match i32::try_from(result) {
        Ok(result @ 0..) => Ok(result),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}
