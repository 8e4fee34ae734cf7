//! Plays sequences of events to the scheduler: random ones that check invariants, and the specific ones that matter.

#![expect(clippy::expect_used, reason = "in a test, a broken expectation is the failure")]

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use belljar_core::id::{TaskId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome, Report};
use belljar_core::task::{Attempt, TaskAttempt, TaskClass, TaskLimits};
use belljar_dispatcher::event::{DEADLINE_GRACE, SchedulerAction, SchedulerEvent, WorkerCapacity};
use belljar_dispatcher::scheduler::Scheduler;
use belljar_store::record::{ClaimedTask, Leased, RequeueReason};
use bytes::Bytes;
use proptest::prelude::*;

fn class() -> TaskClass {
    "native:3.11".parse().expect("a class")
}

fn attempt(task_id: TaskId, number: u32) -> TaskAttempt {
    TaskAttempt { task_id, attempt: Attempt(number) }
}

fn assignment(task_id: TaskId, number: u32, deaths: u32) -> ClaimedTask {
    let mut invocation = Invocation::standalone(class(), Bytes::from_static(b"f"), Bytes::new());
    invocation.task = attempt(task_id, number);
    invocation.spec.limits = TaskLimits { timeout_ms: 1000, memory_mb: 64, max_retries: 2 };
    ClaimedTask { invocation, deaths }
}

fn delivered(task_id: TaskId) -> SchedulerEvent {
    SchedulerEvent::Delivered { tasks: vec![assignment(task_id, 1, 0)], is_last: true }
}

fn completed(task: TaskAttempt) -> Report {
    let outcome = Outcome::bare(CallVerdict::Completed(Bytes::from_static(b"v")), Duration::ZERO);
    Report { task, outcome }
}

fn died(task: TaskAttempt) -> Report {
    let failure = Failure::by_platform(FailureKind::ExecutorDied, "killed by signal 11".to_owned());
    let outcome = Outcome::bare(CallVerdict::Failed(failure), Duration::ZERO);
    Report { task, outcome }
}

/// A scheduler with one worker that takes `window` calls, its first claim under way.
fn started(window: usize) -> (Scheduler, WorkerId, Instant) {
    let (mut scheduler, id, now) = (Scheduler::new(), WorkerId::random(), Instant::now());
    let joined = SchedulerEvent::WorkerJoined(WorkerCapacity {
        id,
        classes: vec![class()],
        slots: window,
        window,
    });
    let actions = scheduler.handle(joined, now);
    assert!(matches!(&actions[..], [SchedulerAction::Claim(wants)] if wants[0].count == window));
    (scheduler, id, now)
}

#[test]
fn tasks_returned_to_the_next_dispatcher_are_requeued() {
    let (mut scheduler, worker, now) = started(1);
    let tasks = vec![attempt(TaskId::random(), 4)];
    let actions = scheduler.handle(SchedulerEvent::Returned { worker, tasks }, now);
    assert_eq!(returned(&actions), [&RequeueReason::Unstarted]);
    assert!(scheduler.held() == 0);
}

fn returned(actions: &[SchedulerAction]) -> Vec<&RequeueReason> {
    fn reason(action: &SchedulerAction) -> Option<&RequeueReason> {
        if let SchedulerAction::Requeue(requeued) = action { Some(&requeued.reason) } else { None }
    }
    actions.iter().filter_map(reason).collect()
}

fn finished(actions: &[SchedulerAction]) -> Vec<&CallVerdict> {
    fn verdict(action: &SchedulerAction) -> Option<&CallVerdict> {
        if let SchedulerAction::Complete(finished) = action {
            Some(&finished.report.outcome.verdict)
        } else {
            None
        }
    }
    actions.iter().filter_map(verdict).collect()
}

