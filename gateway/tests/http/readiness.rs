//! What `/readyz` says of a store that takes no writes, and of calls that nobody can run.

use std::time::Duration;

use belljar_core::id::DispatcherId;
use belljar_core::task::TaskClass;
use belljar_store::StoreConfig;
use belljar_testkit::Redis;
use serde_json::json;

use crate::support::{ARGS, Dispatcher, FUNCTION, Gateway, class, until};

fn config(redis: &Redis, name: &str, value: &str) {
    let answer = redis.tell(&format!("CONFIG SET {name} \"{value}\"")).expect("answered");
    assert_eq!(answer, "+OK\r\n", "{name}");
}

#[tokio::test]
async fn a_store_that_takes_no_writes_is_told_apart_by_its_reason() {
    let gateway = Gateway::start().await;
    let (client, redis) = (gateway.client(), &gateway.redis);
    let call = json!({"function_id": gateway.register().await, "payload": ARGS});
    assert_eq!(client.get("/readyz").await.status, 200);

    config(redis, "maxmemory", "1");
    client.get("/readyz").await.is_error(503, "store_memory_full");
    let refused = client.post("/execute_function", &call).await;
    refused.is_error(503, "store_refuses_writes");
    assert!(refused.text().contains("it is out of memory"), "{}", refused.text());
    config(redis, "maxmemory", "0");
    assert_eq!(client.get("/readyz").await.status, 200);

    config(redis, "min-replicas-to-write", "1");
    client.get("/readyz").await.is_error(503, "store_read_only");
    config(redis, "min-replicas-to-write", "0");

    // A snapshot cannot take the place of a directory: for Redis as if the disk were full.
    let in_the_way = redis.dir().join("dump.rdb");
    std::fs::create_dir_all(in_the_way.join("x")).expect("a directory");
    config(redis, "save", "3600 1");
    let told = |command: &str| redis.tell(command).expect("answered");
    assert!(told("BGSAVE").starts_with("+Background"));
    until("the snapshot fails", async || told("INFO persistence").contains("status:err")).await;
    let full = client.get("/readyz").await;
    full.is_error(503, "store_disk_full");
    assert!(full.text().contains("disk"), "{}", full.text());
    config(redis, "save", "");
    assert_eq!(client.get("/readyz").await.status, 200);
    assert_eq!(client.post("/execute_function", &call).await.status, 200);
}

#[tokio::test]
async fn a_gateway_that_can_queue_is_ready_and_says_why_calls_wait() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let problems = async || client.get("/readyz").await.json()["problems"].clone();
    assert_eq!(problems().await[0]["code"], "no_dispatcher");
    let sandbox: TaskClass = "sandbox:3.11".parse().expect("a class");
    let served = [class(), sandbox];
    let lonely = DispatcherId::random();
    gateway.store.heartbeat(lonely, &served, &[]).await.expect("taken");
    let missing = problems().await;
    let codes: Vec<_> = missing.as_array().expect("a list").iter().map(|it| &it["code"]).collect();
    assert_eq!(codes, ["no_worker", "no_worker"], "{missing}");
    let _dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let missing = problems().await;
    assert_eq!(missing.as_array().map(Vec::len), Some(1), "{missing}");
    assert!(missing[0]["detail"].as_str().is_some_and(|it| it.contains("`sandbox:3.11`")));
    let service = client.get("/metrics/service").await.text();
    for line in [
        r#"belljar_service_workers{class="native:3.11"} 1"#,
        r#"belljar_service_workers{class="sandbox:3.11"} 0"#,
    ] {
        assert!(service.contains(line), "{line} in {service}");
    }
}

#[tokio::test]
async fn what_replicas_do_not_confirm_is_told_and_settled_by_its_key() {
    let few = |config: &mut StoreConfig| {
        (config.replicas, config.replica_timeout) = (1, Duration::from_millis(1500));
    };
    let gateway = Gateway::with(|_| {}, few).await;
    let client = gateway.client();
    let lonely =
        client.post("/register_function", &json!({"name": "len", "payload": FUNCTION})).await;
    lonely.is_error(503, "store_unconfirmed");
    let replica = gateway.redis.replica(&[]).expect("a replica");
    let call =
        json!({"function_id": gateway.register().await, "payload": ARGS, "idempotency_key": "k"});
    replica.tell("REPLICAOF NO ONE").expect("answered");
    let told = client.post("/execute_function", &call).await;
    told.is_error(503, "store_unconfirmed");
    assert_eq!(told.header("retry-after"), Some("1"));
    for part in ["0 of 1 replicas", "may be lost", "`idempotency_key`"] {
        assert!(told.text().contains(part), "{part}: {}", told.text());
    }
    assert!(!told.text().contains("nothing was changed"), "{}", told.text());
    let _other = gateway.redis.replica(&[]).expect("another replica");
    let settled = async || client.post("/execute_function", &call).await.status == 200;
    until("a replica has it", settled).await;
    assert_eq!(gateway.store.audit().await.expect("an audit").counts.accepted, 1);
}
