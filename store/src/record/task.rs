//! Functions and tasks as clients see them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use belljar_core::files::FileEntry;
use belljar_core::grants::GrantRequest;
use belljar_core::id::{DispatcherId, FunctionId, SessionId, TaskId, WorkerId};
use belljar_core::live::Progress;
use belljar_core::outcome::{FailureKind, Outcome, Phases, ResultKind};
use belljar_core::requirements::PackageLock;
use belljar_core::task::{
    CodeHash, Priority, Runtime, TaskClass, TaskLimits, TaskSpec, TaskStatus,
};
use belljar_core::tenant::Tenant;
use belljar_core::trace::{TraceContext, TraceId};
use belljar_core::warm::WarmMode;
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
    /// The packages that it asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<String>,
    /// Those that were chosen for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<Box<PackageLock>>,
    /// Whether its calls may start with its modules imported.
    #[serde(default, skip_serializing_if = "WarmMode::is_auto")]
    pub warm: WarmMode,
    /// Names its code.
    pub code: CodeHash,
    /// The size of its code in bytes.
    pub code_bytes: u64,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// Seconds after which it is forgotten, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
}

impl FunctionRecord {
    /// When it is forgotten.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        let ttl_us = u64::from(self.ttl_s?).saturating_mul(1_000_000);
        Some(Timestamp(self.registered_at.0.saturating_add(ttl_us)))
    }

    /// Whether it is forgotten by now.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.expires_at().is_some_and(|end| end <= Timestamp::before_now(Duration::ZERO))
    }
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
    /// The session that it goes on with; then it has no delay. All tasks of one submission have the same, or none.
    pub session: Option<SessionId>,
    /// Makes a repeated submission answer with the first one's task.
    pub idempotency: Option<Idempotency>,
    /// What its spans belong to, where it is traced.
    pub trace: Option<Box<TraceContext>>,
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
    /// Whether it was not read because the bucket that has it is away. One that is asked for alone is an error instead.
    pub is_away: bool,
}

impl TaskResult {
    /// A status alone.
    #[must_use]
    pub const fn of(status: TaskStatus) -> Self {
        Self {
            status,
            result: Bytes::new(),
            kind: None,
            failure: None,
            expires_at: None,
            unread_bytes: 0,
            is_away: false,
        }
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
    /// The session that it goes on with.
    pub session: Option<SessionId>,
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
    /// The files that it left; see [`crate::Store::file_part`].
    pub files: Vec<FileEntry>,
    /// How earlier attempts were lost, oldest first: `attempt 1: killed by signal 11 (SIGSEGV)`.
    pub failures: Vec<String>,
    /// The trace that it belongs to, where it is traced.
    pub trace_id: Option<TraceId>,
    /// How far its last attempt has come, where it tells.
    pub progress: Option<Progress>,
    /// The size of the pickled arguments in bytes.
    pub args_bytes: u64,
    /// The size of the pickled result in bytes; 0 while there is none.
    pub result_bytes: u64,
}

impl TaskRecord {
    /// How it ended, if it has, as lists show it.
    #[must_use]
    pub fn end(&self) -> Option<TaskEnd> {
        let (outcome, finished_at) = (self.outcome.as_ref()?, self.finished_at?);
        Some(TaskEnd::new((self.attempts, self.started_at), finished_at, self.worker, outcome))
    }
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
    /// When it may first be queued, for a delayed task.
    pub due_at: Option<Timestamp>,
    /// How it ended, if it has.
    pub end: Option<TaskEnd>,
}

/// How a task of a list ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskEnd {
    /// How many attempts were opened.
    pub attempts: u32,
    /// When the last one was opened; `None` for a task that never ran.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// The worker that ran the last attempt.
    pub worker: Option<WorkerId>,
    /// Why it failed, if it did.
    pub failure: Option<FailureKind>,
    /// Where the time of the last attempt went.
    pub phases: Phases,
    /// Wall-clock time in the worker's slot, in microseconds.
    pub elapsed_us: u64,
    /// The most memory of the executor, in bytes; 0 where it is not known.
    pub peak_memory_bytes: u64,
}

impl TaskEnd {
    /// The same of an outcome.
    pub(crate) fn new(
        (attempts, started_at): (u32, Option<Timestamp>),
        finished_at: Timestamp,
        worker: Option<WorkerId>,
        outcome: &Outcome,
    ) -> Self {
        Self {
            attempts,
            started_at,
            finished_at,
            worker,
            failure: outcome.verdict.failure().map(|failure| failure.kind),
            phases: outcome.phases,
            elapsed_us: outcome.elapsed_us,
            peak_memory_bytes: outcome.peak_memory_bytes,
        }
    }

    /// Processor time in microseconds; see [`Outcome::cpu_us`].
    #[must_use]
    pub const fn cpu_us(&self) -> u64 {
        if self.phases.cpu_us > 0 { self.phases.cpu_us } else { self.elapsed_us }
    }
}

/// Which tasks a list shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaskFilter {
    /// Only tasks in this status.
    pub status: Option<TaskStatus>,
    /// Only calls of this function.
    pub function_id: Option<FunctionId>,
    /// Only tasks of this runtime.
    pub runtime: Option<Runtime>,
    /// Only tasks that ended on this worker.
    pub worker: Option<WorkerId>,
    /// Only tasks that failed for this reason.
    pub failure: Option<FailureKind>,
    /// Only tasks accepted at this time or later.
    pub accepted_from: Option<Timestamp>,
    /// Only tasks accepted before this time.
    pub accepted_before: Option<Timestamp>,
}

impl TaskFilter {
    pub(crate) fn fits(self, task: &TaskSummary) -> bool {
        let end = task.end.as_ref();
        self.status.is_none_or(|status| status == task.status)
            && self.function_id.is_none_or(|function| function == task.function_id)
            && self.runtime.is_none_or(|runtime| runtime == task.class.runtime)
            && self.worker.is_none_or(|worker| end.and_then(|end| end.worker) == Some(worker))
            && self.failure.is_none_or(|kind| end.and_then(|end| end.failure) == Some(kind))
            && !self.is_past(task)
            && self.accepted_before.is_none_or(|before| task.accepted_at < before)
    }

    /// Whether a task, and with it every older one, was accepted before the time that the list begins at.
    pub(crate) fn is_past(self, task: &TaskSummary) -> bool {
        self.accepted_from.is_some_and(|from| task.accepted_at < from)
    }

    /// Whether nothing is filtered.
    pub(crate) const fn is_empty(self) -> bool {
        let Self { status, function_id, runtime, worker, failure, accepted_from, accepted_before } =
            self;
        status.is_none()
            && function_id.is_none()
            && runtime.is_none()
            && worker.is_none()
            && failure.is_none()
            && accepted_from.is_none()
            && accepted_before.is_none()
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
            due_at: task.due_at,
            end: task.end(),
        }
    }
}

impl UnreadableRecord {
    pub(crate) fn new(id: impl ToString, error: &StoreError) -> Self {
        Self { id: id.to_string(), why: error.to_string() }
    }
}
