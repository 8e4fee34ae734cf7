//! Late, double and stale words on attempts, and cancelled tasks.

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::outcome::{CallVerdict, FailureKind};
use belljar_core::task::{Attempt, TaskAttempt, TaskStatus};
use belljar_store::record::{CancelOutcome, Settled};

use crate::harness::{
    NOBODY, Redis, audit, claim_one, completed, demand, died, failed, finished, submit_one, tasks,
    unstarted,
};

#[tokio::test]
async fn a_published_result_never_changes() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    submit_one(&store).await;
    let task = claim_one(&store, DispatcherId::random()).await;
    let first = completed(task.task(), b"first");
    assert_eq!(
        store.complete(NOBODY, 0, std::slice::from_ref(&first)).await.expect("answered"),
        [Settled::Accepted]
    );
    let repeated = store.complete(NOBODY, 0, &[first]).await.expect("answered");
    assert_eq!(repeated, [Settled::Accepted], "the answer may have been lost");
    let other = [
        completed(task.task(), b"other"),
        failed(task.task(), "other"),
        finished(task.task(), CallVerdict::Cancelled),
        completed(TaskAttempt { attempt: Attempt(2), ..task.task() }, b"first"),
    ];
    assert_eq!(store.complete(NOBODY, 0, &other).await.expect("answered"), [Settled::Stale; 4]);
    let requeued = store.requeue(&[unstarted(task.task())]).await.expect("answered");
    assert_eq!(requeued, [Settled::Stale]);
    let result = store.results(&[task.id()]).await.expect("read")[0].clone().expect("known");
    assert_eq!((result.status, &*result.result), (TaskStatus::Completed, &b"first"[..]));
    assert_eq!(audit(&store).await.counts.completed, 1);
}

#[tokio::test]
async fn a_late_result_of_a_requeued_attempt_is_stale() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let [one, two] = [DispatcherId::random(), DispatcherId::random()];
    submit_one(&store).await;
    let first = claim_one(&store, one).await;
    let evidence = died(first.task(), "killed by signal 11 (SIGSEGV)");
    assert_eq!(store.requeue(&[evidence]).await.expect("answered"), [Settled::Accepted]);
    let late = completed(first.task(), b"late");
    let settled = store.complete(NOBODY, 0, std::slice::from_ref(&late)).await.expect("answered");
    assert_eq!(settled, [Settled::Stale], "it waits for its next attempt");

    let second = claim_one(&store, two).await;
    assert_eq!((second.task().attempt, second.deaths), (Attempt(2), 1));
    assert_eq!(store.complete(NOBODY, 0, &[late]).await.expect("answered"), [Settled::Stale]);
    let right = completed(second.task(), b"right");
    assert_eq!(store.complete(NOBODY, 0, &[right]).await.expect("answered"), [Settled::Accepted]);
    let record = store.task(first.id()).await.expect("read").expect("known");
    assert_eq!((record.attempts, record.deaths), (2, 1));
    assert_eq!(record.failures, ["attempt 1: killed by signal 11 (SIGSEGV)"]);
    assert_eq!(record.dispatcher, Some(two));
    assert_eq!(audit(&store).await.counts.completed, 1);
}

#[tokio::test]
async fn an_unstarted_attempt_uses_up_its_number_only() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    submit_one(&store).await;
    let dispatcher = DispatcherId::random();
    let first = claim_one(&store, dispatcher).await;
    store.requeue(&[unstarted(first.task())]).await.expect("answered");
    let record = store.task(first.id()).await.expect("read").expect("known");
    assert_eq!((record.status, record.started_at), (TaskStatus::Queued, None));
    let second = claim_one(&store, dispatcher).await;
    assert_eq!((second.task().attempt, second.deaths), (Attempt(2), 0));
    let record = store.task(first.id()).await.expect("read").expect("known");
    assert!(record.failures.is_empty());
}

#[tokio::test]
async fn a_batch_settles_each_under_its_own_fence() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    store.submit(tasks(1200)).await.expect("accepted");
    let claimed = store.claim(DispatcherId::random(), &demand(1200)).await.expect("claimed");
    let mut ends: Vec<_> = claimed.iter().map(|t| completed(t.task(), b"v")).collect();
    ends[7].report.task.attempt = Attempt(9);
    ends.push(ends[3].clone());
    let unknown = TaskAttempt { task_id: TaskId::random(), attempt: Attempt(1) };
    ends.push(completed(unknown, b"v"));
    let twice = ends[0].clone();
    ends.insert(1, twice);
    let settled = store.complete(NOBODY, 0, &ends).await.expect("answered");
    assert_eq!(settled.len(), ends.len());
    assert_eq!((settled[1], settled[8]), (Settled::Stale, Settled::Stale));
    assert_eq!(settled.iter().filter(|one| **one == Settled::Accepted).count(), 1200);
    let counts = audit(&store).await.counts;
    assert_eq!((counts.completed, counts.running), (1199, 1));
}

