//! Dispatchers that vanish, leave, or lose an answer.

use std::collections::BTreeMap;

use belljar_core::guest::GuestModules;
use belljar_core::id::{DispatcherId, WorkerId};
use belljar_core::outcome::FailureKind;
use belljar_core::task::{Attempt, TaskStatus};
use belljar_store::record::{Settled, Timestamp, WorkerRecord};
use belljar_store::{MAX_ATTEMPTS, Store};

use crate::harness::{
    NOBODY, Redis, audit, claim_one, completed, demand, native, sandbox, submit_one, tasks,
};

/// Lets `judge` find that `dead` is gone.
async fn judge(redis: &Redis, store: &Store, judge: DispatcherId, dead: DispatcherId) -> usize {
    store.heartbeat(judge, &[native()], &[]).await.expect("a heartbeat");
    redis.age(dead, judge).await;
    store.heartbeat(judge, &[native()], &[]).await.expect("a heartbeat").recovered
}

#[tokio::test]
async fn leases_of_a_vanished_dispatcher_are_queued_again() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let [dead, alive] = [DispatcherId::random(), DispatcherId::random()];
    let ids = store.submit(tasks(2500)).await.expect("accepted");
    store.heartbeat(dead, &[native()], &[]).await.expect("a heartbeat");
    let lost = store.claim(dead, &demand(2400)).await.expect("claimed");
    assert_eq!(judge(&redis, &store, alive, dead).await, 2400, "in as many calls as it takes");

    let claimed = store.claim(alive, &demand(2500)).await.expect("claimed");
    assert_eq!(claimed.len(), 2500);
    assert_eq!(claimed.last().expect("some").id(), ids[2499], "recovered tasks go first");
    assert!(
        claimed[..2400].iter().all(|task| (task.task().attempt, task.deaths) == (Attempt(2), 0))
    );
    let record = store.task(lost[0].id()).await.expect("read").expect("known");
    assert_eq!(record.failures, ["attempt 1: its dispatcher vanished"]);
    let late = store.complete(NOBODY, 0, &[completed(lost[0].task(), b"late")]).await;
    assert_eq!(late.expect("answered"), [Settled::Stale]);
    assert_eq!(store.leased(dead).await.expect("read"), []);
    let known: Vec<String> = redis.command(&["ZRANGE", "{belljar}:dispatchers", "0", "-1"]).await;
    assert_eq!(known, [alive.to_string()]);
    assert_eq!(audit(&store).await.counts.running, 2500);
}

#[tokio::test]
async fn a_dispatcher_without_a_heartbeat_is_recovered_too() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let [dead, alive] = [DispatcherId::random(), DispatcherId::random()];
    submit_one(&store).await;
    claim_one(&store, dead).await;
    assert_eq!(judge(&redis, &store, alive, dead).await, 1);
}

#[tokio::test]
async fn a_dispatcher_that_was_silent_judges_no_other() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let [one, two] = [DispatcherId::random(), DispatcherId::random()];
    submit_one(&store).await;
    store.heartbeat(one, &[native()], &[]).await.expect("a heartbeat");
    store.heartbeat(two, &[native()], &[]).await.expect("a heartbeat");
    claim_one(&store, one).await;
    // As after a restart of the server: both are old.
    for dispatcher in [one, two] {
        redis.age(dispatcher, dispatcher).await;
    }
    let heartbeat = store.heartbeat(two, &[native()], &[]).await.expect("a heartbeat");
    assert_eq!(heartbeat.recovered, 0, "the other has had no time for a heartbeat");
    store.heartbeat(one, &[native()], &[]).await.expect("a heartbeat");
    assert_eq!(store.leased(one).await.expect("read").len(), 1);
}

#[tokio::test]
async fn a_clock_set_back_does_not_hide_the_dead() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let [dead, alive] = [DispatcherId::random(), DispatcherId::random()];
    submit_one(&store).await;
    store.heartbeat(alive, &[native()], &[]).await.expect("a heartbeat");
    claim_one(&store, dead).await;
    let future = "9999999999999".to_owned();
    redis.command::<()>(&["ZADD", "{belljar}:dispatchers", &future, &dead.to_string()]).await;
    redis.command::<()>(&["HSET", "{belljar}:alive_since", &alive.to_string(), "1"]).await;
    store.heartbeat(alive, &[native()], &[]).await.expect("a heartbeat");
    let score: String =
        redis.command(&["ZSCORE", "{belljar}:dispatchers", &dead.to_string()]).await;
    assert!(score < future, "{score}");
    assert_eq!(judge(&redis, &store, alive, dead).await, 1);
}

