//! Keys, tenants and scopes: every route with every kind of key.

use std::time::{Duration, Instant};

use belljar_core::api_key::{ApiKeySecret, Scope};
use belljar_core::id::{FunctionId, WorkerId};
use belljar_core::task::Runtime;
use belljar_store::record::{ApiKey, Timestamp};
use serde_json::{Value, json};

use crate::support::client::{Reply, request};
use crate::support::guarded::{ALL, Guarded, record};
use crate::support::{ARGS, Dispatcher, FUNCTION, Gateway, until};

/// How soon a revoked key is refused everywhere.
const EFFECTIVE: Duration = Duration::from_secs(5);
/// A route as the description has it, with the ids of real things.
struct Route {
    method: String,
    path: String,
    body: Value,
    /// `None` for a public one.
    scope: Option<Scope>,
    /// Whether the request names a function or a task.
    names: bool,
}

/// Every route of the gateway, in the form of requests that a function, a task, an uploaded value and a session answer.
async fn routes(guarded: &Guarded, ids: [&str; 4]) -> Vec<Route> {
    let [function, task, blob, session] = ids;
    let document = guarded.send("", "GET", "/openapi.json", &Value::Null).await.json();
    let workers = guarded.gateway.store.workers().await.expect("read");
    let worker = workers
        .first()
        .map_or(WorkerId::from_bytes([0; 16]).to_string(), |worker| worker.id.to_string());
    let mut routes = Vec::new();
    for (pattern, methods) in document["paths"].as_object().expect("paths") {
        let pattern = &pattern.replace("{file}", "dashboard.js");
        for (method, operation) in methods.as_object().expect("methods") {
            let scope = operation["security"][0]["key"][0].as_str();
            let scope = scope.map(|scope| scope.parse().expect("a scope"));
            let mut body =
                operation["requestBody"]["content"]["application/json"]["example"].clone();
            for (field, value) in [("function_id", json!(function)), ("task_ids", json!([task]))] {
                if !body[field].is_null() {
                    body[field] = value;
                }
            }
            let path = pattern.replace("{task_id}", task).replace("{function_id}", function);
            let path = path.replace("{worker_id}", &worker).replace("{blob_id}", blob);
            let path = path.replace("{session_id}", session);
            let names = path != *pattern
                || body.to_string().contains(function)
                || body.to_string().contains(task);
            routes.push(Route { method: method.to_uppercase(), path, body, scope, names });
        }
    }
    let events = format!("/v1/events?task_id={task}");
    let (method, scope) = ("GET".to_owned(), Some(Scope::Read));
    routes.push(Route { method, path: events, body: Value::Null, scope, names: true });
    // Last, as nothing finds the function any more.
    routes.sort_by_key(|route| route.method == "DELETE");
    routes
}

/// Uploads a value: its id.
async fn upload(guarded: &Guarded, key: &str) -> String {
    guarded.send(key, "PUT", "/v1/blobs", &json!("a value")).await.text_at("blob_id")
}

/// What a dispatcher serves.
const BOTH: [&str; 2] = ["native:3.11", "sandbox:3.11"];

/// Makes a session: its id.
async fn session(guarded: &Guarded, key: &str) -> String {
    guarded.send(key, "POST", "/v1/sessions", &json!({})).await.text_at("session_id")
}

/// Collects wrong answers.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, is_right: bool, who: &str, route: &Route, reply: &Reply) {
        if !is_right {
            let Route { method, path, .. } = route;
            self.0.push(format!("{who}: {method} {path}: {} {}", reply.status, reply.text()));
        }
    }

    fn unless_refused(&mut self, who: &str, route: &Route, reply: &Reply, with: (u16, &str)) {
        let (status, code) = with;
        let challenge = reply.header("www-authenticate").unwrap_or_default();
        let is_refused = reply.status == status
            && reply.json()["code"] == code
            && reply.json()["detail"].as_str().is_some_and(|text| !text.is_empty())
            && challenge.starts_with("Bearer");
        self.unless(is_refused, who, route, reply);
    }
}

/// Keys that no route takes: what they are, their text, and the code of the answer.
async fn refused_keys(guarded: &Guarded) -> [(&'static str, String, &'static str); 5] {
    let expired = ApiKey { expires_at: Some(Timestamp(2)), ..record("acme", &[Scope::Admin]) };
    let revoked = ApiKey { revoked_at: Some(Timestamp(2)), ..record("acme", &[Scope::Admin]) };
    let unknown = ApiKeySecret::new([255; 25]).reveal().to_owned();
    [
        ("no key", String::new(), "key_missing"),
        ("malformed", "bj_x".to_owned(), "key_invalid"),
        ("unknown", unknown, "key_invalid"),
        ("expired", guarded.put(&expired).await, "key_expired"),
        ("revoked", guarded.put(&revoked).await, "key_revoked"),
    ]
}

