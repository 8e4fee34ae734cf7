//! The further fields and routes.

use std::time::Duration;

use crate::support::{ARGS, Dispatcher, FUNCTION, Gateway};
use belljar_core::access::{AccessLog, Denied, DeniedKind};
use belljar_core::http::{HttpLog, HttpNote};
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome, OutputTail, Phases};
use belljar_pickle::payload;
use bytes::Bytes;
use serde_json::{Value, json};

#[tokio::test]
async fn a_function_says_how_it_wants_to_run() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let function_id = gateway
        .register_with(json!({
            "name": "len", "payload": FUNCTION, "runtime": "sandbox", "python": "3.13",
            "timeout_s": 1.5, "memory_mb": 64, "max_retries": 0, "description": "counts",
        }))
        .await;
    let shown = client.get(&format!("/v1/functions/{function_id}")).await.json();
    assert_eq!((&shown["runtime"], &shown["python"]), (&json!("sandbox"), &json!("3.13")));
    assert_eq!(shown["limits"], json!({"timeout_s": 1.5, "memory_mb": 64, "max_retries": 0}));
    assert_eq!((&shown["name"], &shown["description"]), (&json!("len"), &json!("counts")));
    assert!(shown["registered_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{shown}");
    for (field, value) in [
        ("runtime", json!("wasm")),
        ("python", json!("three")),
        ("timeout_s", json!(0)),
        ("timeout_s", json!(1e9)),
        ("grants", json!([])),
        ("grants", json!({"network": true})),
        ("grants", json!({"env": ["A=B"]})),
        ("grants", json!({"read": ["srv"]})),
        ("grants", json!({"read": ["/srv/../etc"]})),
        ("grants", json!({"read": ["/lib/x"]})),
        ("memory_mb", json!(0)),
        ("memory_mb", json!(1.5)),
        ("max_retries", json!(-1)),
        ("max_retries", json!(11)),
        ("description", json!(7)),
        ("name", json!("n".repeat(1_025))),
    ] {
        let mut body = json!({"name": "len", "payload": FUNCTION});
        body[field] = value;
        let problems = client.post("/register_function", &body).await.problems();
        assert_eq!((problems.len(), problems[0].1.as_str()), (1, field), "{body}");
    }
    let unknown = "/v1/functions/0f8fad5b-d9cb-469f-a165-70867728950e";
    client.get(unknown).await.is_error(404, "unknown_function");
    assert_eq!(client.get("/v1/functions/x").await.problems()[0].1, "function_id");
}

#[tokio::test]
async fn a_module_that_cannot_work_in_the_sandbox_is_told_at_registration() {
    let gateway = Gateway::start().await;
    // Nothing is known of guests before a worker has come.
    let pickle = payload::encode(b"\x80\x04csqlite3\nf\n.");
    let body = json!({"name": "f", "payload": pickle, "runtime": "sandbox"});
    assert_eq!(gateway.client().post("/register_function", &body).await.status, 200);
    let _dispatcher = Dispatcher::start(&gateway.store, &["native:3.11", "sandbox:3.11"]).await;
    let client = gateway.client();
    for name in ["torch", "sqlite3", "json"] {
        let pickle = [b"\x80\x04c", name.as_bytes(), b"\nf\n."].concat();
        let mut body = json!({"name": "f", "payload": payload::encode(&pickle)});
        assert_eq!(client.post("/register_function", &body).await.status, 200, "{name}");
        body["runtime"] = json!("sandbox");
        let reply = client.post("/register_function", &body).await;
        if name == "json" {
            assert_eq!(reply.status, 200);
            continue;
        }
        reply.is_error(422, "not_in_sandbox");
        let msg = reply.json()["detail"][0]["msg"].to_string();
        assert!(msg.contains(name) && msg.contains("native"), "{msg}");
    }
}

