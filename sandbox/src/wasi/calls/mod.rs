//! The functions of `wasi_snapshot_preview1`, and [`tries`].

mod descriptors;
mod enter;
mod paths;
mod transfers;
mod tries;

use wasmtime::{Caller, Linker};

use self::enter::{MODULE, enter};
use crate::wasi::context::{Exit, Host};
use crate::wasi::errno::Errno;
use crate::wasi::host::randomness;
use crate::wasi::time;

/// Random bytes of one call. The C library asks for 256 at most.
const RANDOM_BYTES: u32 = 1 << 20;

/// Links all functions. Those that reach a network are there, since the guest was linked against them,
/// and refuse.
pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    process(linker)?;
    descriptors::link(linker)?;
    transfers::link(linker)?;
    paths::link(linker)?;
    tries::link(linker)?;
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
        enter(&mut c, |m, wasi| {
            wasi.random_reads += 1;
            match length {
                0..=RANDOM_BYTES => randomness(m.slice(to, length)?),
                _ => Err(Errno::INVAL),
            }
        })
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
                m.slice(to, 4)?;
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

/// What there is nothing behind: sockets and signals.
fn refusals(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    /// No descriptor is a socket.
    fn no_socket(mut caller: Caller<'_, Host>, fd: u32) -> i32 {
        enter(&mut caller, |_, wasi| wasi.files.look(fd).and(Err(Errno::NOTSOCK)))
    }
    linker.func_wrap(MODULE, "proc_raise", |_: u32| Errno::code(Err(Errno::NOTSUP)))?;
    linker.func_wrap(MODULE, "sock_accept", |c: Caller<'_, Host>, fd: u32, _: u32, _: u32| {
        no_socket(c, fd)
    })?;
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "sock_recv",
        |c: Caller<'_, Host>, fd: u32, _: u32, _: u32, _: u32, _: u32, _: u32| no_socket(c, fd),
    )?;
    #[rustfmt::skip]
    linker.func_wrap(
        MODULE,
        "sock_send",
        |c: Caller<'_, Host>, fd: u32, _: u32, _: u32, _: u32, _: u32| no_socket(c, fd),
    )?;
    linker.func_wrap(MODULE, "sock_shutdown", |c: Caller<'_, Host>, fd: u32, _: u32| {
        no_socket(c, fd)
    })?;
    Ok(())
}
