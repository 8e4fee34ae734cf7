//! The audit log in the store: one for all gateways.

use std::sync::Arc;
use std::time::Duration;

use belljar_gateway::audit_log::{
    Action, AuditLog, AuditLogError, AuditRecord, AuditStream, AuditTargets, ChainHash,
    VerifyError, verify_stream,
};
use belljar_store::{Store, StoreConfig};
use belljar_testkit::Redis;
use serde_json::{Value, json};

use crate::support::guarded::{ALL, Guarded};
use crate::support::until;

fn config(redis: &Redis) -> StoreConfig {
    StoreConfig { timeout: Duration::from_secs(2), ..StoreConfig::new(redis.url()) }
}

async fn store(redis: &Redis) -> Store {
    Store::connect(config(redis)).await.expect("a store")
}

async fn log(redis: &Redis, keep: u64) -> Arc<AuditLog> {
    let targets = AuditTargets { file: None, stream: Some((config(redis), keep)) };
    Arc::new(AuditLog::open_all(targets).await.expect("opened").expect("named"))
}

/// The records, the oldest first.
async fn records(store: &Store) -> Vec<Value> {
    let mut lines = store.newest_audit_lines(100_000).await.expect("read");
    lines.reverse();
    lines.iter().map(|line| serde_json::from_slice(line).expect("JSON")).collect()
}

#[tokio::test]
async fn what_is_done_is_recorded_in_the_store() {
    let redis = Redis::start().expect("redis-server is installed");
    let (store, log) = (store(&redis).await, log(&redis, 1_000).await);
    let guarded = Guarded::with(|config| config.audit_log = Some(log)).await;
    let key = guarded.key("acme", &ALL).await;
    let function = guarded.register(&key).await;
    let task = guarded.execute(&key, &function).await;
    guarded.send("", "GET", "/v1/tasks", &Value::Null).await.is_error(401, "key_missing");
    guarded.gateway.shutdown.cancel();
    guarded.gateway.run.await.expect("no panic").expect("in order");
    let records = records(&store).await;
    let actions: Vec<_> = records.iter().map(|it| it["action"].as_str().expect("text")).collect();
    assert_eq!(actions, ["start", "register", "submit", "request", "stop"]);
    assert_eq!((&records[2]["task"], &records[2]["tenant"]), (&json!(task), &json!("acme")));
    let whole = verify_stream(&store, None).await.expect("whole");
    assert_eq!((whole.records, whole.before), (5, ChainHash::NONE));
    let last = records[4]["hash"].as_str().expect("text").parse().expect("a hash");
    assert_eq!(whole.last, last);
    assert!(verify_stream(&store, Some(last)).await.is_ok());
    let other = verify_stream(&store, Some(ChainHash::NONE)).await;
    assert!(matches!(other, Err(VerifyError::Missing(_))), "{other:?}");
}

#[tokio::test]
async fn gateways_that_write_at_once_keep_the_chain() {
    let redis = Redis::start().expect("redis-server is installed");
    let store = store(&redis).await;
    let logs = [log(&redis, 10_000).await, log(&redis, 10_000).await, log(&redis, 10_000).await];
    const EACH: u64 = 400;
    for _ in 0..EACH {
        logs.iter().for_each(|log| log.record(AuditRecord::now(Action::Start)));
        // Else each writes all of them at once.
        tokio::task::yield_now().await;
    }
    logs.iter().for_each(|log| log.close());
    let whole = verify_stream(&store, None).await.expect("whole");
    assert_eq!((whole.records, whole.before), (3 * EACH, ChainHash::NONE));
}

#[tokio::test]
async fn only_the_newest_records_are_kept() {
    let redis = Redis::start().expect("redis-server is installed");
    let (store, log) = (store(&redis).await, log(&redis, 200).await);
    (0..1_500).for_each(|_| log.record(AuditRecord::now(Action::Start)));
    log.close();
    let whole = verify_stream(&store, None).await.expect("whole");
    assert!((200..400).contains(&whole.records), "{}", whole.records);
    assert_ne!(whole.before, ChainHash::NONE, "what stood before is gone");
}

#[tokio::test]
async fn nothing_is_done_while_the_store_takes_no_records() {
    let dir = tempfile::tempdir().expect("a directory");
    let redis = Redis::start_in(dir.path(), Redis::DURABLE).expect("redis-server is installed");
    let log = log(&redis, 10_000).await;
    let guarded = Guarded::with(|config| config.audit_log = Some(log)).await;
    let key = guarded.key("acme", &ALL).await;
    let function = guarded.register(&key).await;
    let submit = async || {
        let body = json!({"function_id": function, "payload": crate::support::ARGS});
        guarded.send(&key, "POST", "/execute_function", &body).await
    };
    drop(redis);
    until("it is refused", async || submit().await.status == 503).await;
    submit().await.is_error(503, "audit_unwritable");
    guarded.send("", "GET", "/readyz", &Value::Null).await.is_error(503, "audit_unwritable");
    let accepted = guarded.gateway.store.audit().await.expect("read").counts.accepted;

    let redis = Redis::start_in(dir.path(), Redis::DURABLE).expect("redis-server is installed");
    let store = store(&redis).await;
    until("it is accepted again", async || submit().await.status == 200).await;
    guarded.gateway.shutdown.cancel();
    guarded.gateway.run.await.expect("no panic").expect("in order");
    let submits = records(&store).await.into_iter().filter(|it| it["action"] == "submit").count();
    assert_eq!(submits as u64, accepted + 1, "what was accepted is recorded, once");
    assert!(verify_stream(&store, None).await.is_ok());
}

#[tokio::test]
async fn an_entry_of_somebody_else_is_named() {
    let redis = Redis::start().expect("redis-server is installed");
    let store = store(&redis).await;
    let mut stream = AuditStream::open(store.clone(), None).await.expect("opened");
    let some = [AuditRecord::now(Action::Start), AuditRecord::now(Action::Stop)];
    assert_eq!(stream.append(&some).await.expect("written"), 2);
    let newest = store.newest_audit_lines(1).await.expect("read");
    let end = String::from_utf8_lossy(&newest[0][newest[0].len() - 20..]).into_owned();
    let lines = ["no record".to_owned()];
    assert_eq!(store.append_audit_lines(&end, None, &lines).await.expect("written"), None);
    let broken = verify_stream(&store, None).await;
    assert!(matches!(broken, Err(VerifyError::BrokenEntry { .. })), "{broken:?}");
    let refused = stream.append(&some).await;
    assert!(matches!(refused, Err(AuditLogError::StreamChanged)), "{refused:?}");
    let refused = AuditStream::open(store.clone(), None).await.err();
    assert!(matches!(refused, Some(AuditLogError::StreamChanged)), "{refused:?}");
}
