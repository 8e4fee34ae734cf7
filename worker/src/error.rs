//! What can go wrong that is not the function's doing.

use belljar_core::invocation::Invocation;

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
    /// No executor of that class.
    #[error("it has no executor of that class")]
    Class,
}
