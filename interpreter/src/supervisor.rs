//! The process outside the interpreter's: it has no Python and does nothing but wait, for the
//! interpreter to end or for the worker to hang up. Then it kills every descendant and ends the way
//! that the interpreter ended, so that its parent finds signal, exit code and peak memory where it
//! looks for them anyway: in the wait status. No orphan survives, also when the worker is killed.
//!
//! Being the subreaper of all that the function starts, it finds daemons that forked twice or have
//! sessions of their own among its children, once their parents are dead.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::sys::{self, Fork, Reaped};

/// How long the supervisor tries to kill what does not die, such as a process stuck in the kernel.
const SWEEP: Duration = Duration::from_secs(5);
/// How often it looks again for new descendants while it does.
const SWEEP_TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// Splits off the supervisor. Returns in the interpreter's process only, with the supervisor's id.
pub(crate) fn start(socket: BorrowedFd<'_>) -> io::Result<i32> {
    let signals = sys::block_and_watch(&[libc::SIGCHLD, libc::SIGTERM])?;
    sys::become_subreaper()?;
    // That the worker is gone shows at the socket, but not to a process that a function has stopped.
    sys::at_parents_end(libc::SIGCONT)?;
    let supervisor = sys::pid();
    match sys::fork()? {
        Fork::Parent(interpreter) => watch(interpreter, socket, &signals),
        Fork::Child => {
            sys::at_parents_end(libc::SIGKILL)?;
            // The supervisor may have died before that took effect.
            if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(supervisor)
            {
                sys::exit(0);
            }
            // A group of its own, so that a function that signals its group misses the supervisor.
            rustix::process::setsid()?;
            sys::unblock_signals()?;
            Ok(supervisor)
        }
    }
}

/// Waits, cleans up, and ends like the interpreter.
fn watch(interpreter: i32, socket: BorrowedFd<'_>, signals: &OwnedFd) -> ! {
    sys::set_name(c"py-supervisor");
    release_streams();
    loop {
        let mut waits = [
            PollFd::from_borrowed_fd(socket, PollFlags::RDHUP),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        let _ = poll(&mut waits, None);
        let hung_up = !waits[0].revents().is_empty();
        if drain(signals) || hung_up || has_ended(interpreter) {
            break;
        }
    }
    sys::end_like(kill_descendants(interpreter).unwrap_or(libc::SIGKILL))
}

/// Collects adopted orphans that have ended. Not the interpreter: as long as it is not collected
/// nobody else can have its number, which its process group is signalled by.
fn has_ended(interpreter: i32) -> bool {
    while let Some(pid) = sys::ended_child() {
        if pid == interpreter {
            return true;
        }
        sys::collect(pid);
    }
    false
}

/// Kills until nobody is left; the interpreter's wait status. The group first: the kernel signals a
/// group in one step, so that a fork bomb cannot outrun it. The rest is walked, again and again.
fn kill_descendants(interpreter: i32) -> Option<i32> {
    let started = Instant::now();
    let mut fate = None;
    sys::kill(interpreter);
    sys::kill(-interpreter);
    loop {
        loop {
            match sys::reap() {
                Reaped::NoChildren => return fate,
                Reaped::NoneEnded => break,
                Reaped::Ended(pid, status) if pid == interpreter => fate = Some(status),
                Reaped::Ended(..) => {}
            }
        }
        if started.elapsed() > SWEEP {
            return fate;
        }
        for pid in descendants(sys::pid()) {
            sys::kill(pid);
        }
        let _ = poll(&mut [], Some(&SWEEP_TURN));
    }
}

/// Lets go of the pipes: their end must be the interpreter's end.
fn release_streams() {
    if let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// Reads all pending signals; whether SIGTERM is among them.
fn drain(signals: &OwnedFd) -> bool {
    const INFO: usize = size_of::<libc::signalfd_siginfo>();
    let mut terminated = false;
    let mut info = [0_u8; INFO];
    while rustix::io::read(signals, &mut info).is_ok_and(|length| length == INFO) {
        // The number of the signal is the first field.
        let number = u32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
        terminated |= number == libc::SIGTERM as u32;
    }
    terminated
}

/// Everyone below `root`, from one reading of the process table.
fn descendants(root: i32) -> Vec<i32> {
    let mut parents: Vec<(i32, i32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        if let Some((pid, parent)) = pid.and_then(|pid| Some((pid, parent_of(pid)?))) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// The parent of a process that has not ended.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so the fields are counted from its end.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = i32::try_from(child.id()).expect("small");
        assert!(descendants(sys::pid()).contains(&pid));
        assert!(descendants(pid).is_empty());
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}
