//! Plays sequences of events to the scheduler: here the specific ones that matter, in `random` random ones that
//! check invariants.

#![expect(clippy::expect_used, reason = "in a test, a broken expectation is the failure")]

use std::time::{Duration, Instant};

use belljar_core::id::{TaskId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::live::{LiveChunk, LiveUpdate};
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome, Report};
use belljar_core::task::{Attempt, TaskAttempt, TaskClass, TaskLimits};
use belljar_core::tenant::Tenant;
use belljar_dispatcher::event::{DEADLINE_GRACE, SchedulerAction, SchedulerEvent, WorkerCapacity};
use belljar_dispatcher::scheduler::Scheduler;
use belljar_store::record::{ClaimedTask, Leased, RequeueReason, Timestamp, UnreadArgs};
use bytes::Bytes;

mod random;

fn class() -> TaskClass {
    "native:3.11".parse().expect("a class")
}

fn attempt(task_id: TaskId, number: u32) -> TaskAttempt {
    TaskAttempt { task_id, attempt: Attempt(number) }
}

fn assignment(task_id: TaskId, number: u32, deaths: u32) -> ClaimedTask {
    let mut invocation = Invocation::standalone(class(), Bytes::from_static(b"f"), Bytes::new());
    invocation.task = attempt(task_id, number);
    invocation.spec.limits = TaskLimits { timeout_ms: 1000, memory_mb: 64, ..TaskLimits::DEFAULT };
    let (tenant, due_at) = (Tenant::default(), Timestamp::default());
    ClaimedTask { invocation, tenant, deaths, due_at, unread: None }
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
    let (mut scheduler, id, now) = (Scheduler::new(0), WorkerId::random(), Instant::now());
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
fn where_tenants_compete_few_calls_wait_at_workers() {
    let (mut scheduler, worker, now) = started(2);
    let of = |tenant: &str| ClaimedTask {
        tenant: tenant.parse().expect("a name"),
        ..assignment(TaskId::random(), 1, 0)
    };
    let ended = |task: &ClaimedTask| SchedulerEvent::Reported {
        worker,
        reports: vec![completed(task.task())],
    };
    let counts = |actions: &[SchedulerAction]| {
        let count = |action: &SchedulerAction| match action {
            SchedulerAction::Claim(demand) => Some(demand.iter().map(|one| one.count).sum()),
            _ => None,
        };
        actions.iter().filter_map(count).collect::<Vec<usize>>()
    };
    scheduler.handle(SchedulerEvent::Claimed(Vec::new()), now);
    // Its calls are short: it takes many.
    scheduler.handle(SchedulerEvent::WindowChanged { worker, window: 66 }, now);
    let tasks = vec![of("ann"), of("ann")];
    assert_eq!(counts(&scheduler.handle(SchedulerEvent::Claimed(tasks), now)), [64], "one alone");
    let other = of("bob");
    // Two run and four wait for each of the slots.
    let actions = scheduler.handle(SchedulerEvent::Claimed(vec![other.clone()]), now);
    assert_eq!(counts(&actions), [7]);
    scheduler.handle(SchedulerEvent::Claimed(Vec::new()), now);
    // A worker that says so takes fewer, and never more than these.
    scheduler.handle(SchedulerEvent::WindowChanged { worker, window: 4 }, now);
    scheduler.handle(SchedulerEvent::Claimed(Vec::new()), now);
    let resized = SchedulerEvent::WindowChanged { worker, window: 66 };
    assert_eq!(counts(&scheduler.handle(resized, now)), [7]);
    scheduler.handle(SchedulerEvent::Claimed(Vec::new()), now);
    let later = now + Duration::from_millis(900);
    assert!(counts(&scheduler.handle(SchedulerEvent::Tick, later)).is_empty());
    scheduler.handle(ended(&other), later);
    // Once one of them has been alone for a second, it has all room again.
    let alone = now + Duration::from_secs(2);
    let actions = scheduler.handle(SchedulerEvent::Tick, alone);
    assert_eq!(counts(&actions), [64]);
}

#[test]
fn a_call_keeps_its_place_while_its_arguments_are_read() {
    let (mut scheduler, worker, now) = started(1);
    let unread = |id| ClaimedTask { unread: Some(UnreadArgs::default()), ..assignment(id, 1, 0) };
    let (first, second) = (unread(TaskId::random()), unread(TaskId::random()));
    let invocation = |task: &ClaimedTask| task.invocation.clone();
    let read = |task: &ClaimedTask| SchedulerEvent::ArgsRead {
        worker,
        invocation: Box::new(invocation(task)),
    };
    let actions = scheduler.handle(SchedulerEvent::Claimed(vec![first.clone()]), now);
    assert!(matches!(&actions[..], [SchedulerAction::ReadArgs { task, .. }] if *task == first));
    // Its own time has not begun.
    let later = now + Duration::from_secs(60);
    assert!(scheduler.handle(SchedulerEvent::Tick, later).is_empty());
    let actions = scheduler.handle(read(&first), later);
    assert!(
        matches!(&actions[..], [SchedulerAction::Send { invocations, .. }] if *invocations == [invocation(&first)])
    );
    // Now it has.
    let much_later = later + Duration::from_secs(10);
    let actions = scheduler.handle(SchedulerEvent::Tick, much_later);
    assert!(
        matches!(finished(&actions)[..], [CallVerdict::Failed(failure)] if failure.kind == FailureKind::Timeout)
    );
    // What has ended meanwhile is not sent, and what comes while the dispatcher leaves goes back.
    assert!(scheduler.handle(read(&first), much_later).is_empty());
    scheduler.handle(SchedulerEvent::Claimed(vec![second.clone()]), much_later);
    scheduler.handle(SchedulerEvent::DrainStarted, much_later);
    assert_eq!(returned(&scheduler.handle(read(&second), much_later)), [&RequeueReason::Unstarted]);
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
fn a_watch_goes_to_the_worker_and_only_that_one_shows_the_call() {
    let (mut scheduler, worker, now) = started(1);
    let task_id = TaskId::random();
    let asked = || SchedulerEvent::WatchRequested { task_id, from_start: true };
    assert!(scheduler.handle(asked(), now).is_empty(), "it is not here");
    scheduler.handle(SchedulerEvent::Claimed(vec![assignment(task_id, 2, 0)]), now);
    let actions = scheduler.handle(asked(), now);
    let [SchedulerAction::Watch { worker: to, task, from_start: true }] = actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!((to, task), (worker, attempt(task_id, 2)));
    let update = |number| LiveUpdate {
        task: attempt(task_id, number),
        stdout: LiveChunk { start: 0, bytes: Bytes::from_static(b"x") },
        stderr: LiveChunk::default(),
        progress: None,
    };
    let shows = |worker, number| SchedulerEvent::Live { worker, updates: vec![update(number)] };
    for other in [shows(WorkerId::random(), 2), shows(worker, 1)] {
        assert!(scheduler.handle(other, now).is_empty(), "an attempt of another's, or an old one");
    }
    let actions = scheduler.handle(shows(worker, 2), now);
    assert!(matches!(&actions[..], [SchedulerAction::Publish(shown)] if *shown == [update(2)]));
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
