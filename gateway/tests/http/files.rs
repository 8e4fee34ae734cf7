//! Files of calls.

use std::time::Duration;

use belljar_core::files::{CallFile, CallFiles};
use belljar_core::outcome::{CallVerdict, Outcome};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::{ARGS, Dispatcher, Gateway};

fn file(name: &str, bytes: impl Into<Bytes>) -> CallFile {
    CallFile { name: name.to_owned(), bytes: bytes.into() }
}

#[tokio::test]
async fn files_travel_with_the_arguments_and_come_back_one_by_one() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let function_id = gateway.register().await;
    let body = json!({"function_id": function_id, "payload": ARGS, "files": {"in/a.csv": "AAH/"}, "outputs": ["**"]});
    let id = client.post("/execute_function", &body).await.text_at("task_id");
    let task = dispatcher.claim(1).await.pop().expect("a task is queued");
    let (files, args) = CallFiles::open(&task.invocation.args).expect("whole");
    let given = CallFiles {
        inputs: vec![file("in/a.csv", &b"\0\x01\xff"[..])],
        outputs: vec!["**".into()],
    };
    assert_eq!(files, Some(given));
    assert_eq!(args[..2], *b"\x80\x04", "the pickle alone");

    let missing = client.get(&format!("/v1/tasks/{id}/files/out")).await;
    missing.is_error(404, "unknown_file");
    let large: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let verdict = CallVerdict::Completed(Bytes::from_static(b"\x80\x04N."));
    let left = vec![file("a b/c?.bin", large.clone()), file("empty", Bytes::new())];
    let outcome = Outcome { files: left, ..Outcome::bare(verdict, Duration::from_millis(3)) };
    dispatcher.finish_with(&task, outcome).await;

    let record = client.get(&format!("/v1/tasks/{id}")).await.json();
    let listed = json!([{"name": "a b/c?.bin", "bytes": 4_000_000}, {"name": "empty", "bytes": 0}]);
    assert_eq!(record["files"], listed);
    let reply = client.get(&format!("/v1/tasks/{id}/files/a%20b%2Fc%3F.bin")).await;
    assert_eq!((reply.status, reply.body.len()), (200, large.len()));
    assert!(reply.body[..] == large, "as it was");
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-disposition", "attachment"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    let empty = client.get(&format!("/v1/tasks/{id}/files/empty")).await;
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    for other in ["a%20b", "empty%2F", "..%2Fempty"] {
        let reply = client.get(&format!("/v1/tasks/{id}/files/{other}")).await;
        reply.is_error(404, "unknown_file");
    }
}

#[tokio::test]
async fn what_cannot_be_a_file_is_refused() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let function_id = gateway.register().await;
    let many: serde_json::Map<String, Value> =
        (0..101).map(|n| (n.to_string(), json!(""))).collect();
    for (field, value) in [
        ("files", json!({"../a": ""})),
        ("files", json!({"/a": ""})),
        ("files", json!({"a": "A"})),
        ("files", json!({"a": 1})),
        ("files", json!({"a": null})),
        ("files", json!([])),
        ("files", Value::Object(many)),
        ("outputs", json!(["../*"])),
        ("outputs", json!(["["])),
        ("outputs", json!("*.png")),
        ("outputs", json!(vec!["*"; 101])),
    ] {
        let mut body = json!({"function_id": function_id, "payload": ARGS});
        body[field] = value;
        let problems = client.post("/execute_function", &body).await.problems();
        // What is wrong with an element is said of its index.
        assert!(
            problems.len() == 1 && [field, "0"].contains(&&*problems[0].1),
            "{body} {problems:?}"
        );
    }
    let twice = format!(
        r#"{{"function_id":"{function_id}","payload":{},"files":{{"a":"","a":""}}}}"#,
        json!(ARGS)
    );
    let reply = client.post_raw("/execute_function", twice.as_bytes()).await;
    assert_eq!(reply.problems().len(), 1);

    let content = "A".repeat(8 << 20);
    let body =
        json!({"function_id": function_id, "payloads": vec![ARGS; 11], "files": {"a": content}});
    let problems = client.post("/v1/tasks", &body).await.problems();
    assert_eq!(problems[0].1, "files", "each call would have a copy");
    let outputs = vec!["n".repeat(250); 100];
    let payloads = vec![ARGS; 3_000];
    let body = json!({"function_id": function_id, "payloads": payloads, "outputs": outputs});
    let problems = client.post("/v1/tasks", &body).await.problems();
    assert_eq!(problems[0].1, "files", "each call would have a copy of the patterns too");
    assert_eq!(client.get("/v1/tasks").await.json()["items"], json!([]), "nothing was accepted");
}
