//! Plays stories to the scheduler: random ones under invariants, and the particular ones that matter.

#![expect(clippy::expect_used, reason = "in a test, a broken expectation is the failure")]

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use belljar_core::id::{TaskId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::outcome::{Failure, FailureKind, Outcome, Report, CallVerdict};
use belljar_core::task::{Attempt, TaskLimits, TaskAttempt, TaskClass};
use belljar_dispatcher::event::{Action, DEADLINE_GRACE, Event, NewWorker};
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
    let mut invocation =
        Invocation::standalone(class(), Bytes::from_static(b"f"), Bytes::new());
    invocation.task = attempt(task_id, number);
    invocation.spec.limits = TaskLimits { timeout_ms: 1000, memory_mb: 64, max_retries: 2 };
    ClaimedTask { invocation, deaths }
}

fn given(task_id: TaskId) -> Event {
    Event::Given { assignments: vec![assignment(task_id, 1, 0)], is_last: true }
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
    let joined = Event::Joined(NewWorker { id, classes: vec![class()], slots: window, window });
    let actions = scheduler.handle(joined, now);
    assert!(matches!(&actions[..], [Action::Claim(wants)] if wants[0].count == window));
    (scheduler, id, now)
}

#[test]
fn what_is_given_back_from_before_a_restart_is_for_the_store_to_judge() {
    let (mut scheduler, worker, now) = started(1);
    let tasks = vec![attempt(TaskId::random(), 4)];
    let actions = scheduler.handle(Event::Returned { worker, tasks }, now);
    assert_eq!(returned(&actions), [&RequeueReason::Unstarted]);
    assert!(scheduler.held() == 0);
}

fn returned(actions: &[Action]) -> Vec<&RequeueReason> {
    fn reason(action: &Action) -> Option<&RequeueReason> {
        if let Action::Requeue(requeued) = action { Some(&requeued.reason) } else { None }
    }
    actions.iter().filter_map(reason).collect()
}

fn finished(actions: &[Action]) -> Vec<&CallVerdict> {
    fn verdict(action: &Action) -> Option<&CallVerdict> {
        if let Action::Finish(finished) = action { Some(&finished.report.outcome.verdict) } else { None }
    }
    actions.iter().filter_map(verdict).collect()
}

#[test]
fn an_empty_answer_waits_for_word_of_new_work() {
    let (mut scheduler, _, now) = started(1);
    assert!(scheduler.handle(Event::Claimed(Vec::new()), now).is_empty());
    assert!(scheduler.handle(Event::Tick, now).is_empty());
    assert!(matches!(scheduler.handle(Event::WorkArrived, now)[..], [Action::Claim(_)]));
}

#[test]
fn word_of_work_that_comes_during_a_claim_is_not_forgotten() {
    let (mut scheduler, _, now) = started(1);
    assert!(scheduler.handle(Event::WorkArrived, now).is_empty());
    assert!(matches!(scheduler.handle(Event::Claimed(Vec::new()), now)[..], [Action::Claim(_)]));
}

#[test]
fn a_place_that_comes_before_a_call_s_end_and_goes_with_it_costs_one_claim() {
    let (mut scheduler, worker, now) = started(1);
    let (first, second) = (TaskId::random(), TaskId::random());
    scheduler.handle(Event::Claimed(vec![assignment(first, 1, 0)]), now);
    let actions = scheduler.handle(Event::Resized { worker, window: 2 }, now);
    assert!(matches!(&actions[..], [Action::Claim(wants)] if wants[0].count == 1), "{actions:?}");
    let actions = scheduler.handle(Event::Claimed(vec![assignment(second, 1, 0)]), now);
    assert!(matches!(actions[..], [Action::Send { .. }]), "{actions:?}");
    assert!(scheduler.handle(Event::Resized { worker, window: 1 }, now).is_empty());
    let reports = vec![completed(attempt(first, 1))];
    let actions = scheduler.handle(Event::Reported { worker, reports }, now);
    assert!(matches!(actions[..], [Action::Finish(_)]), "no place is free: {actions:?}");
    let reports = vec![completed(attempt(second, 1))];
    let actions = scheduler.handle(Event::Reported { worker, reports }, now);
    assert!(actions.iter().any(|action| matches!(action, Action::Freed(1))), "{actions:?}");
}

