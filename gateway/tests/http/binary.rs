//! Bodies without base64: MessagePack, and pickles that stand alone.

use std::time::Duration;

use crate::support::client::{Client, Reply};
use crate::support::{ARGS, Dispatcher, FUNCTION, Gateway};
use belljar_core::outcome::CallVerdict;
use belljar_core::task::Priority;
use belljar_pickle::payload;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

const MESSAGE_PACK: &str = "application/msgpack";
const PICKLE: &str = "application/octet-stream";

#[derive(Serialize)]
struct Registration {
    name: &'static str,
    payload: Bytes,
}

#[derive(Serialize)]
struct Batch<'a> {
    function_id: &'a str,
    payloads: Vec<Bytes>,
    wait: Option<f64>,
    x: Option<u8>,
}

#[derive(Serialize)]
struct Call<'a> {
    function_id: &'a str,
    payload: Bytes,
    idempotency_key: &'a str,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    task_ids: Option<Vec<String>>,
    results: Option<Vec<Ended>>,
    ignored: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Ended {
    task_id: String,
    status: String,
    result_kind: Option<String>,
    result: Bytes,
}

fn args() -> Bytes {
    payload::decode(ARGS).expect("base64").into()
}

/// A pickle of so many bytes, and a bit more.
fn large(bytes: usize) -> Bytes {
    let length = u32::try_from(bytes).expect("a length").to_le_bytes();
    [&b"\x80\x04B"[..], &length, &vec![7; bytes], b"."].concat().into()
}

/// Sends a body of one type, and takes an answer of these.
async fn post(client: &Client, path: &str, types: (&str, &str), body: &[u8]) -> Reply {
    let headers = [("content-type", types.0), ("accept", types.1)];
    client.send("POST", path, &headers, body).await
}

async fn get(client: &Client, path: &str, accept: &str) -> Reply {
    client.send("GET", path, &[("accept", accept)], b"").await
}

fn packed(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("a value")
}

fn unpacked<'a, T: Deserialize<'a>>(reply: &'a Reply) -> T {
    assert_eq!((reply.status, reply.header("content-type")), (200, Some(MESSAGE_PACK)));
    rmp_serde::from_slice(&reply.body).expect("MessagePack")
}