#[tokio::test]
async fn a_class_that_nobody_serves_is_refused_with_both_versions() {
    let gateway = Gateway::start().await;
    let _dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let client = gateway.client();
    let body = json!({"name": "len", "payload": FUNCTION, "python": "3.12"});
    let reply = client.post("/register_function", &body).await;
    assert_eq!(reply.problems(), [("python_unserved".to_owned(), "python".to_owned())]);
    assert!(reply.text().contains("3.12") && reply.text().contains("3.11"), "{}", reply.text());
    let body = json!({"name": "len", "payload": FUNCTION, "runtime": "sandbox"});
    assert_eq!(client.post("/register_function", &body).await.problems()[0].0, "runtime_unserved");
    let function_id = gateway.register().await;
    let body = json!({"function_id": function_id, "payload": ARGS, "runtime": "sandbox"});
    assert_eq!(client.post("/execute_function", &body).await.problems()[0].0, "runtime_unserved");
}

#[tokio::test]
async fn a_call_may_tighten_and_never_widen() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let registration =
        json!({"name": "a", "payload": FUNCTION, "runtime": "sandbox", "timeout_s": 10});
    let function_id = gateway.register_with(registration).await;
    let execute = async |extra: Value| {
        let mut body = json!({"function_id": function_id, "payload": ARGS});
        body.as_object_mut()
            .expect("an object")
            .append(extra.clone().as_object_mut().expect("one"));
        client.post("/execute_function", &body).await
    };
    let problems = execute(json!({"runtime": "native"})).await.problems();
    assert_eq!(problems, [("runtime_widened".to_owned(), "runtime".to_owned())]);
    let problems = execute(json!({"timeout_s": 10.5})).await.problems();
    assert_eq!(problems, [("less_than_equal".to_owned(), "timeout_s".to_owned())]);
    for (field, value) in [
        ("timeout_s", json!(0)),
        ("timeout_s", json!("1")),
        ("priority", json!("urgent")),
        ("delay_s", json!(-1)),
        ("delay_s", json!(1e9)),
        ("idempotency_key", json!("")),
        ("idempotency_key", json!(1)),
    ] {
        let problems = execute(json!({field: value})).await.problems();
        assert_eq!((problems.len(), problems[0].1.as_str()), (1, field));
    }
    let extra = json!({"timeout_s": 2.5, "runtime": "sandbox", "priority": "high"});
    let task_id = execute(extra).await.text_at("task_id");
    let shown = client.get(&format!("/v1/tasks/{task_id}")).await.json();
    assert_eq!(shown["limits"]["timeout_s"], 2.5);
    assert_eq!((&shown["priority"], &shown["runtime"]), (&json!("high"), &json!("sandbox")));

    let native = gateway.register().await;
    let body = json!({"function_id": native, "payload": ARGS, "runtime": "sandbox"});
    let task_id = client.post("/execute_function", &body).await.text_at("task_id");
    let shown = client.get(&format!("/v1/tasks/{task_id}")).await.json();
    assert_eq!(shown["runtime"], "sandbox");
}

#[tokio::test]
async fn a_delayed_task_waits() {
    let gateway = Gateway::start().await;
    let function_id = gateway.register().await;
    let body = json!({"function_id": function_id, "payload": ARGS, "delay_s": 60});
    let task_id = gateway.client().post("/execute_function", &body).await.text_at("task_id");
    let shown = gateway.client().get(&format!("/v1/tasks/{task_id}")).await.json();
    assert_eq!(shown["status"], "QUEUED");
    assert!(shown["due_at"].is_string(), "{shown}");
    let audit = gateway.client().get("/v1/audit").await.json();
    assert_eq!((&audit["delayed"], &audit["consistent"]), (&json!(1), &json!(true)));
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    assert!(dispatcher.claim(1).await.is_empty());
}

#[tokio::test]
async fn the_same_key_and_body_give_the_same_task() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let function_id = gateway.register().await;
    let body = json!({"function_id": function_id, "payload": ARGS, "idempotency_key": "k"});
    let first = client.post("/execute_function", &body).await.text_at("task_id");
    assert_eq!(client.post("/execute_function", &body).await.text_at("task_id"), first);
    let mut other = body.clone();
    other["timeout_s"] = json!(1);
    let reply = client.post("/execute_function", &other).await;
    reply.is_error(409, "idempotency_conflict");
    assert!(reply.text().contains("`k`") && reply.text().contains(&first), "{}", reply.text());

    let batch =
        json!({"function_id": function_id, "payloads": [ARGS, ARGS], "idempotency_key": "k"});
    let ids = client.post("/v1/tasks", &batch).await.json();
    assert_eq!(client.post("/v1/tasks", &batch).await.json(), ids);
    assert_ne!(ids["task_ids"][0], ids["task_ids"][1]);
    let mut shorter = batch.clone();
    shorter["payloads"] = json!([ARGS]);
    client.post("/v1/tasks", &shorter).await.is_error(409, "idempotency_conflict");
    assert_eq!(client.get("/v1/audit").await.json()["accepted"], 3);
}

