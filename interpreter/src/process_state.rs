//! The state of the process that every call finds: directory, mask, environment, priority, standard
//! descriptors, no children. What can be put back is; what cannot makes the worker replace the process.
//! `reset/` does the same for what lives inside Python.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{getegid, geteuid, getpriority_process, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::sys::{self, Reaped};

/// Our own descriptors start here, out of the way of functions that close all they see.
const OWN_FDS: i32 = 700;
/// When even the lowest free descriptor is above this, calls have left too many open.
const MANY_FDS: i32 = 256;
/// How often, and how long each time, something that is about to end is waited for.
const GRACE_TURNS: u32 = 10;
const GRACE: Duration = Duration::from_micros(500);

/// Moves a descriptor up and closes it in what the function starts.
pub(crate) fn move_up(fd: impl AsFd) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(fd, OWN_FDS)?)
}

/// What the process was like before the first call.
pub(crate) struct Baseline {
    directory: OwnedFd,
    directory_id: (u64, u64),
    mask: Mode,
    environment: Vec<CString>,
    locale: CString,
    priority: i32,
    processors: CpuSet,
    users: [u32; 2],
    streams: [(u64, u64); 3],
    /// The supervisor's list of children, in which adopted orphans turn up, and how it reads when this
    /// process is the only one. Not every kernel has it.
    siblings: Option<(File, Vec<u8>)>,
}

fn id_of(fd: impl AsFd) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

impl Baseline {
    /// Takes the present as the baseline.
    pub(crate) fn record(supervisor: i32) -> io::Result<Self> {
        let directory = rustix::fs::open(".", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        let mask = rustix::process::umask(Mode::empty());
        rustix::process::umask(mask);
        Ok(Self {
            directory_id: id_of(&directory)?,
            directory: move_up(directory)?,
            mask,
            environment: sys::environment(),
            locale: sys::locale().unwrap_or_default(),
            priority: getpriority_process(None)?,
            processors: sched_getaffinity(None)?,
            users: users(),
            streams: stream_ids()?,
            siblings: File::open(format!("/proc/{supervisor}/task/{supervisor}/children"))
                .and_then(move_up)
                .ok()
                .map(|fd| (File::from(fd), format!("{} ", sys::pid()).into_bytes())),
        })
    }

    /// Puts back what Python reads again when `reset/` puts back its own.
    pub(crate) fn restore_environment(&self) {
        if !sys::environment_is(&self.environment) {
            sys::set_environment(&self.environment);
        }
        sys::restore_locale(&self.locale);
    }

    /// Puts back what can be; says what cannot. Whether a function was called that `changed` the
    /// priority and the like.
    pub(crate) fn restore(&self, changed: bool) -> Option<String> {
        self.try_restore(changed).unwrap_or_else(|error| Some(format!("a broken process: {error}")))
    }

    fn try_restore(&self, changed: bool) -> io::Result<Option<String>> {
        if changed && let Some(left) = self.restore_standing()? {
            return Ok(Some(left.to_owned()));
        }
        rustix::process::umask(self.mask);
        let here = rustix::fs::stat(".").map(|stat| (stat.st_dev, stat.st_ino));
        if here != Ok(self.directory_id) {
            rustix::process::fchdir(&self.directory)?;
        }
        if stream_ids().ok() != Some(self.streams) {
            return Ok(Some("closed or replaced standard streams".to_owned()));
        }
        if sys::alarm_is_set() {
            return Ok(Some("an armed timer".to_owned()));
        }
        if sys::blocks_signals() {
            return Ok(Some("blocked signals".to_owned()));
        }
        // The lowest free number is what a new descriptor gets; the new one is closed at once.
        if std::os::fd::AsRawFd::as_raw_fd(&rustix::io::dup(rustix::stdio::stdin())?) > MANY_FDS {
            return Ok(Some("open files".to_owned()));
        }
        for _ in 0..GRACE_TURNS {
            if !self.has_processes() {
                return Ok(None);
            }
            std::thread::sleep(GRACE);
        }
        Ok(Some("a running process".to_owned()))
    }

    /// What the process may do and how much of the machine it gets.
    fn restore_standing(&self) -> io::Result<Option<&'static str>> {
        if users() != self.users {
            return Ok(Some("another user or group"));
        }
        if getpriority_process(None)? != self.priority
            && setpriority_process(None, self.priority).is_err()
        {
            return Ok(Some("a lowered priority"));
        }
        if sched_getaffinity(None)? != self.processors
            && sched_setaffinity(None, &self.processors).is_err()
        {
            return Ok(Some("other processors"));
        }
        Ok(None)
    }

    /// Whether anything that a call started is still there.
    fn has_processes(&self) -> bool {
        let children = loop {
            match sys::reap() {
                Reaped::NoChildren => break false,
                Reaped::NoneEnded => break true,
                Reaped::Ended(..) => {}
            }
        };
        children || self.siblings.as_ref().is_some_and(|(list, alone)| !reads(list, alone))
    }
}

/// The user and the group that files are opened as.
fn users() -> [u32; 2] {
    [geteuid().as_raw(), getegid().as_raw()]
}

fn stream_ids() -> io::Result<[(u64, u64); 3]> {
    use rustix::stdio::{stderr, stdin, stdout};
    Ok([id_of(stdin())?, id_of(stdout())?, id_of(stderr())?])
}

fn reads(file: &File, expected: &[u8]) -> bool {
    let mut text = [0; 64];
    file.read_at(&mut text, 0).is_ok_and(|length| text[..length] == *expected)
}
