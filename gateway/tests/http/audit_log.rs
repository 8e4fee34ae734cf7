//! The audit log of a gateway: what is recorded, what is not, and a disk that takes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use belljar_core::api_key::{ApiKeyHash, ApiKeySecret, Scope};
use belljar_gateway::Config;
use belljar_gateway::audit_log::{AuditLog, verify};
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::guarded::{ALL, Guarded};
use crate::support::tenants::TenantsFile;
use crate::support::{ARGS, FUNCTION, Gateway, until};

/// A gateway with an audit log in a directory that the test can move away.
struct Audited {
    dir: tempfile::TempDir,
    guarded: Guarded,
}

impl Audited {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("logs/audit.log");
        std::fs::create_dir(dir.path().join("logs")).expect("a directory");
        let guarded = Guarded::with(|config| {
            config.audit_log = Some(Arc::new(AuditLog::open(&path).expect("a log")));
            configure(config);
        });
        Self { guarded: guarded.await, dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("logs/audit.log")
    }

    /// The records of one action, as soon as there are so many.
    async fn records(&self, action: &str, count: usize) -> Vec<Value> {
        let of = || records(&self.path()).into_iter().filter(|it| it["action"] == action);
        until(&format!("{count} records of {action}"), async || of().count() >= count).await;
        of().collect()
    }
}

fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn id(key: &str) -> String {
    ApiKeyHash::of(key.as_bytes()).expect("a key").id()
}

#[tokio::test]
async fn what_is_done_is_recorded_with_who_and_what() {
    let audited = Audited::start().await;
    let guarded = &audited.guarded;
    let key = guarded.key("acme", &ALL).await;
    let function = guarded.register(&key).await;
    let task = guarded.execute(&key, &function).await;
    let body = json!({"function_id": function, "payloads": [ARGS, ARGS, ARGS]});
    let batch = guarded.send(&key, "POST", "/v1/tasks", &body).await.json();
    let cancel = format!("/v1/tasks/{task}/cancel");
    for status in [200, 409] {
        assert_eq!(guarded.send(&key, "POST", &cancel, &Value::Null).await.status, status);
    }
    let delete = format!("/v1/functions/{function}");
    assert_eq!(guarded.send(&key, "DELETE", &delete, &Value::Null).await.status, 200);
    let reading = format!("/result/{task}");
    assert_eq!(guarded.send(&key, "GET", &reading, &Value::Null).await.status, 200);
    let late = json!({"function_id": function, "payload": ARGS});
    let late = guarded.send(&key, "POST", "/execute_function", &late).await;
    late.is_error(404, "unknown_function");

    let submits = audited.records("submit", 3).await;
    for record in &submits {
        assert_eq!((&record["tenant"], &record["key"]), (&json!("acme"), &json!(id(&key))));
        assert_eq!(
            (&record["address"], &record["function"]),
            (&json!("127.0.0.1"), &json!(function))
        );
    }
    assert_eq!((&submits[0]["result"], &submits[0]["status"]), (&json!("ok"), &json!(200)));
    assert_eq!((&submits[0]["task"], &submits[0]["count"]), (&json!(task), &json!(1)));
    assert_eq!(submits[0]["request"], "POST /execute_function");
    assert_eq!((&submits[1]["task"], &submits[1]["count"]), (&batch["task_ids"][0], &json!(3)));
    assert_eq!(submits[1]["request"], "POST /v1/tasks");
    assert_eq!(submits[2]["result"], "unknown_function");
    assert_eq!(submits[2]["request_id"], late.header("x-request-id").expect("an id"));
    let cancels = audited.records("cancel", 2).await;
    assert_eq!((&cancels[0]["task"], &cancels[0]["result"]), (&json!(task), &json!("ok")));
    assert_eq!(cancels[1]["result"], "task_ended");
    for action in ["register", "delete"] {
        let records = audited.records(action, 1).await;
        assert_eq!((&records[0]["function"], records.len()), (&json!(function), 1), "{action}");
    }
    let all = records(&audited.path());
    assert_eq!(all.len(), 8, "reading is not recorded: {all:#?}");
    assert_eq!(all[0]["action"], "start");
    let whole = verify(&[audited.path()], None).expect("whole");
    assert_eq!(whole.records, 8);
}

