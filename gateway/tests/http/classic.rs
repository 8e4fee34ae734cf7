//! The four classic routes, row by row of the contract.

use crate::support::{ARGS, Dispatcher, FUNCTION, Gateway};
use belljar_core::outcome::{CallVerdict, Failure, FailureKind};
use belljar_pickle::payload;
use serde_json::json;

#[tokio::test]
async fn a_function_is_registered_called_and_its_result_read() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let function_id = gateway.register().await;
    assert_eq!((function_id.len(), function_id.to_lowercase()), (36, function_id.clone()));
    let task_id = gateway.execute(&function_id).await;

    let status = client.get(&format!("/status/{task_id}")).await;
    assert_eq!(status.json(), json!({"task_id": task_id, "status": "QUEUED"}));
    let result = client.get(&format!("/result/{task_id}")).await;
    assert_eq!(result.json(), json!({"task_id": task_id, "status": "QUEUED", "result": ""}));
    assert_eq!(result.header("x-result-expires"), None);

    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let task = dispatcher.claim(1).await.pop().expect("a task");
    assert_eq!(payload::encode(&task.invocation.args), ARGS);
    let status = client.get(&format!("/status/{task_id}")).await;
    assert_eq!(status.json()["status"], "RUNNING");

    dispatcher
        .finish(&task, CallVerdict::Completed(bytes::Bytes::from_static(b"\x80\x04K\x04.")))
        .await;
    let result = client.get(&format!("/result/{task_id}")).await;
    let text = payload::encode(b"\x80\x04K\x04.");
    assert_eq!(
        result.json(),
        json!({"task_id": task_id, "status": "COMPLETED", "result_kind": "data", "result": text})
    );
    assert!(result.header("x-result-expires").is_some_and(|time| time.ends_with('Z')));
    assert_eq!(result.header("content-type"), Some("application/json"));
    let status = client.get(&format!("/status/{task_id}")).await;
    assert_eq!(status.json(), json!({"task_id": task_id, "status": "COMPLETED"}));
}

#[tokio::test]
async fn a_failed_task_has_its_exception_as_result() {
    let gateway = Gateway::start().await;
    let task_id = gateway.execute(&gateway.register().await).await;
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let task = dispatcher.claim(1).await.pop().expect("a task");
    let failure = Failure::by_platform(FailureKind::Timeout, "too late".to_owned());
    let exception = payload::encode(&failure.exception);
    dispatcher.finish(&task, CallVerdict::Failed(failure)).await;
    let result = gateway.client().get(&format!("/result/{task_id}")).await;
    assert_eq!(
        result.json(),
        json!({"task_id": task_id, "status": "FAILED", "result_kind": "data", "result": exception})
    );
}

#[tokio::test]
async fn a_trailing_slash_changes_nothing() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let body = json!({"name": "len", "payload": FUNCTION});
    let function_id = client.post("/register_function/", &body).await.text_at("function_id");
    let body = json!({"function_id": function_id, "payload": ARGS});
    let task_id = client.post("/execute_function/", &body).await.text_at("task_id");
    for route in ["status", "result"] {
        assert_eq!(client.get(&format!("/{route}/{task_id}/")).await.status, 200);
    }
}

