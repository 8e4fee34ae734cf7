//! Reading, writing and places in files.

use wasmtime::{Caller, Linker};

use super::enter::{MODULE, enter};
use crate::wasi::context::{Host, Wasi};
use crate::wasi::entry::Entry;
use crate::wasi::errno::Errno;
use crate::wasi::guest::Bytes;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    reads(linker)?;
    writes(linker)?;
    places(linker)
}

fn reads(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_read",
        |mut c: Caller<'_, Host>, fd: u32, list: u32, count: u32, to: u32| {
            enter(&mut c, |m, wasi| {
                let read = read(m, wasi, fd, [list, count], None)?;
                m.write_u32(to, read)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_pread",
        |mut c: Caller<'_, Host>, fd: u32, list: u32, count: u32, offset: u64, to: u32| {
            enter(&mut c, |m, wasi| {
                let read = read(m, wasi, fd, [list, count], Some(offset))?;
                m.write_u32(to, read)
            })
        },
    )?;
    Ok(())
}

fn writes(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_write",
        |mut c: Caller<'_, Host>, fd: u32, list: u32, count: u32, to: u32| {
            enter(&mut c, |m, wasi| {
                let written = write(m, wasi, fd, [list, count], None)?;
                m.write_u32(to, written)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_pwrite",
        |mut c: Caller<'_, Host>, fd: u32, list: u32, count: u32, offset: u64, to: u32| {
            enter(&mut c, |m, wasi| {
                let written = write(m, wasi, fd, [list, count], Some(offset))?;
                m.write_u32(to, written)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_filestat_set_size",
        |mut c: Caller<'_, Host>, fd: u32, size: u64| {
            enter(&mut c, |_, wasi| wasi.files.resize(fd, size))
        },
    )?;
    Ok(())
}

fn places(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_seek",
        |mut c: Caller<'_, Host>, fd: u32, by: i64, whence: u32, to: u32| {
            enter(&mut c, |m, wasi| m.write_u64(to, wasi.files.seek(fd, by, whence)?))
        },
    )?;
    linker.func_wrap(MODULE, "fd_tell", |mut c: Caller<'_, Host>, fd: u32, to: u32| {
        enter(&mut c, |m, wasi| m.write_u64(to, wasi.files.seek(fd, 0, 1)?))
    })?;
    Ok(())
}

/// Fills the buffers in turn until one is not filled.
fn read(
    memory: &mut Bytes<'_>,
    wasi: &mut Wasi,
    fd: u32,
    [list, count]: [u32; 2],
    mut offset: Option<u64>,
) -> Result<u32, Errno> {
    // A wrong descriptor is an error also where nothing is to be read.
    wasi.files.get(fd)?;
    let mut total = 0_u32;
    for index in 0..count {
        let buffer = memory.buffer(list, index)?;
        let room = buffer.len();
        let read = wasi.files.read(fd, buffer, offset)?;
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
    mut offset: Option<u64>,
) -> Result<u32, Errno> {
    wasi.files.get(fd)?;
    let mut total = 0_u32;
    for index in 0..count {
        let buffer = memory.buffer(list, index)?;
        let written = match wasi.files.get(fd)? {
            Entry::Output(stream) => wasi.sinks.write(*stream, buffer),
            Entry::Null => Ok(buffer.len()),
            _ => wasi.files.write(fd, buffer, offset),
        };
        let written = match written {
            Ok(written) => written,
            // What is written is said first; the next call meets the error.
            Err(_) if total > 0 => break,
            Err(errno) => return Err(errno),
        };
        let added = u32::try_from(written).ok().and_then(|n| total.checked_add(n));
        total = added.ok_or(Errno::INVAL)?;
        offset = offset.map(|offset| offset.saturating_add(written as u64));
        if written < buffer.len() {
            break;
        }
    }
    Ok(total)
}
