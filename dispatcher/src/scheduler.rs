//! Decides which worker runs which task, what becomes of a lost attempt, and when to claim tasks. Pure:
//! an event and the time go in, actions come out. It does no I/O and reads no clock, so that a test can
//! play any sequence of events.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use belljar_core::id::{TaskId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::live::LiveUpdate;
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome, Report};
use belljar_core::task::{Attempt, TaskAttempt, TaskLimits};
use belljar_core::tenant::Tenant;
use belljar_store::record::{ClaimedTask, Completion, Leased, RequeueReason, Requeued};

use crate::claim_state::{ClaimState, NextRequest};
use crate::event::{DEADLINE_GRACE, NO_WORKER, READING_TIME, SchedulerAction, SchedulerEvent};
use crate::worker_registry::WorkerRegistry;

/// The state of one dispatcher.
#[derive(Debug, Default)]
pub struct Scheduler {
    registry: WorkerRegistry,
    tasks: HashMap<TaskId, Task>,
    claims: ClaimState,
    phase: Phase,
    tenants: Tenants,
    actions: Vec<SchedulerAction>,
}

/// How long tenants are said to compete after the last task of another one.
const COMPETING: Duration = Duration::from_secs(1);

/// Whose tasks come.
#[derive(Debug, Default)]
struct Tenants {
    /// Whose task came last.
    last: Option<Tenant>,
    /// Until when tenants are said to compete.
    compete_until: Option<Instant>,
}

impl Tenants {
    /// A task of this tenant comes.
    fn note(&mut self, tenant: Tenant, now: Instant) {
        if self.last.as_ref().is_some_and(|last| *last != tenant) {
            self.compete_until = Some(now + COMPETING);
        }
        self.last = Some(tenant);
    }

    fn compete(&self, now: Instant) -> bool {
        self.compete_until.is_some_and(|until| now < until)
    }
}

/// Whether this dispatcher takes tasks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Serving,
    /// It finishes what it has, and leaves.
    Draining,
}

/// A task that this dispatcher holds.
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
    /// Its outcome or its return is on the way to the store.
    Recording,
}

impl Scheduler {
    /// A dispatcher without workers. `reserved` is [`crate::Config::reserved_slots`].
    #[must_use]
    pub fn new(reserved: usize) -> Self {
        Self { registry: WorkerRegistry::new(reserved), ..Self::default() }
    }

