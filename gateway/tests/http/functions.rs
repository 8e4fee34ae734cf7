//! Functions after their registration: found by name, deleted.

use belljar_gateway::Config;
use belljar_store::record::ClaimedTask;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::client::{Client, Reply};
use crate::support::tenants::TenantsFile;
use crate::support::{ARGS, Dispatcher, FUNCTION, Gateway, class, until};

async fn register(gateway: &Gateway, name: &str) -> String {
    gateway.register_with(json!({"name": name, "payload": FUNCTION})).await
}

async fn execute(client: Client, function_id: &str) -> Reply {
    let body = json!({"function_id": function_id, "payload": ARGS});
    client.post("/execute_function", &body).await
}

async fn remove(client: Client, function_id: &str) -> Reply {
    client.send("DELETE", &format!("/v1/functions/{function_id}"), &[], b"").await
}

#[tokio::test]
async fn functions_are_found_by_name() {
    let gateway = Gateway::start().await;
    let mut wanted = Vec::new();
    for name in ["a", "b c", "a", "b c"] {
        let id = register(&gateway, name).await;
        if name == "b c" {
            wanted.insert(0, id);
        }
    }
    let found = gateway.client().get("/v1/functions?name=b%20c").await.json();
    let items = found["items"].as_array().expect("a list").iter();
    let ids: Vec<_> = items.map(|item| item["function_id"].as_str().expect("an id")).collect();
    assert_eq!(ids, wanted);
    let none = gateway.client().get("/v1/functions?name=b").await.json();
    assert_eq!(none, json!({"items": [], "next": Value::Null}));
}

#[tokio::test]
async fn a_deleted_function_takes_no_calls_anywhere_and_accepted_ones_run() {
    let gateway = Gateway::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let second = Client::new(listener.local_addr().expect("an address"));
    let token = CancellationToken::new();
    let store = gateway.store.clone();
    tokio::spawn(belljar_gateway::run(Config::new(class()), listener, store, token.clone()));
    let (function, other) = (register(&gateway, "f").await, register(&gateway, "g").await);
    for client in [gateway.client(), second] {
        assert_eq!(execute(client, &function).await.status, 200);
    }
    let reply = remove(gateway.client(), &function).await;
    assert_eq!((reply.status, reply.text_at("function_id")), (200, function.clone()));
    execute(gateway.client(), &function).await.is_error(404, "unknown_function");
    until("the other gateway knows", async || execute(second, &function).await.status == 404).await;
    remove(second, &function).await.is_error(404, "unknown_function");
    remove(second, "x").await.is_error(422, "invalid_request");
    let path = format!("/v1/functions/{function}");
    gateway.client().get(&path).await.is_error(404, "unknown_function");
    assert_eq!(execute(second, &other).await.status, 200, "with the same code");
    assert_eq!(remove(second, &other).await.status, 200);
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let waiting: Vec<ClaimedTask> = dispatcher.claim(9).await;
    assert!(waiting.len() >= 3, "{}", waiting.len());
    for task in &waiting {
        let code = gateway.store.code(task.invocation.spec.code).await.expect("read");
        assert!(code.is_some(), "it can still run");
    }
    token.cancel();
}

#[tokio::test]
async fn a_function_that_expires_is_forgotten() {
    let file = TenantsFile::new("[default.quotas]\nfunctions = 2");
    let gateway = Gateway::with(|config| file.configure(config), |_| {}).await;
    let client = gateway.client();
    let soon = json!({"name": "soon", "payload": FUNCTION, "ttl_s": 1});
    let soon = gateway.register_with(soon).await;
    let kept = register(&gateway, "kept").await;
    assert_eq!(execute(client, &soon).await.status, 200);
    let shown = client.get(&format!("/v1/functions/{soon}")).await.json();
    assert!(shown["expires_at"].as_str() > shown["registered_at"].as_str(), "{shown}");
    let shown = client.get(&format!("/v1/functions/{kept}")).await.json();
    assert!(shown["expires_at"].is_null(), "{shown}");
    until("it is forgotten", async || execute(client, &soon).await.status == 404).await;
    client.get(&format!("/v1/functions/{soon}")).await.is_error(404, "unknown_function");
    let list = client.get("/v1/functions").await.json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
    let one = json!({"name": "more", "payload": FUNCTION});
    assert_eq!(
        client.post("/register_function", &one).await.status,
        429,
        "it counts until it is removed"
    );
    assert_eq!(gateway.store.remove_expired_functions().await.expect("removed"), 1);
    assert_eq!(client.post("/register_function", &one).await.status, 200);
    // What was accepted before still runs.
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let claimed: Vec<ClaimedTask> = dispatcher.claim(1).await;
    assert!(gateway.store.code(claimed[0].invocation.spec.code).await.expect("read").is_some());
}

