//! Sessions: their calls run one after the other, and what the last one has left is there for the next, or not at all.

use std::time::Duration;

use belljar_core::id::{DispatcherId, SessionId, TaskId};
use belljar_core::outcome::CallVerdict;
use belljar_core::session;
use belljar_core::task::TaskLimits;
use belljar_core::tenant::Tenant;
use belljar_store::record::{
    CancelOutcome, ClaimedTask, Completion, Demand, NewTask, OverQuota, Page, SessionRecord,
    SessionSpec, Settled, StoreQuota, StoreQuotas,
};
use belljar_store::session::NewSession;
use belljar_store::{Store, StoreError};
use bytes::Bytes;

use crate::harness::{
    NOBODY, Redis, audit, completed, died, eventually, finished, of_class, sandbox, tenant,
};

const TTL: Duration = Duration::from_secs(60);

fn spec() -> SessionSpec {
    SessionSpec { name: "notebook".into(), class: sandbox(), limits: TaskLimits::DEFAULT }
}

async fn make(store: &Store, tenant: &Tenant, ttl: Duration) -> SessionId {
    let made = store.of(tenant).make_session(NewSession::Empty(&spec(), ttl)).await;
    made.expect("made").expect("from nothing")
}

async fn read(store: &Store, tenant: &Tenant, id: SessionId) -> SessionRecord {
    store.of(tenant).session(id).await.expect("read").expect("it is there")
}

async fn list(
    store: &Store,
    tenant: &Tenant,
    cursor: Option<&str>,
    limit: usize,
) -> Page<SessionRecord> {
    store.of(tenant).sessions(cursor, limit).await.expect("read")
}

fn calls(session: SessionId, count: usize) -> Vec<NewTask> {
    let call = |_| NewTask { session: Some(session), ..of_class(sandbox()) };
    (0..count).map(call).collect()
}

async fn claim(store: &Store, dispatcher: DispatcherId) -> Vec<ClaimedTask> {
    let demand = [Demand { classes: vec![sandbox()], count: 50, reserved: 0 }];
    store.claim(dispatcher, &demand).await.expect("claimed")
}

/// Claims the one call that may run, which finds this state.
async fn claim_one(store: &Store, found: &[u8]) -> ClaimedTask {
    let claimed = claim(store, NOBODY).await;
    let [task] = &claimed[..] else { panic!("{} calls of one session run", claimed.len()) };
    let (state, args) = session::open(&task.invocation.args).expect("a state and arguments");
    assert_eq!((&state[..], &args), (found, &of_class(sandbox()).args));
    task.clone()
}

fn leaving(task: &ClaimedTask, state: &[u8]) -> Completion {
    let mut ended = completed(task.task(), b"value");
    ended.report.outcome.files.push(session::left(Bytes::copy_from_slice(state)));
    ended
}

async fn end(store: &Store, ended: Completion) -> Settled {
    store.complete(NOBODY, 0, &[ended]).await.expect("answered")[0]
}

#[tokio::test]
async fn calls_run_one_after_the_other_and_find_what_the_last_one_left() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let acme = tenant("acme");
    let id = make(&store, &acme, TTL).await;
    let (first, second) = (calls(id, 2), calls(id, 2));
    let ids: Vec<TaskId> = first.iter().chain(&second).map(|task| task.id).collect();
    store.of(&acme).submit(first).await.expect("accepted");
    store.of(&acme).submit(second).await.expect("accepted");
    assert_eq!(audit(&store).await.counts.queued, 4);
    let record = read(&store, &acme, id).await;
    assert_eq!((record.active, record.waiting, record.expires_at), (Some(ids[0]), 3, None));
    let large = vec![7; 100_000];
    let mut found = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        let task = claim_one(&store, &found).await;
        assert_eq!(task.id(), *id, "in their order");
        assert_eq!(claim(&store, NOBODY).await, [], "no other one runs");
        found = if number == 1 { large.clone() } else { format!("state {number}").into() };
        assert_eq!(end(&store, leaving(&task, &found)).await, Settled::Accepted);
        audit(&store).await;
    }
    let record = read(&store, &acme, id).await;
    assert_eq!((record.active, record.calls, record.bytes), (None, 4, 7));
    assert!(record.expires_at.is_some());
    let task = store.of(&acme).task(ids[0]).await.expect("read").expect("there");
    assert_eq!((task.session, task.files), (Some(id), vec![]), "a state is no file of the call");
    assert_eq!(store.of(&acme).usage().await.expect("read").stored_bytes, 7);
}

