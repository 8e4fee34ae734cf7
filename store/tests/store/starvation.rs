//! What one tenant cannot do to another, however much it submits.

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::task::{Priority, TaskClass};
use belljar_store::Store;
use belljar_store::record::{Demand, NewTask};

use crate::harness::{
    NOBODY, Redis, audit, completed, demand, native, of_class, sandbox, task, tenant, with_priority,
};
use crate::skewed::{self, Shares};

/// How many claims of one task, each ended before the next, until this task comes.
async fn turns_until(store: &Store, demands: &[Demand], id: TaskId) -> usize {
    for turn in 1.. {
        let claimed = store.claim(DispatcherId::random(), demands).await.expect("claimed");
        let task = claimed.first().expect("a task waits");
        store.complete(NOBODY, 0, &[completed(task.task(), b"v")]).await.expect("answered");
        if task.id() == id {
            return turn;
        }
    }
    unreachable!("the loop has no end")
}

async fn flood(store: &Store, name: &str, count: usize, new: impl Fn() -> NewTask) {
    let name = tenant(name);
    for _ in 0..count.div_ceil(10_000) {
        let batch = (0..count.min(10_000)).map(|_| new()).collect();
        store.of(&name).submit(batch).await.expect("accepted");
    }
}

#[tokio::test]
async fn a_flood_at_high_priority_delays_another_tenant_by_one_turn() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    flood(&store, "attacker", 100_000, || with_priority(Priority::High)).await;
    for name in ["polite", "default"] {
        let low = with_priority(Priority::Low);
        let id = low.id;
        store.of(&tenant(name)).submit(vec![low]).await.expect("accepted");
        assert!(turns_until(&store, &demand(1), id).await <= 2, "{name}");
    }
    // A tenant whose calls run goes behind one that has none, however little it has had so far.
    let running = store.claim(DispatcherId::random(), &demand(50)).await.expect("claimed");
    assert_eq!(running.len(), 50, "alone it gets all that there is");
    let id = store.of(&tenant("polite")).submit(vec![task()]).await.expect("accepted")[0];
    assert_eq!(turns_until(&store, &demand(1), id).await, 1);
    audit(&store).await;
}

#[tokio::test]
async fn a_thousand_tenants_delay_another_by_one_turn_each() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    for number in 0..1000 {
        flood(&store, &format!("t{number}"), 3, task).await;
    }
    let id = store.of(&tenant("late")).submit(vec![task()]).await.expect("accepted")[0];
    assert!(turns_until(&store, &demand(1), id).await <= 1001);
}

#[tokio::test]
async fn a_flood_of_one_class_does_not_take_the_workers_of_another() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let both = [Demand { classes: vec![native(), sandbox()], count: 1, reserved: 0 }];
    let of = |class: TaskClass| move || of_class(class);
    flood(&store, "attacker", 1000, of(native())).await;
    let polite = of_class(sandbox());
    let id = polite.id;
    store.of(&tenant("polite")).submit(vec![polite.clone()]).await.expect("accepted");
    assert!(turns_until(&store, &both, id).await <= 2);
    // Nor where the attacker waits in the other class too, in front.
    flood(&store, "attacker", 1000, of(sandbox())).await;
    let polite = NewTask { id: TaskId::random(), ..polite };
    let id = polite.id;
    store.of(&tenant("polite")).submit(vec![polite]).await.expect("accepted");
    assert!(turns_until(&store, &both, id).await <= 4);
}

#[tokio::test]
async fn a_turn_of_a_tenant_whose_tasks_were_cancelled_goes_to_the_next() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (gone, other) = (tenant("gone"), tenant("other"));
    let ids = store.of(&gone).submit(vec![task(), task()]).await.expect("accepted");
    let id = store.of(&other).submit(vec![task()]).await.expect("accepted")[0];
    for cancelled in ids {
        store.of(&gone).cancel(cancelled).await.expect("answered");
    }
    let claimed = store.claim(DispatcherId::random(), &demand(2)).await.expect("claimed");
    assert_eq!(claimed.iter().map(|task| task.id()).collect::<Vec<_>>(), [id]);
    assert_eq!(redis.command::<usize>(&["EXISTS", "{belljar}:turns:native:3.11"]).await, 0);
    audit(&store).await;
}

#[tokio::test]
async fn shares_are_equal_whatever_the_number_of_tenants_and_the_skew_of_their_load() {
    for tenants in [2, 10, 100, 1000] {
        let redis = Redis::start().await;
        let store = redis.store().await;
        let Shares { jain, first_come, range } =
            skewed::measure(&store, tenants).await.expect("measured");
        assert!(jain >= 0.99, "{tenants} tenants: {jain}, from {} to {}", range.0, range.1);
        assert!(first_come < 0.8, "without turns it would be {first_come}: the load is not skewed");
        audit(&store).await;
    }
}
