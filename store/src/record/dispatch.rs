//! What passes between the store and dispatchers.

use belljar_core::id::{DispatcherId, TaskId, WorkerId};
use belljar_core::outcome::Outcome;
use belljar_core::task::{Attempt, TaskClass, TaskSpec, TaskStatus};
use bytes::Bytes;
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
    /// How many tasks it runs at once.
    pub slots: u32,
    /// How many it runs now.
    pub busy: u32,
    /// What it can run.
    pub classes: Vec<TaskClass>,
    /// Since when it has been known.
    pub since: Timestamp,
}

/// How many tasks of which classes a dispatcher can place now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The classes that the free slots can run, the one to serve first in front.
    pub classes: Vec<TaskClass>,
    /// How many tasks, of whichever of these classes.
    pub count: usize,
}

/// A task in a dispatcher's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedTask {
    /// Names it.
    pub id: TaskId,
    /// The attempt that was opened for it.
    pub attempt: Attempt,
    /// How many attempts were lost to deaths before.
    pub deaths: u32,
    /// What was fixed when it was accepted.
    pub spec: TaskSpec,
    /// The pickled `(args, kwargs)`.
    pub args: Bytes,
}

/// An attempt that a dispatcher holds by the store's books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The task.
    pub id: TaskId,
    /// The attempt that is open.
    pub attempt: Attempt,
    /// Whether a client wished it cancelled.
    pub cancelling: bool,
}

/// The end of a task as its dispatcher reports it.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Names it.
    pub id: TaskId,
    /// The attempt that ended: the fence.
    pub attempt: Attempt,
    /// The worker that ran it.
    pub worker: WorkerId,
    /// How it ended.
    pub outcome: Outcome,
}

/// A task that its dispatcher gives back.
#[derive(Debug, Clone)]
pub struct Requeued {
    /// Names it.
    pub id: TaskId,
    /// The attempt that is given up: the fence.
    pub attempt: Attempt,
    /// What became of it.
    pub reason: Returned,
}

/// Why an attempt is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Returned {
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
pub enum Cancel {
    /// It was queued and will never run.
    Cancelled,
    /// It runs; its dispatcher was told, and it ends CANCELLED once the code has stopped.
    Stopping,
    /// It had ended before, in this status.
    Ended(TaskStatus),
}

/// What one heartbeat of a dispatcher brought to light.
#[derive(Debug, Clone, Default)]
pub struct Beat {
    /// How many tasks of vanished dispatchers were queued again.
    pub recovered: usize,
    /// In how many milliseconds the next delayed task is due.
    pub next_due_ms: Option<u64>,
}
