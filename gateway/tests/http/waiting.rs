//! Waiting for tasks: long polls, batches, events, cancel.

use std::time::{Duration, Instant};

use crate::support::{ARGS, Dispatcher, Gateway, until};
use belljar_core::outcome::{CallVerdict, Failure, FailureKind};
use belljar_gateway::Stopped;
use belljar_store::record::{RequeueReason, Requeued};
use serde_json::{Value, json};

async fn waiters(gateway: &Gateway) -> String {
    let text = gateway.client().get("/metrics").await.text();
    let line = text.lines().find(|line| line.starts_with("belljar_gateway_waiters "));
    line.expect("the metric").rsplit(' ').next().expect("a number").to_owned()
}

#[tokio::test]
async fn a_long_poll_answers_the_moment_the_task_ends() {
    let gateway = Gateway::start().await;
    let task_id = gateway.execute(&gateway.register().await).await;
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let client = gateway.client();
    let poll = tokio::spawn(async move { client.get(&format!("/result/{task_id}?wait=30")).await });
    until("the poll waits", async || waiters(&gateway).await == "1").await;
    let ended = Instant::now();
    dispatcher.complete_one(b"\x80\x04K\x04.").await;
    let reply = poll.await.expect("a reply");
    assert!(ended.elapsed() < Duration::from_secs(2), "{:?}", ended.elapsed());
    assert_eq!(reply.json()["status"], "COMPLETED");
    assert_eq!(reply.json()["result"], "gARLBC4=\n");
    assert!(reply.header("x-result-expires").is_some());
    assert!(reply.header("server-timing").is_some_and(|timing| timing.contains("wait;dur=")));
    assert_eq!(waiters(&gateway).await, "0");
}

#[tokio::test]
async fn a_call_is_answered_with_its_result_if_the_client_waits() {
    let gateway = Gateway::start().await;
    let body = json!({"function_id": gateway.register().await, "payload": ARGS});
    let client = gateway.client();
    let unfinished = client.post("/execute_function?wait=0.05", &body).await.json();
    assert_eq!((&unfinished["status"], &unfinished["result"]), (&json!("QUEUED"), &json!("")));
    let cancel = format!("/v1/tasks/{}/cancel", unfinished["task_id"].as_str().expect("an id"));
    client.post(&cancel, &json!({})).await.json();

    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let mut keyed = body.clone();
    keyed["idempotency_key"] = json!("once");
    for body in [body, keyed.clone()] {
        let client = gateway.client();
        let call =
            tokio::spawn(async move { client.post("/execute_function?wait=30", &body).await });
        until("the call waits", async || waiters(&gateway).await == "1").await;
        dispatcher.complete_one(b"\x80\x04K\x04.").await;
        let reply = call.await.expect("a reply").json();
        assert_eq!(
            (&reply["status"], &reply["result"]),
            (&json!("COMPLETED"), &json!("gARLBC4=\n"))
        );
    }
    // What has ended already is answered at once.
    let again = client.post("/execute_function?wait=30", &keyed).await.json();
    assert_eq!((&again["status"], &again["result"]), (&json!("COMPLETED"), &json!("gARLBC4=\n")));
    let problems = client.post("/execute_function?wait=61", &keyed).await.problems();
    assert_eq!(problems[0].1, "wait");
}

#[tokio::test]
async fn a_long_poll_ends_with_the_unfinished_form() {
    let gateway = Gateway::start().await;
    let task_id = gateway.execute(&gateway.register().await).await;
    let client = gateway.client();
    let reply = client.get(&format!("/result/{task_id}?wait=0.05")).await;
    assert_eq!(reply.json(), json!({"task_id": task_id, "status": "QUEUED", "result": ""}));
    let reply = client.get(&format!("/status/{task_id}?wait=0.05")).await;
    assert_eq!(reply.json(), json!({"task_id": task_id, "status": "QUEUED"}));
    for wait in ["-1", "60.5", "nan", "inf", "soon", ""] {
        for route in ["status", "result"] {
            let problems = client.get(&format!("/{route}/{task_id}?wait={wait}")).await.problems();
            assert_eq!(problems[0].1, "wait", "{wait}");
        }
    }
}

