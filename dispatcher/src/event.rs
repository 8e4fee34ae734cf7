//! The events and the actions of the scheduler.

use std::time::Duration;

use belljar_core::id::{TaskId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::labels::Labels;
use belljar_core::live::LiveUpdate;
use belljar_core::outcome::Report;
use belljar_core::task::{TaskAttempt, TaskClass};
use belljar_store::record::{ClaimedTask, Completion, Demand, Leased, Requeued};

/// Something happened.
#[derive(Debug)]
pub enum SchedulerEvent {
    /// A worker has joined, or its classes have changed.
    WorkerJoined(WorkerCapacity),
    /// Functions ask for these different sets of labels now.
    LabelsChanged(Vec<Labels>),
    /// A worker takes another number of calls at once than before.
    WindowChanged {
        /// The worker.
        worker: WorkerId,
        /// How many calls it takes now.
        window: usize,
    },
    /// A worker has left or is lost, and with it the calls that it ran.
    WorkerLeft {
        /// The worker.
        worker: WorkerId,
        /// How that was noticed. It is the evidence of its tasks' lost attempts.
        reason: String,
    },
    /// Calls have ended at a worker.
    Reported {
        /// The worker.
        worker: WorkerId,
        /// The outcomes.
        reports: Vec<Report>,
    },
    /// Running calls show something of themselves.
    Live {
        /// The worker.
        worker: WorkerId,
        /// What they show.
        updates: Vec<LiveUpdate>,
    },
    /// A client watches this task for [`belljar_core::live::WATCH_TTL`].
    WatchRequested {
        /// The task.
        task_id: TaskId,
        /// Whether what it has written so far is wanted too.
        from_start: bool,
    },
    /// A worker gives back calls that it has not begun.
    Returned {
        /// The worker.
        worker: WorkerId,
        /// The attempts.
        tasks: Vec<TaskAttempt>,
    },
    /// The answer to [`SchedulerAction::Claim`].
    Claimed(Vec<ClaimedTask>),
    /// The store delivers tasks that the last claim had room for; [`SchedulerEvent::Delivered`] follows.
    DeliveryAnnounced,
    /// The tasks of an announced delivery, with their code.
    Delivered {
        /// The tasks.
        tasks: Vec<ClaimedTask>,
        /// Whether the store delivers no more before the next claim.
        is_last: bool,
    },
    /// The answer to [`SchedulerAction::ReadArgs`].
    ArgsRead {
        /// The worker.
        worker: WorkerId,
        /// The call, with its arguments.
        invocation: Box<Invocation>,
    },
    /// [`SchedulerAction::Claim`] has failed.
    ClaimFailed,
    /// Tasks were queued since the last claim found too few.
    WorkAvailable,
    /// The connection to the store was lost and is back: the store may have leased tasks in answers that
    /// never arrived.
    StoreReconnected,
    /// The answer to [`SchedulerAction::CompareLeases`].
    Leased(Vec<Leased>),
    /// The store has recorded the outcomes or the returns of these attempts.
    Recorded(Vec<TaskAttempt>),
    /// A client has cancelled this task.
    CancelRequested(TaskId),
    /// Time has passed.
    Tick,
    /// Take no more tasks.
    DrainStarted,
}

/// What a worker can run.
#[derive(Debug, Clone)]
pub struct WorkerCapacity {
    /// The worker.
    pub id: WorkerId,
    /// The classes that it serves.
    pub classes: Vec<TaskClass>,
    /// How many calls it runs at once.
    pub slots: usize,
    /// How many calls it takes at once, waiting ones included.
    pub window: usize,
}

/// Something to be done.
#[derive(Debug)]
pub enum SchedulerAction {
    /// Claim tasks for this demand; at most one claim is under way. The store then delivers what it
    /// could not find. Without demand it delivers no more.
    Claim(Vec<Demand>),
    /// So many calls have ended that the last claim did not count.
    CapacityFreed(usize),
    /// Ask the store which tasks it has leased to this dispatcher. Never during a claim.
    CompareLeases,
    /// Send calls to a worker.
    Send {
        /// The worker.
        worker: WorkerId,
        /// The calls.
        invocations: Vec<Invocation>,
    },
    /// Read the arguments of a call for a worker, which are in a bucket. A report says that they cannot be had.
    ReadArgs {
        /// The worker, which has a place for it.
        worker: WorkerId,
        /// The task.
        task: ClaimedTask,
    },
    /// Tell a worker to stop a call.
    Stop {
        /// The worker.
        worker: WorkerId,
        /// The call.
        task: TaskAttempt,
    },
    /// Tell a worker that a call is watched.
    Watch {
        /// The worker.
        worker: WorkerId,
        /// The call.
        task: TaskAttempt,
        /// Whether what it has written so far is wanted too.
        from_start: bool,
    },
    /// Tell those who watch what running calls show of themselves.
    Publish(Vec<LiveUpdate>),
    /// Record the outcome of a task.
    Complete(Completion),
    /// Queue a task again.
    Requeue(Requeued),
}

/// How long after its deadline a call is given up that its worker has not ended.
pub const DEADLINE_GRACE: Duration = Duration::from_secs(5);

/// How long the arguments of a call may take from a bucket, beside its own time.
pub(crate) const READING_TIME: Duration = Duration::from_secs(120);

/// The worker in the record of a task that was never sent to one.
pub(crate) const NO_WORKER: WorkerId = WorkerId::from_bytes([0; 16]);
