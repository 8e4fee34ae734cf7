//! Tasks that are traced, beside those that are not.

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::trace::{SpanId, TraceContext, TraceId};
use belljar_store::record::NewTask;
use belljar_store::{Store, StoreEvent, Topic};

use crate::harness::{Redis, claim_one, completed, demand, died, next_event, submit_one, task};

fn traced() -> NewTask {
    let (trace_id, span_id) = (TraceId([1; 16]), SpanId([2; 8]));
    let trace = TraceContext { trace_id, span_id, state: "vendor=1".to_owned() };
    NewTask { trace: Some(Box::new(trace)), ..task() }
}

async fn trace_of(store: &Store, id: TaskId) -> Option<TraceId> {
    store.task(id).await.expect("read").expect("known").trace_id
}

#[tokio::test]
async fn a_trace_comes_with_every_attempt_and_stays_in_the_record() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let new = traced();
    store.submit(vec![new.clone()]).await.expect("accepted");
    let first = claim_one(&store, DispatcherId::random()).await;
    assert_eq!(first.invocation.trace, new.trace);
    store.requeue(&[died(first.task(), "signal 9")]).await.expect("queued again");
    let second = claim_one(&store, DispatcherId::random()).await;
    assert_eq!(second.invocation.trace, new.trace);
    store.complete(DispatcherId::random(), 0, &[completed(second.task(), b"v")]).await.expect("ok");
    assert_eq!(trace_of(&store, new.id).await, Some(TraceId([1; 16])));
    // By direct dispatch too.
    let me = DispatcherId::random();
    let mut deliveries = store.subscribe(&[Topic::Deliveries(me)]).await.expect("subscribed");
    assert_eq!(next_event(&mut deliveries).await, StoreEvent::Connected);
    store.claim(me, &demand(2)).await.expect("waits");
    store.submit(vec![traced()]).await.expect("delivered");
    let StoreEvent::Delivered { tasks, .. } = next_event(&mut deliveries).await else {
        panic!("not delivered")
    };
    assert_eq!(tasks[0].invocation.trace, new.trace);
}

#[tokio::test]
async fn a_task_that_is_not_traced_stores_nothing_for_it() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let plain = submit_one(&store).await;
    let new = traced();
    store.submit(vec![new.clone()]).await.expect("accepted");
    let length = async |id: TaskId| {
        redis.command::<usize>(&["STRLEN", &format!("{{belljar}}:task:{id}")]).await
    };
    // An array of two ids and a state.
    let bytes = 1 + (2 + 16) + (2 + 8) + (1 + "vendor=1".len());
    assert_eq!(length(new.id).await - length(plain).await, bytes);
    assert_eq!(trace_of(&store, plain).await, None);
    let claimed = store.claim(DispatcherId::random(), &demand(2)).await.expect("claimed");
    let traces: Vec<_> = claimed.iter().map(|task| task.invocation.trace.clone()).collect();
    assert_eq!(traces, [None, new.trace]);
}