#[tokio::test]
async fn a_thousand_long_polls_at_once() {
    let gateway = Gateway::start().await;
    let function_id = gateway.register().await;
    let body = json!({"function_id": function_id, "payloads": vec![ARGS; 1_000]});
    let reply = gateway.client().post("/v1/tasks", &body).await;
    let ids = reply.json()["task_ids"].as_array().expect("ids").clone();
    let polls: Vec<_> = ids
        .iter()
        .map(|id| {
            let (client, path) =
                (gateway.client(), format!("/result/{}?wait=30", id.as_str().expect("text")));
            tokio::spawn(async move { client.get(&path).await })
        })
        .collect();
    until("all wait", async || waiters(&gateway).await == "1000").await;
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let start = Instant::now();
    let mut left = 1_000;
    while left > 0 {
        for task in dispatcher.claim(100).await {
            dispatcher
                .finish(&task, CallVerdict::Completed(bytes::Bytes::from_static(b"N.")))
                .await;
            left -= 1;
        }
    }
    for poll in polls {
        assert_eq!(poll.await.expect("a reply").json()["status"], "COMPLETED");
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(waiters(&gateway).await, "0");
}

#[tokio::test]
async fn who_hangs_up_waits_no_longer() {
    let gateway = Gateway::start().await;
    let task_id = gateway.execute(&gateway.register().await).await;
    let mut connection = gateway.client().connect().await;
    let path = format!("/result/{task_id}?wait=30");
    connection.write(&crate::support::client::request("GET", &path, &[], b"")).await;
    until("it waits", async || waiters(&gateway).await == "1").await;
    drop(connection);
    until("it is forgotten", async || waiters(&gateway).await == "0").await;
}

#[tokio::test]
async fn waiters_are_bounded() {
    let gateway = Gateway::with(|config| config.max_waiters = 1, |_| {}).await;
    let function_id = gateway.register().await;
    let ids = [gateway.execute(&function_id).await, gateway.execute(&function_id).await];
    let client = gateway.client();
    let body = json!({"task_ids": ids, "wait": 1});
    client.post("/v1/results", &body).await.is_error(503, "too_many_waiters");
    let reply = client.get(&format!("/result/{}?wait=0.01", ids[0])).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn waiters_hear_of_ends_across_a_lost_connection() {
    let mut gateway = Gateway::with(|_| {}, |_| {}).await;
    let function_id = gateway.register().await;
    gateway.execute(&function_id).await;
    gateway.redis.kill();
    gateway.redis.restart().expect("it starts again");
    // The server forgot all (it keeps nothing here): the gateway works on with what is new.
    let function_id =
        gateway.register_with(json!({"name": "a", "payload": crate::support::FUNCTION})).await;
    let task_id = gateway.execute(&function_id).await;
    let client = gateway.client();
    let poll = tokio::spawn(async move { client.get(&format!("/result/{task_id}?wait=30")).await });
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    dispatcher.complete_one(b"N.").await;
    assert_eq!(poll.await.expect("a reply").json()["status"], "COMPLETED");
}

#[tokio::test]
async fn the_drain_answers_those_who_wait() {
    let gateway = Gateway::start().await;
    let task_id = gateway.execute(&gateway.register().await).await;
    let client = gateway.client();
    let path = format!("/result/{task_id}?wait=30");
    let poll = tokio::spawn(async move { client.get(&path).await });
    let mut events = gateway.client().connect().await;
    events.write(&crate::support::client::request("GET", "/v1/events", &[], b"")).await;
    events.until(": connected").await;
    until("it waits", async || waiters(&gateway).await == "1").await;
    gateway.shutdown.cancel();
    assert_eq!(poll.await.expect("a reply").json()["status"], "QUEUED");
    let rest = String::from_utf8(events.rest().await).expect("text");
    assert!(rest.contains("event: shutdown"), "{rest}");
    let stopped = gateway.run.await.expect("no panic").expect("no failure");
    assert_eq!(stopped, Stopped::Drained);
}

#[tokio::test]
async fn results_of_many_come_with_the_first_end() {
    let gateway = Gateway::start().await;
    let function_id = gateway.register().await;
    let body = json!({"function_id": function_id, "payloads": [ARGS, ARGS, ARGS]});
    let ids = gateway.client().post("/v1/tasks", &body).await.json()["task_ids"].clone();
    let client = gateway.client();
    let now = client.post("/v1/results", &json!({"task_ids": ids})).await;
    assert_eq!(now.json(), json!({"results": []}));
    let soon = client.post("/v1/results", &json!({"task_ids": ids, "wait": 0.02})).await;
    assert_eq!(soon.json(), json!({"results": []}));
    let none = client.post("/v1/results", &json!({"task_ids": [], "wait": 60})).await;
    assert_eq!(none.json(), json!({"results": []}));

    let asked = json!({"task_ids": [ids[0], ids[0], ids[1]], "wait": 30});
    let poll = tokio::spawn(async move { client.post("/v1/results", &asked).await });
    until("it waits", async || waiters(&gateway).await == "2").await;
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let first = dispatcher.complete_one(b"N.").await;
    let reply = poll.await.expect("a reply").json();
    assert_eq!(reply["results"].as_array().map(Vec::len), Some(1), "{reply}");
    assert_eq!(reply["results"][0]["task_id"], Value::String(first.to_string()));
    assert_eq!(reply["results"][0]["result"], "Ti4=\n");
    assert!(reply["results"][0]["expires_at"].is_string());
    assert!(reply["results"][0].get("failure").is_none());

    let task = dispatcher.claim(1).await.pop().expect("a task is queued");
    let failure = Failure::by_platform(FailureKind::Timeout, "too long".to_owned());
    dispatcher.finish(&task, CallVerdict::Failed(failure)).await;
    let asked = json!({"task_ids": [task.id().to_string()], "wait": 30});
    let reply = gateway.client().post("/v1/results", &asked).await.json();
    assert_eq!(reply["results"][0]["failure"], "timeout", "{reply}");

    let unknown = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let reply = gateway.client().post("/v1/results", &json!({"task_ids": [ids[0], unknown]})).await;
    reply.is_error(404, "unknown_task");
    assert!(reply.text().contains(unknown));
    for (body, place) in [
        (json!({}), "task_ids"),
        (json!({"task_ids": ids, "wait": 61}), "wait"),
        (json!({"task_ids": ids, "wait": "x"}), "wait"),
        (json!({"task_ids": ["x"]}), "0"),
        (json!({"task_ids": vec![unknown; 10_001]}), "task_ids"),
    ] {
        let problems = gateway.client().post("/v1/results", &body).await.problems();
        assert_eq!(problems[0].1, place);
    }
}

#[tokio::test]
async fn a_submission_brings_along_what_ends_while_it_waits() {
    let gateway = Gateway::start().await;
    let function_id = gateway.register().await;
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let mut body = json!({"function_id": function_id, "payloads": [ARGS], "wait": 30,
        "idempotency_key": "together"});
    let (client, asked) = (gateway.client(), body.clone());
    let submitting = tokio::spawn(async move { client.post("/v1/tasks", &asked).await });
    until("it waits", async || waiters(&gateway).await == "1").await;
    let task_id = dispatcher.complete_one(b"N.").await.to_string();
    let reply = submitting.await.expect("a reply").json();
    assert_eq!(reply["task_ids"], json!([task_id]));
    assert_eq!(reply["results"][0]["task_id"], task_id);
    assert_eq!(reply["results"][0]["result"], "Ti4=\n");

    let repeated = gateway.client().post("/v1/tasks", &body).await.json();
    assert_eq!(repeated, reply, "though it ended before");
    body["idempotency_key"] = json!("alone");
    body["wait"] = json!(0.01);
    let reply = gateway.client().post("/v1/tasks", &body).await.json();
    assert_eq!(reply["results"], json!([]), "it has not ended");
    body["wait"] = json!(61);
    assert_eq!(gateway.client().post("/v1/tasks", &body).await.problems()[0].1, "wait");
}

#[tokio::test]
async fn a_queued_task_is_cancelled_at_once() {
    let gateway = Gateway::start().await;
    let task_id = gateway.execute(&gateway.register().await).await;
    let (client, path) = (gateway.client(), format!("/v1/tasks/{task_id}/cancel"));
    let reply = client.send("POST", &path, &[], b"").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json(), json!({"task_id": task_id, "status": "CANCELLED"}));
    let result = client.get(&format!("/result/{task_id}")).await.json();
    assert_eq!(result, json!({"task_id": task_id, "status": "CANCELLED", "result": ""}));
    let again = client.send("POST", &path, &[], b"").await;
    again.is_error(409, "task_ended");
    assert_eq!(again.json()["status"], "CANCELLED");
    let unknown = "/v1/tasks/0f8fad5b-d9cb-469f-a165-70867728950e/cancel";
    client.send("POST", unknown, &[], b"").await.is_error(404, "unknown_task");
}

#[tokio::test]
async fn a_running_task_is_cancelled_once_its_code_has_stopped() {
    let patience = Duration::from_millis(100);
    let gateway = Gateway::with(|config| config.cancel_wait = patience, |_| {}).await;
    let task_id = gateway.execute(&gateway.register().await).await;
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let task = dispatcher.claim(1).await.pop().expect("a task");
    let (client, path) = (gateway.client(), format!("/v1/tasks/{task_id}/cancel"));
    let reply = client.send("POST", &path, &[], b"").await;
    assert_eq!((reply.status, &reply.json()["status"]), (202, &json!("RUNNING")));
    let cancel = tokio::spawn(async move { client.send("POST", &path, &[], b"").await });
    until("it waits", async || waiters(&gateway).await == "1").await;
    dispatcher.finish(&task, CallVerdict::Cancelled).await;
    let reply = cancel.await.expect("a reply");
    assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("CANCELLED")));
}

