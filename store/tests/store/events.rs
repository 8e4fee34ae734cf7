//! What subscribers get, and that they miss nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::live::{LiveChunk, LiveUpdate, Progress};
use belljar_core::task::{Attempt, TaskStatus};
use belljar_core::tenant::Tenant;
use belljar_store::record::{ClaimedTask, NewTask, Settled, TaskResult};
use belljar_store::{EndedTask, Store, StoreEvent, Subscription, Topic};
use bytes::Bytes;
use tokio::time::timeout;

use crate::harness::{
    DEADLINE, NOBODY, Redis, audit, claim_one, completed, demand, failed, native, next_event,
    submit_one, task, tasks, unstarted,
};

async fn listen(store: &Store, topics: &[Topic]) -> Subscription {
    let mut events = store.subscribe(topics).await.expect("subscribed");
    assert_eq!(next_event(&mut events).await, StoreEvent::Connected);
    events
}

/// The event of the ends of tasks whose results are short.
async fn ended(store: &Store, ids: &[TaskId]) -> StoreEvent {
    let results = store.results(ids).await.expect("read");
    let end = |(&id, result): (&TaskId, Option<TaskResult>)| {
        let status = result.as_ref().expect("known").status;
        EndedTask { id, tenant: Tenant::default(), status, result }
    };
    StoreEvent::Ended(ids.iter().zip(results).map(end).collect())
}

#[tokio::test]
async fn ended_tasks_are_published_in_one_message_with_their_results() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut events = listen(&store, &[Topic::Ended]).await;
    let ids = store.submit(tasks(50)).await.expect("accepted");
    let claimed = store.claim(DispatcherId::random(), &demand(49)).await.expect("claimed");
    let ends: Vec<_> = claimed.iter().map(|t| completed(t.task(), b"v")).collect();
    store.complete(NOBODY, 0, &ends).await.expect("answered");
    assert_eq!(next_event(&mut events).await, ended(&store, &ids[..49]).await);
    store.complete(NOBODY, 0, &ends).await.expect("repeated, without a second event");
    store.cancel(ids[49]).await.expect("answered");
    assert_eq!(next_event(&mut events).await, ended(&store, &ids[49..]).await);
}

#[tokio::test]
async fn who_watches_is_told_what_tasks_show_and_their_records_how_far_they_are() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut asked = listen(&store, &[Topic::Watches]).await;
    let mut shown = listen(&store, &[Topic::Live]).await;
    let id = submit_one(&store).await;
    for from_start in [true, false] {
        store.watch_task(id, from_start).await.expect("asked");
        let event = StoreEvent::WatchRequested { task_id: id, from_start };
        assert_eq!(next_event(&mut asked).await, event);
    }
    let dispatcher = DispatcherId::random();
    let first = claim_one(&store, dispatcher).await.task();
    let update = |task, done| LiveUpdate {
        task,
        stdout: LiveChunk { start: 3, bytes: Bytes::from_static(b"x\xff") },
        stderr: LiveChunk::default(),
        progress: Progress::new(done, Some(4.0), "half".to_owned()),
    };
    let silent = LiveUpdate { progress: None, ..update(first, 0.0) };
    let updates = vec![update(first, 2.0), silent];
    store.publish_live(&updates).await.expect("published");
    assert_eq!(next_event(&mut shown).await, StoreEvent::Live(updates));
    let progress = async || store.task(id).await.expect("read").expect("known").progress;
    assert_eq!(progress().await, update(first, 2.0).progress);
    let key = format!("{{belljar}}:progress:{id}");
    let left: i64 = redis.command(&["PTTL", &key]).await;
    assert!(left > 0, "{left}");
    // Another attempt begins anew.
    store.requeue(&[unstarted(first)]).await.expect("taken back");
    let second = claim_one(&store, dispatcher).await.task();
    assert_eq!(progress().await, None);
    store.publish_live(&[update(second, 1.0)]).await.expect("published");
    store.complete(NOBODY, 0, &[completed(second, b"v")]).await.expect("answered");
    assert_eq!(progress().await, update(second, 1.0).progress, "also once it has ended");
}

