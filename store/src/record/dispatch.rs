//! What passes between the store and dispatchers.

use belljar_core::guest::GuestModules;
use belljar_core::id::{DispatcherId, SessionId, TaskId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::labels::Labels;
use belljar_core::outcome::Report;
use belljar_core::task::{TaskAttempt, TaskClass, TaskStatus};
use belljar_core::tenant::Tenant;
use serde::{Deserialize, Serialize};

use super::task::Timestamp;

/// A worker as its dispatcher last described it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// Names it.
    pub id: WorkerId,
    /// The dispatcher that it serves.
    pub dispatcher: DispatcherId,
    /// `local`, `pull` or `push`.
    pub mode: String,
    /// The host and process it runs in.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// The version of belljar; empty where it does not say.
    #[serde(default)]
    pub version: String,
    /// Whether it takes no more tasks.
    #[serde(default)]
    pub draining: bool,
    /// How many tasks it runs at once.
    pub slots: u32,
    /// How many it runs now.
    pub busy: u32,
    /// What it can run.
    pub classes: Vec<TaskClass>,
    /// What its guests of the sandbox lack. Stored once for all workers of a dispatcher, and so empty in
    /// what the store returns.
    #[serde(skip)]
    pub guests: Vec<GuestModules>,
    /// Since when it has been known.
    pub since: Timestamp,
}

/// How many tasks of which classes a dispatcher can place now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The classes that the free slots can run, the one to serve first in front.
    pub classes: Vec<TaskClass>,
    /// How many tasks, of whichever of these classes.
    pub count: usize,
    /// How many of these only go to tenants none of whose tasks of the class runs.
    pub reserved: usize,
}

/// A task in a dispatcher's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedTask {
    /// The attempt that was opened for it. Its code is not in it: see [`crate::Store::code`].
    pub invocation: Invocation,
    /// Whose it is.
    pub tenant: Tenant,
    /// How many attempts ended in a death before this one.
    pub deaths: u32,
    /// From when on it might run, by the clock of Redis: its acceptance, and its delay after that.
    pub due_at: Timestamp,
    /// What its arguments lack, where parts of them are in a bucket: see [`crate::Store::read_args`].
    pub unread: Option<UnreadArgs>,
}

/// Arguments that are not read when their task is claimed: a bucket that does not answer must not keep other tasks waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnreadArgs {
    /// Whether they have a key of their own.
    pub(crate) is_blob: bool,
    /// The session whose state goes in front of them.
    pub(crate) session: Option<SessionId>,
}

impl ClaimedTask {
    /// The attempt that was opened.
    #[must_use]
    pub const fn task(&self) -> TaskAttempt {
        self.invocation.task
    }

    /// The task of which it is an attempt.
    #[must_use]
    pub const fn id(&self) -> TaskId {
        self.invocation.task.task_id
    }
}

/// An open attempt that the store counts as leased to a dispatcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leased {
    /// The attempt.
    pub task: TaskAttempt,
    /// Whether a client has cancelled it.
    pub cancelling: bool,
}

/// The end of an attempt, to be published as the end of its task.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The worker that made the attempt.
    pub worker: WorkerId,
    /// What it reported.
    pub report: Report,
}

/// A task that its dispatcher returns.
#[derive(Debug, Clone)]
pub struct Requeued {
    /// The attempt.
    pub task: TaskAttempt,
    /// Why.
    pub reason: RequeueReason,
}

/// Why an attempt is returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequeueReason {
    /// It never began: the attempt counts neither as a death nor against the most attempts that a
    /// task may have; its number is used up all the same.
    Unstarted,
    /// Its executor or worker died; the evidence.
    Died(String),
}

/// Whether the store took a dispatcher's word on an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It did.
    Accepted,
    /// It did, as the end of a task that had been cancelled meanwhile.
    Cancelled,
    /// Another attempt is current, or the task has ended: nothing was changed.
    Stale,
}

/// What became of a wish to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It was queued and will never run.
    Cancelled,
    /// It runs; its dispatcher stops it, and it ends CANCELLED once the code has stopped.
    Stopping,
    /// It had ended before, in this status.
    Ended(TaskStatus),
}

/// What one heartbeat of a dispatcher brought to light.
#[derive(Debug, Clone, Default)]
pub struct HeartbeatReport {
    /// How many tasks of vanished dispatchers were queued again.
    pub recovered: usize,
    /// In how many milliseconds the next delayed task is due.
    pub next_due_ms: Option<u64>,
    /// The different labels that functions ask for, sorted.
    pub labels: Vec<Labels>,
}
