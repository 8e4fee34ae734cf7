//! Lists of tasks, and how long results are kept.

use std::time::Duration;

use belljar_core::id::{DispatcherId, FunctionId, TaskId};
use belljar_core::outcome::FailureKind;
use belljar_core::task::{Priority, Runtime, TaskStatus};
use belljar_store::record::{NewTask, TaskFilter};
use belljar_store::{RECENT_TASKS, Store, StoreConfig};

use crate::harness::{
    NOBODY, Redis, audit, claim_one, completed, demand, eventually, failed, native, of_class,
    sandbox, submit_one, task, tasks, tenant as tenant_of, with_priority,
};

async fn list(store: &Store, filter: TaskFilter, limit: usize) -> Vec<TaskId> {
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.tasks(filter, cursor.as_deref(), limit).await.expect("read");
        assert!(page.items.len() <= limit);
        ids.extend(page.items.into_iter().map(|task| task.expect("readable").id));
        cursor = page.next;
        if cursor.is_none() {
            return ids;
        }
    }
}

#[tokio::test]
async fn tasks_are_listed_newest_first_in_pages_that_newer_ones_do_not_shift() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut expected = store.submit(tasks(25)).await.expect("accepted");
    expected.reverse();
    assert_eq!(list(&store, TaskFilter::default(), 10).await, expected);
    assert_eq!(list(&store, TaskFilter::default(), 25).await, expected);
    let first = store.tasks(TaskFilter::default(), None, 10).await.expect("read");
    store.submit(tasks(5)).await.expect("accepted");
    let second = store.tasks(TaskFilter::default(), first.next.as_deref(), 10).await.expect("read");
    let ids: Vec<_> = second.items.into_iter().map(|task| task.expect("readable").id).collect();
    assert_eq!(ids, expected[10..20]);
}

#[tokio::test]
async fn lists_filter_by_status_and_function() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let ids = store.submit(tasks(30)).await.expect("accepted");
    let mut other = task();
    other.spec.function_id = FunctionId::random();
    store.submit(vec![other.clone()]).await.expect("accepted");
    let claimed = store.claim(DispatcherId::random(), &demand(3)).await.expect("claimed");
    store.complete(NOBODY, 0, &[completed(claimed[0].task(), b"v")]).await.expect("answered");

    let with = |status| TaskFilter { status: Some(status), ..TaskFilter::default() };
    assert_eq!(list(&store, with(TaskStatus::Completed), 2).await, [ids[0]]);
    assert_eq!(list(&store, with(TaskStatus::Running), 2).await, [ids[2], ids[1]]);
    assert_eq!(list(&store, with(TaskStatus::Queued), 4).await.len(), 28);
    let function_id = Some(other.spec.function_id);
    let calls = TaskFilter { function_id, ..TaskFilter::default() };
    assert_eq!(list(&store, calls, 3).await, [other.id]);
}

#[tokio::test]
async fn lists_filter_by_how_tasks_ended_and_when_they_came() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let ids = store.submit(tasks(3)).await.expect("accepted");
    let apart = store.submit(vec![of_class(sandbox())]).await.expect("accepted");
    let claimed = store.claim(DispatcherId::random(), &demand(2)).await.expect("claimed");
    let ends =
        [completed(claimed[0].task(), b"v"), failed(claimed[1].task(), &"long ".repeat(2_000))];
    store.complete(NOBODY, 0, &ends).await.expect("answered");
    let all = TaskFilter::default();
    let by = [
        (TaskFilter { runtime: Some(Runtime::Sandbox), ..all }, vec![apart[0]]),
        (TaskFilter { worker: Some(ends[0].worker), ..all }, vec![ids[0]]),
        (TaskFilter { failure: Some(FailureKind::Exception), ..all }, vec![ids[1]]),
        (TaskFilter { failure: Some(FailureKind::Memory), ..all }, vec![]),
    ];
    for (filter, expected) in by {
        assert_eq!(list(&store, filter, 2).await, expected, "{filter:?}");
    }
    let last = store.task(apart[0]).await.expect("read").expect("known").accepted_at;
    let since = TaskFilter { accepted_from: Some(last), ..all };
    let page = store.tasks(since, None, 2).await.expect("read");
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.next, None, "older ones are not looked at");
    let before = TaskFilter { accepted_before: Some(last), ..all };
    assert_eq!(list(&store, before, 2).await, [ids[2], ids[1], ids[0]]);

    let ended = store.summaries(&[ids[0], TaskId::random(), ids[1], ids[2]]).await.expect("read");
    let ended: Vec<_> = ended.iter().map(|task| (task.id, task.end)).collect();
    let [(first, Some(end)), (second, Some(failure)), (third, None)] = ended[..] else {
        panic!("{ended:?}")
    };
    assert_eq!([first, second, third], [ids[0], ids[1], ids[2]]);
    assert_eq!((end.worker, end.attempts, end.elapsed_us), (Some(ends[0].worker), 1, 1_000));
    assert_eq!(failure.failure, Some(FailureKind::Exception));
}

