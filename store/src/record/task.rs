//! Functions and tasks as clients see them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use belljar_core::grants::GrantRequest;
use belljar_core::id::{DispatcherId, FunctionId, TaskId, WorkerId};
use belljar_core::outcome::{FailureKind, Outcome, ResultKind};
use belljar_core::task::{CodeHash, Priority, TaskClass, TaskLimits, TaskSpec, TaskStatus};
use belljar_core::tenant::Tenant;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;

/// A point in time by the Redis server's clock: microseconds since the Unix epoch. Every time in a
/// record is read from that one clock, so that they compare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This long ago, by the clock of this machine: near enough for people.
    #[must_use]
    pub fn before_now(elapsed: Duration) -> Self {
        let then = SystemTime::now().checked_sub(elapsed).unwrap_or(UNIX_EPOCH);
        let since = then.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or_default())
    }
}

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
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Tenant::is_default")]
    pub tenant: Tenant,
    /// The widest limits that a call of it may have.
    pub limits: TaskLimits,
    /// What every call of it may reach beyond its interpreter.
    #[serde(default)]
    pub grants: Option<Box<GrantRequest>>,
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
    /// How long it waits before it is queued, in milliseconds.
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
    /// What loading the result runs; `None` where there is none.
    pub kind: Option<ResultKind>,
    /// Why it failed, if it did: what the exception alone does not tell, since a function may raise
    /// the same as the platform.
    pub failure: Option<FailureKind>,
    /// When a terminal task's record will be forgotten.
    pub expires_at: Option<Timestamp>,
    /// The length of a result that was not read, since it is long: see [`crate::Store::result_part`]. Else 0.
    pub unread_bytes: u64,
}

impl TaskResult {
    /// A status alone.
    #[must_use]
    pub const fn of(status: TaskStatus) -> Self {
        let result = Bytes::new();
        Self { status, result, kind: None, failure: None, expires_at: None, unread_bytes: 0 }
    }
}

/// The whole record of a task.
#[derive(Debug, Clone)]
pub struct TaskRecord {
    /// Names it.
    pub id: TaskId,
    /// What was fixed when it was accepted.
    pub spec: TaskSpec,
    /// Whose it is.
    pub tenant: Tenant,
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
    /// How that attempt ended; its pickles are empty here.
    pub outcome: Option<Outcome>,
    /// What loading the result runs; `None` where there is none.
    pub kind: Option<ResultKind>,
    /// How earlier attempts were lost, oldest first: `attempt 1: killed by signal 11 (SIGSEGV)`.
    pub failures: Vec<String>,
    /// The size of the pickled arguments in bytes.
    pub args_bytes: u64,
    /// The size of the pickled result in bytes; 0 while there is none.
    pub result_bytes: u64,
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
    /// What a slot must capabilities.
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

impl TaskFilter {
    pub(crate) fn fits(self, summary: &TaskSummary) -> bool {
        self.status.is_none_or(|status| status == summary.status)
            && self.function_id.is_none_or(|function| function == summary.function_id)
    }
}

/// A part of a list and where the next part begins.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The entries, newest first.
    pub items: Vec<T>,
    /// Gives the next page; `None` at the end. Opaque to clients.
    pub next: Option<String>,
}

/// A record of a list that cannot be read: another version wrote it, or it was changed by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRecord {
    /// The id of the task or function, or the hash of the key.
    pub id: String,
    /// Why it cannot be read.
    pub why: String,
}

impl From<TaskRecord> for TaskSummary {
    fn from(task: TaskRecord) -> Self {
        Self {
            id: task.id,
            function_id: task.spec.function_id,
            status: task.status,
            class: task.spec.class,
            priority: task.spec.priority,
            accepted_at: task.accepted_at,
        }
    }
}

impl UnreadableRecord {
    pub(crate) fn new(id: impl ToString, error: &StoreError) -> Self {
        Self { id: id.to_string(), why: error.to_string() }
    }
}
