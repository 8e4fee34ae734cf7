//! What a pool tells its owner.

use belljar_core::guest::GuestModules;
use belljar_core::live::LiveUpdate;
use belljar_core::outcome::Report;
use belljar_core::task::{TaskAttempt, TaskClass};

/// What a pool tells its owner. For every invocation that was taken there is exactly one
/// `Finished` or `Returned`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolEvent {
    /// An attempt has ended, in whatever way.
    Finished(Report),
    /// An invocation that never started: another worker may have it.
    Returned(TaskAttempt),
    /// What a running call shows of itself.
    Live(Box<LiveUpdate>),
    /// `Pool::window` has changed by time alone.
    Resized,
    /// Instances of a class start: tasks of it can run. Comes once after the start, and again
    /// after each `ExecutorDown`.
    ExecutorUp(ExecutorInfo),
    /// Instances of a class do not start. The pool tries again by itself, ever more slowly. Until one
    /// starts it gives invocations of that class back.
    ExecutorDown {
        /// The class.
        class: TaskClass,
        /// Why the last start failed, with the last lines of its standard error.
        reason: String,
    },
}

/// What an executor says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorInfo {
    /// The class of tasks that it runs.
    pub class: TaskClass,
    /// The full version of its Python, such as `3.11.2`.
    pub python: String,
    /// The version of its dill.
    pub dill: String,
    /// What its guest lacks, if it is a sandbox that says so.
    pub guest: Option<GuestModules>,
}