#[tokio::test]
async fn a_watcher_gets_every_status_in_order() {
    use TaskStatus::{Queued, Running};
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut events = listen(&store, &[Topic::StatusChanges, Topic::Ended]).await;
    let ids = store.submit(tasks(3)).await.expect("accepted");
    assert_eq!(
        next_event(&mut events).await,
        StoreEvent::StatusChanged(ids.clone(), &[Queued], Tenant::default())
    );
    let dispatcher = DispatcherId::random();
    let claimed = store.claim(dispatcher, &demand(4)).await.expect("claimed");
    assert_eq!(
        next_event(&mut events).await,
        StoreEvent::StatusChanged(ids.clone(), &[Running], Tenant::default())
    );
    store.requeue(&[unstarted(claimed[0].task())]).await.expect("requeued");
    assert_eq!(
        next_event(&mut events).await,
        StoreEvent::StatusChanged(ids[..1].to_vec(), &[Queued], Tenant::default())
    );
    store.complete(NOBODY, 0, &[completed(claimed[1].task(), b"v")]).await.expect("answered");
    assert_eq!(next_event(&mut events).await, ended(&store, &ids[1..2]).await);
    store.claim(dispatcher, &demand(4)).await.expect("claimed again");
    assert_eq!(
        next_event(&mut events).await,
        StoreEvent::StatusChanged(ids[..1].to_vec(), &[Running], Tenant::default())
    );
    // A delivered task has both at once.
    let other = DispatcherId::random();
    let _deliveries = listen(&store, &[Topic::Deliveries(other)]).await;
    assert_eq!(store.claim(other, &demand(1)).await.expect("claimed"), []);
    let delivered = submit_one(&store).await;
    assert_eq!(
        next_event(&mut events).await,
        StoreEvent::StatusChanged(vec![delivered], &[Queued, Running], Tenant::default())
    );
    // A repeated completion is no change.
    store.complete(NOBODY, 0, &[completed(claimed[1].task(), b"v")]).await.expect("repeated");
    store.cancel(ids[2]).await.expect("answered");
    store.complete(NOBODY, 0, &[completed(claimed[2].task(), b"v")]).await.expect("answered");
    assert_eq!(next_event(&mut events).await, ended(&store, &ids[2..]).await);
}

#[tokio::test]
async fn long_and_many_results_and_failures_are_not_in_the_message() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut events = listen(&store, &[Topic::Ended]).await;
    store.submit(tasks(101)).await.expect("accepted");
    let claimed = store.claim(DispatcherId::random(), &demand(101)).await.expect("claimed");
    let value = |index| if index == 0 { vec![b'v'; 1025] } else { vec![b':'; 1024] };
    let ends = claimed.iter().enumerate().map(|(i, t)| completed(t.task(), &value(i)));
    store.complete(NOBODY, 0, &ends.collect::<Vec<_>>()).await.expect("answered");
    let StoreEvent::Ended(ends) = next_event(&mut events).await else { panic!("not the end") };
    assert_eq!(ends.len(), 101, "the end of each is in the message");
    let published: Vec<_> = ends.iter().filter_map(|end| end.result.as_ref()).collect();
    assert!(published.iter().all(|published| *published.result == *value(1)));
    assert_eq!((ends[0].result.is_none(), published.len()), (true, 64));

    submit_one(&store).await;
    let task = claim_one(&store, DispatcherId::random()).await;
    store.complete(NOBODY, 0, &[failed(task.task(), "no")]).await.expect("answered");
    let end = EndedTask {
        id: task.id(),
        tenant: Tenant::default(),
        status: TaskStatus::Failed,
        result: None,
    };
    assert_eq!(next_event(&mut events).await, StoreEvent::Ended(vec![end]));
}

#[tokio::test]
async fn a_dispatcher_gets_the_cancel_of_its_running_task() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut events = listen(&store, &[Topic::Cancel]).await;
    submit_one(&store).await;
    let task = claim_one(&store, DispatcherId::random()).await;
    store.cancel(task.id()).await.expect("answered");
    assert_eq!(next_event(&mut events).await, StoreEvent::Cancel(task.id()));
}

