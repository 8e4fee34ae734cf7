//! Functions after their registration: found by name, deleted.

use belljar_gateway::Config;
use belljar_store::record::ClaimedTask;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::client::{Client, Reply};
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
