//! Opening, looking at and changing what has a path.

use wasmtime::{Caller, Linker};

use super::enter::{MODULE, enter, flags, write_status};
use crate::wasi::context::Host;
use crate::wasi::entry::Access;
use crate::wasi::errno::Errno;
use crate::wasi::files::Open;
use crate::wasi::scratch::{How, now};

/// A symbolic link at the end of a path is followed.
const FOLLOW: u32 = 1;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    opening(linker)?;
    looking(linker)?;
    changing(linker)?;
    times(linker)?;
    links(linker)
}

fn opening(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "path_open",
        |mut c: Caller<'_, Host>, dir: u32, lookup: u32, path: u32, length: u32, how: u32, rights: u64,
         _: u64, flags: u32, to: u32| {
            enter(&mut c, |m, wasi| {
                let open = open(lookup, how, rights, flags)?;
                m.slice(to, 4)?;
                let path = m.path(path, length)?;
                m.write_u32(to, wasi.files.open(dir, &path, open)?)
            })
        },
    )?;
    Ok(())
}

/// What the bits of `path_open` mean.
fn open(lookup: u32, how: u32, rights: u64, descriptor: u32) -> Result<Open, Errno> {
    const CREATE: u32 = 1;
    const DIRECTORY: u32 = 2;
    const EXCLUSIVE: u32 = 4;
    const TRUNCATE: u32 = 8;
    const READ: u64 = 1 << 1;
    const WRITE: u64 = 1 << 6;
    const APPEND: u32 = 1;
    const NONBLOCKING: u32 = 4;
    flags(lookup, FOLLOW)?;
    flags(how, CREATE | DIRECTORY | EXCLUSIVE | TRUNCATE)?;
    flags(descriptor, 0x1f)?;
    let write = rights & WRITE != 0;
    Ok(Open {
        access: Access {
            read: rights & READ != 0 || !write,
            write,
            append: descriptor & APPEND != 0,
            nonblocking: descriptor & NONBLOCKING != 0,
        },
        how: How {
            create: how & CREATE != 0,
            exclusive: how & EXCLUSIVE != 0,
            truncate: how & TRUNCATE != 0,
            directory: how & DIRECTORY != 0,
            write,
        },
        follow: lookup & FOLLOW != 0,
    })
}

fn looking(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "path_filestat_get",
        |mut c: Caller<'_, Host>, dir: u32, lookup: u32, path: u32, length: u32, to: u32| {
            enter(&mut c, |m, wasi| {
                flags(lookup, FOLLOW)?;
                let path = m.path(path, length)?;
                write_status(m, to, &wasi.files.stat(dir, &path, lookup & FOLLOW != 0)?)
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

/// What only the scratch directory lets happen.
fn changing(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "path_create_directory",
        |mut c: Caller<'_, Host>, dir: u32, path: u32, length: u32| {
            enter(&mut c, |m, wasi| {
                let path = m.path(path, length)?;
                let (scratch, base, path) = wasi.files.in_scratch(dir, &path)?;
                scratch.make_dir(base, path)
            })
        },
    )?;
    for (name, is_dir) in [("path_remove_directory", true), ("path_unlink_file", false)] {
        linker.func_wrap(
            MODULE,
            name,
            move |mut c: Caller<'_, Host>, dir: u32, path: u32, length: u32| {
                enter(&mut c, |m, wasi| {
                    let path = m.path(path, length)?;
                    let (scratch, base, path) = wasi.files.in_scratch(dir, &path)?;
                    scratch.remove(base, path, is_dir)
                })
            },
        )?;
    }
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "path_rename",
        |mut c: Caller<'_, Host>, from: u32, old: u32, old_length: u32, to: u32, new: u32, new_length: u32| {
            enter(&mut c, |m, wasi| {
                wasi.files.is_dir(from)?;
                wasi.files.is_dir(to)?;
                let (old, new) = (m.path(old, old_length)?, m.path(new, new_length)?);
                let (_, from, old) = wasi.files.in_scratch(from, &old)?;
                let (scratch, to, new) = wasi.files.in_scratch(to, &new)?;
                scratch.rename((from, old), (to, new))
            })
        },
    )?;
    Ok(())
}

fn times(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "fd_filestat_set_times",
        |mut c: Caller<'_, Host>, fd: u32, accessed: u64, modified: u64, which: u32| {
            enter(&mut c, |_, wasi| {
                let (accessed, modified) = new_times(accessed, modified, which)?;
                let (scratch, inode) = wasi.files.opened_in_scratch(fd)?;
                scratch.set_times(inode, accessed, modified)
            })
        },
    )?;
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "path_filestat_set_times",
        |mut c: Caller<'_, Host>, dir: u32, lookup: u32, path: u32, length: u32, accessed: u64, modified: u64,
         which: u32| {
            enter(&mut c, |m, wasi| {
                flags(lookup, FOLLOW)?;
                let (accessed, modified) = new_times(accessed, modified, which)?;
                let path = m.path(path, length)?;
                let (scratch, base, path) = wasi.files.in_scratch(dir, &path)?;
                // As on Linux: nobody looks whether there is something to leave as it is.
                if accessed.or(modified).is_none() {
                    return Ok(());
                }
                let inode = scratch.find(base, path)?;
                scratch.set_times(inode, accessed, modified)
            })
        },
    )?;
    Ok(())
}

/// Which times are set, and to what.
fn new_times(
    accessed: u64,
    modified: u64,
    which: u32,
) -> Result<(Option<u64>, Option<u64>), Errno> {
    flags(which, 0xf)?;
    let one = |time, bits| match bits & 3 {
        0 => Ok(None),
        1 => Ok(Some(time)),
        2 => Ok(Some(now())),
        _ => Err(Errno::INVAL),
    };
    Ok((one(accessed, which)?, one(modified, which >> 2)?))
}

/// Nothing here has two names.
fn links(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "path_link",
        |mut c: Caller<'_, Host>, from: u32, _: u32, old: u32, old_length: u32, to: u32, new: u32, new_length: u32| {
            enter(&mut c, |m, wasi| {
                wasi.files.is_dir(from)?;
                wasi.files.is_dir(to)?;
                m.path(old, old_length)?;
                m.path(new, new_length)?;
                Err(Errno::ACCES)
            })
        },
    )?;
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "path_symlink",
        |mut c: Caller<'_, Host>, target: u32, target_length: u32, dir: u32, path: u32, length: u32| {
            enter(&mut c, |m, wasi| {
                wasi.files.is_dir(dir)?;
                m.path(target, target_length)?;
                m.path(path, length)?;
                Err(Errno::ACCES)
            })
        },
    )?;
    Ok(())
}
