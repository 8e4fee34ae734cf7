//! What a descriptor is, and what is said about it rather than read or written.

use wasmtime::{Caller, Linker};

use super::enter::{MODULE, enter, flags, kind_code, write_status};
use crate::wasi::context::{Host, Wasi};
use crate::wasi::entry::{Access, DirEntry, Entry};
use crate::wasi::errno::Errno;
use crate::wasi::files::ROOT;
use crate::wasi::guest::Bytes;

/// The flags of a descriptor.
const APPEND: u32 = 1;
const NONBLOCKING: u32 = 4;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_close", |mut c: Caller<'_, Host>, fd: u32| {
        enter(&mut c, |_, wasi| wasi.files.close(fd))
    })?;
    linker.func_wrap(MODULE, "fd_renumber", |mut c: Caller<'_, Host>, from: u32, to: u32| {
        enter(&mut c, |_, wasi| wasi.files.renumber(from, to))
    })?;
    linker.func_wrap(MODULE, "fd_fdstat_get", |mut c: Caller<'_, Host>, fd: u32, to: u32| {
        enter(&mut c, |m, wasi| write_descriptor(m, to, wasi, fd))
    })?;
    linker.func_wrap(MODULE, "fd_filestat_get", |mut c: Caller<'_, Host>, fd: u32, to: u32| {
        enter(&mut c, |m, wasi| write_status(m, to, &wasi.files.status(fd)?))
    })?;
    linker.func_wrap(
        MODULE,
        "fd_readdir",
        |mut c: Caller<'_, Host>, fd: u32, to: u32, length: u32, cookie: u64, used: u32| {
            enter(&mut c, |m, wasi| {
                m.slice(used, 4)?;
                let count = read_dir(m.slice(to, length)?, wasi, fd, cookie)?;
                m.write_u32(used, count)
            })
        },
    )?;
    root(linker)?;
    hints(linker)
}

/// The one directory that is open from the start.
fn root(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_prestat_get", |mut c: Caller<'_, Host>, fd: u32, to: u32| {
        enter(&mut c, |m, wasi| match (fd, wasi.files.look(fd)?) {
            (ROOT, Entry::Root) => m.write(to, &[0, 0, 0, 0, 1, 0, 0, 0]),
            _ => Err(Errno::BADF),
        })
    })?;
    linker.func_wrap(
        MODULE,
        "fd_prestat_dir_name",
        |mut c: Caller<'_, Host>, fd: u32, to: u32, length: u32| {
            enter(&mut c, |m, wasi| match (fd, wasi.files.look(fd)?) {
                (ROOT, Entry::Root) if length == 0 => Err(Errno::NAMETOOLONG),
                (ROOT, Entry::Root) => m.write(to, b"/"),
                _ => Err(Errno::NOTDIR),
            })
        },
    )?;
    Ok(())
}

/// What changes little or nothing here, but is an error all the same for what is no file.
fn hints(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_advise",
        |mut c: Caller<'_, Host>, fd: u32, _: u64, _: u64, advice: u32| {
            enter(&mut c, |_, wasi| match advice {
                0..=5 => wasi.files.file(fd).map(drop),
                _ => Err(Errno::INVAL),
            })
        },
    )?;
    for name in ["fd_datasync", "fd_sync"] {
        linker.func_wrap(MODULE, name, |mut c: Caller<'_, Host>, fd: u32| {
            enter(&mut c, |_, wasi| match wasi.files.look(fd)? {
                Entry::Input | Entry::Output(_) => Err(Errno::INVAL),
                _ => Ok(()),
            })
        })?;
    }
    linker.func_wrap(
        MODULE,
        "fd_fdstat_set_flags",
        |mut c: Caller<'_, Host>, fd: u32, bits: u32| {
            enter(&mut c, |_, wasi| {
                flags(bits, 0x1f)?;
                let access = &mut wasi.files.file(fd)?.access;
                flags(bits, APPEND | NONBLOCKING)?;
                access.append = bits & APPEND != 0;
                access.nonblocking = bits & NONBLOCKING != 0;
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_set_rights",
        |mut c: Caller<'_, Host>, fd: u32, _: u64, _: u64| {
            enter(&mut c, |_, wasi| match wasi.files.look(fd)? {
                Entry::Input | Entry::Output(_) => Err(Errno::BADF),
                _ => Err(Errno::NOTSUP),
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_allocate",
        |mut c: Caller<'_, Host>, fd: u32, _: u64, _: u64| {
            enter(&mut c, |_, wasi| wasi.files.file(fd).and(Err(Errno::NOTSUP)))
        },
    )?;
    Ok(())
}

/// Writes what kind of descriptor `fd` is. Its rights are all there are, but that a file is opened for
/// reading, for writing, or for both; what else it can do depends on what it is.
fn write_descriptor(m: &mut Bytes<'_>, to: u32, wasi: &Wasi, fd: u32) -> Result<(), Errno> {
    const READ: u64 = 1 << 1;
    const WRITE: u64 = 1 << 6;
    let mut bytes = [0; 24];
    bytes[0] = kind_code(wasi.files.status(fd)?.kind);
    let mut rights = u64::MAX;
    if let Entry::File(file) = wasi.files.look(fd)? {
        let Access { read, write, append, nonblocking } = file.access;
        bytes[2] = u8::from(append) | u8::from(nonblocking) << 2;
        rights &= if read { u64::MAX } else { !READ };
        rights &= if write { u64::MAX } else { !WRITE };
    }
    bytes[8..16].copy_from_slice(&rights.to_le_bytes());
    bytes[16..].copy_from_slice(&u64::MAX.to_le_bytes());
    m.write(to, &bytes)
}

/// Writes the entries from `cookie` on into `buffer`, the last one cut where it is full.
fn read_dir(buffer: &mut [u8], wasi: &Wasi, fd: u32, cookie: u64) -> Result<u32, Errno> {
    let (room, mut used) = (buffer.len(), 0);
    let mut put = |bytes: &[u8]| {
        let fits = bytes.len().min(buffer.len() - used);
        buffer[used..used + fits].copy_from_slice(&bytes[..fits]);
        used += fits;
        used < buffer.len()
    };
    wasi.files.list(fd, cookie, room, &mut |entry: DirEntry<'_>| {
        let mut head = [0; 24];
        head[..8].copy_from_slice(&entry.next.to_le_bytes());
        head[8..16].copy_from_slice(&entry.inode.to_le_bytes());
        // A name is far shorter than 4 GiB.
        head[16..20].copy_from_slice(&entry.name.len().to_le_bytes()[..4]);
        head[20] = kind_code(entry.kind);
        put(&head) && put(entry.name)
    })?;
    u32::try_from(used).map_err(|_| Errno::INVAL)
}
