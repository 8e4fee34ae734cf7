//! What pages that watch a service ask for: what ended lately, what waits and why.

use belljar_core::outcome::{CallVerdict, Failure, FailureKind};
use serde_json::{Value, json};

use crate::support::{ARGS, Dispatcher, Gateway, until};

fn ids(reply: &Value) -> Vec<String> {
    let items = reply["items"].as_array().expect("items").iter();
    items.map(|item| item["task_id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn ends_are_counted_and_listed_once() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let function = gateway.register().await;
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let before = gateway.execute(&function).await;
    dispatcher.complete_one(b"N.").await;
    let first = client.get("/v1/activity").await.json();
    assert_eq!(ids(&first), std::slice::from_ref(&before), "what ended before is listed");
    assert_eq!(first["ended"], json!({"completed": 0, "failed": 0, "cancelled": 0}));

    let completed = gateway.execute(&function).await;
    dispatcher.complete_one(b"N.").await;
    let failed = gateway.execute(&function).await;
    let task = dispatcher.claim(1).await.pop().expect("a task");
    // Longer than what a list reads of a record.
    let mut failure = Failure::by_platform(FailureKind::Timeout, "slow".to_owned());
    failure.traceback = "a line\n".repeat(5_000);
    dispatcher.finish(&task, CallVerdict::Failed(failure)).await;
    let after =
        |reply: &Value| format!("/v1/activity?after={}", reply["next"].as_str().expect("a cursor"));
    let (mut listed, mut reply) = (Vec::new(), first.clone());
    until("both ends are listed", async || {
        reply = client.get(&after(&reply)).await.json();
        listed.extend(reply["items"].as_array().expect("items").clone());
        listed.len() >= 2
    })
    .await;
    assert_eq!(reply["ended"], json!({"completed": 1, "failed": 1, "cancelled": 0}));
    assert_eq!(listed.len(), 2, "{listed:?}");
    let of = |id: &str| listed.iter().find(|item| item["task_id"] == id).expect("listed");
    assert_eq!(of(&completed)["durations_ms"]["slot"], 3.0);
    assert_eq!((&of(&failed)["failure"], &of(&failed)["attempts"]), (&json!("timeout"), &json!(1)));
    assert_eq!(ids(&client.get(&after(&reply)).await.json()), [""; 0]);
    // The cursor of another gateway brings all that is remembered.
    assert_eq!(ids(&client.get("/v1/activity?after=1.2").await.json()).len(), 3);

    for (query, expected) in [
        ("failure=timeout", vec![&failed]),
        ("failure=memory", vec![]),
        ("runtime=native&status=COMPLETED", vec![&completed, &before]),
        ("runtime=sandbox", vec![]),
        ("from=2001-02-03T04:05:06Z&before=2001-02-03T04:05:07Z", vec![]),
        ("before=2999-01-01T00:00:00Z&limit=2", vec![&failed, &completed]),
    ] {
        let reply = client.get(&format!("/v1/tasks?{query}")).await.json();
        assert_eq!(ids(&reply).iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let worker = of(&failed)["worker"].as_str().expect("a worker");
    assert_eq!(ids(&client.get(&format!("/v1/tasks?worker={worker}")).await.json()).len(), 3);
    for (query, place) in
        [("from=yesterday", "from"), ("failure=x", "failure"), ("worker=x", "worker")]
    {
        assert_eq!(client.get(&format!("/v1/tasks?{query}")).await.problems()[0].1, place);
    }
}

#[tokio::test]
async fn a_queued_task_says_why_it_waits() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let function = gateway.register().await;
    let submit = async |more: Value| {
        let mut body = json!({"function_id": function, "payload": ARGS});
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        client.post("/execute_function", &body).await.text_at("task_id")
    };
    let reason = async |id: &str| {
        let record = client.get(&format!("/v1/tasks/{id}")).await.json();
        record["waiting"]["reason"].as_str().map(str::to_owned)
    };
    let waiting = submit(json!({})).await;
    assert_eq!(reason(&waiting).await.as_deref(), Some("no_worker"));
    let delayed = submit(json!({"delay_s": 3600})).await;
    assert_eq!(reason(&delayed).await.as_deref(), Some("delayed"));
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    assert_eq!(reason(&waiting).await.as_deref(), Some("turn"));
    dispatcher.beat_busy(2).await;
    assert_eq!(reason(&waiting).await.as_deref(), Some("slots_busy"));

    let low = submit(json!({"priority": "low"})).await;
    let queues = client.get("/v1/queues").await.json();
    let queue = &queues["items"][0];
    assert_eq!(queue["class"], "native:3.11");
    assert_eq!(
        [&queue["queued"], &queue["workers"], &queue["slots"], &queue["busy"]],
        [2, 1, 2, 2]
    );
    let record = client.get(&format!("/v1/tasks/{waiting}")).await.json();
    assert_eq!(queue["oldest_at"], record["accepted_at"]);

    let running = dispatcher.claim(1).await.pop().expect("a task").id().to_string();
    assert_eq!((running == waiting, reason(&running).await), (true, None));
    let record = client.get(&format!("/v1/tasks/{low}")).await.json();
    let queues = client.get("/v1/queues").await.json();
    assert_eq!(queues["items"][0]["oldest_at"], record["accepted_at"]);
    dispatcher.claim(1).await;
    assert_eq!(client.get("/v1/queues").await.json()["items"][0]["oldest_at"], Value::Null);
}
