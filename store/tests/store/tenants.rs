//! Tenants that share a store, and their keys.

use std::collections::BTreeSet;

use belljar_core::api_key::{ApiKeySecret, Scope};
use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::task::{CodeHash, Runtime, TaskStatus};
use belljar_store::record::{
    ApiKey, CancelOutcome, Idempotency, KeyState, NewTask, TaskFilter, Timestamp,
};
use belljar_store::{Store, StoreError, StoreEvent, TenantStore, Topic};
use bytes::Bytes;

use crate::harness::{
    NOBODY, Redis, audit, claim_one, completed, demand, eventually, next_event, task, tasks, tenant,
};

async fn list(view: TenantStore<'_>, limit: usize) -> Vec<TaskId> {
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let page = view.tasks(TaskFilter::default(), cursor.as_deref(), limit).await.expect("read");
        ids.extend(page.items.into_iter().map(|task| task.expect("readable").id));
        cursor = page.next;
        if cursor.is_none() {
            return ids;
        }
    }
}

/// What `view` sees of a task: its status, by each operation that tells it.
async fn seen(view: TenantStore<'_>, id: TaskId) -> Option<TaskStatus> {
    let result = view.results(&[id]).await.expect("read").remove(0);
    let record = view.task(id).await.expect("read");
    let status = result.map(|result| result.status);
    assert_eq!(record.map(|record| record.status), status);
    status
}

#[tokio::test]
async fn a_task_is_seen_by_its_tenant_only_from_its_start_to_its_end() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    // One letter: the shortest name stands where the priority of a task without a tenant does.
    let names = ["default", "a", "acme", "acme2"].map(tenant);
    let blob = Bytes::from(vec![1; 100_000]);
    for owner in &names {
        let new = NewTask { args: blob.clone(), ..task() };
        let id = store.of(owner).submit(vec![new]).await.expect("accepted")[0];
        let others = names.iter().filter(|name| *name != owner);
        let is_alone = async |status| {
            for other in others.clone() {
                assert_eq!(seen(store.of(other), id).await, None, "{other} sees {owner}'s");
                assert_eq!(store.of(other).cancel(id).await.expect("answered"), None, "{other}");
            }
            assert_eq!(seen(store.of(owner), id).await, Some(status), "{owner}");
        };
        is_alone(TaskStatus::Queued).await;
        let claimed = claim_one(&store, DispatcherId::random()).await;
        assert_eq!(claimed.invocation.args, blob);
        is_alone(TaskStatus::Running).await;
        let done = completed(claimed.task(), &[7; 100_000]);
        store.complete(NOBODY, 0, &[done]).await.expect("completed");
        is_alone(TaskStatus::Completed).await;
        let ended = store.of(owner).cancel(id).await.expect("answered");
        assert_eq!(ended, Some(CancelOutcome::Ended(TaskStatus::Completed)));
        let result = store.of(owner).results(&[id]).await.expect("read").remove(0);
        assert_eq!(result.map(|result| result.result.len()), Some(100_000));
    }
    assert!(audit(&store).await.is_consistent());
}

#[tokio::test]
async fn each_tenant_has_its_own_list() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let names = ["default", "a", "acme"].map(tenant);
    let mut expected = names.clone().map(|name| (name, Vec::new()));
    for round in 1..=4 {
        for (name, ids) in &mut expected {
            ids.extend(store.of(name).submit(tasks(round)).await.expect("accepted"));
        }
    }
    for (name, ids) in &mut expected {
        ids.reverse();
        assert_eq!(list(store.of(name), 3).await, *ids, "{name}");
        assert_eq!(list(store.of(name), 100).await, *ids, "{name}");
    }
}

#[tokio::test]
async fn delayed_and_recovered_tasks_keep_their_tenant() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let acme = tenant("acme");
    let delayed = NewTask { delay_ms: 1, ..task() };
    let id = store.of(&acme).submit(vec![delayed]).await.expect("accepted")[0];
    let dispatcher = DispatcherId::random();
    eventually("it is due", async || {
        let claimed = store.claim(dispatcher, &demand(1)).await.expect("claimed");
        (!claimed.is_empty()).then_some(())
    })
    .await;
    let mut events = store.subscribe(&[Topic::StatusChanges]).await.expect("subscribed");
    assert_eq!(next_event(&mut events).await, StoreEvent::Connected);
    store.retire(dispatcher).await.expect("retired");
    let queued = StoreEvent::StatusChanged(vec![id], &[TaskStatus::Queued], acme.clone());
    assert_eq!(next_event(&mut events).await, queued);
    assert_eq!(seen(store.of(&acme), id).await, Some(TaskStatus::Queued));
    assert_eq!(claim_one(&store, DispatcherId::random()).await.id(), id);
}

