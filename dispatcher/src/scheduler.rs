//! Decides: which worker runs what, what becomes of a lost attempt, when to claim. Pure: an event and
//! the time go in, actions come out. It does no I/O and reads no clock, so that a test can play any
//! story to it.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use belljar_core::id::{TaskId, WorkerId};
use belljar_core::outcome::{Failure, FailureKind, Outcome, Report, CallVerdict};
use belljar_core::task::{Attempt, TaskLimits, TaskAttempt};
use belljar_store::record::{ClaimedTask, Completion, Leased, Requeued, RequeueReason};

use crate::event::{Action, DEADLINE_GRACE, Event};
use crate::fleet::Fleet;

/// The state of one dispatcher.
#[derive(Debug, Default)]
pub struct Scheduler {
    fleet: Fleet,
    held: HashMap<TaskId, Task>,
    intake: Intake,
    draining: bool,
    actions: Vec<Action>,
}

/// A task in this dispatcher's hands.
#[derive(Debug)]
struct Task {
    attempt: Attempt,
    worker: WorkerId,
    deaths: u32,
    limits: TaskLimits,
    deadline: Instant,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A worker has it.
    Running,
    /// Its end, or its return, is on the way to the store.
    Settling,
}

/// What is known of the queue. At most one request to it is under way.
#[derive(Debug, Default)]
struct Intake {
    busy: bool,
    /// How many gifts of the store are on their way here.
    coming: usize,
    /// Whether a claim may find something of which the store will not tell by itself.
    promising: bool,
    /// Whether the store may wait for tasks that there is no room for any more.
    stale: bool,
    /// Whether what the store counts as held must be compared with what is.
    doubtful: bool,
    /// Attempts that the store counted as held and that were not: what it gave may still have been
    /// on its way when it was asked.
    suspects: HashSet<TaskAttempt>,
    /// Tasks that a client cancelled while they may be on their way here.
    cancelled: HashSet<TaskId>,
}

impl Intake {
    fn begin(&mut self) {
        self.busy = true;
        if self.coming == 0 {
            self.cancelled.clear();
        }
    }
}

