//! Large batches: staged in parts, accepted at once, queued part by part.

use std::time::Duration;

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::task::CodeHash;
use belljar_store::record::{Idempotency, NewTask, StoreQuotas};
use belljar_store::{Store, StoreConfig, StoreError, StoreEvent, Topic};
use bytes::Bytes;
use tokio::time::timeout;

use crate::harness::{
    DEADLINE, NOBODY, Redis, audit, completed, demand, native, next_event, task, tasks, tenant,
};

/// Many parts.
const MANY: usize = 2_000;

fn ids(tasks: &[NewTask]) -> Vec<TaskId> {
    tasks.iter().map(|task| task.id).collect()
}

/// What is left of batches in the server.
async fn left(redis: &Redis) -> (Vec<String>, Vec<String>) {
    let staged = redis.command(&["KEYS", "{belljar}:staged:*"]).await;
    (staged, redis.command(&["HKEYS", "{belljar}:batches"]).await)
}

/// All that waits, in the order of the queue.
async fn claim_all(store: &Store, dispatcher: DispatcherId) -> Vec<TaskId> {
    let claimed = store.claim(dispatcher, &demand(3 * MANY)).await.expect("claimed");
    claimed.iter().map(|task| task.id()).collect()
}

#[tokio::test]
async fn a_large_batch_is_many_short_scripts() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let new = tasks(MANY);
    redis.command::<()>(&["CONFIG", "RESETSTAT"]).await;
    assert_eq!(store.submit(new.clone()).await.expect("accepted"), ids(&new));
    let stats: String = redis.command(&["INFO", "commandstats"]).await;
    let scripts = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let scripts: usize =
        scripts.and_then(|it| it.split(',').next()?.parse().ok()).expect("scripts ran");
    assert!(scripts > MANY / 200, "{scripts}: others get in between");
    assert_eq!(left(&redis).await, (vec![], vec![]));
    let counts = audit(&store).await.counts;
    assert_eq!((counts.accepted, counts.queued), (MANY as u64, MANY as u64));
    assert_eq!(claim_all(&store, DispatcherId::random()).await, ids(&new), "in its order");
}

#[tokio::test]
async fn a_large_batch_is_refused_as_a_whole_and_leaves_nothing() {
    let redis = Redis::start().await;
    let limit = MANY as u64 - 1;
    let config = StoreConfig { max_queued: limit, ..redis.config() };
    let store = Store::connect(config).await.expect("up");
    let blob = NewTask { args: Bytes::from(vec![1; 100_000]), ..task() };
    let mut new = tasks(MANY - 1);
    new.push(blob);
    let refused = store.submit(new).await.expect_err("one too many");
    assert!(matches!(refused, StoreError::QueueFull { queued: 0, .. }), "{refused:?}");
    let used = StoreQuotas { queued_tasks: Some(limit), ..StoreQuotas::default() };
    let acme = tenant("acme");
    let refused = store.of(&acme).with_quotas(Some(used)).submit(tasks(MANY)).await;
    assert!(matches!(refused, Err(StoreError::QueueFull { .. })), "{refused:?}");
    let used = StoreQuotas { queued_tasks: Some(500), ..StoreQuotas::default() };
    let refused = store.of(&acme).with_quotas(Some(used)).submit(tasks(501)).await;
    assert!(matches!(refused, Err(StoreError::OverQuota(_))), "{refused:?}");
    assert_eq!(audit(&store).await.counts.accepted, 0);
    let keys: Vec<String> = redis.command(&["KEYS", "{belljar}:*"]).await;
    let known = ["format", "counts", "used"].map(|name| format!("{{belljar}}:{name}"));
    assert!(keys.iter().all(|key| known.iter().any(|known| key.starts_with(known))), "{keys:?}");
}

#[tokio::test]
async fn a_large_batch_is_accepted_once() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let body = CodeHash::of(b"body");
    let key = || Some(Idempotency { key: "k e\ny".to_owned(), body });
    let mut new = tasks(MANY);
    new[0].idempotency = key();
    let (one, two) = tokio::join!(store.submit(new.clone()), store.submit(new.clone()));
    assert_eq!((one.expect("accepted"), two.expect("accepted")), (ids(&new), ids(&new)));
    assert_eq!(store.submit(new.clone()).await.expect("accepted"), ids(&new));
    assert_eq!(audit(&store).await.counts.accepted, MANY as u64);
    let mut other = tasks(MANY);
    other[0].idempotency = Some(Idempotency { body: CodeHash::of(b"x"), ..key().expect("one") });
    let refused = store.submit(other).await.expect_err("a conflict");
    let StoreError::IdempotencyConflict { task_id, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(task_id, new[0].id);
    // Tasks of other ids under the key: the first one is known, as in a small submission.
    let mut same = tasks(MANY);
    same[0].idempotency = key();
    let expected: Vec<_> = [new[0].id].into_iter().chain(ids(&same[1..])).collect();
    assert_eq!(store.submit(same).await.expect("accepted"), expected);
    assert_eq!(audit(&store).await.counts.accepted, 2 * MANY as u64 - 1);
    assert_eq!(left(&redis).await, (vec![], vec![]));
}