#[tokio::test]
async fn the_oldest_of_a_queue_is_found_whatever_its_priority_and_tenant() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    assert_eq!(store.oldest_queued(native()).await.expect("read"), None);
    let submit = async |priority, tenant: Option<&str>| {
        let new = vec![with_priority(priority)];
        let ids = match tenant.map(tenant_of) {
            None => store.submit(new).await,
            Some(tenant) => store.of(&tenant).submit(new).await,
        };
        ids.expect("accepted")[0]
    };
    let mut oldest_first = vec![submit(Priority::Low, Some("acme")).await];
    for (priority, tenant) in
        [(Priority::Low, None), (Priority::Normal, None), (Priority::High, None)]
    {
        oldest_first.push(submit(priority, tenant).await);
    }
    for id in oldest_first {
        let accepted = store.task(id).await.expect("read").expect("known").accepted_at;
        assert_eq!(store.oldest_queued(native()).await.expect("read"), Some(accepted));
        store.cancel(id).await.expect("cancelled");
    }
    assert_eq!(store.oldest_queued(native()).await.expect("read"), None);
    assert_eq!(store.oldest_queued(sandbox()).await.expect("read"), None);
}

#[tokio::test]
async fn the_list_is_bounded_and_the_queue_is_not() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let total = RECENT_TASKS + 2000;
    for _ in 0..total / 10_200 {
        store.submit(tasks(10_200)).await.expect("accepted");
    }
    let listed: usize = redis.command(&["LLEN", "{belljar}:recent"]).await;
    assert!((RECENT_TASKS..=RECENT_TASKS + 1000).contains(&listed), "{listed}");
    assert_eq!(audit(&store).await.counts.queued, total as u64);
}

#[tokio::test]
async fn results_are_forgotten_after_their_time_and_waiting_tasks_never() {
    let redis = Redis::start().await;
    let result_ttl = Duration::from_millis(50);
    let store = Store::connect(StoreConfig { result_ttl, ..redis.config() }).await.expect("up");
    let id = submit_one(&store).await;
    let claimed = claim_one(&store, DispatcherId::random()).await;
    let waiting = submit_one(&store).await;
    store.complete(NOBODY, 0, &[completed(claimed.task(), b"v")]).await.expect("answered");
    eventually("the result is forgotten", async || {
        store.results(&[id]).await.expect("read")[0].is_none().then_some(())
    })
    .await;
    assert!(store.task(id).await.expect("read").is_none());
    let time_to_live: i64 = redis.command(&["TTL", &format!("{{belljar}}:task:{waiting}")]).await;
    assert_eq!(time_to_live, -1);
    assert_eq!(list(&store, TaskFilter::default(), 10).await, [waiting]);
    assert_eq!(audit(&store).await.counts.completed, 1, "it was counted");
}

#[tokio::test]
async fn a_result_states_when_it_will_be_forgotten() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let new = NewTask { delay_ms: 0, ..task() };
    store.submit(vec![new.clone()]).await.expect("accepted");
    let claimed = claim_one(&store, DispatcherId::random()).await;
    store.complete(NOBODY, 0, &[completed(claimed.task(), b"v")]).await.expect("answered");
    let record = store.task(new.id).await.expect("read").expect("known");
    let kept =
        record.expires_at.expect("ended").0 / 1000 - record.finished_at.expect("ended").0 / 1000;
    assert_eq!(kept, 24 * 60 * 60 * 1000);
}
