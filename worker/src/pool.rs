//! N slots over one small backlog.

use std::time::Duration;

use belljar_core::id::TaskId;
use belljar_core::invocation::Invocation;
use belljar_core::outcome::Report;
use belljar_core::task::{Attempt, TaskClass};
use tokio::sync::mpsc;

use crate::config::PoolConfig;
use crate::error::Refused;

/// What a pool tells its owner. For every invocation that was taken there is exactly one
/// `Finished` or `Returned`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolEvent {
    /// An attempt has ended, whatever it came to.
    Finished(Report),
    /// An invocation that never started: another worker may have it.
    Returned {
        /// The task.
        task_id: TaskId,
        /// The attempt that was not made.
        attempt: Attempt,
    },
    /// Children of a class are there: tasks of it can run. Comes once after the start, and again
    /// after each `ExecutorDown`.
    ExecutorUp(ExecutorInfo),
    /// Children of a class do not start. The pool tries again by itself, ever more slowly; until
    /// then it gives invocations of that class back.
    ExecutorDown {
        /// The class.
        class: TaskClass,
        /// What the last attempt to start one came to, with its last lines of standard error.
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
}

/// A handle to a running pool; clones are cheap. When the last is dropped, the pool stops at once.
#[derive(Debug, Clone)]
pub struct Pool {}

impl Pool {
    /// Starts the slots. Never waits: `PoolEvent::ExecutorUp` says when a class is served.
    ///
    /// Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(_config: PoolConfig) -> (Self, mpsc::Receiver<PoolEvent>) {
        todo!()
    }

    /// How many invocations the pool wants to have at once, running and waiting: the slots, and
    /// while calls are short a few more, so that a slot goes on without asking. Changes with time.
    #[must_use]
    pub fn window(&self) -> usize {
        todo!()
    }

    /// How many invocations it has now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        todo!()
    }

    /// How many calls run at once.
    #[must_use]
    pub fn slots(&self) -> usize {
        todo!()
    }

    /// What the executors that have started said of themselves.
    #[must_use]
    pub fn describe(&self) -> Vec<ExecutorInfo> {
        todo!()
    }

    /// Takes an invocation. Never waits.
    ///
    /// # Errors
    /// The pool is stopping, over full, or has no such class.
    pub fn submit(&self, _invocation: Invocation) -> Result<(), Refused> {
        todo!()
    }

    /// Cancels an attempt, waiting or running; `false` where the pool has no such attempt (it may
    /// have just ended). The event is `Finished` with `Verdict::Cancelled`, once the code has
    /// stopped, unless the call ended by itself first.
    #[must_use]
    pub fn cancel(&self, _task_id: TaskId, _attempt: Attempt) -> bool {
        todo!()
    }

    /// Takes nothing more, gives the backlog back, lets running calls end for up to `deadline`, cuts
    /// the rest (they are reported as `FailureKind::WorkerLost`), and ends all children. The events
    /// must be read meanwhile; their channel closes at the end.
    pub async fn drain(&self, _deadline: Duration) {
        todo!()
    }

    /// Like `drain` without waiting for running calls.
    pub async fn kill(&self) {
        self.drain(Duration::ZERO).await;
    }
}
