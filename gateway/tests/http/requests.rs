//! Fields, headers, queries and cursors of requests: what is accepted, and what is said of the rest.

use crate::support::{ARGS, Dispatcher, FUNCTION, Gateway, until};
use serde_json::{Value, json};

const UNKNOWN: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

/// A valid body for each route that registers or submits.
fn bodies(function_id: &str) -> [(&'static str, Value); 3] {
    [
        ("/register_function", json!({"name": "len", "payload": FUNCTION})),
        ("/execute_function", json!({"function_id": function_id, "payload": ARGS})),
        ("/v1/tasks", json!({"function_id": function_id, "payloads": [ARGS]})),
    ]
}

/// The first sentence of an error.
fn sentence(reply: &Value) -> String {
    let detail = &reply["detail"];
    detail.as_str().or_else(|| detail[0]["msg"].as_str()).expect("a sentence").to_owned()
}

#[tokio::test]
async fn a_misspelt_field_is_refused_and_any_other_is_named() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    for (path, body) in bodies(&gateway.register().await) {
        for (typo, meant) in
            [("runtim", "runtime"), ("timeout", "timeout_s"), ("Runtime", "runtime")]
        {
            let mut body = body.clone();
            body[typo] = json!("sandbox");
            let reply = client.post(path, &body).await;
            assert_eq!(reply.problems(), [("extra_forbidden".to_owned(), typo.to_owned())]);
            let expected = format!("did you mean `{meant}`?");
            assert!(reply.text().contains(&expected), "{}", reply.text());
        }
        assert!(client.post(path, &body).await.json().get("ignored").is_none());
        let mut body = body.clone();
        (body["color"], body["x"]) = (json!("red"), json!({"y": [1]}));
        let reply = client.post(path, &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["ignored"], json!(["color", "x"]), "{path}");
    }
    let body = json!({"task_ids": [], "color": "red"});
    assert_eq!(client.post("/v1/results", &body).await.json()["ignored"], json!(["color"]));
    let waited = json!({"function_id": gateway.register().await, "payload": ARGS, "color": 1});
    let waited = client.post("/execute_function?wait=0.01", &waited).await.json();
    assert_eq!((&waited["status"], &waited["ignored"]), (&json!("QUEUED"), &json!(["color"])));
}

#[tokio::test]
async fn the_header_idempotency_key_means_the_same_as_the_field() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let [(register, function), submissions @ ..] = bodies(&gateway.register().await);
    for (path, body) in submissions {
        let send = async |body: &Value, headers: &[(&str, &str)]| {
            client.send("POST", path, headers, body.to_string().as_bytes()).await
        };
        let header = [("idempotency-key", "k")];
        let first = send(&body, &header).await.json();
        let mut with_field = body.clone();
        with_field["idempotency_key"] = json!("k");
        assert_eq!(send(&body, &header).await.json(), first);
        assert_eq!(send(&with_field, &[]).await.json(), first);
        assert_eq!(send(&with_field, &header).await.json(), first);
        let mut other = body.clone();
        other["timeout_s"] = json!(1);
        send(&other, &header).await.is_error(409, "idempotency_conflict");
        let place = ("value_error".to_owned(), "idempotency-key".to_owned());
        let differing = send(&with_field, &[("idempotency-key", "other")]).await;
        assert_eq!(differing.problems(), std::slice::from_ref(&place));
        let twice = send(&body, &[("idempotency-key", "a"), ("idempotency-key", "b")]).await;
        assert_eq!(twice.problems(), [place]);
        let long = "x".repeat(257);
        let long = send(&body, &[("idempotency-key", &long)]).await;
        assert_eq!(long.problems()[0].1, "idempotency-key");
    }
    let function = function.to_string();
    let reply = client.send("POST", register, &[("idempotency-key", "k")], function.as_bytes());
    assert_eq!(reply.await.json()["ignored"], json!(["Idempotency-Key"]));
    assert_eq!(client.get("/v1/audit").await.json()["accepted"], 2);
}

