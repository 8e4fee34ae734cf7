//! What can go wrong that is not the function's doing.
//!
//! * [`StartError`]: a child did not come up; the pool tries again.
//! * [`ExecutorBroken`]: an executor cannot run the invocation; the slot gives it back.
//! * [`Refused`]: a pool did not take an invocation.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use belljar_core::invocation::Invocation;

/// A child did not come up.
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
        /// How it ended and its last words.
        evidence: String,
    },
    /// It was not ready in time.
    #[error("the process was not ready within {limit:?}: {evidence}")]
    Slow {
        /// The time that it had.
        limit: Duration,
        /// Its last words.
        evidence: String,
    },
}

/// An executor has no child to run the invocation, which never started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no child process starts: {reason}")]
pub struct ExecutorBroken {
    /// What the last attempt to start one came to.
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