#[test]
fn after_an_empty_claim_it_waits_for_work() {
    let (mut scheduler, _, now) = started(1);
    assert!(scheduler.handle(SchedulerEvent::Claimed(Vec::new()), now).is_empty());
    assert!(scheduler.handle(SchedulerEvent::Tick, now).is_empty());
    assert!(matches!(
        scheduler.handle(SchedulerEvent::WorkAvailable, now)[..],
        [SchedulerAction::Claim(_)]
    ));
}

#[test]
fn work_that_comes_during_a_claim_is_claimed_next() {
    let (mut scheduler, _, now) = started(1);
    assert!(scheduler.handle(SchedulerEvent::WorkAvailable, now).is_empty());
    assert!(matches!(
        scheduler.handle(SchedulerEvent::Claimed(Vec::new()), now)[..],
        [SchedulerAction::Claim(_)]
    ));
}

#[test]
fn capacity_that_comes_before_a_call_s_end_and_goes_with_it_costs_one_claim() {
    let (mut scheduler, worker, now) = started(1);
    let (first, second) = (TaskId::random(), TaskId::random());
    scheduler.handle(SchedulerEvent::Claimed(vec![assignment(first, 1, 0)]), now);
    let actions = scheduler.handle(SchedulerEvent::WindowChanged { worker, window: 2 }, now);
    assert!(
        matches!(&actions[..], [SchedulerAction::Claim(wants)] if wants[0].count == 1),
        "{actions:?}"
    );
    let actions = scheduler.handle(SchedulerEvent::Claimed(vec![assignment(second, 1, 0)]), now);
    assert!(matches!(actions[..], [SchedulerAction::Send { .. }]), "{actions:?}");
    assert!(scheduler.handle(SchedulerEvent::WindowChanged { worker, window: 1 }, now).is_empty());
    let reports = vec![completed(attempt(first, 1))];
    let actions = scheduler.handle(SchedulerEvent::Reported { worker, reports }, now);
    assert!(matches!(actions[..], [SchedulerAction::Complete(_)]), "no place is free: {actions:?}");
    let reports = vec![completed(attempt(second, 1))];
    let actions = scheduler.handle(SchedulerEvent::Reported { worker, reports }, now);
    assert!(
        actions.iter().any(|action| matches!(action, SchedulerAction::CapacityFreed(1))),
        "{actions:?}"
    );
}

#[test]
fn capacity_that_goes_unused_is_withdrawn() {
    let (mut scheduler, worker, now) = started(1);
    let task = TaskId::random();
    scheduler.handle(SchedulerEvent::Claimed(vec![assignment(task, 1, 0)]), now);
    scheduler.handle(SchedulerEvent::WindowChanged { worker, window: 2 }, now);
    assert!(scheduler.handle(SchedulerEvent::Claimed(Vec::new()), now).is_empty());
    let actions = scheduler.handle(SchedulerEvent::WindowChanged { worker, window: 1 }, now);
    assert!(
        matches!(&actions[..], [SchedulerAction::Claim(wants)] if wants.is_empty()),
        "{actions:?}"
    );
}

#[test]
fn an_executor_that_dies_is_retried_until_the_limit_then_failed_with_the_evidence() {
    for (deaths, retried) in [(0, true), (1, true), (2, false)] {
        let (mut scheduler, worker, now) = started(1);
        let task_id = TaskId::random();
        scheduler.handle(SchedulerEvent::Claimed(vec![assignment(task_id, 3, deaths)]), now);
        let reports = vec![died(attempt(task_id, 3))];
        let actions = scheduler.handle(SchedulerEvent::Reported { worker, reports }, now);
        if retried {
            let [RequeueReason::Died(evidence)] = &returned(&actions)[..] else {
                panic!("{actions:?}")
            };
            assert!(evidence.contains("signal 11"), "{evidence}");
        } else {
            let [CallVerdict::Failed(failure)] = &finished(&actions)[..] else {
                panic!("{actions:?}")
            };
            assert_eq!(failure.kind, FailureKind::ExecutorDied);
            assert!(failure.message.contains("signal 11"), "{}", failure.message);
            assert!(failure.message.contains("attempt 3 of 3"), "{}", failure.message);
        }
    }
}

