//! What subscribers hear, and that they miss nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::task::{Attempt, TaskStatus};
use belljar_store::record::{ClaimedTask, NewTask, Settled, TaskResult};
use belljar_store::{EndedTask, Store, StoreEvent, Subscription, Topic};
use bytes::Bytes;
use tokio::time::timeout;

use crate::harness::{
    DEADLINE, NOBODY, Redis, audit, claim_one, completed, failed, heard, native, submit_one, task,
    tasks, unstarted, want,
};

async fn listen(store: &Store, topics: &[Topic]) -> Subscription {
    let mut notices = store.subscribe(topics).await.expect("subscribed");
    assert_eq!(heard(&mut notices).await, StoreEvent::Connected);
    notices
}

/// The notice of tasks whose results are short.
async fn told(store: &Store, ids: &[TaskId]) -> StoreEvent {
    let results = store.results(ids).await.expect("read");
    let ended = |(&id, result): (&TaskId, Option<TaskResult>)| {
        let status = result.as_ref().expect("known").status;
        EndedTask { id, status, result }
    };
    StoreEvent::Ended(ids.iter().zip(results).map(ended).collect())
}

#[tokio::test]
async fn ended_tasks_are_published_in_one_message_with_their_results() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut notices = listen(&store, &[Topic::Ended]).await;
    let ids = store.submit(tasks(50)).await.expect("accepted");
    let claimed = store.claim(DispatcherId::random(), &want(49)).await.expect("claimed");
    let ends: Vec<_> = claimed.iter().map(|t| completed(t.task(), b"v")).collect();
    store.complete(NOBODY, 0, &ends).await.expect("said");
    assert_eq!(heard(&mut notices).await, told(&store, &ids[..49]).await);
    store.complete(NOBODY, 0, &ends).await.expect("said again, without an echo");
    store.cancel(ids[49]).await.expect("said");
    assert_eq!(heard(&mut notices).await, told(&store, &ids[49..]).await);
}

#[tokio::test]
async fn who_watches_hears_of_every_move_in_its_order() {
    use TaskStatus::{Queued, Running};
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut notices = listen(&store, &[Topic::StatusChanges, Topic::Ended]).await;
    let ids = store.submit(tasks(3)).await.expect("accepted");
    assert_eq!(heard(&mut notices).await, StoreEvent::StatusChanged(ids.clone(), &[Queued]));
    let dispatcher = DispatcherId::random();
    let claimed = store.claim(dispatcher, &want(4)).await.expect("claimed");
    assert_eq!(heard(&mut notices).await, StoreEvent::StatusChanged(ids.clone(), &[Running]));
    store.requeue(&[unstarted(claimed[0].task())]).await.expect("given back");
    assert_eq!(heard(&mut notices).await, StoreEvent::StatusChanged(ids[..1].to_vec(), &[Queued]));
    store.complete(NOBODY, 0, &[completed(claimed[1].task(), b"v")]).await.expect("said");
    assert_eq!(heard(&mut notices).await, told(&store, &ids[1..2]).await);
    store.claim(dispatcher, &want(4)).await.expect("claimed again");
    assert_eq!(heard(&mut notices).await, StoreEvent::StatusChanged(ids[..1].to_vec(), &[Running]));
    // One that a waiting dispatcher is handed goes through both at once.
    let other = DispatcherId::random();
    let _hears = listen(&store, &[Topic::Deliveries(other)]).await;
    assert_eq!(store.claim(other, &want(1)).await.expect("claimed"), []);
    let given = submit_one(&store).await;
    assert_eq!(
        heard(&mut notices).await,
        StoreEvent::StatusChanged(vec![given], &[Queued, Running])
    );
    // The same again is no move.
    store.complete(NOBODY, 0, &[completed(claimed[1].task(), b"v")]).await.expect("said again");
    store.cancel(ids[2]).await.expect("said");
    store.complete(NOBODY, 0, &[completed(claimed[2].task(), b"v")]).await.expect("said");
    assert_eq!(heard(&mut notices).await, told(&store, &ids[2..]).await);
}

