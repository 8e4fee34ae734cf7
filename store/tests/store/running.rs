//! How many tasks of a tenant run at once, where that is bound.

use belljar_core::id::DispatcherId;
use belljar_core::tenant::{Tenant, Weight};
use belljar_store::record::{ClaimedTask, Demand, NewTask, StoreQuotas};
use belljar_store::{Store, StoreEvent, Topic};

use crate::harness::{
    Dice, NOBODY, Redis, audit, completed, died, native, next_event, of_class, sandbox, task,
    tasks, tenant,
};

fn most(running: u64) -> Option<StoreQuotas> {
    Some(StoreQuotas { running_tasks: Some(running), ..StoreQuotas::default() })
}

async fn submit(store: &Store, tenant: &Tenant, running: u64, tasks: Vec<NewTask>) {
    store.of(tenant).with_quotas(most(running)).submit(tasks).await.expect("accepted");
}

fn both(count: usize) -> [Demand; 1] {
    [Demand { classes: vec![native(), sandbox()], count, reserved: 0 }]
}

async fn end(store: &Store, task: &ClaimedTask) {
    store.complete(NOBODY, 0, &[completed(task.task(), b"v")]).await.expect("answered");
}

#[tokio::test]
async fn no_more_run_than_may_over_both_runtimes() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (acme, other, me) = (tenant("acme"), tenant("other"), DispatcherId::random());
    let mixed = (0..10).map(|n| if n % 2 == 0 { task() } else { of_class(sandbox()) });
    submit(&store, &acme, 3, mixed.collect()).await;
    let running = store.claim(me, &both(8)).await.expect("claimed");
    assert_eq!(running.len(), 3);
    assert_eq!(store.claim(me, &both(8)).await.expect("claimed"), []);
    assert_eq!(audit(&store).await.counts.queued, 7, "those without a turn are counted");
    store.of(&other).submit(tasks(2)).await.expect("accepted");
    assert_eq!(store.claim(me, &both(8)).await.expect("claimed").len(), 2, "others go on");
    for task in &running {
        end(&store, task).await;
        assert_eq!(store.claim(me, &both(8)).await.expect("claimed").len(), 1, "one in its place");
    }
    assert_eq!(store.of(&acme).usage().await.expect("read").running, 3);
    audit(&store).await;
}

#[tokio::test]
async fn an_end_wakes_who_waits_for_work() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (acme, me, other) = (tenant("acme"), DispatcherId::random(), DispatcherId::random());
    let topics = [Topic::Work, Topic::Deliveries(other)];
    let mut events = store.subscribe(&topics).await.expect("subscribed");
    assert_eq!(next_event(&mut events).await, StoreEvent::Connected);
    submit(&store, &acme, 1, tasks(3)).await;
    let running = store.claim(me, &both(1)).await.expect("claimed");
    assert_eq!(store.claim(other, &both(4)).await.expect("claimed"), [], "it waits for work");
    end(&store, &running[0]).await;
    assert_eq!(next_event(&mut events).await, StoreEvent::Work);
    assert_eq!(store.claim(other, &both(4)).await.expect("claimed").len(), 1);
}

#[tokio::test]
async fn nothing_is_delivered_beyond_the_bound() {
    // Where tasks are counted for another quota too, that number may tell how many run at most.
    for queued_tasks in [None, Some(10)] {
        let redis = Redis::start().await;
        let store = redis.store().await;
        let quotas = most(2).map(|quotas| StoreQuotas { queued_tasks, ..quotas });
        let (acme, me) = (tenant("acme"), DispatcherId::random());
        let view = store.of(&acme).with_quotas(quotas);
        let mut events = store.subscribe(&[Topic::Deliveries(me)]).await.expect("subscribed");
        assert_eq!(next_event(&mut events).await, StoreEvent::Connected);
        assert_eq!(store.claim(me, &both(9)).await.expect("claimed"), []);
        view.submit(tasks(2)).await.expect("accepted");
        let StoreEvent::Delivered { tasks: delivered, .. } = next_event(&mut events).await else {
            panic!("not delivered")
        };
        assert_eq!(delivered.len(), 2);
        view.submit(tasks(1)).await.expect("accepted");
        assert_eq!(store.claim(me, &both(7)).await.expect("claimed"), []);
        // One that comes back waits for its turn as the others do.
        store.requeue(&[died(delivered[0].task(), "it died")]).await.expect("answered");
        let again = store.claim(me, &both(7)).await.expect("claimed");
        assert_eq!((again.len(), again[0].id()), (1, delivered[0].id()));
        assert_eq!(store.claim(me, &both(6)).await.expect("claimed"), []);
        audit(&store).await;
    }
}