#[tokio::test]
async fn a_task_that_keeps_losing_its_dispatcher_fails_with_the_evidence() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let alive = DispatcherId::random();
    let id = submit_one(&store).await;
    for attempt in 1..=MAX_ATTEMPTS {
        let dead = DispatcherId::random();
        assert_eq!(claim_one(&store, dead).await.task().attempt, Attempt(attempt));
        assert_eq!(judge(&redis, &store, alive, dead).await, 1);
    }
    let record = store.task(id).await.expect("read").expect("known");
    assert_eq!(record.status, TaskStatus::Failed);
    assert_eq!(record.failures.len(), MAX_ATTEMPTS as usize);
    let outcome = record.outcome.expect("it ended");
    assert_eq!(
        outcome.verdict.failure().map(|failure| failure.kind),
        Some(FailureKind::WorkerLost)
    );
    assert!(record.result_bytes > 0, "there is an exception to raise");
    assert_eq!(audit(&store).await.counts.failed, 1);
}

#[tokio::test]
async fn a_cancelled_task_of_a_vanished_dispatcher_ends_cancelled() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let [dead, alive] = [DispatcherId::random(), DispatcherId::random()];
    let id = submit_one(&store).await;
    claim_one(&store, dead).await;
    store.cancel(id).await.expect("answered");
    assert_eq!(judge(&redis, &store, alive, dead).await, 1);
    let result = store.results(&[id]).await.expect("read")[0].clone().expect("known");
    assert_eq!(result.status, TaskStatus::Cancelled);
    audit(&store).await;
}

#[tokio::test]
async fn a_leaving_dispatcher_returns_all_at_once() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let [leaving, staying] = [DispatcherId::random(), DispatcherId::random()];
    store.submit(tasks(2300)).await.expect("accepted");
    store.heartbeat(leaving, &[native()], &[]).await.expect("a heartbeat");
    store.claim(leaving, &demand(2300)).await.expect("claimed");
    store.retire(leaving).await.expect("left");
    assert_eq!(store.claim(staying, &demand(3000)).await.expect("claimed").len(), 2300);
    assert_eq!(store.served_classes().await.expect("read"), []);
    store.retire(leaving).await.expect("left already");
    audit(&store).await;
}

#[tokio::test]
async fn attempts_whose_claim_was_not_answered_are_found() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let dispatcher = DispatcherId::random();
    store.submit(tasks(3)).await.expect("accepted");
    let claimed = store.claim(dispatcher, &demand(3)).await.expect("claimed");
    let mut expected: Vec<_> = claimed.iter().map(|task| task.task()).collect();
    let leased = store.leased(dispatcher).await.expect("read");
    let mut leased: Vec<_> = leased.iter().map(|leased| leased.task).collect();
    expected.sort_unstable();
    leased.sort_unstable();
    assert_eq!(leased, expected);
}

#[tokio::test]
async fn workers_and_classes_are_those_of_live_dispatchers() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let [one, two] = [DispatcherId::random(), DispatcherId::random()];
    let worker = WorkerRecord {
        id: WorkerId::random(),
        dispatcher: one,
        mode: "pull".to_owned(),
        host: "host".to_owned(),
        pid: 7,
        version: "0.1.0".to_owned(),
        draining: true,
        slots: 4,
        busy: 1,
        classes: vec![native()],
        guests: Vec::new(),
        since: Timestamp(5),
    };
    store.heartbeat(one, &[native()], std::slice::from_ref(&worker)).await.expect("a heartbeat");
    store.heartbeat(two, &[sandbox(), native()], &[]).await.expect("a heartbeat");
    assert_eq!(store.workers().await.expect("read"), std::slice::from_ref(&worker));
    assert_eq!(store.served_classes().await.expect("read"), [native(), sandbox()]);
    let lacks = |missing: &[&str]| GuestModules {
        python: sandbox().python,
        missing: missing.iter().map(|&name| name.to_owned()).collect(),
        added: BTreeMap::new(),
    };
    let with_guest = |guest| WorkerRecord { guests: vec![guest], ..worker.clone() };
    let workers = [with_guest(lacks(&["ctypes", "ssl"])), with_guest(lacks(&["ssl"]))];
    store.heartbeat(one, &[native()], &workers).await.expect("a heartbeat");
    assert_eq!(store.guests().await.expect("read"), [lacks(&["ssl"])], "what all of them lack");
    // A dispatcher of another version hides no other.
    let two = two.to_string();
    redis.command::<()>(&["HSET", "{belljar}:capabilities", &two, "of another version"]).await;
    assert_eq!(store.workers().await.expect("read").len(), 2);
    assert_eq!(store.served_classes().await.expect("read"), [native()]);
    redis.age(one, one).await;
    assert_eq!(store.workers().await.expect("read"), []);
}