#[tokio::test]
async fn what_is_lost_late_or_cancelled_leaves_nothing() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let acme = Tenant::default();
    let id = make(&store, &acme, TTL).await;
    let tasks = calls(id, 4);
    let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
    store.submit(tasks).await.expect("accepted");
    let first = claim_one(&store, b"").await;
    end(&store, leaving(&first, b"first")).await;
    // Its worker dies, and reports after all.
    let lost = claim_one(&store, b"first").await;
    store.requeue(&[died(lost.task(), "gone")]).await.expect("answered");
    let again = claim_one(&store, b"first").await;
    assert_eq!(again.id(), lost.id());
    assert_eq!(end(&store, leaving(&lost, b"lost")).await, Settled::Stale);
    assert_eq!(
        end(&store, finished(again.task(), CallVerdict::Cancelled)).await,
        Settled::Accepted
    );
    // One that waits, and one that runs, are cancelled.
    let third = claim_one(&store, b"first").await;
    assert_eq!(store.cancel(ids[3]).await.expect("answered"), Some(CancelOutcome::Cancelled));
    assert_eq!(store.cancel(ids[2]).await.expect("answered"), Some(CancelOutcome::Stopping));
    assert_eq!(end(&store, leaving(&third, b"third")).await, Settled::Cancelled);
    audit(&store).await;
    store.submit(calls(id, 1)).await.expect("accepted");
    claim_one(&store, b"first").await;
    // What was accepted before, its answer lost, is accepted once.
    let call = calls(id, 1);
    store.submit(call.clone()).await.expect("accepted");
    store.submit(call).await.expect("accepted");
    assert_eq!(read(&store, &acme, id).await.waiting, 1);
}

#[tokio::test]
async fn a_fork_goes_its_own_way_and_a_deleted_session_has_no_calls() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (acme, other) = (tenant("acme"), tenant("other"));
    let id = make(&store, &acme, TTL).await;
    store.of(&acme).submit(calls(id, 1)).await.expect("accepted");
    let task = claim_one(&store, b"").await;
    end(&store, leaving(&task, b"first")).await;
    assert_eq!(store.of(&other).make_session(NewSession::From(id)).await.expect("answered"), None);
    let fork = store.of(&acme).make_session(NewSession::From(id)).await.expect("made");
    let fork = fork.expect("from one that is there");
    store.of(&acme).submit(calls(fork, 1)).await.expect("accepted");
    let task = claim_one(&store, b"first").await;
    end(&store, leaving(&task, b"forked")).await;
    assert_eq!(store.of(&acme).usage().await.expect("read").stored_bytes, 11);
    store.of(&acme).submit(calls(id, 3)).await.expect("accepted");
    let running = claim_one(&store, b"first").await;

    assert_eq!(store.of(&other).session(id).await.expect("read"), None);
    assert_eq!(list(&store, &other, None, 9).await.items, []);
    let refused = store.of(&other).submit(calls(id, 1)).await;
    assert!(matches!(refused, Err(StoreError::UnknownSession)), "{refused:?}");
    assert!(!store.of(&other).delete_session(id).await.expect("answered"));

    assert!(store.of(&acme).delete_session(id).await.expect("answered"));
    assert_eq!(audit(&store).await.counts.cancelled, 2);
    assert_eq!(end(&store, leaving(&running, b"late")).await, Settled::Accepted);
    let left = list(&store, &acme, None, 9).await.items;
    assert_eq!(left.iter().map(|session| session.id).collect::<Vec<_>>(), [fork]);
    assert_eq!(store.of(&acme).usage().await.expect("read").stored_bytes, 6);
    let states: Vec<String> = redis.command(&["KEYS", "{belljar}:session*"]).await;
    assert_eq!(states.len(), 4, "the other's record and state, and the lists: {states:?}");
    let refused = store.of(&acme).submit(calls(id, 1)).await;
    assert!(matches!(refused, Err(StoreError::UnknownSession)), "{refused:?}");
    // Its call that is queued ends with it.
    store.of(&acme).submit(calls(fork, 2)).await.expect("accepted");
    assert!(store.of(&acme).delete_session(fork).await.expect("answered"));
    assert_eq!(claim(&store, NOBODY).await, []);
    assert_eq!(audit(&store).await.counts.cancelled, 4);
}

