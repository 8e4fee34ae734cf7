//! Real answers of a running gateway, held against `/openapi.json`.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::client::{Client, Reply};
use crate::support::{ARGS, Dispatcher, FUNCTION, Gateway};
use belljar_core::files::CallFile;
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome};
use bytes::Bytes;
use serde_json::{Value, json};

const UNKNOWN: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

/// Sends requests and checks the answers.
struct Checker {
    client: Client,
    document: Value,
    /// Operations that have answered with success.
    seen: BTreeSet<String>,
}

/// Makes objects closed: a field of an answer that is not described is an error.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.get("properties").is_some_and(Value::is_object) {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

impl Checker {
    async fn new(gateway: &Gateway) -> Self {
        let client = gateway.client();
        let mut document = client.get("/openapi.json").await.json();
        close(&mut document["components"]);
        Self { client, document, seen: BTreeSet::new() }
    }

    /// Sends a request to `route`, whose `{...}` is `id`, and checks status and body of the answer.
    async fn send(&mut self, route: &str, id: &str, body: &Value, status: u16) -> Reply {
        let (method, route) = route.split_once(' ').expect("a method and a path");
        let path =
            ["{task_id}", "{function_id}", "{worker_id}", "{blob_id}", "{session_id}", "{file}"];
        let path = path.iter().fold(route.to_owned(), |path, name| path.replace(name, id));
        let path = path.replace("{name}", LEFT);
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let reply = self.client.send(method, &path, &[], &bytes).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        let route = route.split('?').next().expect("a path");
        let operation = &self.document["paths"][route][method.to_lowercase()];
        let described = &operation["responses"][status.to_string()];
        assert!(described.is_object(), "{method} {route} {status} is not described");
        let content = described["content"].as_object().expect("content");
        let (kind, content) = content.iter().next().expect("a content type");
        let given = reply.header("content-type").expect("a content type");
        assert!(given.starts_with(kind.as_str()), "{method} {route}: {given}");
        if kind == "application/json" {
            self.check(&content["schema"], &reply.json(), &format!("{method} {route} {status}"));
        }
        if status < 300 {
            self.seen.insert(operation["operationId"].as_str().expect("an id").to_owned());
        }
        reply
    }

    /// Reads a task that has failed, and tasks that do not exist.
    async fn read_tasks(&mut self, failed: &str) {
        let file = "/v1/tasks/{task_id}/files/{name}";
        let output = "/v1/tasks/{task_id}/output";
        let routes =
            ["/status/{task_id}", "/result/{task_id}", "/v1/tasks/{task_id}", file, output];
        for route in routes {
            for (id, status) in [(failed, 200), (UNKNOWN, 404), ("x", 422)] {
                self.send(&format!("GET {route}"), id, &Value::Null, status).await;
            }
        }
        for (id, status) in [(UNKNOWN, 404), ("x", 422)] {
            self.send("GET /v1/functions/{function_id}", id, &Value::Null, status).await;
        }
    }

    /// Cancels tasks, and tasks that do not exist.
    async fn cancel(&mut self, tasks: &[(&str, u16)]) {
        for (id, status) in tasks.iter().chain(&[(UNKNOWN, 404), ("x", 422)]) {
            self.send("POST /v1/tasks/{task_id}/cancel", id, &Value::Null, *status).await;
        }
    }

    /// Deletes a function, and functions that do not exist.
    async fn delete(&mut self, function: &str) {
        for (id, status) in [(function, 200), (function, 404), ("x", 422)] {
            self.send("DELETE /v1/functions/{function_id}", id, &Value::Null, status).await;
        }
    }

    /// Uploads a value, reads it, and deletes it; the same with a session.
    async fn values(&mut self) {
        let value = self.send("PUT /v1/blobs", "", &json!("a value"), 201).await;
        let id = value.text_at("blob_id");
        for (id, status) in [(&*id, 200), (UNKNOWN, 404), ("x", 422)] {
            self.send("GET /v1/blobs/{blob_id}", id, &Value::Null, status).await;
        }
        for (id, status) in [(&*id, 200), (&*id, 404), ("x", 422)] {
            self.send("DELETE /v1/blobs/{blob_id}", id, &Value::Null, status).await;
        }
        self.sessions().await;
    }