#[tokio::test]
async fn a_policy_says_how_long_functions_live() {
    let file = TenantsFile::new("[default.limits]\nfunction_ttl_s = 60");
    let gateway = Gateway::with(|config| file.configure(config), |_| {}).await;
    let client = gateway.client();
    let with = |ttl: u32| json!({"name": "len", "payload": FUNCTION, "ttl_s": ttl});
    let refused = client.post("/register_function", &with(61)).await;
    refused.is_error(403, "policy_forbidden");
    let text = refused.text_at("detail");
    assert!(text.contains("`ttl_s` of 61") && text.contains("at most 60"), "{text}");
    assert_eq!(client.post("/register_function", &with(60)).await.status, 200);
    assert_eq!(client.post("/register_function", &with(0)).await.status, 422);
    let function = register(&gateway, "len").await;
    let shown = client.get(&format!("/v1/functions/{function}")).await.json();
    assert!(
        shown["expires_at"].is_string(),
        "one that says nothing lives as long as it may: {shown}"
    );
}

#[tokio::test]
async fn labels_that_no_live_worker_has_are_told_at_once() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let body = json!({"name": "f", "payload": FUNCTION, "labels": {"region": "eu", "gpu": "a100"}});
    let early = gateway.register_with(body.clone()).await;
    assert_eq!(
        execute(client, &early).await.status,
        200,
        "nobody is there to say what workers have"
    );
    let plain = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let refused = client.post("/register_function", &body).await;
    refused.is_error(422, "invalid_request");
    let problem = &refused.json()["detail"][0];
    assert_eq!(
        (&problem["type"], &problem["loc"]),
        (&json!("labels_unserved"), &json!(["body", "labels"]))
    );
    for part in
        ["`gpu=a100,region=eu`", "for `native:3.11` are none", "--label gpu=a100 --label region=eu"]
    {
        assert!(refused.text().contains(part), "{part}: {}", refused.text());
    }
    let refused = execute(client, &early).await;
    refused.is_error(422, "invalid_request");
    assert_eq!(refused.json()["detail"][0]["loc"], json!(["body", "function_id"]));

    let labelled =
        Dispatcher::start(&gateway.store, &["native:3.11/gpu=a100,region=eu,zone=b"]).await;
    let late = gateway.register_with(body).await;
    assert_eq!(execute(client, &late).await.status, 200);
    let other = json!({"name": "f", "payload": FUNCTION, "labels": {"gpu": "h100"}});
    let refused = client.post("/register_function", &other).await;
    assert!(refused.text().contains("`gpu=a100,region=eu,zone=b` or none"), "{}", refused.text());
    gateway.store.retire(labelled.id).await.expect("it leaves");
    until("its labels are gone", async || execute(client, &late).await.status == 422).await;
    assert_eq!(execute(client, &register(&gateway, "g").await).await.status, 200);
    plain.beat().await;
}

#[tokio::test]
async fn labels_are_names_and_values() {
    let gateway = Gateway::start().await;
    for (labels, part) in [
        (json!(["gpu"]), "an object of names and values"),
        (json!({"gpu": 1}), "a valid string"),
        (json!({"gpu": ""}), "is no label"),
        (json!({"g,u=1,x": "1"}), "is no label"),
        (json!({"gpu": "a".repeat(99)}), "at most 95"),
    ] {
        let body = json!({"name": "f", "payload": FUNCTION, "labels": labels});
        let refused = gateway.client().post("/register_function", &body).await;
        refused.is_error(422, "invalid_request");
        assert!(refused.text().contains(part), "{part}: {}", refused.text());
    }
}