#[tokio::test]
async fn a_batch_is_accepted_whole_or_not_at_all() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let function_id = gateway.register().await;
    let body = json!({"function_id": function_id, "payloads": vec![ARGS; 5_000]});
    let reply = client.post("/v1/tasks", &body).await;
    let ids = reply.json()["task_ids"].as_array().expect("ids").clone();
    assert_eq!(ids.len(), 5_000);
    let none = json!({"function_id": function_id, "payloads": []});
    assert_eq!(client.post("/v1/tasks", &none).await.json(), json!({"task_ids": []}));

    let bad = json!({"function_id": function_id, "payloads": [ARGS, ARGS, "payload"]});
    let reply = client.post("/v1/tasks", &bad).await;
    reply.is_error(400, "invalid_payload");
    assert!(reply.text().contains("payloads[2]"), "{}", reply.text());
    let bad = json!({"function_id": function_id, "payloads": [ARGS, 7]});
    let problems = client.post("/v1/tasks", &bad).await.problems();
    assert_eq!(problems, [("string_type".to_owned(), "1".to_owned())]);
    let bad = json!({"function_id": function_id, "payloads": vec![ARGS; 10_001]});
    assert_eq!(client.post("/v1/tasks", &bad).await.problems()[0].0, "too_long");
    let bad = json!({"function_id": function_id});
    assert_eq!(client.post("/v1/tasks", &bad).await.problems()[0].1, "payloads");
    let unknown = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let bad = json!({"function_id": unknown, "payloads": [ARGS]});
    client.post("/v1/tasks", &bad).await.is_error(404, "unknown_function");
    assert_eq!(client.get("/v1/audit").await.json()["accepted"], 5_000);
}

#[tokio::test]
async fn the_whole_record_is_told() {
    let gateway = Gateway::start().await;
    let function_id = gateway.register().await;
    let task_id = gateway.execute(&function_id).await;
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let task = dispatcher.claim(1).await.pop().expect("a task");
    let mut failure = Failure::by_platform(FailureKind::Exception, "no".to_owned());
    failure.traceback = "Traceback: line 1".to_owned();
    let mut outcome = Outcome::bare(CallVerdict::Failed(failure), Duration::from_micros(2_500));
    outcome.phases = Phases {
        instance_us: 0,
        decode_us: 100,
        call_us: 2_000,
        encode_us: 50,
        cpu_us: 1_500,
        start: None,
    };
    outcome.peak_memory_bytes = 4_096;
    outcome.stdout = OutputTail { bytes: Bytes::from_static(b"hi \xff"), total_bytes: 9_000 };
    let note = HttpNote {
        method: "GET".to_owned(),
        url: "https://a/x".to_owned(),
        status: Some(200),
        response_bytes: 9,
        elapsed_ms: 7,
        ..HttpNote::default()
    };
    let http = Some(HttpLog { total: 30, requests: vec![note] });
    let denied = vec![Denied { kind: DeniedKind::Read, name: "/etc/passwd".to_owned() }];
    outcome.access = Some(Box::new(AccessLog { http, denied }));
    dispatcher.finish_with(&task, outcome).await;

    let shown = gateway.client().get(&format!("/v1/tasks/{task_id}")).await.json();
    let request = json!({"method": "GET", "url": "https://a/x", "status": 200, "request_bytes": 0,
        "response_bytes": 9, "duration_ms": 7});
    assert_eq!(shown["denied"], json!([{"kind": "read", "name": "/etc/passwd"}]));
    assert_eq!(shown["http"], json!({"total": 30, "requests": [request]}));
    assert_eq!(shown["status"], "FAILED");
    assert_eq!((&shown["function_id"], &shown["python"]), (&json!(function_id), &json!("3.11")));
    assert_eq!(shown["failure"]["kind"], "exception");
    assert_eq!(shown["failure"]["message"], "RuntimeError: no");
    assert_eq!(shown["failure"]["traceback"], "Traceback: line 1");
    assert_eq!(shown["stdout"], json!({"text": "hi \u{fffd}", "total_bytes": 9_000}));
    assert_eq!(shown["durations_ms"]["call"], 2.0);
    assert_eq!(shown["durations_ms"]["slot"], 2.5);
    assert_eq!(shown["durations_ms"]["cpu"], 1.5);
    assert_eq!((&shown["attempts"], &shown["losses"]), (&json!(1), &json!([])));
    assert_eq!(shown["peak_memory_bytes"], 4_096);
    for time in ["accepted_at", "started_at", "finished_at", "expires_at"] {
        let text = shown[time].as_str().unwrap_or_else(|| panic!("no {time}: {shown}"));
        assert_eq!((text.len(), &text[4..5], &text[19..20]), (27, "-", "."), "{text}");
    }
    let unknown = "/v1/tasks/0f8fad5b-d9cb-469f-a165-70867728950e";
    gateway.client().get(unknown).await.is_error(404, "unknown_task");
}

