//! One key, one task.

use std::collections::HashSet;

use belljar_core::id::DispatcherId;
use belljar_core::task::CodeHash;
use belljar_store::StoreError;
use belljar_store::record::{Idempotency, NewTask};

use crate::harness::{NOBODY, Redis, audit, claim_one, completed, task};

fn keyed(key: &str, body: &[u8]) -> NewTask {
    let body = CodeHash::of(body);
    NewTask { idempotency: Some(Idempotency { key: key.to_owned(), body }), ..task() }
}

#[tokio::test]
async fn a_hundred_concurrent_submissions_with_one_key_are_one_task() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let submissions = (0..100).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.submit(vec![keyed("k e\ny", b"body")]).await })
    });
    let mut ids = HashSet::new();
    for submission in submissions.collect::<Vec<_>>() {
        ids.extend(submission.await.expect("it ran").expect("accepted"));
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(audit(&store).await.counts.accepted, 1);
}

#[tokio::test]
async fn another_body_under_a_key_is_a_conflict_and_nothing_is_written() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let first = store.submit(vec![keyed("key", b"body")]).await.expect("accepted")[0];
    let batch = vec![task(), keyed("new", b"body"), keyed("key", b"other")];
    let refused = store.submit(batch).await.expect_err("a conflict");
    let StoreError::IdempotencyConflict { key, task_id } = refused else { panic!("{refused:?}") };
    assert_eq!((key.as_str(), task_id), ("key", first));
    assert_eq!(audit(&store).await.counts.accepted, 1);
    let keys: Vec<String> = redis.command(&["KEYS", "{belljar}:idempotency:*"]).await;
    assert_eq!(keys, ["{belljar}:idempotency:key"]);
}

#[tokio::test]
async fn a_key_answers_after_the_task_has_ended() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let id = store.submit(vec![keyed("key", b"body")]).await.expect("accepted")[0];
    let claimed = claim_one(&store, DispatcherId::random()).await;
    store.complete(NOBODY, 0, &[completed(claimed.task(), b"v")]).await.expect("answered");
    let again = store.submit(vec![task(), keyed("key", b"body")]).await.expect("accepted");
    assert_eq!(again[1], id);
    assert_eq!(audit(&store).await.counts.accepted, 2);
}

#[tokio::test]
async fn a_key_whose_task_was_forgotten_is_free_again() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let id = store.submit(vec![keyed("key", b"body")]).await.expect("accepted")[0];
    let claimed = claim_one(&store, DispatcherId::random()).await;
    store.complete(NOBODY, 0, &[completed(claimed.task(), b"v")]).await.expect("answered");
    redis.command::<()>(&["DEL", &format!("{{belljar}}:task:{id}")]).await;
    let again = store.submit(vec![keyed("key", b"other")]).await.expect("accepted");
    assert_ne!(again[0], id, "an unknown id would be of no use");
}

#[tokio::test]
async fn one_batch_may_use_a_key_twice() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let batch = vec![keyed("key", b"body"), keyed("key", b"body"), keyed("other", b"body")];
    let ids = store.submit(batch.clone()).await.expect("accepted");
    assert_eq!(ids, [batch[0].id, batch[0].id, batch[2].id]);
    assert_eq!(store.submit(batch).await.expect("accepted"), ids);
    assert_eq!(audit(&store).await.counts.accepted, 2);
}

#[tokio::test]
async fn a_delayed_task_may_have_a_key() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let delayed = NewTask { delay_ms: 60_000, ..keyed("", b"body") };
    let id = store.submit(vec![delayed.clone()]).await.expect("accepted");
    assert_eq!(store.submit(vec![NewTask { id: task().id, ..delayed }]).await.expect("ok"), id);
    assert_eq!(audit(&store).await.counts.delayed, 1);
}
