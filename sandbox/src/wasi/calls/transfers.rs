//! Reading, writing and places in files.

use wasmtime::{Caller, Linker};

use super::enter::{MODULE, enter};
use crate::wasi::context::{Host, Wasi};
use crate::wasi::errno::Errno;

/// Buffers of one call, as of Linux.
const BUFFERS: u32 = 1024;
/// Bytes that one call moves: it reports fewer than it was asked for, and the caller comes again. Without a
/// bound, buffers that overlap would be written for minutes.
const TRANSFER_BYTES: usize = 64 << 20;

/// Moves the bytes of one buffer.
type Move = fn(&mut Wasi, u32, &mut [u8], Option<u64>) -> Result<usize, Errno>;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    for (name, one) in [("fd_read", Wasi::read as Move), ("fd_write", Wasi::write)] {
        linker.func_wrap(
            MODULE,
            name,
            move |mut c: Caller<'_, Host>, fd: u32, list: u32, count: u32, to: u32| {
                transfer(&mut c, one, fd, None, [list, count, to])
            },
        )?;
    }
    for (name, one) in [("fd_pread", Wasi::read as Move), ("fd_pwrite", Wasi::write)] {
        linker.func_wrap(
            MODULE,
            name,
            move |mut c: Caller<'_, Host>, fd: u32, list: u32, count: u32, offset: u64, to: u32| {
                transfer(&mut c, one, fd, Some(offset), [list, count, to])
            },
        )?;
    }
    places(linker)
}

fn places(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_filestat_set_size",
        |mut c: Caller<'_, Host>, fd: u32, size: u64| {
            enter(&mut c, |_, wasi| wasi.files.resize(fd, size))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_seek",
        |mut c: Caller<'_, Host>, fd: u32, by: i64, whence: u32, to: u32| {
            enter(&mut c, |m, wasi| {
                m.slice(to, 8)?;
                m.write_u64(to, wasi.files.seek(fd, by, whence)?)
            })
        },
    )?;
    linker.func_wrap(MODULE, "fd_tell", |mut c: Caller<'_, Host>, fd: u32, to: u32| {
        enter(&mut c, |m, wasi| m.write_u64(to, wasi.files.seek(fd, 0, 1)?))
    })?;
    Ok(())
}

/// Moves the buffers listed at `list` in turn until one is not moved whole, and writes to `to` how many
/// bytes were. Once some were, no error is reported any more: the next call meets it.
fn transfer(
    caller: &mut Caller<'_, Host>,
    one: Move,
    fd: u32,
    offset: Option<u64>,
    [list, count, to]: [u32; 3],
) -> i32 {
    enter(caller, |memory, wasi| {
        wasi.files.look(fd)?;
        if count > BUFFERS {
            return Err(Errno::INVAL);
        }
        // Before anything moves: a byte that is read is gone.
        memory.slice(to, 4)?;
        for index in 0..count {
            memory.buffer(list, index)?;
        }
        if count == 0 {
            one(wasi, fd, &mut [], offset)?;
        }
        let mut total = 0;
        for index in 0..count {
            // What is read may have replaced the list itself.
            let Ok(buffer) = memory.buffer(list, index) else { break };
            let (wanted, room) = (buffer.len(), buffer.len().min(TRANSFER_BYTES - total));
            let at = offset.map(|offset| offset.saturating_add(total as u64));
            match one(wasi, fd, &mut buffer[..room], at) {
                Ok(moved) => {
                    total += moved;
                    if moved < wanted {
                        break;
                    }
                }
                Err(_) if total > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        memory.write_u32(to, u32::try_from(total).map_err(|_| Errno::INVAL)?)
    })
}
