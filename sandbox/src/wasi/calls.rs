//! The functions of `wasi_snapshot_preview1`.

use rustix::fs::{FileType, SeekFrom};
use wasmtime::{Caller, Linker};

use super::errno::Errno;
use super::files::{Entry, ROOT, Status, randomness};
use super::guest::Bytes;
use super::{Exit, Wasi, time};
use crate::instance::Host;

const MODULE: &str = "wasi_snapshot_preview1";

/// Runs `body` on the memory and the world of the calling instance.
fn enter(
    caller: &mut Caller<'_, Host>,
    body: impl FnOnce(&mut Bytes<'_>, &mut Wasi) -> Result<(), Errno>,
) -> i32 {
    let Some(memory) = caller.data().memory else { return Errno::code(Err(Errno::FAULT)) };
    let (bytes, host) = memory.data_and_store_mut(caller);
    Errno::code(body(&mut Bytes(bytes), &mut host.wasi))
}

/// Links all functions. Those that change files or reach a network are there, since the guest was
/// linked against them, and refuse.
pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    process(linker)?;
    descriptors(linker)?;
    transfers(linker)?;
    paths(linker)?;
    refusals(linker)
}

fn process(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    for name in ["environ_sizes_get", "args_sizes_get"] {
        linker.func_wrap(MODULE, name, |mut c: Caller<'_, Host>, count: u32, size: u32| {
            enter(&mut c, |m, _| m.write_u32(count, 0).and_then(|()| m.write_u32(size, 0)))
        })?;
    }
    for name in ["environ_get", "args_get"] {
        linker.func_wrap(MODULE, name, |_: u32, _: u32| 0_i32)?;
    }
    linker.func_wrap(MODULE, "clock_res_get", |mut c: Caller<'_, Host>, id: u32, to: u32| {
        enter(&mut c, |m, _| m.write_u64(to, time::resolution(id)?))
    })?;
    linker.func_wrap(
        MODULE,
        "clock_time_get",
        |mut c: Caller<'_, Host>, id: u32, _precision: u64, to: u32| {
            enter(&mut c, |m, _| m.write_u64(to, time::now(id)?))
        },
    )?;
    linker.func_wrap(MODULE, "random_get", |mut c: Caller<'_, Host>, to: u32, length: u32| {
        enter(&mut c, |m, _| randomness(m.slice(to, length)?))
    })?;
    linker.func_wrap(MODULE, "sched_yield", || 0_i32)?;
    linker.func_wrap(MODULE, "proc_exit", |status: i32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Exit(status)))
    })?;
    linker.func_wrap(
        MODULE,
        "poll_oneoff",
        |mut c: Caller<'_, Host>, list: u32, events: u32, count: u32, to: u32| {
            let mut over = false;
            let code = enter(&mut c, |m, wasi| {
                match time::wait(m, wasi, [list, events, count])? {
                    Some(reported) => m.write_u32(to, reported)?,
                    None => over = true,
                }
                Ok(())
            });
            if over { Err(wasmtime::Trap::Interrupt.into()) } else { Ok(code) }
        },
    )?;
    Ok(())
}

fn descriptors(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_close", |mut c: Caller<'_, Host>, fd: u32| {
        enter(&mut c, |_, wasi| wasi.files.close(fd))
    })?;
    linker.func_wrap(MODULE, "fd_fdstat_get", |mut c: Caller<'_, Host>, fd: u32, to: u32| {
        enter(&mut c, |m, wasi| {
            let kind = wasi.files.get(fd)?.status()?.kind;
            m.write(to, &[0; 8])?;
            m.write(to, &[kind_code(kind)])?;
            // All rights: what a descriptor can do depends on what it is, not on these.
            m.write(to + 8, &[0xff; 16])
        })
    })?;
    linker.func_wrap(MODULE, "fd_filestat_get", |mut c: Caller<'_, Host>, fd: u32, to: u32| {
        enter(&mut c, |m, wasi| write_status(m, to, &wasi.files.get(fd)?.status()?))
    })?;
    linker.func_wrap(MODULE, "fd_prestat_get", |mut c: Caller<'_, Host>, fd: u32, to: u32| {
        enter(&mut c, |m, _| {
            if fd != ROOT {
                return Err(Errno::BADF);
            }
            m.write_u32(to, 0)?;
            m.write_u32(to + 4, 1)
        })
    })?;
    linker.func_wrap(
        MODULE,
        "fd_prestat_dir_name",
        |mut c: Caller<'_, Host>, fd: u32, to: u32, length: u32| {
            enter(&mut c, |m, _| match (fd, length) {
                (ROOT, 1..) => m.write(to, b"/"),
                _ => Err(Errno::BADF),
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_readdir",
        |mut c: Caller<'_, Host>, fd: u32, to: u32, length: u32, cookie: u64, used: u32| {
            enter(&mut c, |m, wasi| {
                let count = read_dir(m.slice(to, length)?, wasi.files.get(fd)?, cookie)?;
                m.write_u32(used, count)
            })
        },
    )?;
    Ok(())
}

