//! What the scheduler hears and what it answers.

use std::time::Duration;

use belljar_core::id::{TaskId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::outcome::Report;
use belljar_core::task::{TaskAttempt, TaskClass};
use belljar_store::record::{ClaimedTask, Completion, Leased, Requeued, Demand};

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// A worker is there and takes calls.
    Joined(NewWorker),
    /// A worker takes another number of calls at once than before.
    Resized {
        /// The worker.
        worker: WorkerId,
        /// How many it takes now.
        window: usize,
    },
    /// A worker is gone; whatever it ran is lost.
    Left {
        /// The worker.
        worker: WorkerId,
        /// How that was noticed: the evidence of its tasks' lost attempts.
        reason: String,
    },
    /// A worker ended calls.
    Reported {
        /// The worker.
        worker: WorkerId,
        /// How they ended.
        reports: Vec<Report>,
    },
    /// A worker gives back calls that it has not begun.
    Returned {
        /// The worker.
        worker: WorkerId,
        /// The attempts given back.
        tasks: Vec<TaskAttempt>,
    },
    /// The answer to [`Action::Claim`].
    Claimed(Vec<ClaimedTask>),
    /// The store has given tasks that the last claim had room for; [`Event::Given`] follows.
    Coming,
    /// What was [`Event::Coming`], ready to be sent.
    Given {
        /// The tasks.
        assignments: Vec<ClaimedTask>,
        /// Whether the store gives no more before the next claim.
        is_last: bool,
    },
    /// [`Action::Claim`] or [`Action::Reconcile`] could not be carried out.
    IntakeFailed,
    /// Tasks were queued since the last claim found too few.
    WorkArrived,
    /// The connection to the store was lost and is back: claims may have been made whose answers
    /// never arrived.
    Reconnected,
    /// The answer to [`Action::Reconcile`]: what the store counts as being in this dispatcher's
    /// hands.
    Held(Vec<Leased>),
    /// The store has taken what was said of these tasks.
    Settled(Vec<TaskAttempt>),
    /// A client wants this task stopped.
    CancelWanted(TaskId),
    /// Time has passed.
    Tick,
    /// Take no more work.
    DrainBegun,
}

/// A worker that joins.
#[derive(Debug, Clone)]
pub struct NewWorker {
    /// Names it.
    pub id: WorkerId,
    /// What it can run.
    pub classes: Vec<TaskClass>,
    /// How many calls it runs at once.
    pub slots: usize,
    /// How many calls it takes at once, waiting ones included.
    pub window: usize,
}

/// Something to be done.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "under load nearly every action is the large one")]
pub enum Action {
    /// Claim tasks; at most one claim is under way. The store then waits for what it could not give;
    /// where nothing is claimed, it is to wait no longer.
    Claim(Vec<Demand>),
    /// So many places have become free that the last claim did not count.
    Freed(usize),
    /// Ask the store what it counts as being in this dispatcher's hands. Never beside a claim.
    Reconcile,
    /// Send calls to a worker.
    Send {
        /// The worker.
        worker: WorkerId,
        /// The calls.
        invocations: Vec<Invocation>,
    },
    /// Tell a worker to stop a call.
    Stop {
        /// The worker.
        worker: WorkerId,
        /// The call.
        task: TaskAttempt,
    },
    /// Publish how a task ended.
    Finish(Completion),
    /// Queue a task again.
    Requeue(Requeued),
}

/// How long after its deadline a call that its worker has not ended is given up for it.
pub const DEADLINE_GRACE: Duration = Duration::from_secs(5);