#[tokio::test]
async fn long_results_and_many_and_failures_are_left_to_be_read() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut notices = listen(&store, &[Topic::Ended]).await;
    store.submit(tasks(101)).await.expect("accepted");
    let claimed = store.claim(DispatcherId::random(), &want(101)).await.expect("claimed");
    let value = |index| if index == 0 { vec![b'v'; 1025] } else { vec![b':'; 1024] };
    let ends = claimed.iter().enumerate().map(|(i, t)| completed(t.task(), &value(i)));
    store.complete(NOBODY, 0, &ends.collect::<Vec<_>>()).await.expect("said");
    let StoreEvent::Ended(ends) = heard(&mut notices).await else { panic!("not the end") };
    assert_eq!(ends.len(), 101, "the end of each is told");
    let told: Vec<_> = ends.iter().filter_map(|end| end.result.as_ref()).collect();
    assert!(told.iter().all(|told| *told.result == *value(1)));
    assert_eq!((ends[0].result.is_none(), told.len()), (true, 64));

    submit_one(&store).await;
    let task = claim_one(&store, DispatcherId::random()).await;
    store.complete(NOBODY, 0, &[failed(task.task(), "no")]).await.expect("said");
    let end = EndedTask { id: task.id(), status: TaskStatus::Failed, result: None };
    assert_eq!(heard(&mut notices).await, StoreEvent::Ended(vec![end]));
}

#[tokio::test]
async fn a_running_task_s_dispatcher_hears_of_its_cancel() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut notices = listen(&store, &[Topic::Cancel]).await;
    submit_one(&store).await;
    let task = claim_one(&store, DispatcherId::random()).await;
    store.cancel(task.id()).await.expect("said");
    assert_eq!(heard(&mut notices).await, StoreEvent::Cancel(task.id()));
}

#[tokio::test]
async fn work_is_announced_to_the_hungry_only() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut notices = listen(&store, &[Topic::Work]).await;
    let dispatcher = DispatcherId::random();
    store.submit(tasks(2)).await.expect("accepted: nobody is hungry yet");
    store.claim(dispatcher, &want(2)).await.expect("claimed: nothing is missing");
    store.submit(tasks(1)).await.expect("accepted: nobody is hungry yet");
    let claimed = store.claim(dispatcher, &want(2)).await.expect("one is missing");
    store.submit(tasks(1)).await.expect("accepted and announced");
    store.submit(tasks(1)).await.expect("accepted: it was announced");
    assert_eq!(heard(&mut notices).await, StoreEvent::Work);
    store.claim(dispatcher, &want(5)).await.expect("three are missing");
    store.requeue(&[unstarted(claimed[0].task())]).await.expect("announced");
    assert_eq!(heard(&mut notices).await, StoreEvent::Work);
    // A mark behind all that was said: nothing else was announced before it.
    redis.command::<()>(&["PUBLISH", "{belljar}:0:work", "delayed"]).await;
    assert_eq!(heard(&mut notices).await, StoreEvent::Delayed);
}

#[tokio::test]
async fn tasks_are_handed_to_the_dispatcher_that_waits_for_them() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (me, other) = (DispatcherId::random(), DispatcherId::random());
    let mut given = listen(&store, &[Topic::Deliveries(me)]).await;
    store.claim(other, &want(1)).await.expect("waits, but does not listen");
    store.claim(me, &want(2)).await.expect("waits for two");
    let ids = store.submit(tasks(2)).await.expect("accepted and given");
    let StoreEvent::Delivered { tasks, is_last } = heard(&mut given).await else {
        panic!("not given")
    };
    assert!(is_last, "it waited for two");
    let told: Vec<_> = tasks.iter().map(|task| task.id()).collect();
    assert_eq!(told, ids);
    assert_eq!(
        (tasks[0].task().attempt, tasks[0].deaths, &tasks[0].invocation.args),
        (Attempt(1), 0, &task().args)
    );
    assert_eq!(tasks[0].invocation.spec, task().spec);
    let counts = audit(&store).await.counts;
    assert_eq!((counts.queued, counts.running), (0, 2));
    assert_eq!(store.leased(me).await.expect("read").len(), 2);
    // What was given counts as an attempt like any other.
    let ends: Vec<_> = tasks.iter().map(|task| completed(task.task(), b"v")).collect();
    let settled = store.complete(NOBODY, 0, &ends).await.expect("said");
    assert!(settled.iter().all(|settled| *settled == Settled::Accepted));

    // Whoever was given something waits for nothing until it claims again.
    store.submit(crate::harness::tasks(1)).await.expect("queued");
    assert_eq!(store.claim(me, &want(3)).await.expect("claimed").len(), 1);
    // More than there is room for is announced, not given.
    let mut work = listen(&store, &[Topic::Work]).await;
    store.submit(crate::harness::tasks(3)).await.expect("queued");
    assert_eq!(heard(&mut work).await, StoreEvent::Work);
    assert_eq!(store.claim(me, &want(3)).await.expect("claimed").len(), 3);
    // So is what is too long for a message, and what is not due.
    store.claim(me, &want(3)).await.expect("waits");
    let args = Bytes::from(vec![b'x'; 70_000]);
    store.submit(vec![NewTask { args, ..task() }]).await.expect("queued");
    assert_eq!(heard(&mut work).await, StoreEvent::Work);
    assert_eq!(store.claim(me, &want(3)).await.expect("claimed").len(), 1);
    store.submit(vec![NewTask { delay_ms: 60_000, ..task() }]).await.expect("delayed");
    assert_eq!(heard(&mut work).await, StoreEvent::Delayed);
    store.submit(crate::harness::tasks(1)).await.expect("given");
    let StoreEvent::Delivered { tasks, is_last } = heard(&mut given).await else {
        panic!("not given")
    };
    assert_eq!((tasks.len(), is_last), (1, false));
    // It waits on for what is left of its wish, and for the places that have become free.
    let end = [completed(tasks[0].task(), b"v")];
    store.complete(me, 1, &end).await.expect("said");
    store.submit(crate::harness::tasks(2)).await.expect("given");
    let StoreEvent::Delivered { tasks, is_last } = heard(&mut given).await else {
        panic!("not given")
    };
    assert_eq!((tasks.len(), is_last), (2, true));
    // Who waits no longer is given nothing.
    store.claim(me, &want(2)).await.expect("waits");
    store.claim(me, &[]).await.expect("waits no longer");
    store.submit(crate::harness::tasks(1)).await.expect("queued");
    assert_eq!(store.claim(me, &want(1)).await.expect("claimed").len(), 1);
}

