//! What tenants use, counted by the scripts that change it, and quotas on that.

use std::time::Duration;

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::outcome::{CallVerdict, Outcome, Phases};
use belljar_core::task::TaskAttempt;
use belljar_core::tenant::Tenant;
use belljar_store::record::{
    Completion, NewTask, OverQuota, PeriodQuotas, StoreQuota, StoreQuotas, TenantUsage,
};
use belljar_store::{Store, StoreError};
use bytes::Bytes;

use crate::harness::{
    NOBODY, Redis, audit, claim_one, completed, demand, died, eventually, failed, finished, task,
    tasks, unstarted,
};

const NONE: StoreQuotas = StoreQuotas {
    functions: None,
    sessions: None,
    stored_bytes: None,
    queued_tasks: None,
    running_tasks: None,
    hour: PeriodQuotas { cpu_us: None, memory_mb_ms: None },
    day: PeriodQuotas { cpu_us: None, memory_mb_ms: None },
};

fn tenant(name: &str) -> Tenant {
    name.parse().expect("a name")
}

async fn submit(
    store: &Store,
    whose: &Tenant,
    quotas: StoreQuotas,
    tasks: Vec<NewTask>,
) -> Result<Vec<TaskId>, StoreError> {
    store.of(whose).with_quotas(Some(quotas)).submit(tasks).await
}

fn over(refused: Result<Vec<TaskId>, StoreError>) -> OverQuota {
    match refused.expect_err("over the quota") {
        StoreError::OverQuota(over) => over,
        other => panic!("{other}"),
    }
}

async fn usage(store: &Store, whose: &Tenant) -> TenantUsage {
    store.of(whose).usage().await.expect("read")
}

/// The end of an attempt that used so much.
fn used(task: TaskAttempt, cpu: Duration, memory_mb: u64, elapsed: Duration) -> Completion {
    let verdict = CallVerdict::Completed(Bytes::from_static(b"v"));
    let cpu_us = u64::try_from(cpu.as_micros()).expect("short");
    let outcome = Outcome {
        phases: Phases { cpu_us, ..Phases::default() },
        peak_memory_bytes: memory_mb << 20,
        ..Outcome::bare(verdict, elapsed)
    };
    let mut done = completed(task, b"v");
    done.report.outcome = outcome;
    done
}

#[tokio::test]
async fn a_tenant_has_as_many_tasks_waiting_as_it_may() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let quotas = StoreQuotas { queued_tasks: Some(3), ..NONE };
    for whose in ["acme", "default"].map(tenant) {
        let other = tenant("other");
        submit(&store, &whose, quotas, tasks(2)).await.expect("two");
        let refused = over(submit(&store, &whose, quotas, tasks(2)).await);
        let quota = StoreQuota::QueuedTasks;
        assert_eq!(refused, OverQuota { quota, used: 2, limit: 3, frees_after: None });
        let delayed = NewTask { delay_ms: 3_600_000, ..task() };
        submit(&store, &whose, quotas, vec![delayed.clone()]).await.expect("the third");
        submit(&store, &whose, quotas, vec![delayed]).await.expect("known already");
        assert_eq!(over(submit(&store, &whose, quotas, tasks(1)).await).used, 3);
        submit(&store, &other, quotas, tasks(3)).await.expect("another tenant's");
        // One runs: one more may wait.
        let claimed = store.claim(DispatcherId::random(), &demand(5)).await.expect("claimed");
        assert_eq!(usage(&store, &whose).await.running, 2);
        submit(&store, &whose, quotas, tasks(2)).await.expect("in their place");
        assert_eq!(over(submit(&store, &whose, quotas, tasks(1)).await).used, 3);
        let ends: Vec<_> = claimed.iter().map(|task| completed(task.task(), b"v")).collect();
        store.complete(NOBODY, 0, &ends).await.expect("completed");
        assert_eq!(usage(&store, &whose).await.tasks, 3);
        // For the next turn.
        let left = store.claim(DispatcherId::random(), &demand(9)).await.expect("claimed");
        let ends: Vec<_> = left.iter().map(|task| completed(task.task(), b"v")).collect();
        store.complete(NOBODY, 0, &ends).await.expect("completed");
    }
    audit(&store).await;
}