fn transfers(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_read",
        |mut c: Caller<'_, Host>, fd: u32, list: u32, count: u32, to: u32| {
            enter(&mut c, |m, wasi| {
                let read = read(m, wasi.files.get(fd)?, [list, count], None)?;
                m.write_u32(to, read)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_pread",
        |mut c: Caller<'_, Host>, fd: u32, list: u32, count: u32, offset: u64, to: u32| {
            enter(&mut c, |m, wasi| {
                let read = read(m, wasi.files.get(fd)?, [list, count], Some(offset))?;
                m.write_u32(to, read)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_write",
        |mut c: Caller<'_, Host>, fd: u32, list: u32, count: u32, to: u32| {
            enter(&mut c, |m, wasi| {
                let written = write(m, wasi, fd, [list, count])?;
                m.write_u32(to, written)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_seek",
        |mut c: Caller<'_, Host>, fd: u32, by: i64, whence: u32, to: u32| {
            enter(&mut c, |m, wasi| {
                let place = seek(wasi.files.get(fd)?, by, whence)?;
                m.write_u64(to, place)
            })
        },
    )?;
    linker.func_wrap(MODULE, "fd_tell", |mut c: Caller<'_, Host>, fd: u32, to: u32| {
        enter(&mut c, |m, wasi| {
            let place = seek(wasi.files.get(fd)?, 0, 1)?;
            m.write_u64(to, place)
        })
    })?;
    Ok(())
}

fn paths(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "path_open",
        |mut c: Caller<'_, Host>, dir: u32, lookup: u32, path: u32, length: u32, how: u32, rights: u64,
         _: u64, _: u32, to: u32| {
            enter(&mut c, |m, wasi| {
                const CREATE: u32 = 1;
                const DIRECTORY: u32 = 2;
                const TRUNCATE: u32 = 8;
                const WRITE: u64 = 1 << 6;
                const READ: u64 = 1 << 1;
                let path = m.path(path, length)?;
                let writes = how & (CREATE | TRUNCATE) != 0 || rights & WRITE != 0;
                let fd = wasi.files.open(dir, &path, lookup & 1 != 0);
                let fd = match fd {
                    // A name that could be made, were this not read-only.
                    Err(Errno::NOENT) if writes => return Err(Errno::ACCES),
                    fd => fd?,
                };
                let refused = match wasi.files.get(fd)? {
                    Entry::Null => how & DIRECTORY != 0,
                    Entry::Dir(..) | Entry::Root => writes && rights & READ == 0,
                    _ => writes || how & DIRECTORY != 0,
                };
                if refused {
                    wasi.files.close(fd)?;
                    return Err(if writes { Errno::ACCES } else { Errno::NOTDIR });
                }
                m.write_u32(to, fd)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_filestat_get",
        |mut c: Caller<'_, Host>, dir: u32, lookup: u32, path: u32, length: u32, to: u32| {
            enter(&mut c, |m, wasi| {
                let path = m.path(path, length)?;
                write_status(m, to, &wasi.files.stat(dir, &path, lookup & 1 != 0)?)
            })
        },
    )?;
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "path_readlink",
        |mut c: Caller<'_, Host>, dir: u32, path: u32, length: u32, to: u32, room: u32, used: u32| {
            enter(&mut c, |m, wasi| {
                let path = m.path(path, length)?;
                let target = wasi.files.read_link(dir, &path)?;
                let target = &target[..target.len().min(room as usize)];
                m.write(to, target)?;
                m.write_u32(used, u32::try_from(target.len()).map_err(|_| Errno::FAULT)?)
            })
        },
    )?;
    Ok(())
}

/// What changes files, and sockets.
fn refusals(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let denied = || Errno::code(Err(Errno::ACCES));
    let unsupported = || Errno::code(Err(Errno::NOTSUP));
    linker.func_wrap(MODULE, "fd_advise", |_: u32, _: u64, _: u64, _: u32| 0_i32)?;
    linker.func_wrap(MODULE, "fd_datasync", |_: u32| 0_i32)?;
    linker.func_wrap(MODULE, "fd_sync", |_: u32| 0_i32)?;
    linker.func_wrap(MODULE, "fd_fdstat_set_flags", |_: u32, _: u32| 0_i32)?;
    linker.func_wrap(MODULE, "fd_allocate", move |_: u32, _: u64, _: u64| denied())?;
    linker.func_wrap(MODULE, "fd_filestat_set_size", move |_: u32, _: u64| denied())?;
    linker.func_wrap(MODULE, "fd_filestat_set_times", move |_: u32, _: u64, _: u64, _: u32| {
        denied()
    })?;
    linker
        .func_wrap(MODULE, "fd_pwrite", move |_: u32, _: u32, _: u32, _: u64, _: u32| denied())?;
    for name in ["path_create_directory", "path_remove_directory", "path_unlink_file"] {
        linker.func_wrap(MODULE, name, move |_: u32, _: u32, _: u32| denied())?;
    }
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "path_filestat_set_times",
        move |_: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32| denied(),
    )?;
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "path_link",
        move |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| denied(),
    )?;
    linker.func_wrap(
        MODULE,
        "path_rename",
        move |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32| denied(),
    )?;
    linker.func_wrap(MODULE, "path_symlink", move |_: u32, _: u32, _: u32, _: u32, _: u32| {
        denied()
    })?;
    linker.func_wrap(MODULE, "sock_accept", move |_: u32, _: u32, _: u32| unsupported())?;
    linker.func_wrap(
        MODULE,
        "sock_recv",
        move |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32| unsupported(),
    )?;
    linker.func_wrap(MODULE, "sock_send", move |_: u32, _: u32, _: u32, _: u32, _: u32| {
        unsupported()
    })?;
    linker.func_wrap(MODULE, "sock_shutdown", move |_: u32, _: u32| unsupported())?;
    Ok(())
}

