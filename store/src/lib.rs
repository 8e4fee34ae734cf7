//! The only crate of belljar that knows Redis: functions, tasks, queues, attempts, results and the
//! notifications about them. It schedules nothing and decides nothing about time: dispatchers do.
//!
//! Every change of a task is one Lua script, so it happens whole or not at all, and an attempt's
//! number fences late writers.
//!
//! # Layout
//!
//! * [`record`]: what is kept and given out. * [`error`]: what can go wrong.

pub mod error;
pub mod record;

use std::time::Duration;

use belljar_core::id::{DispatcherId, FunctionId, TaskId};
use belljar_core::task::{CodeHash, TaskClass};
use bytes::Bytes;

pub use error::StoreError;
use record::*;

/// How to reach Redis and what to keep there.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `redis://HOST:PORT/DB` or `redis+unix:///PATH`.
    pub url: String,
    /// How long the record of a terminal task is kept.
    pub result_ttl: Duration,
    /// How many tasks may wait before submissions are refused.
    pub max_queued: u64,
    /// How long one command may take before the store counts as unreachable.
    pub timeout: Duration,
    /// How long a silent dispatcher counts as alive.
    pub dispatcher_ttl: Duration,
}

impl StoreConfig {
    /// What a deployment that sets nothing but the server has: results are kept for a day, a million
    /// tasks may wait, a command may take five seconds.
    #[must_use]
    pub const fn new(url: String) -> Self {
        Self {
            url,
            result_ttl: Duration::from_secs(24 * 60 * 60),
            max_queued: 1_000_000,
            timeout: Duration::from_secs(5),
            dispatcher_ttl: DISPATCHER_TTL,
        }
    }
}

/// A handle to the store; a cheap clone, one multiplexed connection that mends itself.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Connects, checks that the server is fit to hold tasks (version, eviction policy) and warns in
    /// the log where persistence is off.
    pub async fn connect(config: StoreConfig) -> Result<Self, StoreError> {
        todo!()
    }
    /// Whether the server answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        todo!()
    }

    // --- functions
    /// Stores a function and its code; `registered_at` is set here. Equal code is stored once.
    pub async fn put_function(
        &self,
        record: FunctionRecord,
        code: Bytes,
    ) -> Result<FunctionRecord, StoreError> {
        todo!()
    }
    /// A function's record. Records never change: callers may cache them.
    pub async fn function(&self, id: FunctionId) -> Result<Option<FunctionRecord>, StoreError> {
        todo!()
    }
    /// A function's bytes by their hash.
    pub async fn code(&self, hash: CodeHash) -> Result<Option<Bytes>, StoreError> {
        todo!()
    }
    /// Functions, newest first.
    pub async fn functions(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<FunctionRecord>, StoreError> {
        todo!()
    }

    // --- tasks, for clients
    /// Accepts all of `tasks` or none. Answers with the ids in the same order: a task with a known
    /// idempotency key has the id of the first submission.
    pub async fn submit(&self, tasks: Vec<NewTask>) -> Result<Vec<TaskId>, StoreError> {
        todo!()
    }
    /// Status and result of each; `None` for an unknown id.
    pub async fn results(&self, ids: &[TaskId]) -> Result<Vec<Option<TaskResult>>, StoreError> {
        todo!()
    }
    /// The whole record.
    pub async fn task(&self, id: TaskId) -> Result<Option<TaskRecord>, StoreError> {
        todo!()
    }
    /// Tasks, newest first, among the newest 100,000 (a named constant).
    pub async fn tasks(
        &self,
        filter: TaskFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<TaskSummary>, StoreError> {
        todo!()
    }
    /// Cancels; `None` for an unknown id.
    pub async fn cancel(&self, id: TaskId) -> Result<Option<Cancel>, StoreError> {
        todo!()
    }

    // --- tasks, for dispatchers
    /// Opens attempts at queued tasks: for each want up to its count, by priority, requeued ones
    /// first, its classes in the order given. Where fewer were there, the dispatcher is woken
    /// ([`Notice::Work`]) when more come.
    pub async fn claim(
        &self,
        dispatcher: DispatcherId,
        wants: &[Want],
    ) -> Result<Vec<ClaimedTask>, StoreError> {
        todo!()
    }
    /// Publishes results, each under its fence, in one script; answers in the same order.
    pub async fn finish(&self, finished: &[Finished]) -> Result<Vec<Settled>, StoreError> {
        todo!()
    }
    /// Queues given-back attempts again, each under its fence, at the front of their class.
    pub async fn requeue(&self, requeued: &[Requeued]) -> Result<Vec<Settled>, StoreError> {
        todo!()
    }
    /// Shows that the dispatcher lives (for [`DISPATCHER_TTL`]), publishes its workers, queues due
    /// delayed tasks, and queues again what vanished dispatchers held. Call it every second.
    pub async fn beat(
        &self,
        dispatcher: DispatcherId,
        classes: &[TaskClass],
        workers: &[WorkerRecord],
    ) -> Result<Beat, StoreError> {
        todo!()
    }
    /// The attempts that the dispatcher holds by the store's books. After each [`Notice::Connected`],
    /// and after a [`Store::claim`] that failed (its answer may have been lost on the way), give back
    /// those that it knows nothing of, and stop those that a client cancelled unheard.
    pub async fn held(&self, dispatcher: DispatcherId) -> Result<Vec<Held>, StoreError> {
        todo!()
    }
    /// Leaves: whatever the dispatcher still holds is queued again at once.
    pub async fn retire(&self, dispatcher: DispatcherId) -> Result<(), StoreError> {
        todo!()
    }

    // --- about the whole
    /// Workers of live dispatchers.
    pub async fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError> {
        todo!()
    }
    /// The classes that live dispatchers serve.
    pub async fn served_classes(&self) -> Result<Vec<TaskClass>, StoreError> {
        todo!()
    }
    /// The counters, the queues and whether they agree.
    pub async fn audit(&self) -> Result<Audit, StoreError> {
        todo!()
    }
    /// The length of every queue.
    pub async fn queue_lengths(&self) -> Result<Vec<QueueLength>, StoreError> {
        todo!()
    }
    /// Starts one subscription on a connection of its own that mends itself; see [`Notice`].
    pub async fn subscribe(&self, topics: &[Topic]) -> Result<Notices, StoreError> {
        todo!()
    }
}

/// How long a silent dispatcher counts as alive.
pub const DISPATCHER_TTL: Duration = Duration::from_secs(3);

/// What can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// [`Notice::Ended`], for gateways.
    Ended,
    /// [`Notice::Work`], for dispatchers.
    Work,
    /// [`Notice::Cancel`], for dispatchers.
    Cancel,
}

/// What a subscriber hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// These tasks became terminal.
    Ended(Vec<TaskId>),
    /// There is work of these classes for dispatchers that claimed less than they wanted.
    Work,
    /// A delayed task was accepted that is due earlier than all others: beat now to hear when.
    Delayed,
    /// A running task shall be stopped.
    Cancel(TaskId),
    /// The connection was lost and is back (also sent once at the start): whatever was said
    /// meanwhile went unheard, so look at the store.
    Connected,
}

/// A stream of [`Notice`]s; ends only when it is dropped.
pub struct Notices {}

impl Notices {
    /// The next notice. Cancel safe.
    pub async fn next(&mut self) -> Notice {
        todo!()
    }
}
