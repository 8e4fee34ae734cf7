//! A backlog that an earlier version left in the format before: this one finishes it.
//!
//! `format-1.aof` is the append-only file of a server that the first version with format 1 used. Format 2 only adds to it.

use std::path::Path;
use std::time::Duration;

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::task::{Priority, TaskStatus};
use belljar_core::tenant::Weight;
use belljar_store::record::{ClaimedTask, Demand, NewTask, StoreQuotas};
use belljar_store::{Store, StoreConfig};
use belljar_testkit::Redis;
use bytes::Bytes;

use crate::functions::function;
use crate::harness::{
    NOBODY, audit, claim_one, completed, demand, died, native, of_class, sandbox, task, tenant,
    with_priority,
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/format-1.aof");
/// The dispatcher that had a task when the earlier version was stopped.
const VANISHED: DispatcherId = DispatcherId::from_bytes([9; 16]);
/// The tasks that wait, and the one that had ended.
const WAITING: [u8; 7] = [2, 3, 4, 5, 6, 7, 8];
const ENDED: u8 = 1;
const BLOB: usize = 65 << 10;

const fn id(number: u8) -> TaskId {
    TaskId::from_bytes([number; 16])
}

fn code() -> Bytes {
    Bytes::from_static(b"code")
}

/// Writes the backlog: `cargo nextest run -p belljar-store --run-ignored only -E 'test(write_a_backlog)'`, by the version that the file
/// is to be of.
#[tokio::test]
#[ignore = "it makes what another test reads"]
async fn write_a_backlog() {
    let redis = Redis::start_with(&["--appendonly", "yes", "--aof-use-rdb-preamble", "no"]);
    let redis = redis.expect("redis-server is installed");
    let years = Duration::from_secs(50 * 365 * 24 * 60 * 60);
    let config = StoreConfig { result_ttl: years, ..StoreConfig::new(redis.url()) };
    let store = Store::connect(config).await.expect("up");
    store.put_function(function("f", &code()), code()).await.expect("stored");
    let numbered = |number, task: NewTask| NewTask { id: id(number), ..task };
    let submit = async |task| store.submit(vec![task]).await.expect("accepted");

    submit(numbered(ENDED, task())).await;
    let ended = claim_one(&store, VANISHED).await.task();
    store.complete(NOBODY, 0, &[completed(ended, b"v")]).await.expect("completed");
    submit(numbered(6, task())).await;
    claim_one(&store, VANISHED).await;
    submit(numbered(7, task())).await;
    let lost = claim_one(&store, VANISHED).await.task();
    store.requeue(&[died(lost, "signal 9")]).await.expect("queued again");
    store.claim(VANISHED, &[]).await.expect("no demand is left");
    submit(numbered(2, with_priority(Priority::Low))).await;
    submit(numbered(3, of_class(sandbox()))).await;
    submit(NewTask { delay_ms: 1_000, ..numbered(4, task()) }).await;
    let acme = tenant("acme");
    let view = store.of(&acme).with_quotas(Some(StoreQuotas::default()));
    let view = view.with_weight(Weight::try_from(3).expect("a weight"));
    view.submit(vec![numbered(5, task())]).await.expect("accepted");
    submit(NewTask { args: vec![b'x'; BLOB].into(), ..numbered(8, task()) }).await;
    store.heartbeat(VANISHED, &[native()], &[]).await.expect("taken");
    let written = redis.dir().join("appendonlydir/appendonly.aof.1.incr.aof");
    std::fs::copy(written, FILE).expect("copied");
}

#[tokio::test]
async fn what_an_earlier_version_left_is_finished() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::copy(Path::new(FILE), dir.path().join("appendonly.aof")).expect("copied");
    let redis = Redis::start_in(dir.path(), &["--appendonly", "yes"]).expect("it is loaded");
    let store = Store::connect(StoreConfig::new(redis.url())).await.expect("understood");
    let format = redis.tell("GET {belljar}:format").expect("answered");
    assert!(
        format.contains('2'),
        "{format}: the earlier version must not go on with what this one adds"
    );
    assert_eq!(audit(&store).await.counts.accepted, 1 + WAITING.len() as u64);
    let dispatcher = DispatcherId::random();
    store.heartbeat(dispatcher, &[native()], &[]).await.expect("taken");
    redis.tell(&format!("HSET {{belljar}}:alive_since {dispatcher} 1")).expect("answered");
    let beat = store.heartbeat(dispatcher, &[native()], &[]).await.expect("taken");
    assert_eq!(beat.recovered, 1, "of a dispatcher that vanished");

    let demand = [Demand { classes: vec![native(), sandbox()], ..demand(99).remove(0) }];
    let mut claimed: Vec<ClaimedTask> = Vec::new();
    while claimed.len() < WAITING.len() {
        let more = store.claim(dispatcher, &demand).await.expect("claimed");
        assert!(!more.is_empty(), "only {} tasks are there", claimed.len());
        claimed.extend(more);
    }
    claimed.sort_by_key(ClaimedTask::id);
    let ids: Vec<_> = claimed.iter().map(ClaimedTask::id).collect();
    assert_eq!(ids, WAITING.map(id));
    assert_eq!(claimed[6].invocation.args.len(), BLOB);
    assert_eq!((claimed[5].deaths, claimed[5].task().attempt.0), (1, 2));
    let spec = &claimed[0].invocation.spec;
    assert_eq!((spec.priority, spec.class), (Priority::Low, native()));
    assert_eq!(store.code(function("f", &code()).code).await.expect("read"), Some(code()));
    let ends: Vec<_> = claimed.iter().map(|it| completed(it.task(), it.id().as_bytes())).collect();
    store.complete(NOBODY, 0, &ends).await.expect("completed");
    let all = audit(&store).await.counts;
    assert_eq!((all.completed, all.queued, all.delayed, all.running), (8, 0, 0, 0));
    let results = store.results(&[id(ENDED), id(5)]).await.expect("read");
    let [first, fifth] = &results[..] else { panic!("two") };
    for (result, value) in [(first, &b"v"[..]), (fifth, &[5; 16])] {
        let result = result.as_ref().expect("known");
        assert_eq!((result.status, &*result.result), (TaskStatus::Completed, value));
    }
    let usage = store.of(&tenant("acme")).usage().await.expect("read");
    assert_eq!(usage.tasks, 0, "{usage:?}");
}