#[tokio::test]
async fn malformed_requests_are_422() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let problems =
        async |path: &str, body: &str| client.post_raw(path, body.as_bytes()).await.problems();
    let one = |kind: &str, place: &str| vec![(kind.to_owned(), place.to_owned())];
    let register = "/register_function";
    assert_eq!(problems(register, r#"{"name": "a"}"#).await, one("missing", "payload"));
    assert_eq!(
        problems(register, "{}").await,
        [one("missing", "name"), one("missing", "payload")].concat()
    );
    assert_eq!(
        problems(register, r#"{"name": 1, "payload": ""}"#).await,
        one("string_type", "name")
    );
    assert_eq!(
        problems(register, r#"{"name": null, "payload": ""}"#).await,
        one("string_type", "name")
    );
    assert_eq!(problems(register, "").await, one("missing", "body"));
    assert_eq!(problems(register, r#"["a", "b"]"#).await, one("model_attributes_type", "body"));
    for malformed in ["{", "nonsense", r#"{"name": NaN, "payload": ""}"#, "{'name': 'a'}"] {
        assert_eq!(problems(register, malformed).await[0].0, "json_invalid", "{malformed}");
    }
    let twice = r#"{"name": "a", "name": "b", "payload": ""}"#;
    assert_eq!(problems(register, twice).await, one("value_error", "body"));

    let execute = "/execute_function";
    for text in ["x", "{0f8fad5b-d9cb-469f-a165-70867728950e}", "0f8fad5bd9cb469fa16570867728950e"]
    {
        let body = json!({"function_id": text, "payload": ARGS}).to_string();
        assert_eq!(problems(execute, &body).await, one("uuid_parsing", "function_id"));
    }
    let body = json!({"function_id": 7, "payload": ARGS}).to_string();
    assert_eq!(problems(execute, &body).await, one("uuid_type", "function_id"));
    for path in ["/status/x", "/result/%2e%2e%2fetc%2fpasswd", "/status/%ff"] {
        assert_eq!(client.get(path).await.problems(), one("uuid_parsing", "task_id"), "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_called_is_400() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let pickled_42 = payload::encode(b"\x80\x04K*.");
    let pickled_text = payload::encode(b"\x80\x04\x8c\x04text\x94.");
    for bad in ["payload", "not_a_function", "", pickled_42.as_str(), pickled_text.as_str()] {
        let body = json!({"name": "a", "payload": bad});
        client.post("/register_function", &body).await.is_error(400, "invalid_payload");
    }
    let function_id = gateway.register().await;
    for bad in ["payload", "not_a_function", ""] {
        let body = json!({"function_id": function_id, "payload": bad});
        client.post("/execute_function", &body).await.is_error(400, "invalid_payload");
    }
    // Arguments of a wrong shape are accepted: the task fails, as the function's call would.
    let body = json!({"function_id": function_id, "payload": pickled_42});
    assert_eq!(client.post("/execute_function", &body).await.status, 200);
    // Lenient as Python: with and without newlines.
    let body = json!({"function_id": function_id, "payload": ARGS.trim()});
    assert_eq!(client.post("/execute_function", &body).await.status, 200);
}

#[tokio::test]
async fn unknown_ids_routes_and_methods_are_told() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
    for path in [format!("/status/{id}"), format!("/result/{id}"), format!("/result/{id}?wait=1")] {
        client.get(&path).await.is_error(404, "unknown_task");
    }
    for args in [ARGS, "payload"] {
        let body = json!({"function_id": id, "payload": args});
        client.post("/execute_function", &body).await.is_error(404, "unknown_function");
    }
    for path in ["/nothing", "/status", "/status/", "//", "/v1", "/status/../../etc/passwd"] {
        client.get(path).await.is_error(404, "unknown_route");
    }
    let reply = client.get("/register_function").await;
    reply.is_error(405, "method_not_allowed");
    assert_eq!(reply.header("allow"), Some("POST"));
    let reply = client.send("DELETE", &format!("/status/{id}"), &[], b"").await;
    reply.is_error(405, "method_not_allowed");
    assert_eq!(reply.header("allow"), Some("GET,HEAD"));
}

#[tokio::test]
async fn a_content_type_is_not_insisted_on() {
    let gateway = Gateway::start().await;
    let body = json!({"name": "len", "payload": FUNCTION}).to_string();
    for headers in
        [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/x")]]
    {
        let reply =
            gateway.client().send("POST", "/register_function", headers, body.as_bytes()).await;
        assert_eq!(reply.status, 200);
    }
}

#[tokio::test]
async fn a_store_that_is_gone_is_503_and_comes_back() {
    let quick = std::time::Duration::from_millis(200);
    let mut gateway = Gateway::with(|_| {}, |store| store.timeout = quick).await;
    let function_id = gateway.register().await;
    let task_id = gateway.execute(&function_id).await;
    gateway.redis.kill();
    let client = gateway.client();
    let call = json!({"function_id": function_id, "payload": ARGS});
    client.post("/execute_function", &call).await.is_error(503, "store_unreachable");
    client.get(&format!("/result/{task_id}")).await.is_error(503, "store_unreachable");
    let register = json!({"name": "len", "payload": FUNCTION});
    client.post("/register_function", &register).await.is_error(503, "store_unreachable");
    client.get("/readyz").await.is_error(503, "store_unreachable");
    assert_eq!(client.get("/healthz").await.status, 200);
    assert_eq!(client.get("/metrics").await.status, 200);
    gateway.redis.restart().expect("it starts again");
    crate::support::until("the store is back", async || {
        client.post("/register_function", &register).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_full_queue_is_429() {
    let gateway = Gateway::with(|_| {}, |store| store.max_queued = 1).await;
    let function_id = gateway.register().await;
    gateway.execute(&function_id).await;
    let call = json!({"function_id": function_id, "payload": ARGS});
    gateway.client().post("/execute_function", &call).await.is_error(429, "queue_full");
}