#[tokio::test]
async fn racing_submitters_do_not_exceed_a_quota() {
    let redis = Redis::start().await;
    let stores = [redis.store().await, redis.store().await];
    let quotas = StoreQuotas { queued_tasks: Some(20), ..NONE };
    let acme = tenant("acme");
    let racing = (0..60).map(|n| submit(&stores[n % 2], &acme, quotas, tasks(1 + n % 3)));
    let answers = futures_util::future::join_all(racing).await;
    let accepted: usize = answers.iter().flatten().map(Vec::len).sum();
    assert!((18..=20).contains(&accepted), "{accepted}");
    let refused = answers.into_iter().filter(Result::is_err).map(over);
    assert!(refused.into_iter().all(|over| over.used <= 20));
    assert_eq!(usage(&stores[0], &acme).await.tasks, accepted as u64);
    assert_eq!(audit(&stores[0]).await.counts.queued, accepted as u64);
}

#[tokio::test]
async fn arguments_count_until_a_task_ends_and_results_until_they_expire() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (acme, other) = (tenant("acme"), tenant("other"));
    let quotas = StoreQuotas { stored_bytes: Some(1_000_000), ..NONE };
    for size in [20_000, 200_000] {
        let new = || NewTask { args: Bytes::from(vec![1; size]), ..task() };
        let most = 1_000_000 / (size + 1_000);
        let before = usage(&store, &acme).await;
        assert_eq!((before.tasks, before.stored_bytes), (0, 0));
        submit(&store, &acme, quotas, (0..most).map(|_| new()).collect()).await.expect("room");
        let refused = over(submit(&store, &acme, quotas, vec![new(), new()]).await);
        assert_eq!((refused.quota, refused.limit), (StoreQuota::StoredBytes, 1_000_000));
        assert!(refused.used >= (most * size) as u64, "{refused:?}");
        submit(&store, &other, quotas, vec![new()]).await.expect("another tenant's");
        let claimed = store.claim(DispatcherId::random(), &demand(99)).await.expect("claimed");
        assert_eq!(claimed.len(), most + 1);
        let result = vec![7; size];
        let ends: Vec<_> = claimed.iter().map(|task| completed(task.task(), &result)).collect();
        store.complete(NOBODY, 0, &ends).await.expect("completed");
        let kept = usage(&store, &acme).await.stored_bytes;
        assert!((most * size..most * (size + 1_000)).contains(&(kept as usize)), "{kept}");
        let four = vec![new(), new(), new(), new()];
        assert_eq!(over(submit(&store, &acme, quotas, four).await).used, kept);
        // As if their time were over.
        assert_eq!(redis.expire("acme").await, 1, "all expire at about the same time");
        let id = submit(&store, &acme, quotas, vec![new()]).await.expect("room again")[0];
        store.of(&acme).cancel(id).await.expect("cancelled");
        redis.command::<()>(&["FLUSHALL"]).await;
    }
}

#[tokio::test]
async fn processor_time_and_memory_count_for_an_hour_and_a_day() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (acme, other) = (tenant("acme"), tenant("other"));
    for whose in [&acme, &other] {
        submit(&store, whose, NONE, tasks(1)).await.expect("accepted");
        let claimed = claim_one(&store, DispatcherId::random()).await;
        let (cpu, elapsed) = (Duration::from_secs(3), Duration::from_secs(2));
        let cpu = if *whose == acme { cpu } else { Duration::from_millis(1) };
        store.complete(NOBODY, 0, &[used(claimed.task(), cpu, 100, elapsed)]).await.expect("done");
    }
    let known = usage(&store, &acme).await;
    assert_eq!((known.hour.cpu_us, known.hour.memory_mb_ms), (3_000_000, 200_000));
    assert_eq!(known.hour, known.day);
    let of = |cpu_us, memory_mb_ms| PeriodQuotas { cpu_us, memory_mb_ms };
    let hour = Duration::from_secs(3_600);
    for (quotas, quota, used, longest) in [
        (
            StoreQuotas { hour: of(Some(3_000_000), None), ..NONE },
            StoreQuota::CpuPerHour,
            3_000_000,
            hour,
        ),
        (
            StoreQuotas { day: of(Some(2_000_000), None), ..NONE },
            StoreQuota::CpuPerDay,
            3_000_000,
            24 * hour,
        ),
        (
            StoreQuotas { hour: of(None, Some(200_000)), ..NONE },
            StoreQuota::MemoryPerHour,
            200_000,
            hour,
        ),
        (
            StoreQuotas { day: of(None, Some(1)), ..NONE },
            StoreQuota::MemoryPerDay,
            200_000,
            24 * hour,
        ),
    ] {
        let refused = over(submit(&store, &acme, quotas, tasks(1)).await);
        assert_eq!((refused.quota, refused.used), (quota, used));
        let after = refused.frees_after.expect("the end of the period");
        assert!(after <= longest && after > Duration::ZERO, "{refused:?}");
    }
    let more = StoreQuotas { hour: of(Some(3_000_001), Some(200_001)), ..NONE };
    submit(&store, &acme, more, tasks(1)).await.expect("not yet used up");
    let little = StoreQuotas { hour: of(Some(1_500_000), None), ..NONE };
    submit(&store, &other, little, tasks(1)).await.expect("another tenant's");
    // As if it had been an hour ago.
    redis.change_use("acme", 5, -1).await;
    let one = StoreQuotas { hour: of(Some(1), None), ..NONE };
    submit(&store, &acme, one, tasks(1)).await.expect("a new hour");
    assert_eq!(usage(&store, &acme).await.hour.cpu_us, 0);
}