#[tokio::test]
async fn a_call_and_its_result_stand_alone() {
    let gateway = Gateway::start().await;
    let (client, function_id) = (gateway.client(), gateway.register().await);
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let path = format!("/execute_function?function_id={function_id}&priority=high&timeout_s=2.5");
    let reply = post(&client, &path, (PICKLE, "*/*"), &args()).await;
    let path = format!("/result/{}", reply.text_at("task_id"));
    let task = dispatcher.claim(1).await.pop().expect("a task");
    let spec = &task.invocation.spec;
    assert_eq!((&task.invocation.args, spec.priority), (&args(), Priority::High));
    assert_eq!(spec.limits.timeout(), Duration::from_millis(2_500));

    let unfinished = get(&client, &path, PICKLE).await;
    assert_eq!((unfinished.status, unfinished.body.len()), (200, 0));
    assert_eq!(unfinished.header("x-task-status"), Some("RUNNING"));
    dispatcher.finish(&task, CallVerdict::Completed(args())).await;
    let reply = get(&client, &path, PICKLE).await;
    assert_eq!(reply.header("content-type"), Some(PICKLE));
    assert_eq!(reply.header("x-task-id"), Some(&*task.id().to_string()));
    assert_eq!(reply.header("x-task-status"), Some("COMPLETED"));
    assert_eq!(reply.header("x-result-kind"), Some("data"));
    assert!(reply.header("x-result-expires").is_some());
    assert_eq!(reply.body, args());
    let one: Ended = unpacked(&get(&client, &path, MESSAGE_PACK).await);
    assert_eq!((one.status.as_str(), one.result), ("COMPLETED", args()));
    // Without a word of the client it is as ever.
    assert_eq!(client.get(&path).await.text_at("result"), ARGS);
    assert_eq!(get(&client, &path, "*/*").await.text_at("result"), ARGS);
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_query_is_told() {
    let gateway = Gateway::start().await;
    let (client, function_id) = (gateway.client(), gateway.register().await);
    let send = async |query: &str, body: &[u8]| {
        post(&client, &format!("/execute_function?{query}"), (PICKLE, "*/*"), body).await
    };
    let wrong = "function_id=x&timeout_s=soon&delay_s=-1&priority=urgent&runtim=sandbox&outputs=/a";
    let problems = send(wrong, &args()).await.problems();
    let mut fields: Vec<_> = problems.iter().map(|(_, name)| name.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["delay_s", "function_id", "outputs", "priority", "runtim", "timeout_s"]);
    let missing = send("", &args()).await.problems();
    assert_eq!(missing, [("missing".to_owned(), "function_id".to_owned())]);
    let known = format!("function_id={function_id}&x=1");
    send(&known, b"payload").await.is_error(400, "invalid_payload");
    send(&known, b"").await.is_error(400, "invalid_payload");
    let reply = send(&known, &args()).await;
    assert_eq!(reply.json()["ignored"], json!(["x"]));
    let unknown = "function_id=0f8fad5b-d9cb-469f-a165-70867728950e";
    send(unknown, &args()).await.is_error(404, "unknown_function");
}

#[tokio::test]
async fn the_same_call_in_any_form_is_the_same_under_its_key() {
    let gateway = Gateway::start().await;
    let (client, function_id) = (gateway.client(), gateway.register().await);
    let execute = "/execute_function";
    let call = json!({"function_id": function_id, "payload": ARGS, "idempotency_key": "k"});
    let first = client.post(execute, &call).await.text_at("task_id");
    let call = Call { function_id: &function_id, payload: args(), idempotency_key: "k" };
    let second = post(&client, execute, (MESSAGE_PACK, "*/*"), &packed(&call)).await;
    let path = format!("{execute}?function_id={function_id}&idempotency_key=k");
    let third = post(&client, &path, (PICKLE, "*/*"), &args()).await;
    assert_eq!((second.text_at("task_id"), third.text_at("task_id")), (first.clone(), first));
    let another = post(&client, &path, (PICKLE, "*/*"), &large(10)).await;
    another.is_error(409, "idempotency_conflict");
}

#[tokio::test]
async fn batches_and_functions_travel_as_message_pack() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let payload = payload::decode(FUNCTION).expect("base64").into();
    let function = packed(&Registration { name: "len", payload });
    let reply = post(&client, "/register_function", (MESSAGE_PACK, "*/*"), &function).await;
    let function_id = reply.text_at("function_id");
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    // Copied into the answer, sent as it is, and read from the store in parts.
    let [some, more] = [large(2 << 10), large(3 << 10)];
    let values = [args(), large(100 << 10), large(3 << 20), some, more];
    let payloads = values.to_vec();
    let batch = Batch { function_id: &function_id, payloads, wait: Some(20.0), x: Some(1) };
    let batch = packed(&batch);
    let work = async {
        let mut tasks = Vec::new();
        while tasks.len() < values.len() {
            tasks.extend(dispatcher.claim(values.len()).await);
        }
        for task in &tasks {
            let value = task.invocation.args.clone();
            dispatcher.finish(task, CallVerdict::Completed(value)).await;
        }
    };
    let (reply, ()) =
        tokio::join!(post(&client, "/v1/tasks", (MESSAGE_PACK, MESSAGE_PACK), &batch), work);
    let answer: Answer = unpacked(&reply);
    let ids = answer.task_ids.expect("ids");
    assert_eq!((ids.len(), answer.ignored), (values.len(), Some(vec!["x".to_owned()])));
    assert!(answer.results.is_some_and(|results| !results.is_empty()));

    let asked = packed(&json!({"task_ids": ids, "wait": 5}));
    for accept in [MESSAGE_PACK, "application/json, application/msgpack"] {
        let reply = post(&client, "/v1/results", (MESSAGE_PACK, accept), &asked).await;
        let answer: Answer = unpacked(&reply);
        assert!(answer.task_ids.is_none() && answer.ignored.is_none());
        let results = answer.results.expect("results");
        assert_eq!(results.len(), values.len());
        for (id, value) in ids.iter().zip(&values) {
            let one = results.iter().find(|one| one.task_id == *id).expect("each");
            assert_eq!((one.status.as_str(), &one.result), ("COMPLETED", value));
            assert_eq!(one.result_kind.as_deref(), Some("data"));
        }
    }
    for (id, value) in ids.iter().zip(&values) {
        let reply = get(&client, &format!("/result/{id}"), PICKLE).await;
        assert_eq!(reply.body, *value);
    }
    // A client that takes both gets small results as JSON, also where they are not small together.
    let types = ("application/json", "application/json, application/msgpack");
    for small in [&ids[..1], &ids[3..]] {
        let asked = json!({"task_ids": small}).to_string();
        let reply = post(&client, "/v1/results", types, asked.as_bytes()).await;
        assert_eq!(reply.json()["results"].as_array().map(Vec::len), Some(small.len()));
    }
}

#[tokio::test]
async fn what_is_no_message_pack_is_told() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    for body in [&b"{}"[..], b"\x81\xa4name", b"\xc1"] {
        for path in ["/v1/tasks", "/register_function", "/v1/results", "/execute_function"] {
            let reply = post(&client, path, (MESSAGE_PACK, MESSAGE_PACK), body).await;
            reply.is_error(422, "invalid_request");
        }
    }
    let unknown = Batch {
        function_id: "0f8fad5b-d9cb-469f-a165-70867728950e",
        payloads: vec![Bytes::from_static(b"x")],
        wait: None,
        x: None,
    };
    let reply = post(&client, "/v1/tasks", (MESSAGE_PACK, MESSAGE_PACK), &packed(&unknown)).await;
    reply.is_error(404, "unknown_function");
}