/// Fills the buffers in turn until one is not filled.
fn read(
    memory: &mut Bytes<'_>,
    entry: &mut Entry,
    [list, count]: [u32; 2],
    mut offset: Option<u64>,
) -> Result<u32, Errno> {
    let mut total = 0_u32;
    for index in 0..count {
        let buffer = memory.buffer(list, index)?;
        let room = buffer.len();
        let read = entry.read(buffer, offset)?;
        total = u32::try_from(read).ok().and_then(|n| total.checked_add(n)).ok_or(Errno::INVAL)?;
        offset = offset.map(|offset| offset.saturating_add(read as u64));
        if read < room {
            break;
        }
    }
    Ok(total)
}

/// Writes the buffers in turn until one is not written whole.
fn write(
    memory: &mut Bytes<'_>,
    wasi: &mut Wasi,
    fd: u32,
    [list, count]: [u32; 2],
) -> Result<u32, Errno> {
    let stream = match wasi.files.get(fd)? {
        Entry::Output(stream) => Some(*stream),
        Entry::Null => None,
        _ => return Err(Errno::BADF),
    };
    let mut total = 0_u32;
    for index in 0..count {
        let buffer = memory.buffer(list, index)?;
        let written = match stream {
            Some(stream) => wasi.sinks.write(stream, buffer)?,
            None => buffer.len(),
        };
        let added = u32::try_from(written).ok().and_then(|n| total.checked_add(n));
        total = added.ok_or(Errno::INVAL)?;
        if written < buffer.len() {
            break;
        }
    }
    Ok(total)
}

fn seek(entry: &Entry, by: i64, whence: u32) -> Result<u64, Errno> {
    let file = match entry {
        Entry::File(file) => file,
        Entry::Null => return Ok(0),
        _ => return Err(Errno::SPIPE),
    };
    let place = match whence {
        0 => SeekFrom::Start(u64::try_from(by).map_err(|_| Errno::INVAL)?),
        1 => SeekFrom::Current(by),
        2 => SeekFrom::End(by),
        _ => return Err(Errno::INVAL),
    };
    Ok(rustix::fs::seek(file, place)?)
}

/// Writes the entries from `cookie` on into `buffer`, the last one cut where it is full.
fn read_dir(buffer: &mut [u8], entry: &mut Entry, cookie: u64) -> Result<u32, Errno> {
    let start = usize::try_from(cookie).map_err(|_| Errno::INVAL)?;
    let mut used = 0;
    for (index, entry) in entry.list()?.iter().enumerate().skip(start) {
        let mut record = Vec::with_capacity(24 + entry.name.len());
        record.extend_from_slice(&(index as u64 + 1).to_le_bytes());
        record.extend_from_slice(&entry.inode.to_le_bytes());
        let length = u32::try_from(entry.name.len()).map_err(|_| Errno::NAMETOOLONG)?;
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&[kind_code(entry.kind), 0, 0, 0]);
        record.extend_from_slice(&entry.name);
        let fits = record.len().min(buffer.len() - used);
        buffer[used..used + fits].copy_from_slice(&record[..fits]);
        used += fits;
        if used == buffer.len() {
            break;
        }
    }
    u32::try_from(used).map_err(|_| Errno::INVAL)
}

const fn kind_code(kind: FileType) -> u8 {
    match kind {
        FileType::CharacterDevice => 2,
        FileType::Directory => 3,
        FileType::RegularFile => 4,
        FileType::Symlink => 7,
        _ => 0,
    }
}

fn write_status(memory: &mut Bytes<'_>, to: u32, status: &Status) -> Result<(), Errno> {
    let mut bytes = [0; 64];
    let fields = [
        (0, status.device),
        (8, status.inode),
        (24, status.links),
        (32, status.size),
        (40, status.modified_ns),
        (48, status.modified_ns),
        (56, status.modified_ns),
    ];
    for (at, value) in fields {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes[16] = kind_code(status.kind);
    memory.write(to, &bytes)
}