#[tokio::test]
async fn events_name_the_tenant_of_every_task() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut events = store.subscribe(&[Topic::StatusChanges, Topic::Ended]).await.expect("up");
    assert_eq!(next_event(&mut events).await, StoreEvent::Connected);
    let names = ["default", "a", "acme"].map(tenant);
    let mut of = std::collections::HashMap::new();
    for name in &names {
        for id in store.of(name).submit(tasks(3)).await.expect("accepted") {
            of.insert(id, name.clone());
        }
    }
    let dispatcher = DispatcherId::random();
    let claimed = store.claim(dispatcher, &demand(9)).await.expect("claimed");
    let mut ends: Vec<_> = claimed.iter().map(|task| completed(task.task(), b"v")).collect();
    let cancelled = ends.pop().expect("nine").report.task.task_id;
    store.complete(NOBODY, 0, &ends).await.expect("completed");
    store.cancel(cancelled).await.expect("answered");
    let last = claimed.iter().find(|task| task.id() == cancelled).expect("claimed").task();
    store.complete(NOBODY, 0, &[completed(last, b"v")]).await.expect("completed");
    let mut told = BTreeSet::new();
    while told.len() < 3 * of.len() {
        match next_event(&mut events).await {
            StoreEvent::StatusChanged(ids, through, tenant) => {
                for id in ids {
                    assert_eq!(of[&id], tenant);
                    told.insert((id, format!("{through:?}")));
                }
            }
            StoreEvent::Ended(ends) => {
                for end in ends {
                    assert_eq!(of[&end.id], end.tenant);
                    assert!(end.result.is_some(), "short results are told");
                    told.insert((end.id, "ended".to_owned()));
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_same_idempotency_key_of_two_tenants_is_two_keys() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let keyed = |key: &str, body: &[u8]| {
        let body = CodeHash::of(body);
        vec![NewTask { idempotency: Some(Idempotency { key: key.to_owned(), body }), ..task() }]
    };
    let names = ["default", "acme", "a"].map(tenant);
    let mut ids = BTreeSet::new();
    for name in &names {
        for key in ["k", "@acme:k", "@a:k"] {
            let body = format!("{name}");
            let view = store.of(name);
            let id = view.submit(keyed(key, body.as_bytes())).await.expect("accepted")[0];
            assert!(ids.insert(id), "{name} {key}");
            let again = view.submit(keyed(key, body.as_bytes())).await.expect("accepted");
            assert_eq!(again, [id]);
            let other = view.submit(keyed(key, b"other")).await.expect_err("another body");
            let StoreError::IdempotencyConflict { key: told, task_id } = other else {
                panic!("{other}")
            };
            assert_eq!((told.as_str(), task_id), (key, id));
        }
    }
}

fn key(name: &str, created_at: u64) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        tenant: tenant("acme"),
        scopes: [Scope::Submit, Scope::Read].into_iter().collect(),
        runtimes: vec![Runtime::Sandbox],
        created_at: Timestamp(created_at),
        expires_at: Some(Timestamp(500)),
        revoked_at: None,
        certificate: None,
    }
}

#[tokio::test]
async fn keys_are_found_by_their_hash_and_the_secret_is_nowhere() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let [one, two] = [1, 2].map(|byte| ApiKeySecret::new([byte; 25]));
    store.put_api_key(one.hash(), &key("one", 1)).await.expect("stored");
    store.put_api_key(two.hash(), &key("two", 2)).await.expect("stored");
    assert_eq!(store.api_key(one.hash()).await.expect("read"), Some(key("one", 1)));
    let unknown = ApiKeySecret::new([3; 25]).hash();
    assert_eq!(store.api_key(unknown).await.expect("read"), None);
    let all = store.api_keys().await.expect("read");
    assert_eq!(all, [Ok((two.hash(), key("two", 2))), Ok((one.hash(), key("one", 1)))]);
    let stored: Vec<String> = redis.command(&["HKEYS", "{belljar}:api_keys"]).await;
    assert!(stored.iter().all(|hash| !hash.contains(&one.reveal()[3..])));
}

#[tokio::test]
async fn a_key_that_cannot_be_read_hides_no_other() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let [good, bad] = [1, 2].map(|byte| ApiKeySecret::new([byte; 25]).hash());
    store.put_api_key(good, &key("good", 1)).await.expect("stored");
    store.put_api_key(bad, &key("bad", 2)).await.expect("stored");
    for name in [&bad.to_string(), "no hash"] {
        redis.command::<()>(&["HSET", "{belljar}:api_keys", name, "of another version"]).await;
    }
    let all = store.api_keys().await.expect("read");
    assert_eq!(all[0], Ok((good, key("good", 1))));
    let unreadable = all[1..].iter().map(|row| row.as_ref().expect_err("unreadable").id.clone());
    assert_eq!(unreadable.collect::<Vec<_>>(), [bad.to_string(), "no hash".to_owned()]);
}

#[tokio::test]
async fn a_key_is_revoked_whatever_else_is_changed_at_the_same_time() {
    let redis = Redis::start().await;
    let store: Store = redis.store().await;
    let hash = ApiKeySecret::new([1; 25]).hash();
    store.put_api_key(hash, &key("one", 1)).await.expect("stored");
    let revoke = store.change_api_key(hash, |key| key.revoked_at = Some(Timestamp(9)), &[]);
    let extend = store.change_api_key(hash, |key| key.expires_at = Some(Timestamp(700)), &[]);
    let (revoked, extended) = tokio::join!(revoke, extend);
    assert!(revoked.expect("answered").is_some() && extended.expect("answered").is_some());
    let kept = store.api_key(hash).await.expect("read").expect("known");
    assert_eq!((kept.revoked_at, kept.expires_at), (Some(Timestamp(9)), Some(Timestamp(700))));
    assert_eq!(kept.state(Timestamp(10)), KeyState::Revoked);
    let expired = key("two", 1);
    assert_eq!(expired.state(Timestamp(499)), KeyState::Valid);
    assert_eq!(expired.state(Timestamp(500)), KeyState::Expired);
    let unknown = ApiKeySecret::new([2; 25]).hash();
    assert_eq!(store.change_api_key(unknown, |_| {}, &[]).await.expect("answered"), None);
}