#[tokio::test]
async fn refused_requests_are_recorded_and_a_flood_of_them_is_counted() {
    let audited = Audited::start().await;
    let guarded = &audited.guarded;
    let unknown = ApiKeySecret::new([255; 25]).reveal().to_owned();
    let weak = guarded.key("acme", &[Scope::Read]).await;
    for key in ["", "bj_x", &unknown] {
        assert_eq!(guarded.send(key, "GET", "/v1/tasks", &Value::Null).await.status, 401);
    }
    let body = json!({"name": "len", "payload": FUNCTION});
    assert_eq!(guarded.send(&weak, "POST", "/register_function", &body).await.status, 403);
    let refused = audited.records("request", 3).await;
    let result = |at: usize| refused[at]["result"].as_str().unwrap_or_default();
    assert_eq!((result(0), result(1), result(2)), ("key_missing", "key_invalid", "key_invalid"));
    assert!(refused[0]["key"].is_null() && refused[1]["key"].is_null(), "{refused:#?}");
    assert_eq!(refused[2]["key"], id(&unknown));
    assert_eq!(
        (&refused[2]["request"], &refused[2]["status"]),
        (&json!("GET /v1/tasks"), &json!(401))
    );
    let register = audited.records("register", 1).await;
    assert_eq!(
        (&register[0]["result"], &register[0]["tenant"]),
        (&json!("scope_missing"), &json!("acme"))
    );

    const FLOOD: usize = 400;
    for _ in 0..FLOOD {
        assert_eq!(guarded.send("", "GET", "/v1/tasks", &Value::Null).await.status, 401);
    }
    let counted = async || {
        let records = records(&audited.path());
        let of = |action: &'static str| records.iter().filter(move |it| it["action"] == action);
        let unlisted: u64 = of("refuse_many").filter_map(|it| it["count"].as_u64()).sum();
        (of("request").count(), unlisted as usize)
    };
    until("all are counted", async || {
        let (listed, unlisted) = counted().await;
        listed + unlisted == FLOOD + 3
    })
    .await;
    let (listed, _) = counted().await;
    assert!(listed < FLOOD / 2, "{listed} records");
    assert!(verify(&[audited.path()], None).is_ok());
}

async fn submit(guarded: &Guarded, key: &str, function: &str) -> Reply {
    let body = json!({"function_id": function, "payload": ARGS});
    guarded.send(key, "POST", "/execute_function", &body).await
}

#[tokio::test]
async fn nothing_is_done_that_cannot_be_recorded() {
    let audited = Audited::start().await;
    let guarded = &audited.guarded;
    let key = guarded.key("acme", &ALL).await;
    let function = guarded.register(&key).await;
    audited.records("register", 1).await;
    let (logs, away) = (audited.dir.path().join("logs"), audited.dir.path().join("away"));
    std::fs::rename(&logs, &away).expect("renamed");
    // The first is done before it is known that it cannot be recorded; the record is kept.
    let first = submit(guarded, &key, &function).await;
    assert_eq!(first.status, 200);
    until("it is refused", async || submit(guarded, &key, &function).await.status == 503).await;
    let refused = submit(guarded, &key, &function).await;
    refused.is_error(503, "audit_unwritable");
    guarded.send("", "GET", "/readyz", &Value::Null).await.is_error(503, "audit_unwritable");
    let task = format!("/status/{}", first.text_at("task_id"));
    assert_eq!(guarded.send(&key, "GET", &task, &Value::Null).await.status, 200, "reading goes on");
    let accepted = guarded.gateway.store.audit().await.expect("read").counts.accepted;

    std::fs::create_dir(&logs).expect("a directory");
    until("it is accepted again", async || submit(guarded, &key, &function).await.status == 200)
        .await;
    let submits = audited.records("submit", accepted as usize + 1).await;
    assert_eq!(submits.len(), accepted as usize + 1, "what was accepted is recorded, once");
    assert_eq!(submits[0]["task"], first.text_at("task_id"));
    let files = [away.join("audit.log"), audited.path()];
    assert!(verify(&files, None).is_ok(), "the new file goes on where the old one ended");
}

#[tokio::test]
async fn the_end_and_changed_policies_are_recorded() {
    let file = TenantsFile::new("[tenant.acme]\nweight = 2");
    let audited = Audited::with(|config| file.configure(config)).await;
    file.write("[tenant.acme]\nweight = 30");
    let read = audited.records("read_tenants", 1).await;
    assert!(read[0]["object"].as_str().is_some_and(|path| path.ends_with("tenants.toml")));
    audited.guarded.gateway.shutdown.cancel();
    audited.records("stop", 1).await;
}

#[tokio::test]
async fn without_keys_everything_is_of_the_default_tenant() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("audit.log");
    let log = Arc::new(AuditLog::open(&path).expect("a log"));
    let gateway = Gateway::with(|config| config.audit_log = Some(log), |_| {}).await;
    let function = gateway.register().await;
    gateway.execute(&function).await;
    until("both are recorded", async || records(&path).len() == 3).await;
    for record in &records(&path)[1..] {
        assert_eq!(record["tenant"], "default");
        assert!(record["key"].is_null());
    }
    // As the gateway answers, everything is in the file soon, and at the end at the latest.
    gateway.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), gateway.run)
        .await
        .expect("it ends")
        .expect("it does not panic")
        .expect("in order");
    assert_eq!(records(&path).last().map(|it| it["action"].clone()), Some(json!("stop")));
}