#[tokio::test]
async fn an_earlier_delayed_task_is_announced() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut notices = listen(&store, &[Topic::Work]).await;
    for delay_ms in [50_000, 60_000, 40_000] {
        store.submit(vec![NewTask { delay_ms, ..task() }]).await.expect("accepted");
    }
    redis.command::<()>(&["PUBLISH", "{belljar}:0:work", "work"]).await;
    let said = [heard(&mut notices).await, heard(&mut notices).await, heard(&mut notices).await];
    assert_eq!(said, [StoreEvent::Delayed, StoreEvent::Delayed, StoreEvent::Work]);
}

/// A dispatcher that claims only when woken or given something, against clients that submit as they please: if one wake
/// were lost, it would wait for ever.
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
                let mut notices = store.subscribe(&topics).await.expect("subscribed");
                while done.load(Ordering::SeqCst) < CLIENTS * EACH {
                    if let StoreEvent::Delivered { tasks, is_last } = notices.next().await {
                        complete(&store, (me, tasks.len()), &tasks, &done).await;
                        if !is_last {
                            continue;
                        }
                    }
                    loop {
                        let claimed = store.claim(me, &want(3)).await.expect("claimed");
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
    timeout(DEADLINE, all).await.expect("every task was heard of");
    for dispatcher in dispatchers {
        dispatcher.abort();
    }
    assert_eq!(audit(&store).await.counts.completed, (CLIENTS * EACH) as u64);
}

#[tokio::test]
async fn a_subscription_returns_after_a_restart() {
    let mut redis = Redis::start().await;
    let store = redis.store().await;
    let mut notices = listen(&store, &[Topic::Ended]).await;
    for _ in 0..3 {
        redis.kill().await;
        redis.revive().await;
        assert_eq!(heard(&mut notices).await, StoreEvent::Connected);
    }
    let id = submit_one(&store).await;
    store.cancel(id).await.expect("said");
    assert_eq!(heard(&mut notices).await, told(&store, &[id]).await);
}

#[tokio::test]
async fn a_slow_reader_is_told_to_look_at_the_store() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut notices = listen(&store, &[Topic::Cancel]).await;
    submit_one(&store).await;
    let task = claim_one(&store, DispatcherId::random()).await;
    for _ in 0..50 {
        let cancels = (0..100).map(|_| store.cancel(task.id()));
        futures_util::future::join_all(cancels).await;
    }
    let mut rest = 0;
    while heard(&mut notices).await != StoreEvent::Connected {
        rest += 1;
    }
    assert!(rest <= 2048, "what waits is bounded: {rest}");
    store.heartbeat(DispatcherId::random(), &[native()], &[]).await.expect("beaten");
}

/// Ends claimed tasks, each of which was nobody else's.
async fn complete(
    store: &Store,
    (me, freed): (DispatcherId, usize),
    tasks: &[ClaimedTask],
    done: &AtomicUsize,
) {
    let ends: Vec<_> = tasks.iter().map(|t| completed(t.task(), b"v")).collect();
    let settled = store.complete(me, freed, &ends).await.expect("said");
    assert!(settled.iter().all(|settled| *settled == Settled::Accepted), "{settled:?}");
    done.fetch_add(ends.len(), Ordering::SeqCst);
}
