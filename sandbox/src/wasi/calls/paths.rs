//! Opening, looking at and changing what has a path.

use wasmtime::{Caller, Linker};

use super::enter::{MODULE, enter, write_status};
use crate::wasi::context::Host;
use crate::wasi::entry::Access;
use crate::wasi::errno::Errno;
use crate::wasi::files::Open;
use crate::wasi::scratch::How;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    opening(linker)?;
    looking(linker)?;
    changing(linker)?;
    times(linker)
}

fn opening(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "path_open",
        |mut c: Caller<'_, Host>, dir: u32, lookup: u32, path: u32, length: u32, how: u32, rights: u64,
         _: u64, flags: u32, to: u32| {
            enter(&mut c, |m, wasi| {
                let path = m.path(path, length)?;
                let fd = wasi.files.open(dir, &path, open(lookup, how, rights, flags))?;
                m.write_u32(to, fd)
            })
        },
    )?;
    Ok(())
}

/// What the bits of `path_open` mean.
const fn open(lookup: u32, how: u32, rights: u64, flags: u32) -> Open {
    const FOLLOW: u32 = 1;
    const CREATE: u32 = 1;
    const DIRECTORY: u32 = 2;
    const EXCLUSIVE: u32 = 4;
    const TRUNCATE: u32 = 8;
    const READ: u64 = 1 << 1;
    const WRITE: u64 = 1 << 6;
    const APPEND: u32 = 1;
    Open {
        access: Access {
            read: rights & READ != 0,
            write: rights & WRITE != 0,
            append: flags & APPEND != 0,
        },
        how: How {
            create: how & CREATE != 0,
            exclusive: how & EXCLUSIVE != 0,
            truncate: how & TRUNCATE != 0,
        },
        directory: how & DIRECTORY != 0,
        follow: lookup & FOLLOW != 0,
    }
}

fn looking(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
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
                let (old, new) = (m.path(old, old_length)?, m.path(new, new_length)?);
                let (_, to_base, new) = wasi.files.in_scratch(to, &new)?;
                let (scratch, base, old) = wasi.files.in_scratch(from, &old)?;
                scratch.rename((base, old), (to_base, new))
            })
        },
    )?;
    Ok(())
}

/// Times of scratch files are what they are; libraries that copy files must not fail for it.
fn times(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_filestat_set_times",
        |mut c: Caller<'_, Host>, fd: u32, _: u64, _: u64, _: u32| {
            enter(&mut c, |_, wasi| wasi.files.is_scratch(fd).then_some(()).ok_or(Errno::ACCES))
        },
    )?;
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "path_filestat_set_times",
        |mut c: Caller<'_, Host>, dir: u32, _: u32, path: u32, length: u32, _: u64, _: u64, _: u32| {
            enter(&mut c, |m, wasi| {
                let path = m.path(path, length)?;
                let (scratch, base, path) = wasi.files.in_scratch(dir, &path)?;
                scratch.find(base, path).map(drop)
            })
        },
    )?;
    Ok(())
}