    /// Whether it holds no task and no claim is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.claims.is_idle()
    }

    /// How many tasks it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.tasks.len()
    }

    /// Handles one event. Returns the actions to carry out, in order.
    pub fn handle(&mut self, event: SchedulerEvent, now: Instant) -> Vec<SchedulerAction> {
        match event {
            SchedulerEvent::WorkerJoined(worker) => {
                self.registry.join(&worker);
                self.claims.expect_tasks();
            }
            SchedulerEvent::LabelsChanged(labels) => {
                self.registry.set_labels(labels);
                self.claims.expect_tasks();
            }
            SchedulerEvent::WindowChanged { worker, window } => {
                // The store knows how many calls there is room for.
                match self.registry.resize(worker, window) {
                    Ordering::Less => self.claims.overstated(),
                    Ordering::Equal => {}
                    Ordering::Greater => self.claims.expect_tasks(),
                }
            }
            SchedulerEvent::WorkerLeft { worker, reason } => self.handle_left(worker, &reason, now),
            SchedulerEvent::Reported { worker, reports } => {
                reports.into_iter().for_each(|report| self.handle_report(worker, report));
            }
            SchedulerEvent::Live { worker, updates } => self.handle_live(worker, updates),
            SchedulerEvent::WatchRequested { task_id, from_start } => {
                self.handle_watch(task_id, from_start);
            }
            SchedulerEvent::Returned { tasks, .. } => {
                tasks.into_iter().for_each(|task| self.handle_returned(task));
            }
            SchedulerEvent::Claimed(tasks) => {
                self.claims.claimed(tasks.is_empty());
                self.assign(tasks, now);
            }
            SchedulerEvent::DeliveryAnnounced => self.claims.announced(),
            SchedulerEvent::Delivered { tasks, is_last } => {
                self.claims.delivered(is_last);
                self.assign(tasks, now);
            }
            SchedulerEvent::ArgsRead { worker, invocation } => {
                self.handle_args(worker, *invocation, now);
            }
            SchedulerEvent::ClaimFailed => self.claims.claim_failed(),
            SchedulerEvent::WorkAvailable => self.claims.expect_tasks(),
            SchedulerEvent::StoreReconnected => {
                self.claims.expect_tasks();
                self.claims.doubt_leases();
            }
            SchedulerEvent::Leased(leases) => self.handle_leases(leases),
            SchedulerEvent::Recorded(recorded) => self.handle_recorded(&recorded),
            SchedulerEvent::CancelRequested(task_id) => self.handle_cancel(task_id),
            SchedulerEvent::Tick => self.handle_tick(now),
            SchedulerEvent::DrainStarted => {
                self.phase = Phase::Draining;
                self.claims.overstated();
            }
        }
        self.request_work();
        std::mem::take(&mut self.actions)
    }

    fn request_work(&mut self) {
        let request = match self.phase {
            Phase::Serving => {
                let is_worth = self.registry.is_worth_a_claim();
                self.claims.next_request(is_worth, || self.registry.demand())
            }
            Phase::Draining => self.claims.withdraw(),
        };
        let action = match request {
            Some(NextRequest::Claim(demand)) => SchedulerAction::Claim(demand),
            Some(NextRequest::Compare) => SchedulerAction::CompareLeases,
            None => return,
        };
        self.actions.push(action);
    }

    fn assign(&mut self, claimed: Vec<ClaimedTask>, now: Instant) {
        let mut batches: HashMap<WorkerId, Vec<_>> = HashMap::new();
        for claimed in claimed {
            self.tenants.note(claimed.tenant.clone(), now);
            let ClaimedTask { invocation, deaths, .. } = &claimed;
            let (task, limits, deaths) = (invocation.task, invocation.spec.limits, *deaths);
            let is_cancelled = self.claims.is_cancelled(task.task_id);
            let worker = if is_cancelled || self.phase == Phase::Draining {
                None
            } else {
                self.registry.assign(invocation.spec.class, invocation.spec.code)
            };
            let (stage, deadline) = match worker {
                Some(_) if claimed.unread.is_some() => {
                    (Stage::Running, now + READING_TIME + limits.timeout())
                }
                Some(_) => (Stage::Running, now + limits.timeout()),
                None => (Stage::Recording, now),
            };
            let held = Task {
                attempt: task.attempt,
                worker: worker.unwrap_or(NO_WORKER),
                deaths,
                limits,
                deadline,
                stage,
            };
            if let Some(older) = self.tasks.insert(task.task_id, held)
                && older.stage == Stage::Running
            {
                // The store has given up that attempt and will refuse its report.
                self.release(older.worker);
            }
            match worker {
                Some(worker) if claimed.unread.is_some() => {
                    self.actions.push(SchedulerAction::ReadArgs { worker, task: claimed });
                }
                Some(worker) => batches.entry(worker).or_default().push(claimed.invocation),
                None if is_cancelled => {
                    let outcome = Outcome::bare(CallVerdict::Cancelled, Duration::ZERO);
                    self.complete(NO_WORKER, Report { task, outcome });
                }
                // The worker left while the claim was under way.
                None => self.requeue(task, RequeueReason::Unstarted),
            }
        }
        self.share(now);
        let sends = batches.into_iter();
        self.actions.extend(
            sends.map(|(worker, invocations)| SchedulerAction::Send { worker, invocations }),
        );
    }

    /// The worker has kept a place for this call, unless it has left or the call has ended meanwhile.
    fn handle_args(&mut self, worker: WorkerId, invocation: Invocation, now: Instant) {
        let is_serving = self.phase == Phase::Serving;
        let task = invocation.task;
        let Some(held) = self.find(task).filter(|held| held.is_running_on(worker)) else { return };
        if !is_serving {
            return self.handle_returned(task);
        }
        held.deadline = now + held.limits.timeout();
        self.actions.push(SchedulerAction::Send { worker, invocations: vec![invocation] });
    }

    /// Where tenants compete, fewer calls wait at workers.
    fn share(&mut self, now: Instant) {
        let compete = self.tenants.compete(now);
        if !self.registry.share(compete) {
            return;
        }
        match compete {
            true => self.claims.overstated(),
            false => self.claims.expect_tasks(),
        }
    }

    fn handle_report(&mut self, worker: WorkerId, report: Report) {
        let Some(task) = self.find(report.task) else {
            // Sent again, or of an earlier dispatcher: the store compares the attempt and decides.
            return self.complete(worker, report);
        };
        if task.stage == Stage::Recording {
            return;
        }
        task.stage = Stage::Recording;
        let (deaths, limits) = (task.deaths, task.limits);
        let assigned = task.worker;
        self.release(assigned);
        match &report.outcome.verdict {
            CallVerdict::Failed(failure)
                if failure.kind.is_lost() && deaths < limits.max_retries =>
            {
                let evidence = failure.message.clone();
                self.requeue(report.task, RequeueReason::Died(evidence));
            }
            CallVerdict::Failed(failure) if failure.kind.is_lost() && deaths > 0 => {
                let outcome = exhausted(failure, deaths + 1, &report.outcome);
                self.complete(worker, Report { outcome, ..report });
            }
            _ => self.complete(worker, report),
        }
    }

    /// Only the worker that has an attempt speaks for it.
    fn handle_live(&mut self, worker: WorkerId, updates: Vec<LiveUpdate>) {
        let is_current = |update: &LiveUpdate| {
            let held = self.tasks.get(&update.task.task_id);
            held.is_some_and(|held| held.attempt == update.task.attempt && held.worker == worker)
        };
        let updates: Vec<_> =
            updates.into_iter().filter(is_current).map(LiveUpdate::bounded).collect();
        if !updates.is_empty() {
            self.actions.push(SchedulerAction::Publish(updates));
        }
    }

    fn handle_watch(&mut self, task_id: TaskId, from_start: bool) {
        let Some(task) = self.tasks.get(&task_id) else { return };
        if task.stage == Stage::Running {
            let (worker, task) = (task.worker, task.attempt_of(task_id));
            self.actions.push(SchedulerAction::Watch { worker, task, from_start });
        }
    }

    fn find(&mut self, task: TaskAttempt) -> Option<&mut Task> {
        self.tasks.get_mut(&task.task_id).filter(|held| held.attempt == task.attempt)
    }

    fn handle_returned(&mut self, task: TaskAttempt) {
        if let Some(held) = self.find(task) {
            if held.stage == Stage::Recording {
                return;
            }
            held.stage = Stage::Recording;
            let assigned = held.worker;
            self.release(assigned);
        }
        // An unknown one too: sent again, or of an earlier dispatcher, and the store decides.
        self.requeue(task, RequeueReason::Unstarted);
    }

    fn handle_left(&mut self, worker: WorkerId, reason: &str, now: Instant) {
        self.registry.leave(worker);
        self.claims.overstated();
        let running = self.tasks.iter().filter(|(_, task)| task.is_running_on(worker));
        let lost: Vec<_> =
            running.map(|(id, task)| (task.attempt_of(*id), task.deadline)).collect();
        for (task, deadline) in lost {
            let kind = if now >= deadline { FailureKind::Timeout } else { FailureKind::WorkerLost };
            let failure = Failure::by_platform(kind, format!("the worker was lost: {reason}"));
            let outcome = Outcome::bare(CallVerdict::Failed(failure), Duration::ZERO);
            self.handle_report(worker, Report { task, outcome });
        }
    }

    fn handle_leases(&mut self, leases: Vec<Leased>) {
        let suspects = self.claims.compared();
        for Leased { task, cancelling } in leases {
            if self.tasks.contains_key(&task.task_id) {
                if cancelling {
                    self.handle_cancel(task.task_id);
                }
            } else if self.claims.is_lost(task, &suspects) {
                self.requeue(task, RequeueReason::Unstarted);
            }
        }
    }

    fn handle_recorded(&mut self, recorded: &[TaskAttempt]) {
        for task in recorded {
            if self.find(*task).is_some() {
                self.tasks.remove(&task.task_id);
            }
        }
    }

    fn handle_cancel(&mut self, task_id: TaskId) {
        let Some(task) = self.tasks.get(&task_id) else { return self.claims.cancel(task_id) };
        if task.stage == Stage::Running {
            let (worker, task) = (task.worker, task.attempt_of(task_id));
            self.actions.push(SchedulerAction::Stop { worker, task });
        }
    }

    /// The worker enforces deadlines. A call far beyond its deadline is ended here, in case the worker
    /// does not.
    fn handle_tick(&mut self, now: Instant) {
        self.share(now);
        let overdue = self.tasks.iter().filter(|(_, task)| {
            task.stage == Stage::Running && now >= task.deadline + DEADLINE_GRACE
        });
        let overdue: Vec<_> =
            overdue.map(|(id, task)| (task.attempt_of(*id), task.worker)).collect();
        for (task, worker) in overdue {
            let text = "the deadline passed and the worker did not end the call".to_owned();
            let failure = Failure::by_platform(FailureKind::Timeout, text);
            let outcome = Outcome::bare(CallVerdict::Failed(failure), Duration::ZERO);
            self.actions.push(SchedulerAction::Stop { worker, task });
            self.handle_report(worker, Report { task, outcome });
        }
    }

    fn release(&mut self, worker: WorkerId) {
        let has_room = self.registry.release(worker);
        if has_room && self.phase == Phase::Serving {
            self.actions.push(SchedulerAction::CapacityFreed(1));
        }
    }

    fn complete(&mut self, worker: WorkerId, report: Report) {
        self.actions.push(SchedulerAction::Complete(Completion { worker, report }));
    }

    fn requeue(&mut self, task: TaskAttempt, reason: RequeueReason) {
        self.actions.push(SchedulerAction::Requeue(Requeued { task, reason }));
    }
}

impl Task {
    const fn attempt_of(&self, task_id: TaskId) -> TaskAttempt {
        TaskAttempt { task_id, attempt: self.attempt }
    }

    fn is_running_on(&self, worker: WorkerId) -> bool {
        self.stage == Stage::Running && self.worker == worker
    }
}

/// The outcome of a task whose last permitted attempt was lost as well.
fn exhausted(last: &Failure, attempts: u32, outcome: &Outcome) -> Outcome {
    let text = last.message.split_once(": ").map_or(last.message.as_str(), |(_, text)| text);
    let failure =
        Failure::by_platform(last.kind, format!("{text} (attempt {attempts} of {attempts})"));
    Outcome { verdict: CallVerdict::Failed(failure), ..outcome.clone() }
}