#[tokio::test]
async fn a_call_that_was_stopped_is_taken_to_have_used_a_processor() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let acme = tenant("acme");
    submit(&store, &acme, NONE, tasks(1)).await.expect("accepted");
    let claimed = claim_one(&store, DispatcherId::random()).await;
    let mut end = failed(claimed.task(), "too late");
    end.report.outcome.elapsed_us = 7_000_000;
    store.complete(NOBODY, 0, &[end]).await.expect("completed");
    assert_eq!(usage(&store, &acme).await.day.cpu_us, 7_000_000);
}

#[tokio::test]
async fn nothing_is_counted_twice_whatever_becomes_of_a_task() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let acme = tenant("acme");
    let ids = submit(&store, &acme, NONE, tasks(6)).await.expect("accepted");
    assert_eq!(usage(&store, &acme).await.tasks, 6);
    let dispatcher = DispatcherId::random();
    let claimed = store.claim(dispatcher, &demand(5)).await.expect("claimed");
    let [done, fails, back, dies, cancelled] = claimed.as_slice() else { panic!("five") };
    let done = completed(done.task(), b"v");
    store.complete(NOBODY, 0, &[done.clone(), failed(fails.task(), "no")]).await.expect("done");
    store.complete(NOBODY, 0, &[done]).await.expect("repeated");
    store.requeue(&[unstarted(back.task()), died(dies.task(), "signal 11")]).await.expect("back");
    store.of(&acme).cancel(cancelled.id()).await.expect("stopping");
    store.of(&acme).cancel(ids[5]).await.expect("cancelled");
    store
        .complete(NOBODY, 0, &[finished(cancelled.task(), CallVerdict::Cancelled)])
        .await
        .expect("done");
    let known = usage(&store, &acme).await;
    assert_eq!((known.tasks, known.running), (2, 0));
    store.retire(dispatcher).await.expect("retired");
    let left = eventually("both wait again", async || {
        let claimed = store.claim(DispatcherId::random(), &demand(9)).await.expect("claimed");
        (claimed.len() == 2).then_some(claimed)
    })
    .await;
    let ends: Vec<_> = left.iter().map(|task| completed(task.task(), b"v")).collect();
    store.complete(NOBODY, 0, &ends).await.expect("completed");
    let known = usage(&store, &acme).await;
    assert_eq!((known.tasks, known.running), (0, 0));
    let last = redis.change_use("acme", 12, 0).await;
    let expiring: Vec<i64> = redis.command(&["HVALS", "{belljar}:ends:acme"]).await;
    let kept = last + expiring.iter().sum::<i64>();
    assert_eq!(known.stored_bytes, kept.cast_unsigned(), "results, and nothing else");
    let uncounted = tenant("other");
    store.of(&uncounted).submit(tasks(1)).await.expect("accepted");
    let claimed = claim_one(&store, DispatcherId::random()).await;
    store.complete(NOBODY, 0, &[completed(claimed.task(), b"v")]).await.expect("completed");
    let keys: Vec<String> = redis.command(&["KEYS", "{belljar}:used:other"]).await;
    assert!(keys.is_empty(), "without a file nothing is counted");
    audit(&store).await;
}
