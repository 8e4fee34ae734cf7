//! What can go wrong that is not the function's doing.
//!
//! * [`StartError`]: an instance did not come up; the pool tries again.
//! * [`NoInstance`]: no instance can run the invocation; the slot gives it back.
//! * [`Refused`]: a pool did not take an invocation.
//! * [`NotInstalled`]: a part that an executor needs is not there.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use belljar_core::invocation::Invocation;
use belljar_core::task::PythonVersion;

use crate::packages::PackagesError;

/// An instance did not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The process could not be started.
    #[error("failed to start `{}`", program.display())]
    Spawn {
        /// The binary.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("the process ended before it was ready: {evidence}")]
    Died {
        /// How it ended, and the end of its standard error.
        evidence: String,
    },
    /// Its memory cannot be measured.
    #[error("failed to measure the memory of the process")]
    Memory(#[source] io::Error),
    /// The packages that it was to have cannot be had.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// It was not ready in time.
    #[error("the process was not ready within {limit:?}: {evidence}")]
    Slow {
        /// The time that it had.
        limit: Duration,
        /// The end of its standard error.
        evidence: String,
    },
}

/// A class has no instance to run the invocation, which never started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no instance starts: {reason}")]
pub struct NoInstance {
    /// Why the last start failed.
    pub reason: String,
}

/// A pool did not take an invocation; it is handed back untouched.
#[derive(Debug, thiserror::Error)]
#[error("the pool does not take the invocation: {reason}")]
pub struct Refused {
    /// Why.
    pub reason: RefusedReason,
    /// What was submitted.
    pub invocation: Box<Invocation>,
}

/// Why a pool does not take an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedReason {
    /// It is draining or stopped.
    #[error("it is stopping")]
    Stopping,
    /// More was submitted than its window.
    #[error("its backlog is full")]
    Full,
    /// No executor of that class is configured.
    #[error("it has no executor of that class")]
    Class,
    /// The executor of that class does not start at present.
    #[error("the executor of that class does not start")]
    Down,
}

/// A part that an executor needs is not there.
#[derive(Debug, thiserror::Error)]
pub enum NotInstalled {
    /// A program beside `belljar`.
    #[error("`{}` does not exist", .0.display())]
    Program(PathBuf),
    /// A library that a program is linked with: that of a Python that is not there.
    #[error("`{}` needs `{library}`, which is not installed", program.display())]
    Library {
        /// The program.
        program: PathBuf,
        /// The file that the system's linker looks for.
        library: String,
    },
    /// The site of the default Python, which nobody gave.
    #[error("no directory with dill was found for the native runtime")]
    Site,
    /// The site of another Python.
    #[error("no directory with dill for Python {0} was found")]
    FurtherSite(PythonVersion),
    /// dill, in the site that was given.
    #[error("--site `{}`: there is no dill in it", .0.display())]
    Dill(PathBuf),
    /// The directory of the guests.
    #[error("the directory of the guests is unknown")]
    GuestDir,
    /// The guest of a Python.
    #[error("there is no guest at `{}`", guest.display())]
    Guest {
        /// Where it would be.
        guest: PathBuf,
        /// Its Python.
        python: PythonVersion,
    },
    /// A kernel that holds a process in its sandbox.
    #[error("the sandbox is not safe on this machine: {0}")]
    Walls(String),
    /// A directory to import from.
    #[error("--python-path `{}`", dir.display())]
    PythonPath {
        /// The directory.
        dir: PathBuf,
        /// Why it is not available.
        #[source]
        source: io::Error,
    },
}
