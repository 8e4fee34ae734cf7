//! The functions of `wasi_snapshot_preview1`.

mod enter;
mod paths;
mod transfers;

use wasmtime::{Caller, Linker};

use self::enter::{MODULE, enter, kind_code, write_status};
use crate::wasi::context::{Exit, Host};
use crate::wasi::entry::DirEntry;
use crate::wasi::errno::Errno;
use crate::wasi::files::ROOT;
use crate::wasi::host::randomness;
use crate::wasi::time;

/// Links all functions. Those that reach a network are there, since the guest was linked against them,
/// and refuse.
pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    process(linker)?;
    descriptors(linker)?;
    transfers::link(linker)?;
    paths::link(linker)?;
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
            let kind = wasi.files.status(fd)?.kind;
            m.write(to, &[0; 8])?;
            m.write(to, &[kind_code(kind)])?;
            // All rights: what a descriptor can do depends on what it is, not on these.
            m.write(to + 8, &[0xff; 16])
        })
    })?;
    linker.func_wrap(MODULE, "fd_filestat_get", |mut c: Caller<'_, Host>, fd: u32, to: u32| {
        enter(&mut c, |m, wasi| write_status(m, to, &wasi.files.status(fd)?))
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
                let count = read_dir(m.slice(to, length)?, wasi.files.list(fd)?, cookie)?;
                m.write_u32(used, count)
            })
        },
    )?;
    Ok(())
}

/// What is of no use to Python, and sockets.
fn refusals(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let denied = || Errno::code(Err(Errno::ACCES));
    let unsupported = || Errno::code(Err(Errno::NOTSUP));
    linker.func_wrap(MODULE, "fd_advise", |_: u32, _: u64, _: u64, _: u32| 0_i32)?;
    linker.func_wrap(MODULE, "fd_datasync", |_: u32| 0_i32)?;
    linker.func_wrap(MODULE, "fd_sync", |_: u32| 0_i32)?;
    linker.func_wrap(MODULE, "fd_fdstat_set_flags", |_: u32, _: u32| 0_i32)?;
    linker.func_wrap(MODULE, "fd_allocate", move |_: u32, _: u64, _: u64| denied())?;
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "path_link",
        move |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| denied(),
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

/// Writes the entries from `cookie` on into `buffer`, the last one cut where it is full.
fn read_dir(buffer: &mut [u8], entries: &[DirEntry], cookie: u64) -> Result<u32, Errno> {
    let start = usize::try_from(cookie).map_err(|_| Errno::INVAL)?;
    let mut used = 0;
    for (index, entry) in entries.iter().enumerate().skip(start) {
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
