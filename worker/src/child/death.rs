//! How a child ended, and the words for it.

use std::fmt::Write as _;

use rustix::process::Pid;

use super::output::Output;

/// The signals that end a process, by number on Linux.
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Signalled(i32),
    /// It has not ended, or nobody knows how.
    Unknown,
}

/// What is known of a child that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) ending: Ending,
    /// The most memory that it or anything that it waited for held; 0 where that is not known.
    pub(crate) peak_memory_bytes: u64,
}

impl Death {
    /// One sentence: how it ended, how much memory it had, and the end of its standard error.
    pub(crate) fn describe(&self, output: &Output) -> String {
        let mut text = match self.ending {
            Ending::Exited(code) => format!("it exited with code {code}"),
            Ending::Signalled(number) => format!("it was killed by {}", signal_name(number)),
            Ending::Unknown => "it does not respond".to_owned(),
        };
        if self.peak_memory_bytes > 0 {
            let _ = write!(text, " (peak memory {} MiB)", self.peak_memory_bytes >> 20);
        }
        let words = output.stderr_tail();
        if !words.is_empty() {
            let _ = write!(text, "; the end of its standard error:\n{words}");
        }
        text
    }
}

fn signal_name(number: i32) -> String {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let name = index.and_then(|index| SIGNALS.get(index));
    name.map_or_else(|| format!("signal {number}"), |name| format!("signal {number} ({name})"))
}

/// Collects a child that has ended; `None` while it runs.
#[expect(unsafe_code, reason = "wait4 tells the peak memory, which no safe wrapper does")]
pub(crate) fn collect(pid: Pid) -> Option<Death> {
    let mut status = 0;
    // SAFETY: both pointers are to locals; the second is plain data that the call fills.
    let (collected, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let pid = pid.as_raw_nonzero().get();
        (libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage), usage)
    };
    match collected {
        0 => return None,
        // Somebody else in this process collected it.
        -1 => return Some(Death { ending: Ending::Unknown, peak_memory_bytes: 0 }),
        _ => {}
    }
    let ending = match libc::WIFSIGNALED(status) {
        true => Ending::Signalled(libc::WTERMSIG(status)),
        false => Ending::Exited(libc::WEXITSTATUS(status)),
    };
    let peak = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
    // A child starts as a copy of this process, whose size the kernel counts as the child's.
    let peak_memory_bytes = if peak > own_peak() { peak } else { 0 };
    Some(Death { ending, peak_memory_bytes })
}

#[expect(unsafe_code, reason = "getrusage has no safe wrapper")]
fn own_peak() -> u64 {
    // SAFETY: the structure is plain data that the call fills.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_has_words() {
        let death = Death { ending: Ending::Signalled(11), peak_memory_bytes: 30 << 20 };
        let text = death.describe(&Output::default());
        assert_eq!(text, "it was killed by signal 11 (SIGSEGV) (peak memory 30 MiB)");
        assert_eq!(signal_name(31), "signal 31 (SIGSYS)");
        assert_eq!(signal_name(40), "signal 40");
    }
}