#[tokio::test]
async fn errors_name_the_value_and_the_way_out() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let wrong = client.send("GET", "/register_function", &[], b"").await;
    wrong.is_error(405, "method_not_allowed");
    assert_eq!(sentence(&wrong.json()), "use POST for /register_function");
    assert_eq!(wrong.header("allow"), Some("POST"));
    let wrong = client.send("PUT", "/v1/tasks/", &[], b"").await;
    assert_eq!(sentence(&wrong.json()), "use GET or POST for /v1/tasks/");

    let refused = client.send("GET", "/", &[("host", "faas.example:80")], b"").await.json();
    assert!(sentence(&refused).ends_with("start it with --allowed-host faas.example"), "{refused}");
    let refused = client.send("GET", "/", &[("host", "a b")], b"").await.json();
    assert!(sentence(&refused).ends_with("start it with --allowed-host NAME"), "{refused}");

    let register = async |extra: Value| {
        let mut body = json!({"name": "f", "payload": FUNCTION});
        body.as_object_mut().expect("one").append(extra.clone().as_object_mut().expect("one"));
        sentence(&client.post("/register_function", &body).await.json())
    };
    let said = register(json!({"runtime": "sandbx"})).await;
    assert_eq!(said, "`sandbx` is not a runtime: native or sandbox");
    let said = register(json!({"timeout_s": 99_999})).await;
    assert_eq!(said, "99999: this deployment allows at most 86400");
    let said = register(json!({"memory_mb": 99_999})).await;
    assert_eq!(said, "99999: this deployment allows at most 65536");

    let function_id = gateway.register().await;
    let body = json!({"function_id": function_id, "payload": ARGS, "timeout_s": 99_999});
    let said = sentence(&client.post("/execute_function", &body).await.json());
    assert_eq!(said, "99999: the function allows at most 300");
}

#[tokio::test]
async fn a_function_that_the_sandbox_cannot_run_is_named_with_the_module() {
    let gateway = Gateway::start().await;
    let _dispatcher = Dispatcher::start(&gateway.store, &["sandbox:3.11"]).await;
    // `torch.abs`, by reference.
    let payload = "gASVEQAAAAAAAACMBXRvcmNolIwDYWJzlJOULg==\n";
    let body = json!({"name": "f", "payload": payload, "runtime": "sandbox"});
    let reply = gateway.client().post("/register_function", &body).await;
    reply.is_error(422, "not_in_sandbox");
    let said = sentence(&reply.json());
    assert!(said.starts_with("`f` needs `torch`, which the sandbox does not have"), "{said}");
    assert!(said.contains("only for code that you trust"), "{said}");
}

#[tokio::test]
async fn grants_are_limited_in_number_and_length() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let register = async |grants: Value| {
        let body = json!({"name": "len", "payload": FUNCTION, "grants": grants});
        client.post("/register_function", &body).await
    };
    let most = register(json!({"env": vec!["A"; 32], "read": vec!["/srv/x"; 32]})).await;
    assert_eq!(most.status, 200, "{}", most.text());
    for (grants, kind, place) in [
        (json!({"env": vec!["A"; 33]}), "too_long", "env"),
        (json!({"read": vec!["/srv/x"; 33]}), "too_long", "read"),
        (json!({"env": ["A".repeat(1_025)]}), "string_too_long", "0"),
        (json!({"env": "A"}), "list_type", "env"),
        (json!({"read": vec!["/".to_owned() + &"x".repeat(99); 21]}), "grant_invalid", "grants"),
        (json!({"read": ["srv"]}), "grant_invalid", "grants"),
        (json!({"write": ["/srv/x"]}), "grant_invalid", "grants"),
        (json!({"reed": []}), "extra_forbidden", "reed"),
        (json!([]), "model_attributes_type", "grants"),
    ] {
        let reply = register(grants).await;
        assert_eq!(reply.problems(), [(kind.to_owned(), place.to_owned())]);
    }
}

#[tokio::test]
async fn cursors_are_parsed_and_empty_values_are_named() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let task_id = gateway.execute(&gateway.register().await).await;
    for list in ["tasks", "functions", "workers"] {
        for cursor in ["nan", "0x10", "-inf", "zzz", "+1", "1.5", "1e3", "99999999999999999999"] {
            let reply = client.get(&format!("/v1/{list}?cursor={cursor}")).await;
            let place = ("value_error".to_owned(), "cursor".to_owned());
            assert_eq!(reply.problems(), [place], "{list} {cursor}");
        }
        assert_eq!(client.get(&format!("/v1/{list}?cursor=")).await.status, 200);
    }
    for (path, place) in [
        ("/v1/tasks?function_id=", "function_id"),
        ("/v1/tasks?status=", "status"),
        ("/v1/events?task_id=", "task_id"),
        ("/v1/events?function_id=", "function_id"),
        ("/result/%20?wait=1", "task_id"),
    ] {
        assert_eq!(client.get(path).await.problems()[0].1, place, "{path}");
    }
    for wait in ["null", "", "nan", "-1", "61", "0x10"] {
        let reply = client.get(&format!("/result/{task_id}?wait={wait}")).await;
        assert_eq!(reply.problems()[0].1, "wait", "{wait}");
    }
    let body = json!({"task_ids": [task_id], "wait": null});
    assert_eq!(client.post("/v1/results", &body).await.json(), json!({"results": []}));
    let body = json!({"task_ids": [""]});
    let reply = client.post("/v1/results", &body).await;
    assert_eq!(reply.problems(), [("uuid_parsing".to_owned(), "0".to_owned())]);
    assert!(reply.text().contains("not an empty text"), "{}", reply.text());
    let body = json!({"function_id": UNKNOWN, "payloads": [ARGS], "wait": null});
    client.post("/v1/tasks", &body).await.is_error(404, "unknown_function");
}