#[tokio::test]
async fn work_is_announced_to_dispatchers_with_demand_only() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut events = listen(&store, &[Topic::Work]).await;
    let dispatcher = DispatcherId::random();
    store.submit(tasks(2)).await.expect("accepted: no demand yet");
    store.claim(dispatcher, &demand(2)).await.expect("claimed: nothing is missing");
    store.submit(tasks(1)).await.expect("accepted: no demand yet");
    let claimed = store.claim(dispatcher, &demand(2)).await.expect("one is missing");
    store.submit(tasks(1)).await.expect("accepted and announced");
    store.submit(tasks(1)).await.expect("accepted: it was announced");
    assert_eq!(next_event(&mut events).await, StoreEvent::Work);
    store.claim(dispatcher, &demand(5)).await.expect("three are missing");
    store.requeue(&[unstarted(claimed[0].task())]).await.expect("announced");
    assert_eq!(next_event(&mut events).await, StoreEvent::Work);
    // A mark behind all messages: nothing else was announced before it.
    redis.command::<()>(&["PUBLISH", "{belljar}:0:work", "delayed"]).await;
    assert_eq!(next_event(&mut events).await, StoreEvent::Delayed);
}

#[tokio::test]
async fn tasks_are_delivered_to_the_dispatcher_that_demands_them() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (me, other) = (DispatcherId::random(), DispatcherId::random());
    let mut deliveries = listen(&store, &[Topic::Deliveries(me)]).await;
    store.claim(other, &demand(1)).await.expect("waits, but does not listen");
    store.claim(me, &demand(2)).await.expect("waits for two");
    let ids = store.submit(tasks(2)).await.expect("accepted and delivered");
    let StoreEvent::Delivered { tasks, is_last } = next_event(&mut deliveries).await else {
        panic!("not delivered")
    };
    assert!(is_last, "it waited for two");
    let delivered: Vec<_> = tasks.iter().map(|task| task.id()).collect();
    assert_eq!(delivered, ids);
    assert_eq!(
        (tasks[0].task().attempt, tasks[0].deaths, &tasks[0].invocation.args),
        (Attempt(1), 0, &task().args)
    );
    assert_eq!(tasks[0].invocation.spec, task().spec);
    let counts = audit(&store).await.counts;
    assert_eq!((counts.queued, counts.running), (0, 2));
    assert_eq!(store.leased(me).await.expect("read").len(), 2);
    // A delivery is an attempt like any other.
    let ends: Vec<_> = tasks.iter().map(|task| completed(task.task(), b"v")).collect();
    let settled = store.complete(NOBODY, 0, &ends).await.expect("answered");
    assert!(settled.iter().all(|settled| *settled == Settled::Accepted));

    // After a delivery that meets its demand, a dispatcher gets nothing until it claims again.
    store.submit(crate::harness::tasks(1)).await.expect("queued");
    assert_eq!(store.claim(me, &demand(3)).await.expect("claimed").len(), 1);
    // More tasks than it demands are announced, not delivered.
    let mut work = listen(&store, &[Topic::Work]).await;
    store.submit(crate::harness::tasks(3)).await.expect("queued");
    assert_eq!(next_event(&mut work).await, StoreEvent::Work);
    assert_eq!(store.claim(me, &demand(3)).await.expect("claimed").len(), 3);
    // So are tasks that are too long for a message, and delayed ones.
    store.claim(me, &demand(3)).await.expect("waits");
    let args = Bytes::from(vec![b'x'; 70_000]);
    store.submit(vec![NewTask { args, ..task() }]).await.expect("queued");
    assert_eq!(next_event(&mut work).await, StoreEvent::Work);
    assert_eq!(store.claim(me, &demand(3)).await.expect("claimed").len(), 1);
    store.submit(vec![NewTask { delay_ms: 60_000, ..task() }]).await.expect("delayed");
    assert_eq!(next_event(&mut work).await, StoreEvent::Delayed);
    store.submit(crate::harness::tasks(1)).await.expect("delivered");
    let StoreEvent::Delivered { tasks, is_last } = next_event(&mut deliveries).await else {
        panic!("not delivered")
    };
    assert_eq!((tasks.len(), is_last), (1, false));
    // What is left of its demand stays, and freed places are added to it.
    let end = [completed(tasks[0].task(), b"v")];
    store.complete(me, 1, &end).await.expect("answered");
    store.submit(crate::harness::tasks(2)).await.expect("delivered");
    let StoreEvent::Delivered { tasks, is_last } = next_event(&mut deliveries).await else {
        panic!("not delivered")
    };
    assert_eq!((tasks.len(), is_last), (2, true));
    // Without demand, nothing is delivered.
    store.claim(me, &demand(2)).await.expect("waits");
    store.claim(me, &[]).await.expect("waits no longer");
    store.submit(crate::harness::tasks(1)).await.expect("queued");
    assert_eq!(store.claim(me, &demand(1)).await.expect("claimed").len(), 1);
}

