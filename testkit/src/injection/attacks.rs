//! What code that broke out of WebAssembly would try, as system calls.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use libc::O_RDONLY;

use super::table::{HOW_BYTES, attacks, how, n, path};
use super::{Answer, Arg, Injector};

/// What refuses an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wall {
    /// The filter of system calls, on every machine.
    Filter,
    /// Landlock, or a file tree of the process's own: one is enough.
    Files,
    /// A file tree of the process's own.
    Tree,
}

/// A call that must be refused.
#[derive(Debug)]
pub struct Attack {
    /// For people.
    pub name: String,
    /// What refuses it.
    pub wall: Wall,
    pub(super) number: i64,
    pub(super) args: Vec<Arg>,
}

/// How the attacks on one process went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many calls were made.
    pub tries: u64,
    /// Those that were not refused.
    pub got_through: Vec<String>,
}

/// Attacks a process of the sandbox that waits for a call. `dir` is a directory that it was granted, with a
/// file `data`; `walls` are those that it has.
///
/// # Errors
/// The kernel does not permit to control the process, or it was not granted `dir`.
pub fn run(pid: i32, dir: &Path, walls: &[Wall]) -> io::Result<Outcome> {
    let number = descriptor_of(pid, &std::fs::metadata(dir)?)?;
    let mut process = Injector::stop(pid)?;
    let mut outcome = Outcome::default();
    // What must still go: or nothing here would tell an attack that is refused from one that is malformed.
    let open = [n(number), path("data"), how(O_RDONLY, 0), n(HOW_BYTES)];
    let file = match process.call(libc::SYS_openat2, &open)? {
        Answer::Returned(file @ 0..) => file,
        other => {
            return Err(io::Error::other(format!("a granted file cannot be opened: {other:?}")));
        }
    };
    for attack in
        attacks(number, file, dir).into_iter().filter(|attack| walls.contains(&attack.wall))
    {
        outcome.tries += 1;
        let answer = process.call(attack.number, &attack.args)?;
        let refused = match (attack.wall, answer) {
            // Not by accident: a malformed call fails in another way.
            (Wall::Filter, Answer::Returned(result)) => result == -i64::from(libc::EPERM),
            (_, Answer::Returned(result)) => result < 0,
            (_, Answer::Died) => false,
        };
        if !refused {
            outcome.got_through.push(format!("{}: {answer:?}", attack.name));
        }
    }
    process.call(libc::SYS_close, &[n(file)])?;
    Ok(outcome)
}

/// The number under which `pid` has a directory open.
fn descriptor_of(pid: i32, dir: &Metadata) -> io::Result<i64> {
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let same = |found: Metadata| (found.dev(), found.ino()) == (dir.dev(), dir.ino());
        if std::fs::metadata(entry.path()).is_ok_and(same) {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            return number.ok_or_else(|| io::Error::other("a descriptor is a number"));
        }
    }
    Err(io::Error::other("the process does not have the directory"))
}