#[tokio::test]
async fn every_route_answers_every_key_as_it_should() {
    let guarded = Guarded::start().await;
    let _dispatcher = Dispatcher::start(&guarded.gateway.store, &BOTH).await;
    let owner = guarded.key("acme", &ALL).await;
    let (function, task) = {
        let function = guarded.register(&owner).await;
        let task = guarded.execute(&owner, &function).await;
        (function, task)
    };
    let other = guarded.key("other", &ALL).await;
    let refused = refused_keys(&guarded).await;
    let (blob, session) = (upload(&guarded, &owner).await, session(&guarded, &owner).await);
    let routes = routes(&guarded, [&function, &task, &blob, &session]).await;
    assert!(routes.len() >= 22, "{}", routes.len());
    let (mut wrong, mut count) = (Wrong::default(), 0);
    for route in &routes {
        let Route { method, path, body, scope, names } = route;
        for path in [path.clone(), format!("{path}/")] {
            if path.contains('?') && path.ends_with('/') || path == "//" {
                continue;
            }
            let send = async |key: &str| guarded.send(key, method, &path, body).await;
            for (who, key, code) in &refused {
                count += 1;
                let reply = send(key).await;
                match scope {
                    Some(_) => wrong.unless_refused(who, route, &reply, (401, code)),
                    None => wrong.unless(reply.status == 200, who, route, &reply),
                }
            }
            let Some(scope) = *scope else { continue };
            let others: Vec<_> = ALL.into_iter().filter(|other| *other != scope).collect();
            let without = guarded.key("acme", &others).await;
            let reply = send(&without).await;
            wrong.unless_refused("no scope", route, &reply, (403, "scope_missing"));
            count += 1;
            if scope != Scope::Admin {
                let foreign = send(&other).await;
                let is_right = match names {
                    true => foreign.status == 404,
                    false => {
                        matches!(foreign.status, 200 | 201)
                            && !foreign.text().contains(&task)
                            && !foreign.text().contains(&function)
                    }
                };
                wrong.unless(is_right, "another tenant", route, &foreign);
                count += 1;
            }
        }
        // Its own key last, as a cancel changes what others would see.
        if let Some(scope) = *scope {
            let only = guarded.key("acme", &[scope]).await;
            // With `wait` an answer carries a result, which is for those who read.
            let reply = guarded.send(&only, method, path, body).await;
            // The call has left no file, which only who may read it is told.
            let is_right =
                matches!(reply.status, 200..=202) || reply.text().contains("\"unknown_file\"");
            wrong.unless(is_right, "its own key", route, &reply);
            count += 1;
        }
    }
    assert!(count > 250, "{count}");
    assert!(wrong.0.is_empty(), "{} of {count} are wrong: {:#?}", wrong.0.len(), wrong.0);
}

#[tokio::test]
async fn what_is_another_tenants_is_answered_like_what_does_not_exist() {
    let guarded = Guarded::start().await;
    let owner = guarded.key("acme", &ALL).await;
    let other = guarded.key("other", &ALL).await;
    let function = guarded.register(&owner).await;
    let task = guarded.execute(&owner, &function).await;
    let nothing = FunctionId::random().to_string();
    let mut compared = 0;
    let (blob, session) = (upload(&guarded, &owner).await, session(&guarded, &owner).await);
    for (real, made_up) in routes(&guarded, [&function, &task, &blob, &session])
        .await
        .iter()
        .zip(&routes(&guarded, [&nothing; 4]).await)
    {
        if !real.names || real.scope == Some(Scope::Admin) {
            continue;
        }
        let answer = async |route: &Route, id: &str| {
            let Route { method, path, body, .. } = route;
            let reply = guarded.send(&other, method, path, body).await;
            (reply.status, reply.text().replace(id, "ID"))
        };
        let id = if real.path.contains(&blob) {
            &blob
        } else if real.path.contains(&session) {
            &session
        } else if real.body["function_id"].is_null() && !real.path.contains(&function) {
            &task
        } else {
            &function
        };
        assert_eq!(answer(real, id).await, answer(made_up, &nothing).await, "{}", real.path);
        compared += 1;
    }
    assert!(compared >= 8, "{compared}");
}

#[tokio::test]
async fn a_revoked_key_is_refused_within_five_seconds_and_its_streams_end() {
    let guarded = Guarded::start().await;
    let key = guarded.key("acme", &ALL).await;
    let function = guarded.register(&key).await;
    let task = guarded.execute(&key, &function).await;
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    let mut stream = guarded.gateway.client().connect().await;
    stream.write(&request("GET", "/v1/events", &headers, b"")).await;
    stream.until(": connected").await;
    let mut output = guarded.gateway.client().connect().await;
    let path = format!("/v1/tasks/{task}/output");
    output.write(&request("GET", &path, &headers, b"")).await;
    output.until(": connected").await;
    let mut poll = guarded.gateway.client().connect().await;
    let path = format!("/result/{task}?wait={}", EFFECTIVE.as_secs());
    poll.write(&request("GET", &path, &headers, b"")).await;
    let status = format!("/status/{task}");
    assert_eq!(guarded.send(&key, "GET", &status, &Value::Null).await.status, 200);
    guarded.revoke(&key).await;
    let start = Instant::now();
    until("the key is refused", async || {
        guarded.send(&key, "GET", &status, &Value::Null).await.status == 401
    })
    .await;
    stream.until("event: unauthorized").await;
    output.until("event: unauthorized").await;
    assert!(start.elapsed() < EFFECTIVE, "{:?}", start.elapsed());
    poll.reply().await.expect("a reply").is_error(401, "key_revoked");
}

