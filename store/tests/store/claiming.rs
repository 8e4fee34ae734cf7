//! The order in which tasks are claimed, and when delayed ones are.

use belljar_core::id::DispatcherId;
use belljar_core::task::{Priority, TaskClass, TaskStatus};
use belljar_store::record::{CancelOutcome, ClaimedTask, Demand, FunctionRecord, NewTask};
use belljar_store::{MAX_LABEL_SETS, StoreError, StoreEvent, Topic};
use bytes::Bytes;

use crate::functions::function;
use crate::harness::{
    Redis, audit, claim_one, demand, eventually, native, next_event, of_class, sandbox, submit_one,
    task, tasks, unstarted, with_priority,
};

#[tokio::test]
async fn higher_priorities_go_first_and_requeued_tasks_before_all() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let dispatcher = DispatcherId::random();
    let [low, normal, high] = [Priority::Low, Priority::Normal, Priority::High].map(with_priority);
    let again = submit_one(&store).await;
    let claimed = store.claim(dispatcher, &demand(1)).await.expect("claimed");
    store.submit(vec![low.clone(), normal.clone(), high.clone()]).await.expect("accepted");
    store.requeue(&[unstarted(claimed[0].task())]).await.expect("taken back");
    let claimed = store.claim(dispatcher, &demand(4)).await.expect("claimed");
    let order: Vec<_> = claimed.iter().map(|task| task.id()).collect();
    assert_eq!(order, [again, high.id, normal.id, low.id]);
}

#[tokio::test]
async fn each_demand_takes_its_classes_in_their_order() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let new = vec![
        of_class(native()),
        of_class(sandbox()),
        of_class(sandbox()),
        of_class(native()),
        of_class(sandbox()),
    ];
    let ids = store.submit(new).await.expect("accepted");
    let demands = [
        Demand { classes: vec![sandbox(), native()], count: 4, reserved: 0 },
        Demand { classes: vec![native()], count: 5, reserved: 0 },
    ];
    let claimed = store.claim(DispatcherId::random(), &demands).await.expect("claimed");
    let order: Vec<_> = claimed.iter().map(|task| task.id()).collect();
    assert_eq!(order, [ids[1], ids[2], ids[4], ids[0], ids[3]]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_ends_and_holds_no_other_up() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let ids = store.submit(tasks(4)).await.expect("accepted");
    // The first line stays, as with another version; what follows is not this version's.
    for bad in [ids[0], ids[1], ids[3]] {
        let key = format!("{{belljar}}:task:{bad}");
        let record: Vec<u8> = redis.command(&["GET", &key]).await;
        let line = record.iter().position(|&byte| byte == b'\n').expect("a line");
        let cut = [&record[..=line], b"of another version"].concat();
        redis.command::<()>(&[b"SET".as_slice(), key.as_bytes(), &cut]).await;
    }
    let dispatcher = DispatcherId::random();
    // The first two are all that this claim finds at first.
    let claimed = store.claim(dispatcher, &demand(2)).await.expect("claimed");
    assert_eq!(claimed.iter().map(|task| task.id()).collect::<Vec<_>>(), [ids[2]]);
    assert_eq!(store.claim(dispatcher, &demand(2)).await.expect("claimed"), []);
    for bad in [ids[0], ids[1], ids[3]] {
        let result = store.results(&[bad]).await.expect("read")[0].clone().expect("known");
        assert_eq!(result.status, TaskStatus::Failed);
        let text = String::from_utf8_lossy(&result.result).into_owned();
        assert!(text.contains("cannot be read"), "{text}");
    }
    assert_eq!(store.leased(dispatcher).await.expect("read").len(), 1);
    assert_eq!(audit(&store).await.counts.failed, 3);
}

#[tokio::test]
async fn two_dispatchers_never_share_a_task() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let ids = store.submit(tasks(2000)).await.expect("accepted");
    let drain = async || {
        let dispatcher = DispatcherId::random();
        let mut mine = Vec::new();
        loop {
            let claimed = store.claim(dispatcher, &demand(7)).await.expect("claimed");
            if claimed.is_empty() {
                return mine;
            }
            mine.extend(claimed.iter().map(|task| task.id()));
        }
    };
    let (mut first, second) = tokio::join!(drain(), drain());
    assert!(!first.is_empty() && !second.is_empty());
    first.extend(second);
    first.sort_unstable();
    let mut expected = ids;
    expected.sort_unstable();
    assert_eq!(first, expected);
}

