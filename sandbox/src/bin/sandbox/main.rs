//! `belljar-sandbox`: the child process of a worker's slot that runs sandboxed functions.
//!
//! It loads the guest, restricts its own process, and answers calls on descriptor 3 until
//! that ends. Deadlines are its parent's business: it is killed.

mod hardening;
mod serve;

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use belljar_sandbox::{EngineConfig, Flavour, GrantedAccess, Image, Output, Sandbox};

use crate::hardening::Walls;

/// What a process ends with: the parent tells a guest that cannot be loaded from a crash.
mod exit {
    /// Descriptor 3 ended: all is well.
    pub(crate) const DONE: u8 = 0;
    /// The arguments make no sense.
    pub(crate) const USAGE: u8 = 64;
    /// The guest cannot be loaded, or the process cannot be restricted.
    pub(crate) const NO_GUEST: u8 = 69;
    /// The kernel does not keep the process from files that it was not granted.
    pub(crate) const WEAK: u8 = 77;
    /// The parent's messages make no sense, or no interpreter can be started any more.
    pub(crate) const BROKEN: u8 = 70;
}

/// The stack of the thread that runs the guest, and the guest's part of it. Python's own limit of a
/// thousand nested calls needs less; a guest that raises it meets the end of this, not of the process.
const THREAD_STACK_BYTES: usize = 24 << 20;
const GUEST_STACK_BYTES: usize = 16 << 20;

const USAGE: &str = "usage: belljar-sandbox --walls | --guest PATH [--python-path DIR]... \
    [--grant-read DIR]... [--scratch-mb N] [--warm-mb N] [--allow-weak-sandbox]";

#[derive(Debug, Default)]
struct Arguments {
    guest: Option<PathBuf>,
    python_path: Vec<PathBuf>,
    grant_read: Vec<String>,
    /// Of calls that ask for no other `/tmp`.
    scratch_mb: u32,
    /// For functions that start warm.
    warm_mb: u32,
    /// Serve also where the kernel does not hold the process.
    allow_weak: bool,
    /// Not to serve, but to say what holds the process on this machine.
    walls: bool,
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(text) => {
            report(&text);
            report(&USAGE);
            return ExitCode::from(exit::USAGE);
        }
    };
    hardening::close_inherited_fds();
    let Some(guest) = &arguments.guest else {
        return match restrict(std::iter::empty(), &arguments) {
            Ok(walls) => {
                say(&walls);
                ExitCode::from(exit::DONE)
            }
            Err(code) => code,
        };
    };
    let (sandbox, grantable) = match load(guest, &arguments) {
        Ok(loaded) => loaded,
        Err(error) => return fail(exit::NO_GUEST, error.as_ref()),
    };
    let granted = sandbox.directories().chain(grantable.directories());
    if let Err(code) = restrict(granted, &arguments) {
        return code;
    }
    let thread = std::thread::Builder::new().stack_size(THREAD_STACK_BYTES);
    let served =
        thread.spawn(move || serve::run(sandbox, &grantable)).map(std::thread::JoinHandle::join);
    match served {
        Ok(Ok(Ok(()))) => ExitCode::from(exit::DONE),
        Ok(Ok(Err(error))) => fail(exit::BROKEN, &error),
        Ok(Err(_panic)) => ExitCode::from(exit::BROKEN),
        Err(error) => fail(exit::NO_GUEST, &error),
    }
}

fn arguments(mut given: impl Iterator<Item = std::ffi::OsString>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(name) = given.next() {
        let value = || format!("`{}` needs a value", name.display());
        match name.to_str() {
            Some("--allow-weak-sandbox") => arguments.allow_weak = true,
            Some("--walls") => arguments.walls = true,
            Some("--guest") => arguments.guest = Some(given.next().ok_or_else(value)?.into()),
            Some("--python-path") => {
                arguments.python_path.push(given.next().ok_or_else(value)?.into());
            }
            Some("--grant-read") => {
                let dir = given.next().ok_or_else(value)?;
                let dir = dir.into_string();
                arguments.grant_read.push(dir.map_err(|dir| {
                    format!("`{}` is no UTF-8, as a guest's paths must be", dir.display())
                })?);
            }
            Some("--scratch-mb") => arguments.scratch_mb = mib(&given.next().ok_or_else(value)?)?,
            Some("--warm-mb") => arguments.warm_mb = mib(&given.next().ok_or_else(value)?)?,
            _ => return Err(format!("`{}` is no option", name.display())),
        }
    }
    match arguments.guest.is_some() == arguments.walls {
        true => Err("either `--guest` or `--walls` is needed".to_owned()),
        false => Ok(arguments),
    }
}

fn mib(text: &OsStr) -> Result<u32, String> {
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("`{}` is no number of MiB", text.display()))
}

/// Restricts the process, and says so where that is not enough.
fn restrict<'fd>(
    granted: impl Iterator<Item = BorrowedFd<'fd>>,
    arguments: &Arguments,
) -> Result<Walls, ExitCode> {
    let walls = hardening::restrict_process(granted);
    let walls = walls.map_err(|error| fail(exit::NO_GUEST, &error))?;
    if !walls.hold() && !arguments.allow_weak {
        report(&format!("landlock does not keep it from the files of this user: {walls}"));
        return Err(ExitCode::from(exit::WEAK));
    }
    Ok(walls)
}

/// The sandbox, and what its calls may be granted.
fn load(
    guest: &Path,
    arguments: &Arguments,
) -> Result<(Sandbox, GrantedAccess), Box<dyn std::error::Error>> {
    let config = EngineConfig { flavour: Flavour::Killed, stack_bytes: GUEST_STACK_BYTES };
    let image = Image::load(guest, &config)?;
    let mut grants = GrantedAccess::none();
    for dir in &arguments.python_path {
        grants = grants.python_path(dir)?;
    }
    let mut grantable = GrantedAccess::none().scratch(u64::from(arguments.scratch_mb) << 20);
    for dir in &arguments.grant_read {
        grantable = grantable.read(dir)?;
    }
    let mut sandbox = Sandbox::new(&image, &grants, Output::Inherit)?;
    if arguments.warm_mb > 0 {
        sandbox.keep_warm((arguments.warm_mb as usize) << 20)?;
    }
    Ok((sandbox, grantable))
}

fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    report(&text);
    ExitCode::from(code)
}

#[expect(clippy::print_stderr, reason = "the parent reads standard error when this process dies")]
fn report(text: &dyn std::fmt::Display) {
    eprintln!("belljar-sandbox: {text}");
}

#[expect(clippy::print_stdout, reason = "the answer to `--walls`")]
fn say(text: &dyn std::fmt::Display) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments, String> {
        arguments(words.iter().map(std::ffi::OsString::from))
    }

    #[test]
    fn paths_keep_their_order() {
        let parsed = parse(&["--python-path", "a", "--guest", "g", "--python-path", "b"]);
        let parsed = parsed.expect("valid");
        assert_eq!(parsed.guest, Some(PathBuf::from("g")));
        assert_eq!(parsed.python_path, [PathBuf::from("a"), PathBuf::from("b")]);
    }

    #[test]
    fn unknown_and_cut_options_are_refused() {
        for words in [&["--network"][..], &["--guest"], &[], &["--walls", "--guest", "g"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
        assert!(parse(&["--walls"]).is_ok());
    }
}