#[tokio::test]
async fn a_failure_is_kept_for_programs_and_people() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    submit_one(&store).await;
    let task = claim_one(&store, DispatcherId::random()).await;
    let end = failed(task.task(), "it broke");
    let CallVerdict::Failed(failure) = end.report.outcome.verdict.clone() else { unreachable!() };
    store.complete(NOBODY, 0, &[end]).await.expect("answered");
    let record = store.task(task.id()).await.expect("read").expect("known");
    let outcome = record.outcome.expect("it ended");
    let kept = outcome.verdict.failure().expect("it failed");
    assert_eq!(kept.kind, FailureKind::Exception);
    assert_eq!(kept.message, failure.message);
    assert_eq!(outcome.elapsed_us, 1000);
    let result = store.results(&[task.id()]).await.expect("read")[0].clone().expect("known");
    assert_eq!((result.status, result.result), (TaskStatus::Failed, failure.exception));
}

#[tokio::test]
async fn a_cancelled_queued_task_never_runs() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let id = submit_one(&store).await;
    assert_eq!(store.cancel(id).await.expect("answered"), Some(CancelOutcome::Cancelled));
    let again = store.cancel(id).await.expect("answered");
    assert_eq!(again, Some(CancelOutcome::Ended(TaskStatus::Cancelled)));
    let claimed = store.claim(DispatcherId::random(), &demand(1)).await.expect("claimed");
    assert!(claimed.is_empty());
    let record = store.task(id).await.expect("read").expect("known");
    assert_eq!(record.status, TaskStatus::Cancelled);
    assert_eq!((record.attempts, record.result_bytes), (0, 0));
    assert_eq!(audit(&store).await.counts.cancelled, 1);
}

#[tokio::test]
async fn a_cancelled_running_task_never_shows_a_result() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let dispatcher = DispatcherId::random();
    submit_one(&store).await;
    let task = claim_one(&store, dispatcher).await;
    for _ in 0..2 {
        assert_eq!(store.cancel(task.id()).await.expect("answered"), Some(CancelOutcome::Stopping));
    }
    let leased = store.leased(dispatcher).await.expect("read");
    assert_eq!((leased[0].task, leased[0].cancelling), (task.task(), true));
    let running = store.results(&[task.id()]).await.expect("read")[0].clone().expect("known");
    assert_eq!(running.status, TaskStatus::Running, "the code has not stopped yet");

    let zombie = completed(task.task(), b"value");
    for _ in 0..2 {
        let settled =
            store.complete(NOBODY, 0, std::slice::from_ref(&zombie)).await.expect("answered");
        assert_eq!(settled, [Settled::Cancelled]);
    }
    let result = store.results(&[task.id()]).await.expect("read")[0].clone().expect("known");
    assert_eq!((result.status, &*result.result), (TaskStatus::Cancelled, &b""[..]));
    assert_eq!(store.leased(dispatcher).await.expect("read"), []);
    assert_eq!(audit(&store).await.counts.cancelled, 1);
}

#[tokio::test]
async fn a_cancelled_attempt_is_not_made_again() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let dispatcher = DispatcherId::random();
    submit_one(&store).await;
    let task = claim_one(&store, dispatcher).await;
    store.cancel(task.id()).await.expect("answered");
    let settled = store.requeue(&[died(task.task(), "gone")]).await.expect("answered");
    assert_eq!(settled, [Settled::Cancelled]);
    assert!(store.claim(dispatcher, &demand(1)).await.expect("claimed").is_empty());
    let record = store.task(task.id()).await.expect("read").expect("known");
    assert_eq!(record.status, TaskStatus::Cancelled);
    assert_eq!(record.failures, ["attempt 1: gone"]);
    audit(&store).await;
}

#[tokio::test]
async fn an_ended_task_cannot_be_cancelled() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let dispatcher = DispatcherId::random();
    for (value, status) in [(true, TaskStatus::Completed), (false, TaskStatus::Failed)] {
        submit_one(&store).await;
        let task = claim_one(&store, dispatcher).await;
        let end = if value { completed(task.task(), b"v") } else { failed(task.task(), "e") };
        store.complete(NOBODY, 0, &[end]).await.expect("answered");
        assert_eq!(
            store.cancel(task.id()).await.expect("answered"),
            Some(CancelOutcome::Ended(status))
        );
    }
}