#[tokio::test]
async fn a_lost_attempt_wakes_nobody() {
    let gateway = Gateway::start().await;
    let task_id = gateway.execute(&gateway.register().await).await;
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let task = dispatcher.claim(1).await.pop().expect("a task");
    let reason = RequeueReason::Died("attempt 1: killed".to_owned());
    dispatcher.store().requeue(&[Requeued { task: task.task(), reason }]).await.expect("a requeue");
    let reply = gateway.client().get(&format!("/status/{task_id}?wait=0.05")).await;
    assert_eq!(reply.json()["status"], "QUEUED");
}

#[tokio::test]
async fn events_tell_of_every_move() {
    let gateway = Gateway::start().await;
    let function_id = gateway.register().await;
    let other =
        gateway.register_with(json!({"name": "b", "payload": crate::support::FUNCTION})).await;
    let early = gateway.execute(&function_id).await;
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    dispatcher.complete_one(b"N.").await;

    let mut streams = Vec::new();
    let queries = [
        String::new(),
        format!("?function_id={other}"),
        format!("?task_id={early}"),
        "?status=COMPLETED,CANCELLED".to_owned(),
    ];
    for query in queries {
        let mut stream = gateway.client().connect().await;
        let path = format!("/v1/events{query}");
        stream.write(&crate::support::client::request("GET", &path, &[], b"")).await;
        stream.until(": connected").await;
        streams.push(stream);
    }
    let ours = gateway.execute(&function_id).await;
    dispatcher.complete_one(b"N.").await;
    let theirs = gateway.execute(&other).await;
    let task = dispatcher.claim(1).await.pop().expect("a task");
    dispatcher.finish(&task, CallVerdict::Cancelled).await;
    let event =
        |id: &str, status| format!("data: {{\"task_id\":\"{id}\",\"status\":\"{status}\"}}");
    let all = streams[0].until(&event(&theirs, "CANCELLED")).await;
    let at = |status| all.find(&event(&ours, status));
    let moves = [at("QUEUED"), at("RUNNING"), at("COMPLETED")];
    assert!(moves.is_sorted() && moves[0].is_some(), "{moves:?} in {all}");
    assert!(all.contains("text/event-stream"), "{all}");
    let filtered = streams[1].until(&event(&theirs, "CANCELLED")).await;
    assert!(!filtered.contains(&ours), "{filtered}");
    assert!(filtered.contains(&event(&theirs, "RUNNING")), "{filtered}");
    let named = streams[2].until(&event(&early, "COMPLETED")).await;
    assert!(!named.contains(&ours), "{named}");
    let ends = streams[3].until(&event(&theirs, "CANCELLED")).await;
    assert!(
        ends.contains(&ours) && !ends.contains("QUEUED") && !ends.contains("RUNNING"),
        "{ends}"
    );

    let client = gateway.client();
    assert_eq!(client.get("/v1/events?task_id=x").await.problems()[0].1, "task_id");
    assert_eq!(client.get("/v1/events?status=GONE").await.problems()[0].1, "status");
    let unknown = "/v1/events?task_id=0f8fad5b-d9cb-469f-a165-70867728950e";
    client.get(unknown).await.is_error(404, "unknown_task");
}