    /// Makes sessions, reads them, and deletes them.
    async fn sessions(&mut self) {
        let made = self.send("POST /v1/sessions", "", &json!({"name": "s", "x": 1}), 200).await;
        self.send("POST /v1/sessions", "", &json!({"ttl_s": 0}), 422).await;
        let id = made.text_at("session_id");
        for route in ["GET /v1/sessions/{session_id}", "POST /v1/sessions/{session_id}/fork"] {
            for (id, status) in [(&*id, 200), (UNKNOWN, 404), ("x", 422)] {
                self.send(route, id, &Value::Null, status).await;
            }
        }
        for (id, status) in [(&*id, 200), (&*id, 404), ("x", 422)] {
            self.send("DELETE /v1/sessions/{session_id}", id, &Value::Null, status).await;
        }
    }

    async fn lists(&mut self) {
        for list in ["tasks", "functions", "sessions", "workers"] {
            self.send(&format!("GET /v1/{list}"), "", &Value::Null, 200).await;
            self.send(&format!("GET /v1/{list}?cursor=x"), "", &Value::Null, 422).await;
        }
        let worker = self.send("GET /v1/workers", "", &Value::Null, 200).await.json();
        let worker = worker["items"][0]["worker_id"].as_str().expect("a worker").to_owned();
        for (id, status) in [(&*worker, 202), (UNKNOWN, 404), ("x", 422)] {
            self.send("POST /v1/workers/{worker_id}/drain", id, &Value::Null, status).await;
        }
        self.send("GET /v1/activity", "", &Value::Null, 200).await;
        self.send("GET /v1/activity?after=x", "", &Value::Null, 422).await;
        self.send("GET /v1/queues", "", &Value::Null, 200).await;
        self.send("GET /v1/events?task_id=x", "", &Value::Null, 422).await;
        self.send(&format!("GET /v1/events?task_id={UNKNOWN}"), "", &Value::Null, 404).await;
    }

    fn check(&self, schema: &Value, answer: &Value, what: &str) {
        let mut schema = schema.clone();
        schema["components"] = self.document["components"].clone();
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let errors: Vec<_> = validator.iter_errors(answer).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{what}: {errors:?} in {answer}");
    }
}

/// What is read without an argument.
const PAGES: [&str; 9] = [
    "/",
    "/healthz",
    "/readyz",
    "/v1/audit",
    "/metrics",
    "/metrics/service",
    "/openapi.json",
    "/docs",
    "/start",
];

/// A file that a call leaves.
const LEFT: &str = "left";

fn leaving_a_file(verdict: CallVerdict) -> Outcome {
    let file = CallFile { name: LEFT.to_owned(), bytes: Bytes::from_static(b"x") };
    Outcome { files: vec![file], ..Outcome::bare(verdict, Duration::from_millis(3)) }
}

#[tokio::test]
async fn every_answer_is_as_described() {
    let patience = Duration::from_millis(50);
    let gateway = Gateway::with(|config| config.cancel_wait = patience, |_| {}).await;
    let mut checker = Checker::new(&gateway).await;
    let none = Value::Null;
    checker.send("GET /readyz", "", &none, 200).await;
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11", "sandbox:3.11"]).await;
    for path in PAGES {
        checker.send(&format!("GET {path}"), "", &none, 200).await;
    }
    for (file, status) in [("dashboard.js", 200), ("none.js", 404), ("start.html", 404)] {
        checker.send("GET /assets/{file}", file, &none, status).await;
    }

    let register = "POST /register_function";
    let grants =
        json!({"env": ["A"], "read": ["/srv/x"], "scratch_mb": 1, "http": ["GET https://a/*"]});
    let body = json!({"name": "f", "payload": FUNCTION, "grants": grants, "x": 1});
    let function_id = checker.send(register, "", &body, 200).await.text_at("function_id");
    checker.send(register, "", &json!({"name": "f", "payload": "payload"}), 400).await;
    checker.send(register, "", &json!({"runtim": 1}), 422).await;
    checker.send("GET /v1/functions/{function_id}", &function_id, &none, 200).await;

    let execute = "POST /execute_function";
    let mut body = json!({"function_id": function_id, "payload": ARGS, "idempotency_key": "k"});
    (body["files"], body["outputs"]) = (json!({"given": ""}), json!([LEFT]));
    let failed = checker.send(execute, "", &body, 200).await.text_at("task_id");
    checker.send("POST /execute_function?wait=0.01", "", &body, 200).await;
    checker.send("GET /v1/tasks/{task_id}", &failed, &none, 200).await;
    body["payload"] = json!(FUNCTION);
    checker.send(execute, "", &body, 409).await;
    let task = dispatcher.claim(1).await.pop().expect("a task");
    let failure = Failure::by_platform(FailureKind::Exception, "no".to_owned());
    dispatcher.finish_with(&task, leaving_a_file(CallVerdict::Failed(failure))).await;
    let batch = "POST /v1/tasks";
    let payloads = json!({"function_id": function_id, "payloads": [ARGS, ARGS], "wait": 0.01});
    checker.send(batch, "", &payloads, 200).await;
    let running = dispatcher.claim(1).await.pop().expect("a task").id().to_string();
    let queued = gateway.execute(&function_id).await;
    for route in [execute, batch, "POST /v1/results"] {
        checker.send(route, "", &json!({}), 422).await;
    }
    let unknown = json!({"function_id": UNKNOWN, "payload": "", "payloads": []});
    let bad = json!({"function_id": function_id, "payload": "x", "payloads": ["x"]});
    for (route, field) in [(execute, "payloads"), (batch, "payload")] {
        for (body, status) in [(&unknown, 404), (&bad, 400)] {
            let mut body = body.clone();
            body.as_object_mut().expect("an object").remove(field);
            checker.send(route, "", &body, status).await;
        }
    }
    checker.send("POST /v1/results", "", &json!({"task_ids": [failed]}), 200).await;
    checker.send("POST /v1/results", "", &json!({"task_ids": [UNKNOWN]}), 404).await;

    checker.values().await;
    checker.read_tasks(&failed).await;
    checker.cancel(&[(&*queued, 200), (&running, 202), (&failed, 409)]).await;
    checker.lists().await;
    checker.delete(&function_id).await;
    // Its stream does not end: other tests read it.
    checker.seen.insert("events".to_owned());
    let all = checker.document["paths"].as_object().expect("paths").values();
    let all = all.flat_map(|methods| methods.as_object().expect("methods").values());
    let all = all.map(|operation| operation["operationId"].as_str().expect("an id").to_owned());
    assert_eq!(checker.seen, all.collect());
}