#[tokio::test]
async fn a_delayed_task_waits_until_it_is_due() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let dispatcher = DispatcherId::random();
    let [soon, late] = [60, 3_600_000].map(|delay_ms| NewTask { delay_ms, ..task() });
    store.submit(vec![late.clone(), soon.clone()]).await.expect("accepted");
    let record = store.task(soon.id).await.expect("read").expect("known");
    assert_eq!(record.status, TaskStatus::Queued);
    assert_eq!(record.due_at.expect("delayed").0, record.accepted_at.0 + 60_000);
    assert_eq!(audit(&store).await.entries_delayed, 2);
    let heartbeat = store.heartbeat(dispatcher, &[native()], &[]).await.expect("a heartbeat");
    assert!(heartbeat.next_due_ms.expect("one is delayed") <= 61, "{heartbeat:?}");

    let claimed = eventually("the task is due", async || {
        store.claim(dispatcher, &demand(2)).await.expect("claimed").pop()
    })
    .await;
    assert_eq!(claimed.id(), soon.id);
    let record = store.task(soon.id).await.expect("read").expect("known");
    assert!(record.started_at >= record.due_at, "{record:?}");
    let heartbeat = store.heartbeat(dispatcher, &[native()], &[]).await.expect("a heartbeat");
    assert!(heartbeat.next_due_ms.expect("one is delayed") > 3_000_000, "{heartbeat:?}");
    let counts = audit(&store).await.counts;
    assert_eq!((counts.delayed, counts.running), (1, 1));
}

#[tokio::test]
async fn a_heartbeat_queues_due_tasks_with_their_priority() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let dispatcher = DispatcherId::random();
    let normal = submit_one(&store).await;
    let high = NewTask { delay_ms: 1, ..with_priority(Priority::High) };
    store.submit(vec![high.clone()]).await.expect("accepted");
    eventually("the task is queued", async || {
        let heartbeat = store.heartbeat(dispatcher, &[native()], &[]).await.expect("a heartbeat");
        heartbeat.next_due_ms.is_none().then_some(())
    })
    .await;
    assert_eq!(audit(&store).await.counts.queued, 2);
    let claimed = store.claim(dispatcher, &demand(2)).await.expect("claimed");
    assert_eq!([claimed[0].id(), claimed[1].id()], [high.id, normal]);
}

#[tokio::test]
async fn a_cancelled_delayed_task_never_comes() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let delayed = NewTask { delay_ms: 5, ..task() };
    store.submit(vec![delayed.clone()]).await.expect("accepted");
    assert_eq!(store.cancel(delayed.id).await.expect("read"), Some(CancelOutcome::Cancelled));
    let counts = audit(&store).await.counts;
    assert_eq!((counts.delayed, counts.cancelled), (0, 1));
    let heartbeat =
        store.heartbeat(DispatcherId::random(), &[native()], &[]).await.expect("a heartbeat");
    assert_eq!(heartbeat.next_due_ms, None);
}

#[tokio::test]
async fn tasks_that_ask_for_labels_have_queues_of_their_own() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut events = store.subscribe(&[Topic::Work]).await.expect("subscribed");
    assert_eq!(next_event(&mut events).await, StoreEvent::Connected);
    let dispatcher = DispatcherId::random();
    let heartbeat = async || store.heartbeat(dispatcher, &[native()], &[]).await.expect("taken");
    assert!(heartbeat().await.labels.is_empty());
    let labelled: TaskClass = "native:3.11/gpu=a100,region=eu".parse().expect("a class");
    let code = Bytes::from_static(b"code");
    let wanting = FunctionRecord { class: labelled, ..function("f", &code) };
    store.put_function(wanting.clone(), code.clone()).await.expect("stored");
    assert_eq!(next_event(&mut events).await, StoreEvent::Delayed, "they are told to ask");
    assert_eq!(heartbeat().await.labels, [labelled.labels]);
    let read = store.function(wanting.id).await.expect("read").expect("known");
    assert_eq!(read.class, labelled);

    let plain = submit_one(&store).await;
    let id = store.submit(vec![of_class(labelled)]).await.expect("accepted")[0];
    assert_eq!(claim_one(&store, dispatcher).await.id(), plain);
    let demand = [Demand { classes: vec![labelled, native()], count: 2, reserved: 0 }];
    let claimed = store.claim(dispatcher, &demand).await.expect("claimed");
    assert_eq!(claimed.iter().map(ClaimedTask::id).collect::<Vec<_>>(), [id]);
    assert_eq!(claimed[0].invocation.spec.class, labelled);
    // What is left of the demand gets the next one at once.
    let mut deliveries =
        store.subscribe(&[Topic::Deliveries(dispatcher)]).await.expect("subscribed");
    assert_eq!(next_event(&mut deliveries).await, StoreEvent::Connected);
    store.submit(vec![of_class(labelled)]).await.expect("accepted");
    assert!(matches!(next_event(&mut deliveries).await, StoreEvent::Delivered { .. }));
    audit(&store).await;
}

#[tokio::test]
async fn there_are_only_so_many_different_labels() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let sets: Vec<_> = (0..MAX_LABEL_SETS).map(|n| format!("n={n}")).collect();
    redis
        .command::<u64>(
            &[vec!["SADD".to_owned(), "{belljar}:label_sets".to_owned()], sets].concat(),
        )
        .await;
    let code = Bytes::from_static(b"code");
    let put = async |class: &str| {
        let class = class.parse().expect("a class");
        store.put_function(FunctionRecord { class, ..function("f", &code) }, code.clone()).await
    };
    put("native:3.11/n=1").await.expect("known labels");
    let refused = put("native:3.11/more=1").await.expect_err("too many");
    assert!(matches!(refused, StoreError::TooManyLabels { limit: MAX_LABEL_SETS }), "{refused:?}");
    put("native:3.11").await.expect("no labels");
}