#[tokio::test]
async fn a_batch_whose_gateway_vanishes_is_queued_whole_or_expires() {
    let redis = Redis::start().await;
    let (store, acme) = (redis.store().await, tenant("acme"));
    let mut events = store.subscribe(&[Topic::StatusChanges]).await.expect("subscribed");
    assert_eq!(next_event(&mut events).await, StoreEvent::Connected);
    let quotas = StoreQuotas { queued_tasks: Some(10_000), ..StoreQuotas::default() };
    let view = store.of(&acme).with_quotas(Some(quotas));
    let mut new = tasks(MANY);
    new[MANY - 1].args = Bytes::from(vec![1; 100_000]);
    tokio::select! {
        _ = view.submit(new.clone()) => panic!("it was to be stopped at its first part"),
        _ = next_event(&mut events) => {}
    }
    let (staged, batches) = left(&redis).await;
    assert_eq!(batches, [new[0].id.to_string()]);
    assert!(!staged.is_empty());
    for key in &staged {
        assert_eq!(redis.command::<i64>(&["TTL", key]).await, -1, "it is kept");
    }
    // Nobody touches it for long.
    let batch: String = redis.command(&["HGET", "{belljar}:batches", &batches[0]]).await;
    let (parts, _) = batch.rsplit_once(' ').expect("a time");
    let old = format!("{parts} 1");
    redis.command::<()>(&["HSET", "{belljar}:batches", &batches[0], &old]).await;
    let dispatcher = DispatcherId::random();
    store.heartbeat(dispatcher, &[native()], &[]).await.expect("a heartbeat");
    assert_eq!(left(&redis).await, (vec![], vec![]));
    assert_eq!(audit(&store).await.counts.queued, MANY as u64);
    assert_eq!(claim_all(&store, dispatcher).await, ids(&new));
    assert_eq!(view.usage().await.expect("read").tasks, MANY as u64);
    assert_eq!(view.submit(new.clone()).await.expect("known"), ids(&new));
    assert_eq!(view.usage().await.expect("read").tasks, MANY as u64, "they count once");
    let claimed = store.leased(dispatcher).await.expect("read");
    let ends: Vec<_> = claimed.iter().map(|leased| completed(leased.task, b"v")).collect();
    store.complete(NOBODY, 0, &ends).await.expect("taken");
    assert_eq!(audit(&store).await.counts.completed, MANY as u64);

    // One that goes before it was accepted.
    let stopped = timeout(Duration::ZERO, store.submit(tasks(MANY))).await;
    assert!(stopped.is_err(), "it was not to come so far");
    for key in left(&redis).await.0 {
        let ttl: i64 = redis.command(&["TTL", &key]).await;
        assert!((1..=120).contains(&ttl), "{ttl}");
    }
}

#[tokio::test]
async fn delays_large_arguments_and_tenants_survive_the_parts() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let late = |task: NewTask| NewTask { delay_ms: 50, ..task };
    let delayed: Vec<_> = tasks(MANY).into_iter().map(late).collect();
    store.submit(delayed.clone()).await.expect("accepted");
    // Less than a blob each, and much more than a part together.
    let large: Vec<_> =
        (0..20).map(|n| NewTask { args: Bytes::from(vec![n; 60_000]), ..task() }).collect();
    let acme = tenant("acme");
    let view = store.of(&acme);
    let (one, two) = tokio::join!(view.submit(large.clone()), store.submit(tasks(MANY)));
    assert_eq!((one.expect("accepted"), two.expect("accepted").len()), (ids(&large), MANY));
    audit(&store).await;
    let (me, begun) = (DispatcherId::random(), tokio::time::Instant::now());
    let mut claimed = Vec::new();
    while claimed.len() < 2 * MANY + 20 {
        claimed.extend(store.claim(me, &demand(500)).await.expect("claimed"));
        assert!(begun.elapsed() < DEADLINE, "{} of them", claimed.len());
    }
    for task in &large {
        let it = claimed.iter().find(|one| one.id() == task.id).expect("claimed");
        assert_eq!(it.invocation.args, task.args);
    }
    assert!(claimed.iter().all(|one| one.task().attempt.0 == 1));
    audit(&store).await;
}