#[tokio::test]
async fn sessions_expire_and_are_held_to_quotas() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let acme = tenant("acme");
    let short = make(&store, &acme, Duration::from_millis(30)).await;
    let quotas = StoreQuotas { sessions: Some(1), ..StoreQuotas::default() };
    let view = store.of(&acme).with_quotas(Some(quotas));
    let spec = spec();
    let new = NewSession::Empty(&spec, TTL);
    let over = OverQuota { quota: StoreQuota::Sessions, used: 1, limit: 1, frees_after: None };
    let made = eventually("the first expires", async || match view.make_session(new).await {
        Ok(made) => made,
        Err(StoreError::OverQuota(found)) if found == over => None,
        Err(error) => panic!("{error}"),
    })
    .await;
    assert_eq!(store.of(&acme).session(short).await.expect("read"), None);
    let refused = view.make_session(new).await;
    assert!(matches!(refused, Err(StoreError::OverQuota(found)) if found == over), "{refused:?}");
    view.submit(calls(made, 1)).await.expect("accepted");
    let task = claim_one(&store, b"").await;
    end(&store, leaving(&task, &[7; 5_000])).await;
    let quotas = StoreQuotas { stored_bytes: Some(4_000), ..StoreQuotas::default() };
    let view = store.of(&acme).with_quotas(Some(quotas));
    for refused in [
        view.submit(calls(made, 1)).await.map(drop),
        view.make_session(NewSession::From(made)).await.map(drop),
    ] {
        assert!(
            matches!(&refused, Err(StoreError::OverQuota(over)) if over.quota == StoreQuota::StoredBytes),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_list_is_read_page_by_page_without_what_has_expired() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let acme = tenant("acme");
    let mut made = Vec::new();
    for number in 0..7 {
        let ttl = if number % 3 == 1 { Duration::from_millis(20) } else { TTL };
        made.push(make(&store, &acme, ttl).await);
    }
    make(&store, &tenant("other"), TTL).await;
    let kept: Vec<_> = [6, 5, 3, 2, 0].iter().map(|&number| made[number]).collect();
    eventually("two expire", async || {
        let listed = list(&store, &acme, None, 9).await;
        let ids: Vec<_> = listed.items.iter().map(|session| session.id).collect();
        (ids == kept && listed.next.is_none()).then_some(())
    })
    .await;
    let (mut read, mut next) = (Vec::new(), None);
    for length in [2, 2, 1] {
        let page = list(&store, &acme, next.as_deref(), 2).await;
        assert_eq!(page.items.len(), length);
        read.extend(page.items.iter().map(|session| session.id));
        next = page.next;
    }
    assert_eq!((read, next), (kept, None));
    // The lists go with the last session.
    for id in &made {
        store.of(&acme).delete_session(*id).await.expect("answered");
    }
    make(&store, &acme, Duration::from_millis(20)).await;
    eventually("all is gone", async || {
        let keys: Vec<String> = redis.command(&["KEYS", "{belljar}:session*:acme"]).await;
        keys.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_delayed_call_holds_its_session_back_until_it_is_due() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let acme = tenant("acme");
    let id = make(&store, &acme, TTL).await;
    let delayed = |delay_ms| NewTask { delay_ms, ..calls(id, 1).remove(0) };
    let tasks = vec![delayed(30), delayed(0), delayed(40), delayed(60_000), delayed(60_000)];
    let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
    store.of(&acme).submit(tasks).await.expect("accepted");
    let counts = audit(&store).await.counts;
    assert_eq!((counts.delayed, counts.queued), (1, 4));
    for id in &ids[..3] {
        let task = eventually("it is due", async || claim(&store, NOBODY).await.pop()).await;
        assert_eq!(task.id(), *id, "in their order");
        assert_eq!(end(&store, leaving(&task, b"state")).await, Settled::Accepted);
    }
    let counts = audit(&store).await.counts;
    assert_eq!((counts.delayed, counts.queued), (1, 1), "one waits behind one that is delayed");
    assert_eq!(claim(&store, NOBODY).await, []);
    // A cancel lets the next one take its place, and the end of the session ends that.
    assert_eq!(
        store.of(&acme).cancel(ids[3]).await.expect("answered"),
        Some(CancelOutcome::Cancelled)
    );
    let counts = audit(&store).await.counts;
    assert_eq!((counts.delayed, counts.queued), (1, 0));
    assert!(store.of(&acme).delete_session(id).await.expect("answered"));
    let counts = audit(&store).await.counts;
    assert_eq!((counts.delayed, counts.queued, counts.cancelled), (0, 0, 2));
}

#[tokio::test]
async fn a_session_takes_so_many_waiting_calls_and_is_deleted_with_them() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let acme = tenant("acme");
    let id = make(&store, &acme, TTL).await;
    store.of(&acme).submit(calls(id, 1001)).await.expect("accepted");
    let refused = store.of(&acme).submit(calls(id, 1)).await;
    assert!(matches!(refused, Err(StoreError::SessionFull { waiting: 1000 })), "{refused:?}");
    assert!(store.of(&acme).delete_session(id).await.expect("answered"));
    assert_eq!(audit(&store).await.counts.cancelled, 1001);
}

#[tokio::test]
async fn lifetimes_of_the_clients_choice_leave_few_times_to_count_down() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let acme = Tenant::default();
    for number in 0..40 {
        let ttl = Duration::from_millis(3_600_000 + 7_001 * number);
        let id = make(&store, &acme, ttl).await;
        for _ in 0..2 {
            store.submit(calls(id, 1)).await.expect("accepted");
            let task = claim(&store, NOBODY).await.remove(0);
            end(&store, leaving(&task, b"state")).await;
        }
    }
    let times: u64 = redis.command(&["HLEN", "{belljar}:expiring:"]).await;
    assert!(times < 5, "{times}");
    assert_eq!(store.of(&acme).usage().await.expect("read").stored_bytes, 200);
}