#[tokio::test]
async fn events_are_those_of_the_tenant() {
    let guarded = Guarded::start().await;
    let [ours, theirs] = [guarded.key("acme", &ALL).await, guarded.key("other", &ALL).await];
    let bearer = format!("Bearer {ours}");
    let mut stream = guarded.gateway.client().connect().await;
    let headers = [("authorization", bearer.as_str())];
    stream.write(&request("GET", "/v1/events", &headers, b"")).await;
    stream.until(": connected").await;
    let dispatcher = Dispatcher::start(&guarded.gateway.store, &["native:3.11"]).await;
    let mut own = String::new();
    for key in [&theirs, &ours] {
        let function = guarded.register(key).await;
        own = guarded.execute(key, &function).await;
        dispatcher.complete_one(b"\x80\x04N.").await;
    }
    let text = stream.until("COMPLETED").await;
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    let ids: Vec<_> = ids.collect();
    assert_eq!(ids, [own.as_str(); 3], "{text}");
}

#[tokio::test]
async fn a_key_may_be_for_one_runtime_only() {
    let guarded = Guarded::start().await;
    let classes = ["native:3.11", "sandbox:3.11"];
    let _dispatcher = Dispatcher::start(&guarded.gateway.store, &classes).await;
    let both = guarded.key("acme", &ALL).await;
    let sandbox = ApiKey { runtimes: vec![Runtime::Sandbox], ..record("acme", &ALL) };
    let sandbox = guarded.put(&sandbox).await;
    let register = async |key: &str, runtime: Option<&str>| {
        let mut body = json!({"name": "len", "payload": FUNCTION});
        if let Some(runtime) = runtime {
            body["runtime"] = runtime.into();
        }
        guarded.send(key, "POST", "/register_function", &body).await
    };
    register(&sandbox, Some("native")).await.is_error(403, "runtime_forbidden");
    let function = register(&sandbox, None).await.text_at("function_id");
    let path = format!("/v1/functions/{function}");
    let view = guarded.send(&both, "GET", &path, &Value::Null).await;
    assert_eq!(view.text_at("runtime"), "sandbox", "not the deployment's default, which is native");
    let native = register(&both, None).await.text_at("function_id");
    let call = json!({"function_id": native, "payload": ARGS});
    guarded
        .send(&sandbox, "POST", "/execute_function", &call)
        .await
        .is_error(403, "runtime_forbidden");
    let call = json!({"function_id": native, "payload": ARGS, "runtime": "sandbox"});
    assert_eq!(guarded.send(&sandbox, "POST", "/execute_function", &call).await.status, 200);
}

#[tokio::test]
async fn an_answer_with_a_result_is_for_those_who_read() {
    let guarded = Guarded::start().await;
    let key = guarded.key("acme", &ALL).await;
    let function = guarded.register(&key).await;
    let blind = guarded.key("acme", &[Scope::Submit]).await;
    let one = json!({"function_id": function, "payload": ARGS});
    let many = json!({"function_id": function, "payloads": [ARGS], "wait": 0.01});
    for (path, body) in [("/execute_function?wait=0.01", &one), ("/v1/tasks", &many)] {
        guarded.send(&blind, "POST", path, body).await.is_error(403, "scope_missing");
        assert_eq!(guarded.send(&key, "POST", path, body).await.status, 200);
    }
    assert_eq!(guarded.send(&blind, "POST", "/execute_function", &one).await.status, 200);
}

#[tokio::test]
async fn without_keys_everything_is_of_the_default_tenant() {
    let gateway = Gateway::start().await;
    let function = gateway.register().await;
    let task = gateway.execute(&function).await;
    let headers = [("authorization", "Bearer bj_anything")];
    let reply = gateway.client().send("GET", &format!("/status/{task}"), &headers, b"").await;
    assert_eq!(reply.status, 200, "a header that nobody asked for is left alone");
    let id = task.parse().expect("an id");
    let record = gateway.store.task(id).await.expect("read").expect("known");
    assert!(record.tenant.is_default());
}

#[tokio::test]
async fn a_refusal_is_read_by_a_client_that_is_still_sending() {
    let guarded = Guarded::start().await;
    let body = json!({"name": "len", "payload": "A".repeat(2 << 20)});
    guarded.send("", "POST", "/register_function", &body).await.is_error(401, "key_missing");
}