#[tokio::test]
async fn an_earlier_delayed_task_is_announced() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut events = listen(&store, &[Topic::Work]).await;
    for delay_ms in [50_000, 60_000, 40_000] {
        store.submit(vec![NewTask { delay_ms, ..task() }]).await.expect("accepted");
    }
    redis.command::<()>(&["PUBLISH", "{belljar}:0:work", "work"]).await;
    let published = [
        next_event(&mut events).await,
        next_event(&mut events).await,
        next_event(&mut events).await,
    ];
    assert_eq!(published, [StoreEvent::Delayed, StoreEvent::Delayed, StoreEvent::Work]);
}

/// A dispatcher that claims only after a wake or a delivery, and clients that submit at any time: if one wake
/// were lost, it would wait forever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_is_lost() {
    const CLIENTS: usize = 4;
    const EACH: usize = 300;
    let redis = Redis::start().await;
    let store = redis.store().await;
    let done = Arc::new(AtomicUsize::new(0));
    let dispatchers: Vec<_> = (0..2)
        .map(|_| {
            let (store, done) = (store.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let me = DispatcherId::random();
                let topics = [Topic::Work, Topic::Deliveries(me)];
                let mut events = store.subscribe(&topics).await.expect("subscribed");
                while done.load(Ordering::SeqCst) < CLIENTS * EACH {
                    if let StoreEvent::Delivered { tasks, is_last } = events.next().await {
                        complete(&store, (me, tasks.len()), &tasks, &done).await;
                        if !is_last {
                            continue;
                        }
                    }
                    loop {
                        let claimed = store.claim(me, &demand(3)).await.expect("claimed");
                        complete(&store, (me, 0), &claimed, &done).await;
                        if claimed.len() < 3 {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    submit_one(&store).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("it submitted all");
    }
    let all = async {
        while done.load(Ordering::SeqCst) < CLIENTS * EACH {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, all).await.expect("every task was next_event of");
    for dispatcher in dispatchers {
        dispatcher.abort();
    }
    assert_eq!(audit(&store).await.counts.completed, (CLIENTS * EACH) as u64);
}

#[tokio::test]
async fn a_subscription_returns_after_a_restart() {
    let mut redis = Redis::start().await;
    let store = redis.store().await;
    let mut events = listen(&store, &[Topic::Ended]).await;
    for _ in 0..3 {
        redis.kill().await;
        redis.revive().await;
        assert_eq!(next_event(&mut events).await, StoreEvent::Connected);
    }
    let id = submit_one(&store).await;
    store.cancel(id).await.expect("answered");
    assert_eq!(next_event(&mut events).await, ended(&store, &[id]).await);
}

#[tokio::test]
async fn a_slow_reader_is_reconnected() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut events = listen(&store, &[Topic::Cancel]).await;
    submit_one(&store).await;
    let task = claim_one(&store, DispatcherId::random()).await;
    for _ in 0..50 {
        let cancels = (0..100).map(|_| store.cancel(task.id()));
        futures_util::future::join_all(cancels).await;
    }
    let mut rest = 0;
    while next_event(&mut events).await != StoreEvent::Connected {
        rest += 1;
    }
    assert!(rest <= 2048, "what waits is bounded: {rest}");
    store.heartbeat(DispatcherId::random(), &[native()], &[]).await.expect("a heartbeat");
}

/// Ends claimed tasks, each of them claimed only once.
async fn complete(
    store: &Store,
    (me, freed): (DispatcherId, usize),
    tasks: &[ClaimedTask],
    done: &AtomicUsize,
) {
    let ends: Vec<_> = tasks.iter().map(|t| completed(t.task(), b"v")).collect();
    let settled = store.complete(me, freed, &ends).await.expect("answered");
    assert!(settled.iter().all(|settled| *settled == Settled::Accepted), "{settled:?}");
    done.fetch_add(ends.len(), Ordering::SeqCst);
}