/// Reads a list page by page.
async fn all_items(gateway: &Gateway, path: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = gateway.client().get(&format!("{path}&limit=2&cursor={cursor}")).await.json();
        items.extend(page["items"].as_array().expect("items").iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return items,
        }
    }
}

#[tokio::test]
async fn lists_are_paged_newest_first() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let mut functions = Vec::new();
    for _ in 0..3 {
        functions.push(gateway.register().await);
    }
    let mut tasks = Vec::new();
    for index in [0, 0, 1, 0, 0] {
        tasks.push(gateway.execute(&functions[index]).await);
    }
    let dispatchers = [
        Dispatcher::start(&gateway.store, &["native:3.11"]).await,
        Dispatcher::start(&gateway.store, &["native:3.11"]).await,
        Dispatcher::start(&gateway.store, &["native:3.11"]).await,
    ];
    dispatchers[0].complete_one(b"N.").await;

    let ids = |items: &[Value], field: &str| -> Vec<String> {
        items.iter().map(|item| item[field].as_str().expect("an id").to_owned()).collect()
    };
    let mut newest_first = tasks.clone();
    newest_first.reverse();
    assert_eq!(ids(&all_items(&gateway, "/v1/tasks?").await, "task_id"), newest_first);
    let of_one = all_items(&gateway, &format!("/v1/tasks?function_id={}", functions[1])).await;
    assert_eq!(ids(&of_one, "task_id"), [tasks[2].clone()]);
    let ended = all_items(&gateway, "/v1/tasks?status=COMPLETED").await;
    assert_eq!(ids(&ended, "task_id"), [tasks[0].clone()]);
    functions.reverse();
    assert_eq!(ids(&all_items(&gateway, "/v1/functions?").await, "function_id"), functions);
    let workers = all_items(&gateway, "/v1/workers?").await;
    assert_eq!(workers.len(), 3);
    assert_eq!(workers[0]["classes"], json!(["native:3.11"]));

    for (query, place) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("status=x", "status"),
    ] {
        let problems = client.get(&format!("/v1/tasks?{query}")).await.problems();
        assert_eq!(problems[0].1, place);
    }
    assert_eq!(client.get("/v1/tasks?function_id=x").await.problems()[0].1, "function_id");
    for list in ["tasks", "functions", "workers"] {
        let reply = client.get(&format!("/v1/{list}?cursor=nonsense%00%ff")).await;
        assert!(reply.status < 500, "{list}: {}", reply.text());
    }
}