#[test]
fn a_place_that_nothing_was_there_for_is_taken_back() {
    let (mut scheduler, worker, now) = started(1);
    let task = TaskId::random();
    scheduler.handle(Event::Claimed(vec![assignment(task, 1, 0)]), now);
    scheduler.handle(Event::Resized { worker, window: 2 }, now);
    assert!(scheduler.handle(Event::Claimed(Vec::new()), now).is_empty());
    let actions = scheduler.handle(Event::Resized { worker, window: 1 }, now);
    assert!(matches!(&actions[..], [Action::Claim(wants)] if wants.is_empty()), "{actions:?}");
}

#[test]
fn an_executor_that_dies_is_retried_until_the_limit_then_failed_with_the_evidence() {
    for (deaths, retried) in [(0, true), (1, true), (2, false)] {
        let (mut scheduler, worker, now) = started(1);
        let task_id = TaskId::random();
        scheduler.handle(Event::Claimed(vec![assignment(task_id, 3, deaths)]), now);
        let reports = vec![died(attempt(task_id, 3))];
        let actions = scheduler.handle(Event::Reported { worker, reports }, now);
        if retried {
            let [RequeueReason::Died(evidence)] = &returned(&actions)[..] else { panic!("{actions:?}") };
            assert!(evidence.contains("signal 11"), "{evidence}");
        } else {
            let [CallVerdict::Failed(failure)] = &finished(&actions)[..] else { panic!("{actions:?}") };
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
        scheduler.handle(Event::Claimed(vec![assignment(TaskId::random(), 1, 0)]), now);
        let reason = "silent".to_owned();
        let actions = scheduler.handle(Event::Left { worker, reason }, now + late);
        assert_eq!(returned(&actions).len(), expected, "{actions:?}");
        assert_eq!(finished(&actions).len(), 1 - expected, "{actions:?}");
    }
}

#[test]
fn a_call_far_beyond_its_deadline_is_ended_for_its_worker() {
    let (mut scheduler, _, now) = started(1);
    scheduler.handle(Event::Claimed(vec![assignment(TaskId::random(), 1, 0)]), now);
    let deadline = now + Duration::from_secs(1);
    assert!(finished(&scheduler.handle(Event::Tick, deadline)).is_empty());
    let actions = scheduler.handle(Event::Tick, deadline + DEADLINE_GRACE);
    assert!(matches!(actions[0], Action::Stop { .. }));
    let [CallVerdict::Failed(failure)] = &finished(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(failure.kind, FailureKind::Timeout);
}

#[test]
fn a_cancel_that_overtakes_the_claim_s_answer_still_counts() {
    let (mut scheduler, _, now) = started(1);
    let task_id = TaskId::random();
    assert!(scheduler.handle(Event::CancelWanted(task_id), now).is_empty());
    let actions = scheduler.handle(Event::Claimed(vec![assignment(task_id, 1, 0)]), now);
    assert_eq!(finished(&actions), [&CallVerdict::Cancelled]);
    assert!(!actions.iter().any(|action| matches!(action, Action::Send { .. })));
}

#[test]
fn after_a_reconnect_unknown_attempts_are_given_back_and_known_ones_kept() {
    let (mut scheduler, _, now) = started(2);
    let known = TaskId::random();
    scheduler.handle(Event::Claimed(vec![assignment(known, 1, 0)]), now);
    scheduler.handle(Event::Reconnected, now);
    let actions = scheduler.handle(Event::Claimed(Vec::new()), now);
    assert!(matches!(actions[..], [Action::Reconcile]), "{actions:?}");
    let held = |id| Leased { task: attempt(id, 1), cancelling: false };
    let stored = vec![held(known), held(TaskId::random())];
    // It may be on its way: the store is asked once more.
    let actions = scheduler.handle(Event::Held(stored.clone()), now);
    assert!(matches!(actions[..], [Action::Reconcile]), "{actions:?}");
    assert_eq!(returned(&scheduler.handle(Event::Held(stored), now)), [&RequeueReason::Unstarted]);
}

#[test]
fn what_the_store_gives_is_sent_at_once_and_more_is_claimed() {
    let (mut scheduler, _, now) = started(2);
    scheduler.handle(Event::Claimed(Vec::new()), now);
    assert!(scheduler.handle(Event::Coming, now).is_empty());
    let task_id = TaskId::random();
    let actions = scheduler.handle(given(task_id), now);
    let [Action::Send { .. }, Action::Claim(wants)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(wants[0].count, 1, "one place is taken");
}

#[test]
fn the_store_is_told_of_free_places_so_that_it_can_give_on() {
    let (mut scheduler, worker, now) = started(4);
    scheduler.handle(Event::Claimed(Vec::new()), now);
    let task_id = TaskId::random();
    scheduler.handle(Event::Coming, now);
    let assignments = vec![assignment(task_id, 1, 0)];
    let actions = scheduler.handle(Event::Given { assignments, is_last: false }, now);
    assert!(matches!(actions[..], [Action::Send { .. }]), "no claim: {actions:?}");
    let reports = vec![completed(attempt(task_id, 1))];
    let actions = scheduler.handle(Event::Reported { worker, reports }, now);
    assert!(matches!(actions[..], [Action::Freed(1), Action::Finish(_)]), "{actions:?}");
    // Less room than the store knows of: it is told at once, also that there is none.
    let actions = scheduler.handle(Event::Resized { worker, window: 0 }, now);
    assert!(matches!(&actions[..], [Action::Claim(wants)] if wants.is_empty()), "{actions:?}");
}

#[test]
fn a_cancel_that_overtakes_a_gift_still_counts() {
    let (mut scheduler, _, now) = started(1);
    scheduler.handle(Event::Claimed(Vec::new()), now);
    let task_id = TaskId::random();
    scheduler.handle(Event::Coming, now);
    scheduler.handle(Event::CancelWanted(task_id), now);
    // A claim in between must not make it forgotten.
    scheduler.handle(Event::WorkArrived, now);
    let actions = scheduler.handle(given(task_id), now);
    assert_eq!(finished(&actions), [&CallVerdict::Cancelled]);
}

#[test]
fn a_gift_that_arrives_after_the_store_was_asked_is_not_given_back() {
    let (mut scheduler, worker, now) = started(1);
    scheduler.handle(Event::Claimed(Vec::new()), now);
    scheduler.handle(Event::Reconnected, now);
    let task_id = TaskId::random();
    let stored = vec![Leased { task: attempt(task_id, 1), cancelling: false }];
    scheduler.handle(Event::Held(stored.clone()), now);
    scheduler.handle(Event::Coming, now);
    scheduler.handle(Event::Held(stored.clone()), now);
    scheduler.handle(given(task_id), now);
    assert_eq!(returned(&scheduler.handle(Event::Held(stored), now)).len(), 0);
    let reports = vec![completed(attempt(task_id, 1))];
    assert_eq!(finished(&scheduler.handle(Event::Reported { worker, reports }, now)).len(), 1);
}

#[test]
fn while_draining_nothing_is_claimed_and_what_arrives_is_given_back() {
    let (mut scheduler, _, now) = started(2);
    scheduler.handle(Event::DrainBegun, now);
    let task_id = TaskId::random();
    let actions = scheduler.handle(Event::Claimed(vec![assignment(task_id, 1, 0)]), now);
    assert_eq!(returned(&actions), [&RequeueReason::Unstarted]);
    let is_nothing = |action: &Action| matches!(action, Action::Claim(wants) if wants.is_empty());
    assert!(actions.iter().any(is_nothing), "the store is told to give nothing more");
    assert!(scheduler.handle(Event::Claimed(Vec::new()), now).is_empty());
    assert!(!scheduler.is_idle());
    scheduler.handle(Event::Settled(vec![attempt(task_id, 1)]), now);
    assert!(scheduler.is_idle());
}

/// The world around a scheduler: what the store and the workers would do, in any order.
struct World {
    scheduler: Scheduler,
    now: Instant,
    windows: HashMap<WorkerId, usize>,
    running: HashMap<TaskAttempt, WorkerId>,
    /// What was told to stop and has not been heard of since.
    stopped: HashMap<TaskAttempt, WorkerId>,
    settling: Vec<TaskAttempt>,
    opened: HashSet<TaskAttempt>,
    ended: HashSet<TaskAttempt>,
    wanted: Option<usize>,
    reconciling: bool,
    /// Whether the store waits for tasks for this dispatcher.
    is_waited_for: bool,
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
            is_waited_for: false,
        }
    }

    fn handle(&mut self, event: Event) {
        for action in self.scheduler.handle(event, self.now) {
            match action {
                Action::Claim(wants) => {
                    assert!(self.wanted.is_none() && !self.reconciling, "one request at a time");
                    self.wanted = Some(wants.iter().map(|want| want.count).sum());
                    self.is_waited_for = false;
                }
                Action::Reconcile => {
                    assert!(self.wanted.is_none() && !self.reconciling, "one request at a time");
                    self.reconciling = true;
                }
                Action::Send { worker, invocations } => {
                    for sent in invocations {
                        self.running.insert(sent.task, worker);
                    }
                    assert!(self.load(worker) <= self.windows[&worker], "more than the window");
                }
                Action::Stop { task, .. } => {
                    let stopped = self.running.remove_entry(&task);
                    self.stopped.extend(stopped);
                }
                Action::Freed(_) => {}
                Action::Finish(finished) => self.end(finished.report.task),
                Action::Requeue(requeued) => self.end(requeued.task),
            }
        }
    }

    fn load(&self, worker: WorkerId) -> usize {
        let all = self.running.values().chain(self.stopped.values());
        all.filter(|on| **on == worker).count()
    }

    /// Whoever has room asks the store for work, or is told when there is some.
    fn hears_of_new_work(&self) {
        let has_room = self.windows.iter().any(|(id, window)| self.load(*id) < *window);
        let asks = self.wanted.is_some() || self.reconciling;
        assert!(!has_room || asks || self.is_waited_for, "it would wait for ever");
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

    /// Time passes, and the store has news.
    fn pass_time(&mut self, at: usize) {
        self.now += Duration::from_millis(at as u64 % 3000);
        self.handle(Event::Tick);
        if at.is_multiple_of(2) {
            self.is_waited_for = false;
            self.handle(Event::WorkArrived);
        } else {
            self.handle(Event::Reconnected);
        }
    }

    /// The store gives tasks.
    fn give(&mut self, at: usize) {
        // As much as it likes: the store's view of the free places may be old.
        let given: Vec<_> = (0..at % 4).map(|_| assignment(TaskId::random(), 1, 0)).collect();
        let is_last = at.is_multiple_of(3);
        match (self.wanted, self.is_waited_for) {
            // It overtakes the claim.
            (Some(_), _) => {}
            (None, true) => self.is_waited_for = !is_last,
            (None, false) => return,
        }
        self.opened.extend(given.iter().map(ClaimedTask::task));
        self.handle(Event::Coming);
        self.handle(Event::Given { assignments: given, is_last });
    }

    fn step(&mut self, what: u8, at: usize) {
        match what % 12 {
            0 if self.windows.len() < 4 => {
                let (id, window) = (WorkerId::random(), at % 4);
                self.windows.insert(id, window);
                self.handle(Event::Joined(NewWorker {
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
                self.handle(Event::Left { worker, reason: "gone".to_owned() });
            }
            2 | 3 => {
                let Some(wanted) = self.wanted.take() else { return };
                let count = if wanted == 0 { 0 } else { at % (wanted + 1) };
                let claimed: Vec<_> =
                    (0..count).map(|_| assignment(TaskId::random(), 1, (at % 4) as u32)).collect();
                self.opened.extend(claimed.iter().map(ClaimedTask::task));
                self.is_waited_for = count < wanted;
                self.handle(Event::Claimed(claimed));
            }
            4 | 5 => {
                let Some((task, worker)) = self.pick(at) else { return };
                self.running.remove(&task);
                let report =
                    if what == 4 { completed(task) } else { died(task) };
                self.handle(Event::Reported { worker, reports: vec![report] });
            }
            6 => {
                let Some((task, worker)) = self.pick(at) else { return };
                self.running.remove(&task);
                let tasks = vec![task];
                self.handle(Event::Returned { worker, tasks });
            }
            7 => {
                let settled = std::mem::take(&mut self.settling);
                self.handle(Event::Settled(settled));
            }
            10 => self.give(at),
            8 => self.pass_time(at),
            11 => {
                let Some(worker) = self.windows.keys().next().copied() else { return };
                let window = at % 4;
                self.windows.insert(worker, window);
                self.handle(Event::Resized { worker, window });
            }
            _ => {
                if std::mem::take(&mut self.reconciling) {
                    self.handle(Event::Held(Vec::new()));
                } else if let Some((task, _)) = self.pick(at) {
                    self.handle(Event::CancelWanted(task.task_id));
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
            world.hears_of_new_work();
        }
        // Then everything comes to rest: the workers leave, the store answers.
        world.handle(Event::DrainBegun);
        for worker in std::mem::take(&mut world.windows).into_keys() {
            world.handle(Event::Left { worker, reason: "the end".to_owned() });
        }
        while world.wanted.is_some() || world.reconciling {
            if world.wanted.take().is_some() {
                world.handle(Event::Claimed(Vec::new()));
            }
            if std::mem::take(&mut world.reconciling) {
                world.handle(Event::Held(Vec::new()));
            }
        }
        let settled = std::mem::take(&mut world.settling);
        world.handle(Event::Settled(settled));
        prop_assert_eq!(&world.opened, &world.ended);
        prop_assert!(world.scheduler.is_idle());
    }
}
