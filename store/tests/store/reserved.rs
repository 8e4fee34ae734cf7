//! Places that only tenants get of which nothing runs.

use belljar_core::id::DispatcherId;
use belljar_core::tenant::Tenant;
use belljar_store::record::Demand;
use belljar_store::{Store, StoreEvent, Subscription, Topic};

use crate::harness::{NOBODY, Redis, audit, completed, native, next_event, tasks, tenant};

fn demand(count: usize, reserved: usize) -> [Demand; 1] {
    [Demand { classes: vec![native()], count, reserved }]
}

async fn submit(store: &Store, tenant: &Tenant, count: usize) {
    store.of(tenant).submit(tasks(count)).await.expect("accepted");
}

async fn listen(store: &Store, dispatcher: DispatcherId) -> Subscription {
    let topics = [Topic::Work, Topic::Deliveries(dispatcher)];
    let mut events = store.subscribe(&topics).await.expect("subscribed");
    assert_eq!(next_event(&mut events).await, StoreEvent::Connected);
    events
}

#[tokio::test]
async fn a_reserved_place_goes_to_a_tenant_of_which_nothing_runs() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (attacker, polite, me) = (tenant("attacker"), tenant("polite"), DispatcherId::random());
    let mut events = listen(&store, me).await;
    submit(&store, &attacker, 20).await;
    let running = store.claim(me, &demand(4, 1)).await.expect("claimed");
    assert_eq!(running.len(), 3, "the last place is kept");
    assert_eq!(store.claim(me, &demand(1, 1)).await.expect("claimed"), []);
    // Who comes wakes the dispatcher and has it, for one task.
    submit(&store, &polite, 2).await;
    assert_eq!(next_event(&mut events).await, StoreEvent::Work);
    let claimed = store.claim(me, &demand(1, 1)).await.expect("claimed");
    assert_eq!(claimed.len(), 1);
    assert_eq!(store.claim(me, &demand(1, 1)).await.expect("claimed"), []);
    // With its end the place is there again, and the next one of that tenant.
    let end = completed(claimed[0].task(), b"v");
    store.complete(me, 1, &[end]).await.expect("answered");
    assert_eq!(next_event(&mut events).await, StoreEvent::Work, "tasks wait: claim again");
    assert_eq!(store.claim(me, &demand(1, 1)).await.expect("claimed").len(), 1);
    audit(&store).await;
}

#[tokio::test]
async fn a_place_that_is_free_again_goes_to_a_task_that_waits() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (attacker, me) = (tenant("attacker"), DispatcherId::random());
    let mut events = listen(&store, me).await;
    submit(&store, &attacker, 20).await;
    let running = store.claim(me, &demand(4, 2)).await.expect("claimed");
    assert_eq!(running.len(), 2);
    assert_eq!(store.claim(me, &demand(2, 2)).await.expect("claimed"), []);
    store.complete(me, 1, &[completed(running[0].task(), b"v")]).await.expect("answered");
    assert_eq!(next_event(&mut events).await, StoreEvent::Work);
    assert_eq!(store.claim(me, &demand(3, 2)).await.expect("claimed").len(), 1);
}

#[tokio::test]
async fn only_places_that_are_not_reserved_are_filled_without_a_claim() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (attacker, me) = (tenant("attacker"), DispatcherId::random());
    let mut events = listen(&store, me).await;
    assert_eq!(store.claim(me, &demand(3, 1)).await.expect("claimed"), []);
    let mut delivered = Vec::new();
    for _ in 0..2 {
        submit(&store, &attacker, 1).await;
        let StoreEvent::Delivered { tasks, is_last } = next_event(&mut events).await else {
            panic!("not delivered")
        };
        assert!(!is_last, "there is a place for another tenant");
        delivered.extend(tasks);
    }
    submit(&store, &attacker, 1).await;
    assert_eq!(next_event(&mut events).await, StoreEvent::Work);
    assert_eq!(store.claim(me, &demand(1, 1)).await.expect("claimed"), []);
    // Places that become free with others are added to the demand only where none is reserved or waited for.
    let ends: Vec<_> = delivered.iter().map(|task| completed(task.task(), b"v")).collect();
    store.complete(NOBODY, 0, &ends).await.expect("answered");
    assert_eq!(store.claim(me, &demand(3, 1)).await.expect("claimed").len(), 1);
    audit(&store).await;
}
