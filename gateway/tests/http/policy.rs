//! What the operator's file allows, and that it wins over what clients ask.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::guarded::{ALL, Guarded};
use crate::support::tenants::TenantsFile;
use crate::support::{ARGS, Dispatcher, FUNCTION, Gateway, until};

/// How soon a changed file is in force.
const EFFECTIVE: Duration = Duration::from_secs(5);

const FILE: &str = r#"
[tenant.acme]
runtimes = ["sandbox"]
max_priority = "normal"
grants = { read = ["/srv/data"], env = [], scratch_mb = 8 }
limits = { timeout_s = 60, memory_mb = 512, max_retries = 1, payload_kb = 1 }
"#;

async fn guarded(file: &TenantsFile) -> Guarded {
    Guarded::with(|config| file.configure(config)).await
}

/// A function for the sandbox with one more field.
fn function(field: &str, value: Value) -> Value {
    json!({"name": "len", "payload": FUNCTION, "runtime": "sandbox", field: value})
}

async fn register(guarded: &Guarded, key: &str, body: &Value) -> Reply {
    guarded.send(key, "POST", "/register_function", body).await
}

fn is_forbidden(reply: &Reply, named: [&str; 2]) {
    reply.is_error(403, "policy_forbidden");
    let text = reply.text_at("detail");
    assert!(named.iter().all(|named| text.contains(named)) && text.contains("`acme`"), "{text}");
}

#[tokio::test]
async fn a_function_beyond_the_policy_is_refused_with_the_value_and_the_limit() {
    let file = TenantsFile::new(FILE);
    let guarded = guarded(&file).await;
    let [ours, other] = [guarded.key("acme", &ALL).await, guarded.key("other", &ALL).await];
    let large = format!("{FUNCTION}{}", "\n".repeat(2_000));
    let pickle = belljar_pickle_of(2_000);
    let cases = [
        (function("runtime", json!("native")), 403, ["`native`", "`sandbox`"]),
        (function("grants", json!({"read": ["/srv"]})), 403, ["`/srv`", "`/srv/data`"]),
        (function("grants", json!({"env": ["HOME"]})), 403, ["`HOME`", "none"]),
        (function("grants", json!({"scratch_mb": 9})), 403, ["9 MiB", "at most 8"]),
        (function("timeout_s", json!(61)), 422, ["61", "at most 60"]),
        (function("memory_mb", json!(513)), 422, ["513", "at most 512"]),
        (function("max_retries", json!(2)), 422, ["2", "at most 1"]),
    ];
    for (body, status, named) in &cases {
        let reply = register(&guarded, &ours, body).await;
        assert_eq!(reply.status, *status, "{body}: {}", reply.text());
        match status {
            403 => is_forbidden(&reply, *named),
            _ => {
                let text = reply.text();
                assert!(named.iter().all(|named| text.contains(named)), "{text}");
                assert!(text.contains("policy for tenant `acme`"), "{text}");
            }
        }
        assert_eq!(register(&guarded, &other, body).await.status, 200, "{body} of another tenant");
    }
    // Line breaks in base64 are no bytes of the pickle.
    let body = function("payload", json!(large));
    assert_eq!(register(&guarded, &ours, &body).await.status, 200);
    let function_id = register(&guarded, &ours, &body).await.text_at("function_id");
    let call = json!({"function_id": function_id, "payload": pickle});
    let reply = guarded.send(&ours, "POST", "/execute_function", &call).await;
    reply.is_error(413, "payload_too_large");
    assert!(reply.text_at("detail").contains("at most 1 KiB"), "{}", reply.text());
}

/// A pickle of so many bytes of data and some more, as base64.
fn belljar_pickle_of(bytes: usize) -> String {
    let length = u32::try_from(bytes).expect("small").to_le_bytes();
    let mut pickle = b"\x80\x04B".to_vec();
    pickle.extend(length);
    pickle.extend(vec![b'x'; bytes]);
    pickle.push(b'.');
    belljar_pickle::payload::encode(&pickle)
}

#[tokio::test]
async fn what_a_function_does_not_ask_for_fits_the_policy() {
    let file = TenantsFile::new(FILE);
    let guarded = guarded(&file).await;
    let classes = ["native:3.11", "sandbox:3.11"];
    let _dispatcher = Dispatcher::start(&guarded.gateway.store, &classes).await;
    let key = guarded.key("acme", &ALL).await;
    let function = guarded.register(&key).await;
    let path = format!("/v1/functions/{function}");
    let view = guarded.send(&key, "GET", &path, &Value::Null).await.json();
    assert_eq!(view["runtime"], "sandbox", "the deployment's default is native");
    let limits = json!({"timeout_s": 60.0, "memory_mb": 512, "max_retries": 1});
    assert_eq!(view["limits"], limits, "the deployment's defaults are wider");
    let call = json!({"function_id": function, "payload": ARGS, "priority": "high"});
    let reply = guarded.send(&key, "POST", "/execute_function", &call).await;
    is_forbidden(&reply, ["`high`", "`normal`"]);
    assert_eq!(guarded.execute(&key, &function).await.len(), 36);
}

#[tokio::test]
async fn a_changed_file_is_in_force_for_functions_from_before_and_a_broken_one_is_not() {
    let file = TenantsFile::new("");
    let guarded = guarded(&file).await;
    let key = guarded.key("acme", &ALL).await;
    let mut body = function("memory_mb", json!(2_000));
    (body["timeout_s"], body["max_retries"]) = (json!(60), json!(1));
    let function_id = register(&guarded, &key, &body).await.text_at("function_id");
    let call = json!({"function_id": function_id, "payload": ARGS});
    let submit = async || guarded.send(&key, "POST", "/execute_function", &call).await;
    assert_eq!(submit().await.status, 200);
    let changed = Instant::now();
    file.write(FILE);
    until("the file is in force", async || submit().await.status == 403).await;
    assert!(changed.elapsed() < EFFECTIVE, "{:?}", changed.elapsed());
    is_forbidden(&submit().await, ["`memory_mb` of 2000", "at most 512"]);
    file.write("[tenant.acme]\nruntime = \"native\"");
    let broken = Instant::now();
    while broken.elapsed() < EFFECTIVE {
        is_forbidden(&submit().await, ["`memory_mb` of 2000", "at most 512"]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    file.write("[tenant.acme]\nlimits = { memory_mb = 4000 }");
    until("the file is in force", async || submit().await.status == 200).await;
}

#[tokio::test]
async fn without_keys_the_policy_is_that_of_the_default_tenant() {
    let file = TenantsFile::new("[tenant.default]\nruntimes = [\"sandbox\"]");
    let gateway = Gateway::with(|config| file.configure(config), |_| {}).await;
    let native = function("runtime", json!("native"));
    let reply = gateway.client().post("/register_function", &native).await;
    reply.is_error(403, "policy_forbidden");
    assert!(reply.text_at("detail").contains("tenant `default`"), "{}", reply.text());
    gateway.register().await;
}