#[tokio::test]
async fn moves_are_listened_to_while_somebody_watches() {
    let gateway = Gateway::start().await;
    let function_id = gateway.register().await;
    let listeners = async || {
        let url = gateway.redis.url();
        let mut asked = tokio::process::Command::new("redis-cli");
        let path = url.trim_start_matches("redis+unix://");
        let asked =
            asked.args(["-s", path, "pubsub", "numsub", "{belljar}:0:status"]).output().await;
        String::from_utf8(asked.expect("redis-cli").stdout).expect("text").ends_with("1\n")
    };
    assert!(!listeners().await);
    for _ in 0..2 {
        let mut stream = gateway.client().connect().await;
        stream.write(&crate::support::client::request("GET", "/v1/events", &[], b"")).await;
        stream.until(": connected").await;
        assert!(listeners().await);
        let id = gateway.execute(&function_id).await;
        stream.until(&id).await;
        drop(stream);
        // The next notice finds nobody any more.
        until("nobody listens", async || {
            gateway.execute(&function_id).await;
            !listeners().await
        })
        .await;
    }
}

#[tokio::test]
async fn large_results_come_in_several_answers() {
    const BYTES: usize = 24 << 20;
    let gateway = Gateway::start().await;
    let function_id = gateway.register().await;
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let mut open = Vec::new();
    for _ in 0..6 {
        open.push(gateway.execute(&function_id).await);
        let task = dispatcher.claim(1).await.pop().expect("a task");
        dispatcher.finish(&task, CallVerdict::Completed(vec![7; BYTES].into())).await;
    }
    let client = gateway.client();
    let mut answers = Vec::new();
    while !open.is_empty() {
        let reply = client.post("/v1/results", &json!({"task_ids": open, "wait": 30})).await.json();
        let results = reply["results"].as_array().expect("results");
        assert!(!results.is_empty(), "there is always something to go on with");
        for result in results {
            assert_eq!(
                result["result"].as_str().expect("base64").len() / 4,
                BYTES / 3 + BYTES / 228
            );
            open.retain(|id| result["task_id"] != **id);
        }
        answers.push(results.len());
    }
    assert_eq!(answers, [3, 3], "an answer ends with the result that takes it beyond 64 MiB");
}