impl Scheduler {
    /// A dispatcher without workers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is in its hands and no claim is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.held.is_empty() && !self.intake.busy && self.intake.coming == 0
    }

    /// How many tasks are in its hands.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes one event and says what shall be done about it, in order.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match event {
            Event::Joined(worker) => {
                self.fleet.join(&worker);
                self.intake.promising = true;
            }
            Event::Resized { worker, window } => {
                // What the store knows is how many calls there is room for.
                match self.fleet.resize(worker, window) {
                    Ordering::Less => self.intake.stale = true,
                    Ordering::Equal => {}
                    Ordering::Greater => self.intake.promising = true,
                }
            }
            Event::Left { worker, reason } => self.handle_left(worker, &reason, now),
            Event::Reported { worker, reports } => {
                reports.into_iter().for_each(|report| self.handle_report(worker, report));
            }
            Event::Returned { tasks, .. } => {
                tasks.into_iter().for_each(|task| self.handle_returned(task));
            }
            Event::Claimed(assignments) => {
                self.intake.busy = false;
                // An empty answer has made the store remember what we wait for; after any other
                // there may be more.
                self.intake.promising |= !assignments.is_empty();
                self.assign(assignments, now);
            }
            Event::Coming => self.intake.coming += 1,
            Event::Given { assignments, is_last } => {
                self.intake.coming = self.intake.coming.saturating_sub(1);
                self.intake.promising |= is_last;
                self.assign(assignments, now);
            }
            Event::IntakeFailed => {
                self.intake.busy = false;
                self.intake.promising = true;
                self.intake.doubtful = true;
            }
            Event::WorkArrived => self.intake.promising = true,
            Event::Reconnected => {
                self.intake.promising = true;
                self.intake.doubtful = true;
            }
            Event::Held(held) => self.handle_held(held),
            Event::Settled(settled) => self.handle_settled(&settled),
            Event::CancelWanted(task_id) => self.handle_cancel(task_id),
            Event::Tick => self.handle_tick(now),
            Event::DrainBegun => {
                self.draining = true;
                self.intake.stale = true;
            }
        }
        self.look_for_work();
        std::mem::take(&mut self.actions)
    }

    fn look_for_work(&mut self) {
        if self.intake.busy {
            return;
        }
        if self.draining {
            if std::mem::take(&mut self.intake.stale) {
                self.intake.begin();
                self.actions.push(Action::Claim(Vec::new()));
            }
        } else if self.intake.doubtful {
            self.intake.begin();
            self.intake.doubtful = false;
            self.actions.push(Action::Reconcile);
        } else if self.intake.promising || self.intake.stale {
            let wants = self.fleet.wants();
            if !wants.is_empty() || self.intake.stale {
                self.intake.begin();
                // Where nothing is asked for, the store will not tell of new tasks.
                self.intake.promising = wants.is_empty();
                self.intake.stale = false;
                self.actions.push(Action::Claim(wants));
            }
        }
    }

    fn assign(&mut self, claimed: Vec<ClaimedTask>, now: Instant) {
        let mut batches: HashMap<WorkerId, Vec<_>> = HashMap::new();
        for ClaimedTask { invocation, deaths } in claimed {
            let (task, limits) = (invocation.task, invocation.spec.limits);
            let cancelled = self.intake.cancelled.contains(&task.task_id);
            let idle = self.draining || cancelled;
            let worker = if idle {
                None
            } else {
                self.fleet.assign(invocation.spec.class, invocation.spec.code)
            };
            let (stage, deadline) = match worker {
                Some(_) => (Stage::Running, now + limits.timeout()),
                None => (Stage::Settling, now),
            };
            let held = Task {
                attempt: task.attempt,
                worker: worker.unwrap_or(NO_WORKER),
                deaths,
                limits,
                deadline,
                stage,
            };
            if let Some(older) = self.held.insert(task.task_id, held)
                && older.stage == Stage::Running
            {
                // The store has taken that attempt back: its report will be refused.
                self.release(older.worker);
            }
            match worker {
                Some(worker) => batches.entry(worker).or_default().push(invocation),
                None if cancelled => {
                    let outcome = Outcome::bare(CallVerdict::Cancelled, Duration::ZERO);
                    self.finish(NO_WORKER, Report { task, outcome });
                }
                // Its worker left while the claim was under way.
                None => self.give_back(task, RequeueReason::Unstarted),
            }
        }
        let sends = batches.into_iter();
        self.actions
            .extend(sends.map(|(worker, invocations)| Action::Send { worker, invocations }));
    }

    fn handle_report(&mut self, worker: WorkerId, report: Report) {
        let Some(held) = self.held_attempt(report.task) else {
            // Resent, or from before a restart of ours: the store's fence decides.
            return self.finish(worker, report);
        };
        if held.stage == Stage::Settling {
            return;
        }
        held.stage = Stage::Settling;
        let (deaths, limits) = (held.deaths, held.limits);
        let place = held.worker;
        self.release(place);
        match &report.outcome.verdict {
            CallVerdict::Failed(failure) if failure.kind.is_lost() && deaths < limits.max_retries => {
                let evidence = failure.message.clone();
                self.give_back(report.task, RequeueReason::Died(evidence));
            }
            CallVerdict::Failed(failure) if failure.kind.is_lost() && deaths > 0 => {
                let outcome = exhausted(failure, deaths + 1, &report.outcome);
                self.finish(worker, Report { outcome, ..report });
            }
            _ => self.finish(worker, report),
        }
    }

    fn held_attempt(&mut self, task: TaskAttempt) -> Option<&mut Task> {
        self.held.get_mut(&task.task_id).filter(|held| held.attempt == task.attempt)
    }

    fn handle_returned(&mut self, task: TaskAttempt) {
        if let Some(held) = self.held_attempt(task) {
            if held.stage == Stage::Settling {
                return;
            }
            held.stage = Stage::Settling;
            let place = held.worker;
            self.release(place);
        }
        // Also where it is not known: resent, or from before a restart of ours, and the fence decides.
        self.give_back(task, RequeueReason::Unstarted);
    }

    fn handle_left(&mut self, worker: WorkerId, reason: &str, now: Instant) {
        self.fleet.leave(worker);
        self.intake.stale = true;
        let running = self.held.iter().filter(|(_, held)| held.is_running_on(worker));
        let lost: Vec<_> = running.map(|(id, held)| (held.task(*id), held.deadline)).collect();
        for (task, deadline) in lost {
            let kind = if now >= deadline { FailureKind::Timeout } else { FailureKind::WorkerLost };
            let failure = Failure::by_platform(kind, format!("the worker was lost: {reason}"));
            let outcome = Outcome::bare(CallVerdict::Failed(failure), Duration::ZERO);
            self.handle_report(worker, Report { task, outcome });
        }
    }

    fn handle_held(&mut self, stored: Vec<Leased>) {
        self.intake.busy = false;
        let suspects = std::mem::take(&mut self.intake.suspects);
        for Leased { task, cancelling } in stored {
            if self.held.contains_key(&task.task_id) {
                if cancelling {
                    self.handle_cancel(task.task_id);
                }
            } else if self.intake.coming == 0 && suspects.contains(&task) {
                self.give_back(task, RequeueReason::Unstarted);
            } else {
                self.intake.suspects.insert(task);
                self.intake.doubtful = true;
            }
        }
    }

    fn handle_settled(&mut self, settled: &[TaskAttempt]) {
        for task in settled {
            if self.held_attempt(*task).is_some() {
                self.held.remove(&task.task_id);
            }
        }
    }

    fn handle_cancel(&mut self, task_id: TaskId) {
        let Some(held) = self.held.get(&task_id) else {
            if self.intake.busy || self.intake.coming > 0 {
                self.intake.cancelled.insert(task_id);
            }
            return;
        };
        if held.stage == Stage::Running {
            let (worker, task) = (held.worker, held.task(task_id));
            self.actions.push(Action::Stop { worker, task });
        }
    }

    /// The worker enforces deadlines; a call that is far beyond its own is ended here for a worker
    /// that does not.
    fn handle_tick(&mut self, now: Instant) {
        let overdue = self.held.iter().filter(|(_, held)| {
            held.stage == Stage::Running && now >= held.deadline + DEADLINE_GRACE
        });
        let overdue: Vec<_> = overdue.map(|(id, held)| (held.task(*id), held.worker)).collect();
        for (task, worker) in overdue {
            let text = "the deadline passed and the worker did not end the call".to_owned();
            let failure = Failure::by_platform(FailureKind::Timeout, text);
            let outcome = Outcome::bare(CallVerdict::Failed(failure), Duration::ZERO);
            self.actions.push(Action::Stop { worker, task });
            self.handle_report(worker, Report { task, outcome });
        }
    }

    fn release(&mut self, worker: WorkerId) {
        let has_room = self.fleet.release(worker);
        if has_room && !self.draining {
            self.actions.push(Action::Freed(1));
        }
    }

    fn finish(&mut self, worker: WorkerId, report: Report) {
        self.actions.push(Action::Finish(Completion { worker, report }));
    }

    fn give_back(&mut self, task: TaskAttempt, reason: RequeueReason) {
        self.actions.push(Action::Requeue(Requeued { task, reason }));
    }
}

/// Stands for the worker of a task that was never sent to one.
pub(crate) const NO_WORKER: WorkerId = WorkerId::from_bytes([0; 16]);

impl Task {
    const fn task(&self, task_id: TaskId) -> TaskAttempt {
        TaskAttempt { task_id, attempt: self.attempt }
    }

    fn is_running_on(&self, worker: WorkerId) -> bool {
        self.stage == Stage::Running && self.worker == worker
    }
}

/// The end of a task whose last permitted attempt was lost as well.
fn exhausted(last: &Failure, attempts: u32, outcome: &Outcome) -> Outcome {
    let text = last.message.split_once(": ").map_or(last.message.as_str(), |(_, text)| text);
    let failure =
        Failure::by_platform(last.kind, format!("{text} (attempt {attempts} of {attempts})"));
    Outcome { verdict: CallVerdict::Failed(failure), ..outcome.clone() }
}