#[test]
fn a_lost_worker_s_tasks_are_queued_again_before_their_deadline_and_failed_after() {
    for (late, expected) in [(Duration::ZERO, 1), (Duration::from_secs(2), 0)] {
        let (mut scheduler, worker, now) = started(1);
        scheduler.handle(SchedulerEvent::Claimed(vec![assignment(TaskId::random(), 1, 0)]), now);
        let reason = "silent".to_owned();
        let actions = scheduler.handle(SchedulerEvent::WorkerLeft { worker, reason }, now + late);
        assert_eq!(returned(&actions).len(), expected, "{actions:?}");
        assert_eq!(finished(&actions).len(), 1 - expected, "{actions:?}");
    }
}

#[test]
fn a_call_far_beyond_its_deadline_is_given_up() {
    let (mut scheduler, _, now) = started(1);
    scheduler.handle(SchedulerEvent::Claimed(vec![assignment(TaskId::random(), 1, 0)]), now);
    let deadline = now + Duration::from_secs(1);
    assert!(finished(&scheduler.handle(SchedulerEvent::Tick, deadline)).is_empty());
    let actions = scheduler.handle(SchedulerEvent::Tick, deadline + DEADLINE_GRACE);
    assert!(matches!(actions[0], SchedulerAction::Stop { .. }));
    let [CallVerdict::Failed(failure)] = &finished(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(failure.kind, FailureKind::Timeout);
}

#[test]
fn a_cancel_that_overtakes_the_answer_of_a_claim_still_counts() {
    let (mut scheduler, _, now) = started(1);
    let task_id = TaskId::random();
    assert!(scheduler.handle(SchedulerEvent::CancelRequested(task_id), now).is_empty());
    let actions = scheduler.handle(SchedulerEvent::Claimed(vec![assignment(task_id, 1, 0)]), now);
    assert_eq!(finished(&actions), [&CallVerdict::Cancelled]);
    assert!(!actions.iter().any(|action| matches!(action, SchedulerAction::Send { .. })));
}

#[test]
fn after_a_reconnect_unknown_leases_are_requeued_and_known_ones_kept() {
    let (mut scheduler, _, now) = started(2);
    let known = TaskId::random();
    scheduler.handle(SchedulerEvent::Claimed(vec![assignment(known, 1, 0)]), now);
    scheduler.handle(SchedulerEvent::StoreReconnected, now);
    let actions = scheduler.handle(SchedulerEvent::Claimed(Vec::new()), now);
    assert!(matches!(actions[..], [SchedulerAction::CompareLeases]), "{actions:?}");
    let held = |id| Leased { task: attempt(id, 1), cancelling: false };
    let stored = vec![held(known), held(TaskId::random())];
    // The lease may be in a delivery on its way: the store is asked once more.
    let actions = scheduler.handle(SchedulerEvent::Leased(stored.clone()), now);
    assert!(matches!(actions[..], [SchedulerAction::CompareLeases]), "{actions:?}");
    assert_eq!(
        returned(&scheduler.handle(SchedulerEvent::Leased(stored), now)),
        [&RequeueReason::Unstarted]
    );
}

#[test]
fn delivered_tasks_are_sent_at_once_and_more_is_claimed() {
    let (mut scheduler, _, now) = started(2);
    scheduler.handle(SchedulerEvent::Claimed(Vec::new()), now);
    assert!(scheduler.handle(SchedulerEvent::DeliveryAnnounced, now).is_empty());
    let task_id = TaskId::random();
    let actions = scheduler.handle(delivered(task_id), now);
    let [SchedulerAction::Send { .. }, SchedulerAction::Claim(wants)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(wants[0].count, 1, "one place is taken");
}

#[test]
fn the_store_is_told_of_freed_capacity_so_that_it_can_deliver() {
    let (mut scheduler, worker, now) = started(4);
    scheduler.handle(SchedulerEvent::Claimed(Vec::new()), now);
    let task_id = TaskId::random();
    scheduler.handle(SchedulerEvent::DeliveryAnnounced, now);
    let tasks = vec![assignment(task_id, 1, 0)];
    let actions = scheduler.handle(SchedulerEvent::Delivered { tasks, is_last: false }, now);
    assert!(matches!(actions[..], [SchedulerAction::Send { .. }]), "no claim: {actions:?}");
    let reports = vec![completed(attempt(task_id, 1))];
    let actions = scheduler.handle(SchedulerEvent::Reported { worker, reports }, now);
    assert!(
        matches!(actions[..], [SchedulerAction::CapacityFreed(1), SchedulerAction::Complete(_)]),
        "{actions:?}"
    );
    // There is less room than the store knows: it is told at once, even if there is none.
    let actions = scheduler.handle(SchedulerEvent::WindowChanged { worker, window: 0 }, now);
    assert!(
        matches!(&actions[..], [SchedulerAction::Claim(wants)] if wants.is_empty()),
        "{actions:?}"
    );
}

#[test]
fn a_cancel_that_overtakes_a_delivery_still_counts() {
    let (mut scheduler, _, now) = started(1);
    scheduler.handle(SchedulerEvent::Claimed(Vec::new()), now);
    let task_id = TaskId::random();
    scheduler.handle(SchedulerEvent::DeliveryAnnounced, now);
    scheduler.handle(SchedulerEvent::CancelRequested(task_id), now);
    // A claim in between does not discard the cancel.
    scheduler.handle(SchedulerEvent::WorkAvailable, now);
    let actions = scheduler.handle(delivered(task_id), now);
    assert_eq!(finished(&actions), [&CallVerdict::Cancelled]);
}

#[test]
fn a_delivery_that_arrives_after_a_comparison_is_not_requeued() {
    let (mut scheduler, worker, now) = started(1);
    scheduler.handle(SchedulerEvent::Claimed(Vec::new()), now);
    scheduler.handle(SchedulerEvent::StoreReconnected, now);
    let task_id = TaskId::random();
    let stored = vec![Leased { task: attempt(task_id, 1), cancelling: false }];
    scheduler.handle(SchedulerEvent::Leased(stored.clone()), now);
    scheduler.handle(SchedulerEvent::DeliveryAnnounced, now);
    scheduler.handle(SchedulerEvent::Leased(stored.clone()), now);
    scheduler.handle(delivered(task_id), now);
    assert_eq!(returned(&scheduler.handle(SchedulerEvent::Leased(stored), now)).len(), 0);
    let reports = vec![completed(attempt(task_id, 1))];
    assert_eq!(
        finished(&scheduler.handle(SchedulerEvent::Reported { worker, reports }, now)).len(),
        1
    );
}

#[test]
fn while_draining_nothing_is_claimed_and_what_arrives_is_requeued() {
    let (mut scheduler, _, now) = started(2);
    scheduler.handle(SchedulerEvent::DrainStarted, now);
    let task_id = TaskId::random();
    let actions = scheduler.handle(SchedulerEvent::Claimed(vec![assignment(task_id, 1, 0)]), now);
    assert_eq!(returned(&actions), [&RequeueReason::Unstarted]);
    let is_nothing = |action: &SchedulerAction| matches!(action, SchedulerAction::Claim(wants) if wants.is_empty());
    assert!(actions.iter().any(is_nothing), "the store is told to give nothing more");
    assert!(scheduler.handle(SchedulerEvent::Claimed(Vec::new()), now).is_empty());
    assert!(!scheduler.is_idle());
    scheduler.handle(SchedulerEvent::Recorded(vec![attempt(task_id, 1)]), now);
    assert!(scheduler.is_idle());
}

/// The store and the workers around a scheduler, which act in any order.
struct World {
    scheduler: Scheduler,
    now: Instant,
    windows: HashMap<WorkerId, usize>,
    running: HashMap<TaskAttempt, WorkerId>,
    /// Calls that were told to stop and have not ended.
    stopped: HashMap<TaskAttempt, WorkerId>,
    settling: Vec<TaskAttempt>,
    opened: HashSet<TaskAttempt>,
    ended: HashSet<TaskAttempt>,
    wanted: Option<usize>,
    reconciling: bool,
    /// Whether the store delivers tasks to this dispatcher when they come.
    is_registered: bool,
}

impl World {
    fn new() -> Self {
        Self {
            scheduler: Scheduler::new(),
            now: Instant::now(),
            windows: HashMap::new(),
            running: HashMap::new(),
            stopped: HashMap::new(),
            settling: Vec::new(),
            opened: HashSet::new(),
            ended: HashSet::new(),
            wanted: None,
            reconciling: false,
            is_registered: false,
        }
    }

    fn handle(&mut self, event: SchedulerEvent) {
        for action in self.scheduler.handle(event, self.now) {
            match action {
                SchedulerAction::Claim(wants) => {
                    assert!(self.wanted.is_none() && !self.reconciling, "one request at a time");
                    self.wanted = Some(wants.iter().map(|want| want.count).sum());
                    self.is_registered = false;
                }
                SchedulerAction::CompareLeases => {
                    assert!(self.wanted.is_none() && !self.reconciling, "one request at a time");
                    self.reconciling = true;
                }
                SchedulerAction::Send { worker, invocations } => {
                    for sent in invocations {
                        self.running.insert(sent.task, worker);
                    }
                    assert!(self.load(worker) <= self.windows[&worker], "more than the window");
                }
                SchedulerAction::Stop { task, .. } => {
                    let stopped = self.running.remove_entry(&task);
                    self.stopped.extend(stopped);
                }
                SchedulerAction::CapacityFreed(_) => {}
                SchedulerAction::Complete(finished) => self.end(finished.report.task),
                SchedulerAction::Requeue(requeued) => self.end(requeued.task),
            }
        }
    }

    fn load(&self, worker: WorkerId) -> usize {
        let all = self.running.values().chain(self.stopped.values());
        all.filter(|on| **on == worker).count()
    }

    /// A dispatcher with room claims tasks, or the store delivers them.
    fn check_gets_new_work(&self) {
        let has_room = self.windows.iter().any(|(id, window)| self.load(*id) < *window);
        let asks = self.wanted.is_some() || self.reconciling;
        assert!(!has_room || asks || self.is_registered, "it would wait forever");
    }

    fn end(&mut self, task: TaskAttempt) {
        assert!(self.opened.contains(&task), "an attempt that was never opened");
        assert!(self.ended.insert(task), "an attempt that ends twice");
        self.stopped.remove(&task);
        self.settling.push(task);
    }

    fn pick(&self, at: usize) -> Option<(TaskAttempt, WorkerId)> {
        let mut all: Vec<_> = self.running.iter().map(|(task, worker)| (*task, *worker)).collect();
        all.sort_unstable();
        (!all.is_empty()).then(|| all[at % all.len()])
    }

    /// Time passes, and the store notifies.
    fn pass_time(&mut self, at: usize) {
        self.now += Duration::from_millis(at as u64 % 3000);
        self.handle(SchedulerEvent::Tick);
        if at.is_multiple_of(2) {
            self.is_registered = false;
            self.handle(SchedulerEvent::WorkAvailable);
        } else {
            self.handle(SchedulerEvent::StoreReconnected);
        }
    }

    /// The store delivers tasks.
    fn deliver(&mut self, at: usize) {
        // Any number: the store may know an older demand.
        let tasks: Vec<_> = (0..at % 4).map(|_| assignment(TaskId::random(), 1, 0)).collect();
        let is_last = at.is_multiple_of(3);
        match (self.wanted, self.is_registered) {
            // It overtakes the claim.
            (Some(_), _) => {}
            (None, true) => self.is_registered = !is_last,
            (None, false) => return,
        }
        self.opened.extend(tasks.iter().map(ClaimedTask::task));
        self.handle(SchedulerEvent::DeliveryAnnounced);
        self.handle(SchedulerEvent::Delivered { tasks, is_last });
    }

    fn step(&mut self, what: u8, at: usize) {
        match what % 12 {
            0 if self.windows.len() < 4 => {
                let (id, window) = (WorkerId::random(), at % 4);
                self.windows.insert(id, window);
                self.handle(SchedulerEvent::WorkerJoined(WorkerCapacity {
                    id,
                    classes: vec![class()],
                    slots: window,
                    window,
                }));
            }
            1 if at.is_multiple_of(4) => {
                let Some(worker) = self.windows.keys().next().copied() else { return };
                self.windows.remove(&worker);
                self.running.retain(|_, on| *on != worker);
                self.handle(SchedulerEvent::WorkerLeft { worker, reason: "gone".to_owned() });
            }
            2 | 3 => {
                let Some(wanted) = self.wanted.take() else { return };
                let count = if wanted == 0 { 0 } else { at % (wanted + 1) };
                let claimed: Vec<_> =
                    (0..count).map(|_| assignment(TaskId::random(), 1, (at % 4) as u32)).collect();
                self.opened.extend(claimed.iter().map(ClaimedTask::task));
                self.is_registered = count < wanted;
                self.handle(SchedulerEvent::Claimed(claimed));
            }
            4 | 5 => {
                let Some((task, worker)) = self.pick(at) else { return };
                self.running.remove(&task);
                let report = if what == 4 { completed(task) } else { died(task) };
                self.handle(SchedulerEvent::Reported { worker, reports: vec![report] });
            }
            6 => {
                let Some((task, worker)) = self.pick(at) else { return };
                self.running.remove(&task);
                let tasks = vec![task];
                self.handle(SchedulerEvent::Returned { worker, tasks });
            }
            7 => {
                let settled = std::mem::take(&mut self.settling);
                self.handle(SchedulerEvent::Recorded(settled));
            }
            10 => self.deliver(at),
            8 => self.pass_time(at),
            11 => {
                let Some(worker) = self.windows.keys().next().copied() else { return };
                let window = at % 4;
                self.windows.insert(worker, window);
                self.handle(SchedulerEvent::WindowChanged { worker, window });
            }
            _ => {
                if std::mem::take(&mut self.reconciling) {
                    self.handle(SchedulerEvent::Leased(Vec::new()));
                } else if let Some((task, _)) = self.pick(at) {
                    self.handle(SchedulerEvent::CancelRequested(task.task_id));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_opened_attempt_ends_exactly_once(steps in prop::collection::vec((any::<u8>(), any::<u16>()), 0..300)) {
        let mut world = World::new();
        for (what, at) in steps {
            world.step(what, at as usize);
            world.check_gets_new_work();
        }
        // Then everything ends: the workers leave, the store answers.
        world.handle(SchedulerEvent::DrainStarted);
        for worker in std::mem::take(&mut world.windows).into_keys() {
            world.handle(SchedulerEvent::WorkerLeft { worker, reason: "the end".to_owned() });
        }
        while world.wanted.is_some() || world.reconciling {
            if world.wanted.take().is_some() {
                world.handle(SchedulerEvent::Claimed(Vec::new()));
            }
            if std::mem::take(&mut world.reconciling) {
                world.handle(SchedulerEvent::Leased(Vec::new()));
            }
        }
        let settled = std::mem::take(&mut world.settling);
        world.handle(SchedulerEvent::Recorded(settled));
        prop_assert_eq!(&world.opened, &world.ended);
        prop_assert!(world.scheduler.is_idle());
    }
}
