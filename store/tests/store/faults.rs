//! A server that restarts, forgets, fills up, hangs, or is unfit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::task::TaskStatus;
use belljar_store::record::NewTask;
use belljar_store::{Store, StoreConfig, StoreError, StoreEvent, Topic};
use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::harness::{
    DEADLINE, DURABLE, NOBODY, Redis, audit, claim_one, completed, demand, native, next_event,
    submit_one, task, tasks, unstarted,
};

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let dispatcher = DispatcherId::random();
    for _ in 0..3 {
        redis.command::<()>(&["SCRIPT", "FLUSH"]).await;
        submit_one(&store).await;
        redis.command::<()>(&["SCRIPT", "FLUSH"]).await;
        let task = claim_one(&store, dispatcher).await;
        redis.command::<()>(&["SCRIPT", "FLUSH"]).await;
        store.complete(NOBODY, 0, &[completed(task.task(), b"v")]).await.expect("answered");
    }
    assert_eq!(audit(&store).await.counts.completed, 3);
}

#[tokio::test]
async fn an_evicting_server_is_refused() {
    let redis = Redis::start_with(&["--maxmemory-policy", "allkeys-lru"]).await;
    let refused = Store::connect(redis.config()).await.err().expect("it is unfit");
    let StoreError::Unsuitable { why, .. } = refused else { panic!("{refused:?}") };
    assert!(why.contains("allkeys-lru") && why.contains("noeviction"), "{why}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_in_time() {
    let config = StoreConfig {
        timeout: Duration::from_millis(100),
        ..StoreConfig::new("redis+unix:///nonexistent/redis.sock".to_owned())
    };
    let refused = timeout(DEADLINE, Store::connect(config)).await.expect("in time");
    assert!(matches!(refused, Err(StoreError::Connect { why: "does not answer", .. })));
}

#[tokio::test]
async fn full_memory_refuses_new_tasks_and_lets_old_ones_end() {
    let redis = Redis::start_with(&["--maxmemory", "30mb"]).await;
    let store = redis.store().await;
    let dispatcher = DispatcherId::random();
    let blob = || NewTask { args: Bytes::from(vec![1; 1 << 20]), ..task() };
    let mut accepted = Vec::new();
    let refused = loop {
        match store.submit(vec![blob()]).await {
            Ok(ids) => accepted.extend(ids),
            Err(error) => break error,
        }
        assert!(accepted.len() < 100, "memory is bounded");
    };
    assert!(matches!(refused, StoreError::RefusesWrites(..)), "{refused:?}");
    assert_eq!(audit(&store).await.counts.accepted, accepted.len() as u64);
    for _ in 0..accepted.len() {
        let task = claim_one(&store, dispatcher).await;
        store.complete(NOBODY, 0, &[completed(task.task(), b"v")]).await.expect("answered");
    }
    assert_eq!(audit(&store).await.counts.completed, accepted.len() as u64);
    store.submit(vec![blob()]).await.expect("there is room again");
}

#[tokio::test]
async fn a_silent_server_is_unreachable_in_time_and_then_found_again() {
    let redis = Redis::start().await;
    let timeout = Duration::from_millis(300);
    let store = Store::connect(StoreConfig { timeout, ..redis.config() }).await.expect("up");
    let id = submit_one(&store).await;
    redis.command::<()>(&["CLIENT", "PAUSE", "1000", "ALL"]).await;
    let silent = store.results(&[id]).await.expect_err("it is paused");
    assert!(matches!(silent, StoreError::Unreachable(_)), "{silent:?}");
    let found = async {
        while store.ping().await.is_err() {}
        store.results(&[id]).await.expect("it is back")
    };
    let found = tokio::time::timeout(DEADLINE, found).await.expect("in time");
    assert_eq!(found[0].as_ref().expect("known").status, TaskStatus::Queued);
}

#[tokio::test]
async fn a_replica_refuses_writes() {
    let redis = Redis::start().await;
    let timeout = Duration::from_millis(200);
    let store = Store::connect(StoreConfig { timeout, ..redis.config() }).await.expect("up");
    redis.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let refused = store.submit(tasks(1)).await.expect_err("it is a replica");
    assert!(matches!(refused, StoreError::RefusesWrites(..)), "{refused:?}");
    redis.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    store.submit(tasks(1)).await.expect("it is the master again");
}

/// A dispatcher as the real one is built: claims, forgets what was lost on the way, finishes.
pub(crate) async fn dispatch(store: Store, stop: Arc<AtomicBool>) {
    let me = DispatcherId::random();
    let mut events = store.subscribe(&[Topic::Work]).await.expect("subscribed");
    while !stop.load(Ordering::SeqCst) {
        // Woken by a event; the timeout only lets the loop see `stop`.
        let event = timeout(Duration::from_millis(100), events.next()).await;
        if event == Ok(StoreEvent::Connected) {
            return_unknown(&store, me).await;
        }
        let _ = store.heartbeat(me, &[native()], &[]).await;
        loop {
            let Ok(claimed) = store.claim(me, &demand(20)).await else {
                return_unknown(&store, me).await;
                continue;
            };
            let ends: Vec<_> =
                claimed.iter().map(|task| completed(task.task(), task.id().as_bytes())).collect();
            while store.complete(NOBODY, 0, &ends).await.is_err() {}
            if ends.len() < 20 {
                break;
            }
        }
    }
}

/// Nothing is in this dispatcher's hands between two turns of its loop.
async fn return_unknown(store: &Store, me: DispatcherId) {
    let leased = loop {
        if let Ok(leased) = store.leased(me).await {
            break leased;
        }
    };
    let unknown: Vec<_> = leased.iter().map(|leased| unstarted(leased.task)).collect();
    while store.requeue(&unknown).await.is_err() {}
}

pub(crate) async fn submit_until_stopped(store: Store, stop: Arc<AtomicBool>) -> Vec<TaskId> {
    let mut accepted = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let new = tasks(10);
        // The same tasks under the same ids, until there is an answer.
        loop {
            if let Ok(ids) = store.submit(new.clone()).await {
                accepted.extend(ids);
                break;
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_again_and_again_under_load_loses_and_doubles_nothing() {
    let mut redis = Redis::start_with(DURABLE).await;
    let store = redis.store().await;
    let [stop_clients, stop_dispatchers] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let dispatchers: Vec<_> = (0..2)
        .map(|_| tokio::spawn(dispatch(store.clone(), Arc::clone(&stop_dispatchers))))
        .collect();
    let clients: Vec<_> = (0..3)
        .map(|_| tokio::spawn(submit_until_stopped(store.clone(), Arc::clone(&stop_clients))))
        .collect();
    for _ in 0..8 {
        sleep(Duration::from_millis(60)).await;
        redis.kill().await;
        redis.revive().await;
    }
    stop_clients.store(true, Ordering::SeqCst);
    let mut accepted = Vec::new();
    for client in clients {
        accepted.extend(client.await.expect("it ran"));
    }
    assert!(accepted.len() > 100, "there was load");
    let all = async {
        while audit(&store).await.counts.completed < accepted.len() as u64 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, all).await.expect("every task ended");
    stop_dispatchers.store(true, Ordering::SeqCst);
    for dispatcher in dispatchers {
        dispatcher.await.expect("it ran");
    }
    let results = store.results(&accepted).await.expect("read");
    for (id, result) in accepted.iter().zip(results) {
        let result = result.expect("known");
        assert_eq!((result.status, &*result.result), (TaskStatus::Completed, &id.as_bytes()[..]));
    }
    let counts = audit(&store).await.counts;
    assert_eq!((counts.accepted, counts.completed), (accepted.len() as u64, accepted.len() as u64));
}

#[tokio::test]
async fn a_store_finds_its_server_again_at_once() {
    let mut redis = Redis::start_with(DURABLE).await;
    let store = redis.store().await;
    let id = submit_one(&store).await;
    let mut events = store.subscribe(&[Topic::Ended]).await.expect("subscribed");
    assert_eq!(next_event(&mut events).await, StoreEvent::Connected);
    redis.kill().await;
    // Asked while the server is away: answered once it is back.
    let (results, ()) = tokio::join!(store.results(std::slice::from_ref(&id)), redis.revive());
    assert_eq!(results.expect("back").len(), 1);
    assert_eq!(next_event(&mut events).await, StoreEvent::Connected);
}