#[tokio::test]
async fn refusals_for_want_of_room_are_as_described() {
    let configure = |config: &mut belljar_gateway::Config| config.max_body_bytes = 1_000;
    let quick = Duration::from_millis(100);
    let mut gateway = Gateway::with(configure, |store| {
        store.max_queued = 1;
        store.timeout = quick;
    })
    .await;
    let mut checker = Checker::new(&gateway).await;
    let function_id = gateway.register().await;
    gateway.execute(&function_id).await;
    let call = json!({"function_id": function_id, "payload": ARGS});
    let batch = json!({"function_id": function_id, "payloads": [ARGS]});
    checker.send("POST /execute_function", "", &call, 429).await;
    checker.send("POST /v1/tasks", "", &batch, 429).await;
    let large = json!({"x": "x".repeat(1_000)});
    let function = json!({"name": "f", "payload": FUNCTION});
    let results = json!({"task_ids": [UNKNOWN]});
    let with_body = [
        ("POST /register_function", &function),
        ("POST /execute_function", &call),
        ("POST /v1/tasks", &batch),
        ("POST /v1/results", &results),
    ];
    for (route, _) in with_body {
        checker.send(route, "", &large, 413).await;
    }
    gateway.redis.kill();
    for (route, body) in with_body {
        checker.send(route, "", body, 503).await;
    }
    for path in ["/status/{task_id}", "/result/{task_id}", "/v1/tasks/{task_id}", "/v1/tasks"] {
        checker.send(&format!("GET {path}"), UNKNOWN, &Value::Null, 503).await;
    }
    for path in [
        "/v1/functions",
        "/v1/functions/{function_id}",
        "/v1/workers",
        "/v1/audit",
        "/v1/activity",
        "/v1/queues",
    ] {
        checker.send(&format!("GET {path}"), UNKNOWN, &Value::Null, 503).await;
    }
}

#[tokio::test]
async fn documented_examples_are_accepted() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let document = client.get("/openapi.json").await.json();
    let example = |path: &str| {
        let operation = &document["paths"][path]["post"];
        let example = operation["requestBody"]["content"]["application/json"]["example"].clone();
        assert!(example.is_object(), "{path}");
        example
    };
    let registered = client.post("/register_function", &example("/register_function")).await;
    assert_eq!(registered.status, 200, "{}", registered.text());
    let mut task_id = String::new();
    for path in ["/execute_function", "/v1/tasks"] {
        let mut body = example(path);
        body["function_id"] = json!(registered.text_at("function_id"));
        let reply = client.post(path, &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        task_id = reply.json()["task_id"].as_str().unwrap_or(&task_id).to_owned();
    }
    let mut body = example("/v1/results");
    body["task_ids"] = json!([task_id]);
    body["wait"] = json!(0);
    assert_eq!(client.post("/v1/results", &body).await.status, 200);
}
