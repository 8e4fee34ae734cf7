//! What a submission promises.

use belljar_core::task::TaskStatus;
use belljar_store::record::NewTask;
use belljar_store::{Store, StoreConfig, StoreError};
use bytes::Bytes;

use crate::harness::{NOBODY, Redis, audit, completed, demand, native, sandbox, task, tasks};

#[tokio::test]
async fn a_task_walks_from_queued_to_completed() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let new = task();
    let id = store.submit(vec![new.clone()]).await.expect("accepted")[0];
    assert_eq!(id, new.id);
    let queued = store.results(&[id]).await.expect("known")[0].clone().expect("known");
    assert_eq!((queued.status, &*queued.result), (TaskStatus::Queued, &b""[..]));

    let dispatcher = belljar_core::id::DispatcherId::random();
    let claimed = store.claim(dispatcher, &demand(5)).await.expect("claimed");
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].task().attempt.0, claimed[0].deaths), (1, 0));
    assert_eq!((&claimed[0].invocation.spec, &claimed[0].invocation.args), (&new.spec, &new.args));
    let running = store.results(&[id]).await.expect("known")[0].clone().expect("known");
    assert_eq!(running.status, TaskStatus::Running);

    let finish = completed(claimed[0].task(), b"value");
    store.complete(NOBODY, 0, std::slice::from_ref(&finish)).await.expect("taken");
    let record = store.task(id).await.expect("read").expect("known");
    assert_eq!(record.status, TaskStatus::Completed);
    assert_eq!((record.attempts, record.deaths), (1, 0));
    assert_eq!((record.worker, record.dispatcher), (Some(finish.worker), Some(dispatcher)));
    assert_eq!((record.args_bytes, record.result_bytes), (new.args.len() as u64, 5));
    assert!(record.accepted_at <= record.started_at.expect("started"));
    assert!(record.started_at <= record.finished_at);
    assert_eq!(record.spec, new.spec);
    let result = store.results(&[id]).await.expect("read")[0].clone().expect("known");
    assert_eq!(&*result.result, b"value");
    assert_eq!(result.expires_at, record.expires_at);
    let counts = audit(&store).await.counts;
    assert_eq!((counts.accepted, counts.completed), (1, 1));
    let arguments: u64 = redis.command(&["HLEN", "{belljar}:args"]).await;
    assert_eq!(arguments, 0, "arguments are freed at the end");
}

#[tokio::test]
async fn ten_thousand_tasks_are_one_submission() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let new = tasks(10_000);
    let expected: Vec<_> = new.iter().map(|task| task.id).collect();
    let ids = store.submit(new).await.expect("accepted");
    assert_eq!(ids, expected);
    let results = store.results(&ids).await.expect("read");
    assert!(results.iter().flatten().filter(|r| r.status == TaskStatus::Queued).count() == 10_000);
    let dispatcher = belljar_core::id::DispatcherId::random();
    let claimed = store.claim(dispatcher, &demand(10_000)).await.expect("claimed");
    let order: Vec<_> = claimed.iter().map(|task| task.id()).collect();
    assert_eq!(order, expected, "first in, first out");
    let ends: Vec<_> = claimed.iter().map(|t| completed(t.task(), b"v")).collect();
    store.complete(NOBODY, 0, &ends).await.expect("taken");
    let results = store.results(&ids).await.expect("read");
    assert!(results.iter().flatten().filter(|r| &*r.result == b"v").count() == 10_000);
    assert_eq!(audit(&store).await.counts.completed, 10_000);
}

#[tokio::test]
async fn a_full_queue_refuses_the_whole_batch() {
    let redis = Redis::start().await;
    let store = Store::connect(StoreConfig { max_queued: 5, ..redis.config() }).await.expect("up");
    store.submit(tasks(3)).await.expect("accepted");
    let refused = store.submit(tasks(3)).await.expect_err("no room");
    assert!(matches!(refused, StoreError::QueueFull { queued: 3, limit: 5 }), "{refused:?}");
    assert_eq!(audit(&store).await.counts.accepted, 3);
    let delayed = NewTask { delay_ms: 60_000, ..task() };
    store.submit(vec![delayed, task()]).await.expect("room for two");
    store.submit(tasks(1)).await.expect_err("a delayed task takes room too");
}

#[tokio::test]
async fn a_submission_repeated_after_a_lost_answer_changes_nothing() {
    let redis = Redis::start().await;
    let store = Store::connect(StoreConfig { max_queued: 4, ..redis.config() }).await.expect("up");
    let new = tasks(4);
    let ids = store.submit(new.clone()).await.expect("accepted");
    assert_eq!(store.submit(new.clone()).await.expect("accepted"), ids);
    store.claim(belljar_core::id::DispatcherId::random(), &demand(2)).await.expect("claimed");
    assert_eq!(store.submit(new).await.expect("accepted"), ids);
    let counts = audit(&store).await.counts;
    assert_eq!((counts.accepted, counts.queued, counts.running), (4, 2, 2));
}

#[tokio::test]
async fn large_and_empty_arguments_come_back() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let blob = NewTask { args: Bytes::from(vec![0xa5; 10 << 20]), ..task() };
    let empty = NewTask { args: Bytes::new(), ..task() };
    store.submit(vec![blob.clone(), empty]).await.expect("accepted");
    let claimed =
        store.claim(belljar_core::id::DispatcherId::random(), &demand(2)).await.expect("claimed");
    assert_eq!(claimed[0].invocation.args, blob.args);
    assert_eq!(claimed[1].invocation.args.len(), 0);
    store.complete(NOBODY, 0, &[completed(claimed[0].task(), &blob.args)]).await.expect("taken");
    let result = store.results(&[blob.id]).await.expect("read")[0].clone().expect("known");
    assert_eq!(result.result, blob.args);
}

#[tokio::test]
async fn nothing_is_an_answer_to_nothing() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    assert!(store.submit(Vec::new()).await.expect("accepted").is_empty());
    assert!(store.results(&[]).await.expect("read").is_empty());
    assert!(store.complete(NOBODY, 0, &[]).await.expect("taken").is_empty());
    assert!(store.requeue(&[]).await.expect("taken").is_empty());
    assert!(
        store.claim(belljar_core::id::DispatcherId::random(), &[]).await.expect("ok").is_empty()
    );
    assert_eq!(store.results(&[task().id]).await.expect("read"), [None]);
    assert!(store.task(task().id).await.expect("read").is_none());
    assert!(store.cancel(task().id).await.expect("read").is_none());
}

#[tokio::test]
async fn queue_lengths_are_by_class() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut new = tasks(3);
    new.push(crate::harness::of_class(sandbox()));
    store.submit(new).await.expect("accepted");
    let mut lengths = store.queue_lengths().await.expect("read");
    lengths.sort_by_key(|length| length.class);
    let lengths: Vec<_> = lengths.iter().map(|length| (length.class, length.queued)).collect();
    assert_eq!(lengths, [(native(), 3), (sandbox(), 1)]);
}