/// Runs a command on the gateway's Redis server.
async fn redis(gateway: &Gateway, command: &[&str]) -> String {
    let url = gateway.redis.url();
    let mut cli = tokio::process::Command::new("redis-cli");
    let cli = cli.args(["-s", url.trim_start_matches("redis+unix://")]).args(command);
    let output = cli.output().await.expect("redis-cli");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn a_record_that_cannot_be_read_does_not_break_the_list() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let function_id = gateway.register().await;
    let (good, bad) = (gateway.execute(&function_id).await, gateway.execute(&function_id).await);
    let other = gateway.register().await;
    for id in [&bad, &other] {
        for key in redis(&gateway, &["keys", &format!("*{id}*")]).await.lines() {
            redis(&gateway, &["setrange", key, "0", "\u{7f}nonsense, and more of that"]).await;
        }
    }
    let tasks = client.get("/v1/tasks").await.json();
    assert_eq!(tasks["items"][0]["id"], bad, "{tasks}");
    assert!(tasks["items"][0]["unreadable"].is_string(), "{tasks}");
    assert_eq!(tasks["items"][1]["task_id"], good, "{tasks}");
    let functions = client.get("/v1/functions").await.json();
    assert_eq!(functions["items"][0]["id"], other, "{functions}");
    assert_eq!(functions["items"][1]["function_id"], function_id, "{functions}");
    let queued = client.get("/v1/tasks?status=QUEUED").await.json();
    assert_eq!(queued["items"].as_array().map(Vec::len), Some(1), "{queued}");
    let reply = client.post("/v1/results", &json!({"task_ids": [good, bad]})).await;
    reply.is_error(500, "record_unreadable");
    assert!(sentence(&reply.json()).contains(&bad), "it names which: {}", reply.text());
}

#[tokio::test]
async fn calls_of_a_function_with_long_grants_are_listed() {
    let gateway = Gateway::start().await;
    let read: Vec<_> = (0..6).map(|n| format!("/srv/{}{n}", "x".repeat(200))).collect();
    let body = json!({"name": "len", "payload": FUNCTION, "grants": {"read": read}});
    let task_id = gateway.execute(&gateway.register_with(body).await).await;
    let tasks = gateway.client().get("/v1/tasks").await.json();
    assert_eq!(tasks["items"][0]["task_id"], task_id, "{tasks}");
}

#[tokio::test]
async fn a_submission_without_an_answer_is_not_said_to_have_changed_nothing() {
    let quick = std::time::Duration::from_millis(200);
    let gateway = Gateway::with(|_| {}, |store| store.timeout = quick).await;
    let client = gateway.client();
    let function_id = gateway.register().await;
    let mut body = json!({"function_id": function_id, "payload": ARGS, "idempotency_key": "k"});
    // Once this is answered the gateway's subscription is up, and after another call it has the function at hand.
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let first = json!({"function_id": function_id, "payload": ARGS});
    let waiting = client.post("/execute_function?wait=10", &first);
    let (reply, ()) = tokio::join!(waiting, async {
        let queued = async || gateway.store.audit().await.is_ok_and(|it| it.counts.queued == 1);
        until("it is queued", queued).await;
        dispatcher.complete_one(b"\x80\x04N.").await;
    });
    assert_eq!(reply.text_at("status"), "COMPLETED");
    gateway.execute(&function_id).await;
    // The server takes the command and answers later.
    redis(&gateway, &["client", "pause", "600", "all"]).await;
    let reply = client.post("/execute_function", &body).await;
    reply.is_error(503, "store_unreachable");
    let said = sentence(&reply.json());
    assert!(said.contains("not known") && said.contains("`idempotency_key`"), "{said}");
    assert!(!said.contains("nothing was changed"), "{said}");
    let task_id = loop {
        let reply = client.post("/execute_function", &body).await;
        if reply.status == 200 {
            break reply.text_at("task_id");
        }
    };
    assert_eq!(client.post("/execute_function", &body).await.text_at("task_id"), task_id);
    assert_eq!(client.get("/v1/audit").await.json()["accepted"], 3);
    body["idempotency_key"] = json!("other");
    assert_ne!(client.post("/execute_function", &body).await.text_at("task_id"), task_id);
}