#[tokio::test]
async fn operators_see_what_is_missing() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    assert_eq!(client.get("/healthz").await.json()["status"], "ok");
    let reply = client.get("/readyz").await;
    assert_eq!(
        (reply.status, &reply.json()["problems"][0]["code"]),
        (200, &json!("no_dispatcher"))
    );
    assert!(reply.text().contains("belljar dispatcher"), "{}", reply.text());
    let _dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let ready = client.get("/readyz").await;
    assert_eq!(ready.json()["problems"], json!(null), "{}", ready.text());
    assert_eq!((ready.status, &ready.json()["slots"]), (200, &json!(2)), "{}", ready.text());
    gateway.execute(&gateway.register().await).await;
    let metrics = client.get("/metrics").await;
    assert!(metrics.header("content-type").is_some_and(|kind| kind.contains("openmetrics")));
    for line in [
        r#"belljar_gateway_requests_total{route="/readyz",method="GET",code="200"} 2"#,
        "belljar_gateway_store_up 1",
        "belljar_gateway_connections 1",
        "belljar_gateway_request_duration_seconds_bucket{",
        "# EOF",
    ] {
        assert!(metrics.text().contains(line), "{line} in {}", metrics.text());
    }
    let service = client.get("/metrics/service").await;
    for line in [
        r#"belljar_service_queue_length{class="native:3.11"} 1"#,
        r#"belljar_service_workers{class="native:3.11"} 1"#,
        r#"belljar_service_tasks{state="queued"} 1"#,
        "belljar_service_tasks_accepted_total 1",
        r#"belljar_service_tenant_tasks_accepted_total{tenant="default"} 1"#,
        r#"belljar_service_tenant_tasks{tenant="default",state="queued"} 1"#,
        "belljar_service_audit_consistent 1",
        "belljar_service_slots 2",
    ] {
        assert!(service.text().contains(line), "{line} in {}", service.text());
    }
}

#[tokio::test]
async fn people_get_pages_and_programs_json() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    for accept in ["*/*", "application/json", "application/json, text/html"] {
        let reply = client.send("GET", "/", &[("accept", accept)], b"").await;
        assert!(reply.json()["message"].is_string() && reply.json()["version"].is_string());
    }
    assert!(client.get("/").await.json()["message"].is_string());
    let browser = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    for path in ["/", "/docs", "/docs/", "/start", "/start/"] {
        let reply = client.send("GET", path, &browser, b"").await;
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        let policy = reply.header("content-security-policy").expect("a policy");
        assert!(!policy.contains("unsafe") && policy.contains("script-src 'self'"), "{policy}");
        // Files are named from the page's own place.
        for file in reply.text().split("assets/").skip(1) {
            let below =
                if path.len() > 1 && path.ends_with('/') { "../assets/" } else { "assets/" };
            let name = file.split('"').next().expect("a name");
            assert!(reply.text().contains(&format!("\"{below}{name}\"")), "{path}: {name}");
            assert_eq!(client.get(&format!("/assets/{name}")).await.status, 200, "{name}");
        }
        assert!(reply.text().starts_with("<!doctype html>"));
    }
    assert_eq!(client.get("/openapi.json").await.json()["info"]["title"], "belljar");
}

#[tokio::test]
async fn every_described_method_is_there_and_no_other() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let document = client.get("/openapi.json").await.json();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let path =
            path.replace("{task_id}", id).replace("{function_id}", id).replace("{file}", "x.js");
        let reply = client.send("PATCH", &path, &[], b"").await;
        reply.is_error(405, "method_not_allowed");
        let allowed = reply.header("allow").expect("the methods").to_lowercase();
        let mut allowed: Vec<_> = allowed.split(',').filter(|method| *method != "head").collect();
        allowed.sort_unstable();
        let mut described: Vec<_> =
            methods.as_object().expect("methods").keys().map(String::as_str).collect();
        described.sort_unstable();
        assert_eq!(allowed, described, "{path}");
    }
}

#[tokio::test]
async fn a_large_argument_comes_through() {
    let gateway = Gateway::start().await;
    let function_id = gateway.register().await;
    let pickle = [&b"\x80\x04B\x00\x00\xa0\x00"[..], &vec![7; 10 << 20], b"."].concat();
    let body = json!({"function_id": function_id, "payload": payload::encode(&pickle)});
    let reply = gateway.client().post("/execute_function", &body).await;
    let task_id = reply.text_at("task_id");
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let task = dispatcher.claim(1).await.pop().expect("a task");
    assert_eq!(task.invocation.args, pickle);
    dispatcher.finish(&task, CallVerdict::Completed(pickle.clone().into())).await;
    let result = gateway.client().get(&format!("/result/{task_id}")).await.json();
    assert_eq!(result["result"], payload::encode(&pickle));
}
