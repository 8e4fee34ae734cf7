//! What the store keeps and gives out: records of functions, tasks, workers and dispatchers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use belljar_core::id::{DispatcherId, FunctionId, TaskId, WorkerId};
use belljar_core::outcome::{FailureKind, Outcome};
use belljar_core::task::{Attempt, CodeHash, Limits, Priority, TaskClass, TaskSpec, TaskStatus};

/// A point in time by the Redis server's clock: microseconds since the Unix epoch. Every time in a
/// record is read from that one clock, so that they compare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

/// A registered function, without its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionRecord {
    /// Names it.
    pub id: FunctionId,
    /// The client's name for it; not unique.
    pub name: String,
    /// What it is for, in the client's words.
    pub description: String,
    /// Where it runs, and in which Python.
    pub class: TaskClass,
    /// The widest limits that a call of it may have.
    pub limits: Limits,
    /// Names its code.
    pub code: CodeHash,
    /// The size of its code in bytes.
    pub code_bytes: u64,
    /// When it was registered.
    pub registered_at: Timestamp,
}

/// A task about to be accepted.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// The id it will have.
    pub id: TaskId,
    /// What is fixed from now on.
    pub spec: TaskSpec,
    /// The pickled `(args, kwargs)`.
    pub args: Bytes,
    /// How long it is held back before it is queued, in milliseconds.
    pub delay_ms: u64,
    /// Makes a repeated submission answer with the first one's task.
    pub idempotency: Option<Idempotency>,
}

/// A client's key for one submission, and what was submitted under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key.
    pub key: String,
    /// A hash of everything the client sent: the same key with another is a conflict.
    pub body: CodeHash,
}

/// What the status and result routes need of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskResult {
    /// Where it stands.
    pub status: TaskStatus,
    /// The pickled value or exception once terminal; empty before, and for a cancelled task.
    pub result: Bytes,
    /// When a terminal task's record will be forgotten.
    pub expires_at: Option<Timestamp>,
}

/// The whole record of a task.
#[derive(Debug, Clone)]
pub struct TaskRecord {
    /// Names it.
    pub id: TaskId,
    /// What was fixed when it was accepted.
    pub spec: TaskSpec,
    /// Where it stands.
    pub status: TaskStatus,
    /// How many attempts were opened.
    pub attempts: u32,
    /// How many of those ended by the death of their executor or worker.
    pub deaths: u32,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it may first be queued, for a delayed task.
    pub due_at: Option<Timestamp>,
    /// When the current attempt was opened.
    pub started_at: Option<Timestamp>,
    /// When it became terminal.
    pub finished_at: Option<Timestamp>,
    /// When its record will be forgotten.
    pub expires_at: Option<Timestamp>,
    /// The dispatcher that opened the current attempt.
    pub dispatcher: Option<DispatcherId>,
    /// The worker that ran the attempt which ended it.
    pub worker: Option<WorkerId>,
    /// How that attempt ended, without the pickles.
    pub ending: Option<Ending>,
    /// What became of lost attempts, oldest first: `attempt 1: killed by signal 11 (SIGSEGV)`.
    pub losses: Vec<String>,
    /// The size of the pickled arguments in bytes.
    pub args_bytes: u64,
    /// The size of the pickled result in bytes; 0 while there is none.
    pub result_bytes: u64,
}

/// An [`Outcome`] as the record keeps it: the pickles are stored beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Why it failed, if it did.
    pub failure: Option<FailureKind>,
    /// The exception in one line.
    pub message: String,
    /// The traceback where the code ran.
    pub traceback: String,
    /// The outcome with its pickles taken out.
    pub outcome: Outcome,
}

/// One task of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSummary {
    /// Names it.
    pub id: TaskId,
    /// The function it calls.
    pub function_id: FunctionId,
    /// Where it stands.
    pub status: TaskStatus,
    /// What a slot must offer.
    pub class: TaskClass,
    /// Which tasks of the class go first.
    pub priority: Priority,
    /// When it was accepted.
    pub accepted_at: Timestamp,
}

/// Which tasks a list shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaskFilter {
    /// Only tasks in this status.
    pub status: Option<TaskStatus>,
    /// Only calls of this function.
    pub function_id: Option<FunctionId>,
}

/// A part of a list and where the next part begins.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The entries, newest first.
    pub items: Vec<T>,
    /// Gives the next page; `None` at the end. Opaque to clients.
    pub next: Option<String>,
}

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
#[derive(Debug, Clone)]
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

/// What has been accepted and what became of it, counted by the scripts since the store was empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Tasks accepted.
    pub accepted: u64,
    /// Waiting in a queue.
    pub queued: u64,
    /// Held back by their delay.
    pub delayed: u64,
    /// In the hands of dispatchers.
    pub running: u64,
    /// Ended with a value.
    pub completed: u64,
    /// Ended with an exception.
    pub failed: u64,
    /// Ended by cancel.
    pub cancelled: u64,
}

impl Counts {
    /// Whether every accepted task is in exactly one place.
    #[must_use]
    pub const fn is_balanced(&self) -> bool {
        self.accepted
            == self.queued
                + self.delayed
                + self.running
                + self.completed
                + self.failed
                + self.cancelled
    }
}

/// The counters beside what the queues really hold, read in one script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// By the counters.
    pub counts: Counts,
    /// Entries in the queues that no dispatcher holds.
    pub entries_queued: u64,
    /// Entries that dispatchers hold.
    pub entries_running: u64,
    /// Entries in the set of delayed tasks.
    pub entries_delayed: u64,
}

impl Audit {
    /// Whether the counters balance and agree with the queues.
    #[must_use]
    pub const fn is_consistent(&self) -> bool {
        self.counts.is_balanced()
            && self.counts.queued == self.entries_queued
            && self.counts.running == self.entries_running
            && self.counts.delayed == self.entries_delayed
    }
}

/// Which runtime and Python a queue's length is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLength {
    /// The class of the queue.
    pub class: TaskClass,
    /// Tasks waiting in it.
    pub queued: u64,
}
