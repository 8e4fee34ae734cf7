//! `belljar-python`: one CPython that runs one call at a time, on a socket that its worker holds.
//! Started by a worker, never by hand.
//!
//! # Layout
//!
//! * [`args`]: the command line.
//! * [`supervisor`]: the outer process, which leaves no orphan behind.
//! * [`python`]: starts CPython.
//! * [`serve`]: the loop of calls.
//! * [`files`]: the files of a call.
//! * [`progress`]: what a call says of its progress.
//! * [`memory`]: limit and peak.
//! * [`process_state`]: puts back what a call changed in the process.
//! * [`watch`], `reset/`: put back what it changed in the interpreter.
//! * [`intercept`]: notes calls of the functions that change state which has no other trace.
//! * [`sys`]: system calls without a safe wrapper.

mod args;
mod files;
mod intercept;
mod memory;
mod process_state;
mod progress;
mod python;
mod serve;
mod supervisor;
mod sys;
mod watch;

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use belljar_core::frame::CHILD_FD;
use pyo3::Python;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::args::Args;
use crate::serve::Server;

/// The worker hung up, or the interpreter could not go on: what it exits with.
mod exit_code {
    /// The worker asked it to leave.
    pub(crate) const DONE: i32 = 0;
    /// It could not start, or lost its socket; standard error says more.
    pub(crate) const BROKEN: i32 = 70;
}

/// What programs expect to find: `select` breaks above it.
const OPEN_FILES: u64 = 1024;

fn main() {
    let code = match run() {
        Ok(()) => exit_code::DONE,
        Err(error) => {
            report(error.as_ref());
            exit_code::BROKEN
        }
    };
    // Not `exit`: a function's atexit handlers, which may hang, are nobody's concern any more.
    sys::exit(code);
}

fn run() -> Result<(), Box<dyn Error>> {
    let args = Args::parse(std::env::args_os().skip(1))?;
    if args.describe {
        return describe(&args);
    }
    let supervisor = supervisor::start(inherited_socket()?)?;
    let socket = UnixStream::from(process_state::move_up(inherited_socket()?)?);
    close_inherited()?;
    limit_process()?;
    let interpreter = python::start(&args)?;
    let memory = memory::Memory::start(own(File::open("/proc/self/statm")?)?)?;
    let baseline = process_state::Baseline::record(supervisor)?;
    // Never dropped: a function may have closed any descriptor, and closing it again would abort.
    let server = Box::leak(Box::new(Server::new(socket, interpreter, memory, baseline)?));
    Python::attach(|py| server.run(py))?;
    Ok(())
}

/// Tells people which interpreter this is.
fn describe(args: &Args) -> Result<(), Box<dyn Error>> {
    let interpreter = python::start(args)?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let library = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let library = library.into_iter().find(|path| path.contains("libpython"));
    let (python, dill) = (interpreter.python, interpreter.dill);
    writeln!(
        std::io::stdout(),
        "CPython {python}, {}\ndill {dill}",
        library.unwrap_or("linked into this binary")
    )?;
    Ok(())
}

fn own(file: File) -> std::io::Result<File> {
    process_state::move_up(file).map(File::from)
}

/// The socket that the worker left at its place.
#[expect(unsafe_code, reason = "a descriptor known by its number only")]
fn inherited_socket() -> Result<BorrowedFd<'static>, Box<dyn Error>> {
    // SAFETY: checked before anything uses it; the parent of this process provides it.
    let socket = unsafe { BorrowedFd::borrow_raw(CHILD_FD) };
    rustix::net::sockopt::socket_type(socket)
        .map_err(|_| "descriptor 3 is no socket: this binary is started by a belljar worker")?;
    Ok(socket)
}

/// Closes the socket's inherited number, once it has another.
#[expect(unsafe_code, reason = "a descriptor known by its number only")]
fn close_inherited() -> std::io::Result<()> {
    use std::os::fd::FromRawFd as _;
    // SAFETY: nobody uses it any more: from here on the socket is known by its other number.
    drop(unsafe { OwnedFd::from_raw_fd(CHILD_FD) });
    Ok(())
}

/// Limits that hold for the process's whole life. The number of processes is not among them: the
/// kernel counts it for a user, not for a tree, and not at all for root. Fork bombs are contained
/// by the deadline and the supervisor.
fn limit_process() -> std::io::Result<()> {
    sys::set_up_allocator();
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES)));
    Ok(setrlimit(Resource::Nofile, Rlimit { current, maximum })?)
}

/// Tells the worker, which keeps the last lines of standard error.
fn report(error: &dyn Error) {
    let mut text = format!("belljar-python: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    let _ = writeln!(std::io::stderr(), "{text}");
}