#[tokio::test]
async fn a_bound_that_comes_back_is_in_force_where_others_counted_with_it_before() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (acme, me) = (tenant("acme"), DispatcherId::random());
    // What is counted tells of the share; submissions without quotas are not counted.
    let mut running = Vec::new();
    for (quotas, runs) in [(most(2), 2), (most(2), 0), (None, 10)] {
        store.of(&acme).with_quotas(quotas).submit(tasks(4)).await.expect("accepted");
        let claimed = store.claim(me, &both(20)).await.expect("claimed");
        assert_eq!(claimed.len(), runs);
        running.extend(claimed);
    }
    store.of(&acme).with_quotas(most(2)).submit(tasks(9)).await.expect("accepted");
    for task in &running[..10] {
        end(&store, task).await;
    }
    assert_eq!(store.claim(me, &both(20)).await.expect("claimed"), [], "two run");
    audit(&store).await;
}

#[tokio::test]
async fn another_bound_is_in_force_with_the_next_submission() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (acme, me) = (tenant("acme"), DispatcherId::random());
    submit(&store, &acme, 0, tasks(10)).await;
    assert_eq!(store.claim(me, &both(20)).await.expect("claimed"), [], "none may run");
    submit(&store, &acme, 4, tasks(1)).await;
    let running = store.claim(me, &both(20)).await.expect("claimed");
    assert_eq!(running.len(), 4);
    submit(&store, &acme, 2, tasks(1)).await;
    end(&store, &running[0]).await;
    end(&store, &running[1]).await;
    assert_eq!(store.claim(me, &both(20)).await.expect("claimed"), [], "two run");
    end(&store, &running[2]).await;
    assert_eq!(store.claim(me, &both(20)).await.expect("claimed").len(), 1);
    let view = store.of(&acme).with_weight(Weight::default());
    view.submit(tasks(1)).await.expect("accepted");
    assert_eq!(store.claim(me, &both(20)).await.expect("claimed").len(), 8, "all the others");
    audit(&store).await;
}

/// Random submissions, claims, ends and returns over both classes: nobody runs more than they may, and no slot stays idle while
/// somebody may run more.
#[tokio::test]
async fn slots_are_idle_only_where_all_bounds_are_reached() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (mut dice, me) = (Dice(0xfeed_beef_1234_5678), DispatcherId::random());
    let bounds = [("a", Some(1)), ("b", Some(5)), ("default", Some(2)), ("free", None)];
    let tenants = bounds.map(|(name, most)| (tenant(name), most));
    let (mut waiting, mut running) = ([0_u64; 4], vec![Vec::new(); 4]);
    let mut owners = std::collections::HashMap::new();
    for _ in 0..1_200 {
        let at = dice.roll(4);
        match dice.roll(4) {
            0 => {
                let class = || if dice.roll(2) == 0 { native() } else { sandbox() };
                let new: Vec<_> = std::iter::repeat_with(class).take(3).map(of_class).collect();
                owners.extend(new.iter().map(|task| (task.id, at)));
                waiting[at] += 3;
                let (name, running) = &tenants[at];
                let quotas = running.and_then(most);
                store.of(name).with_quotas(quotas).submit(new).await.expect("accepted");
            }
            1 => {
                let count = 1 + dice.roll(6);
                let room = |at: usize| {
                    let most = tenants[at].1.unwrap_or(u64::MAX);
                    waiting[at].min(most.saturating_sub(running[at].len() as u64))
                };
                let expected = (0..4).map(room).sum::<u64>().min(count as u64);
                let claimed = store.claim(me, &both(count)).await.expect("claimed");
                assert_eq!(claimed.len() as u64, expected, "{waiting:?} {running:?}");
                for task in claimed {
                    let at = owners[&task.id()];
                    waiting[at] -= 1;
                    running[at].push(task.task());
                    let most = tenants[at].1.unwrap_or(u64::MAX);
                    assert!(running[at].len() as u64 <= most, "{} runs too many", tenants[at].0);
                }
            }
            kind => {
                let Some(task) = running[at].pop() else { continue };
                if kind == 2 {
                    store.complete(NOBODY, 0, &[completed(task, b"v")]).await.expect("answered");
                } else {
                    waiting[at] += 1;
                    store.requeue(&[died(task, "it died")]).await.expect("answered");
                }
            }
        }
        assert_eq!(audit(&store).await.counts.queued, waiting.iter().sum::<u64>());
    }
}
