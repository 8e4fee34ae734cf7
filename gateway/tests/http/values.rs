//! Values that are uploaded once, and arguments that refer to them.

use std::time::Duration;

use crate::support::client::{Client, Reply};
use crate::support::guarded::{ALL, Guarded};
use crate::support::tenants::TenantsFile;
use crate::support::{ARGS, Dispatcher, FUNCTION, Gateway};
use belljar_core::outcome::{CallVerdict, Outcome};
use belljar_pickle::payload;
use belljar_testkit::Bucket;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// As RFC 9530 has it.
fn digest(value: &[u8]) -> String {
    format!("sha-256=:{}:", payload::encode(&Sha256::digest(value)).trim_end())
}

async fn put(client: &Client, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    client.send("PUT", "/v1/blobs", headers, body).await
}

/// Sends a piece, or with no bytes asks how much has come.
async fn piece(client: &Client, whole: &[u8], from: usize, to: usize) -> Reply {
    let total = whole.len();
    let range = match to {
        0 => format!("bytes */{total}"),
        _ => format!("bytes {from}-{}/{total}", to - 1),
    };
    let digest = digest(whole);
    put(client, &[("repr-digest", &digest), ("content-range", &range)], &whole[from..to]).await
}

/// The arguments `((value,), {})`, the value by a persistent id.
fn referring(id: &str) -> Vec<u8> {
    let length = u8::try_from(id.len()).expect("short");
    [&b"\x80\x04\x8c"[..], &[length], id.as_bytes(), b"\x94Q\x85\x94}\x94\x86\x94."].concat()
}

/// What a worker gets for these: the value in place of the id.
fn loaded(id: &str, pickle: &[u8]) -> Vec<u8> {
    let length = u8::try_from(id.len()).expect("short");
    let bytes = (pickle.len() as u64).to_le_bytes();
    let loads = b"\x940crunner_pickles\nloads\n\x8e";
    let head = [&b"\x80\x04\x8c"[..], &[length], id.as_bytes(), loads, &bytes].concat();
    [&head[..], pickle, b"\x85R\x85\x94}\x94\x86\x94."].concat()
}

async fn execute(client: &Client, function: &str, args: &[u8]) -> Reply {
    let body = json!({"function_id": function, "payload": payload::encode(args)});
    client.post("/execute_function", &body).await
}

#[tokio::test]
async fn a_value_comes_back_as_it_was_sent() {
    sent_and_read_back(Gateway::start().await).await;
}

#[tokio::test]
async fn a_value_comes_back_from_a_bucket() {
    let bucket = Bucket::start().expect("a bucket");
    sent_and_read_back(Gateway::in_bucket(&bucket).await).await;
}

async fn sent_and_read_back(gateway: Gateway) {
    let client = gateway.client();
    let value: Vec<u8> = (0..3 << 20).map(|n: u32| n.to_le_bytes()[n as usize % 3]).collect();
    let sent = put(&client, &[("repr-digest", &digest(&value))], &value).await;
    assert_eq!((sent.status, sent.json()["bytes"].as_u64()), (201, Some(3 << 20)));
    let (id, again) = (sent.text_at("blob_id"), put(&client, &[], &value).await);
    assert_eq!((again.status, again.text_at("blob_id")), (201, id.clone()), "the same value");
    let path = format!("/v1/blobs/{id}");
    let got = client.get(&path).await;
    assert!(got.status == 200 && got.body == value);
    assert_eq!(got.header("repr-digest"), Some(&*digest(&value)));
    let part = client.send("GET", &path, &[("range", "bytes=1048570-1048580")], b"").await;
    assert_eq!((part.status, &part.body[..]), (206, &value[1_048_570..=1_048_580]));
    assert_eq!(part.header("content-range"), Some("bytes 1048570-1048580/3145728"));
    let none = client.send("GET", &path, &[("range", "bytes=3145728-")], b"").await;
    assert_eq!(none.status, 416);
    let other = put(&client, &[("repr-digest", &digest(b"other"))], &value).await;
    other.is_error(400, "digest_mismatch");
    put(&client, &[("repr-digest", "md5=:x:")], &value).await.is_error(400, "invalid_digest");
    assert_eq!(client.send("DELETE", &path, &[], b"").await.status, 200);
    client.get(&path).await.is_error(404, "unknown_blob");
    client.send("DELETE", &path, &[], b"").await.is_error(404, "unknown_blob");
}

#[tokio::test]
async fn an_upload_goes_on_where_it_ended() {
    interrupted(Gateway::start().await).await;
}

#[tokio::test]
async fn an_upload_to_a_bucket_goes_on_where_it_ended() {
    let bucket = Bucket::start().expect("a bucket");
    interrupted(Gateway::in_bucket(&bucket).await).await;
}

async fn interrupted(gateway: Gateway) {
    let client = gateway.client();
    let value = vec![7; 1_000_000];
    let first = piece(&client, &value, 0, 400_000).await;
    assert_eq!((first.status, first.json()["received"].as_u64()), (202, Some(400_000)));
    let early = piece(&client, &value, 500_000, 600_000).await;
    early.is_error(409, "upload_offset");
    assert_eq!(early.header("upload-offset"), Some("400000"));
    // A connection that breaks: what has come is kept.
    let mut cut = client.connect().await;
    let (digest, range) = (digest(&value), "bytes 400000-999999/1000000");
    let head = format!(
        "PUT /v1/blobs HTTP/1.1\r\nHost: {}\r\nRepr-Digest: {digest}\r\nContent-Range: {range}\r\n\
         Content-Length: 600000\r\n\r\n",
        gateway.address
    );
    cut.write(&[head.as_bytes(), &value[..100_000]].concat()).await;
    drop(cut);
    let mut received = 0;
    crate::support::until("what came is written", async || {
        received = piece(&client, &value, 0, 0).await.json()["received"].as_u64().unwrap_or(0);
        received == 500_000
    })
    .await;
    let offset = usize::try_from(received).expect("short");
    let mut last = piece(&client, &value, offset, 1_000_000).await;
    // The one that was cut lets go of the file a moment later.
    crate::support::until("nobody else sends pieces", async || {
        if last.status == 409 {
            last = piece(&client, &value, offset, 1_000_000).await;
        }
        last.status != 409
    })
    .await;
    assert_eq!(last.status, 201, "{}", last.text());
    let got = client.get(&format!("/v1/blobs/{}", last.text_at("blob_id"))).await;
    assert!(got.body == value);
    let known = piece(&client, &value, 0, 400_000).await;
    assert_eq!((known.status, known.json()["bytes"].as_u64()), (200, Some(1_000_000)));
    let headers = [("content-range", "bytes 0-1/2")];
    put(&client, &headers, b"ab").await.is_error(400, "invalid_digest");
    // Pieces of which one is not what was said.
    let wrong = [&value[..999_999], b"x"].concat();
    let headers =
        [("repr-digest", &*self::digest(b"?")), ("content-range", "bytes 0-999999/1000000")];
    put(&client, &headers, &wrong).await.is_error(400, "digest_mismatch");
    let asked = [headers[0], ("content-range", "bytes */1000000")];
    let asked = put(&client, &asked, b"").await.json();
    assert_eq!(asked["received"], 0, "what came of it is removed");
}

#[tokio::test]
async fn what_has_come_whole_is_kept_when_it_is_asked_for() {
    let bucket = Bucket::start().expect("a bucket");
    for gateway in [Gateway::start().await, Gateway::in_bucket(&bucket).await] {
        let client = gateway.client();
        let value = vec![8; 300_000];
        let id = piece(&client, &value, 0, 200_000).await.text_at("blob_id");
        // A gateway that is lost between the last piece and its answer.
        let upload = gateway.store.resume_upload(id.parse().expect("an id")).await.expect("asked");
        let upload = upload.expect("nobody else sends pieces");
        let upload = gateway.store.write_upload(upload, value[200_000..].to_vec().into()).await;
        assert!(gateway.store.leave_upload(upload.expect("written")).await.expect("left"));
        let asked = piece(&client, &value, 0, 0).await;
        assert_eq!((asked.status, asked.text_at("blob_id")), (201, id.clone()), "{}", asked.text());
        assert!(client.get(&format!("/v1/blobs/{id}")).await.body == value);
        assert_eq!(piece(&client, &value, 0, 0).await.status, 200);
    }
}

#[tokio::test]
async fn values_are_counted_and_bounded() {
    let file = TenantsFile::new("[tenant.acme]\nquotas.stored_mb = 2");
    let guarded = Guarded::with(|config| {
        file.configure(config);
        config.max_value_bytes = 3 << 20;
    })
    .await;
    let (acme, other) = (guarded.key("acme", &ALL).await, guarded.key("other", &ALL).await);
    let client = guarded.gateway.client();
    let send = async |key: &str, value: &[u8], range: &str| {
        let (bearer, digest) = (format!("Bearer {key}"), digest(value));
        let mut headers = vec![("authorization", &*bearer), ("repr-digest", &*digest)];
        headers.extend((!range.is_empty()).then_some(("content-range", range)));
        let body = if range.contains('*') { &[][..] } else { value };
        put(&client, &headers, body).await
    };
    let (first, second) = (vec![1; 1_500_000], vec![2; 1_500_000]);
    assert_eq!(send(&acme, &first, "").await.status, 201);
    assert_eq!(send(&acme, &first, "").await.status, 201, "it is counted once");
    send(&acme, &second, "").await.is_error(429, "quota_exceeded");
    send(&acme, &second, "bytes */1500000").await.is_error(429, "quota_exceeded");
    assert_eq!(send(&other, &second, "bytes */1500000").await.status, 202);
    send(&other, &vec![3; 4 << 20], "").await.is_error(413, "value_too_large");
    send(&other, b"x", "bytes */4194304").await.is_error(413, "value_too_large");
    let id = send(&acme, &first, "").await.text_at("blob_id");
    let path = format!("/v1/blobs/{id}");
    guarded.send(&other, "GET", &path, &Value::Null).await.is_error(404, "unknown_blob");
    guarded.send(&other, "DELETE", &path, &Value::Null).await.is_error(404, "unknown_blob");
    assert_eq!(guarded.send(&acme, "DELETE", &path, &Value::Null).await.status, 200);
    assert_eq!(send(&acme, &second, "").await.status, 201, "in its place");
    // Nor can the calls of another refer to it.
    let id = send(&acme, &second, "").await.text_at("blob_id");
    let function = guarded.register(&other).await;
    let args = payload::encode(&referring(&format!("blob:{id}")));
    let call = json!({"function_id": function, "payload": args});
    let reply = guarded.send(&other, "POST", "/execute_function", &call).await;
    reply.is_error(404, "unknown_value");
}

#[tokio::test]
async fn arguments_refer_to_values() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let function = gateway.register().await;
    let value = [&b"\x80\x04B\x10\x27\0\0"[..], &[7; 10_000], b"."].concat();
    let id = put(&client, &[], &value).await.text_at("blob_id");
    let (loads, raw) = (format!("blob:{id}"), format!("bytes:{id}"));
    let reply = execute(&client, &function, &referring(&loads)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // The value may be forgotten while the task waits.
    assert_eq!(client.send("DELETE", &format!("/v1/blobs/{id}"), &[], b"").await.status, 200);
    let task = dispatcher.claim(1).await.pop().expect("a task");
    assert!(task.invocation.args == loaded(&loads, &value));
    dispatcher.finish(&task, CallVerdict::Completed(value.clone().into())).await;
    execute(&client, &function, &referring(&loads)).await.is_error(404, "unknown_value");
    // The result of a task, which is small, and in a batch with files around it.
    let result = format!("task:{}", task.id());
    let args = payload::encode(&referring(&result));
    let batch = json!({"function_id": function, "payloads": [ARGS, args], "files": {"a": ""}});
    assert_eq!(client.post("/v1/tasks", &batch).await.status, 200);
    let tasks = dispatcher.claim(2).await;
    let opened = belljar_core::files::CallFiles::open(&tasks[1].invocation.args).expect("whole");
    assert_eq!(opened.0.map(|files| files.inputs.len()), Some(1));
    assert!(opened.1 == loaded(&result, &value));
    let waiting = format!("task:{}", tasks[0].id());
    execute(&client, &function, &referring(&waiting)).await.is_error(409, "no_result");
    for bad in ["blob:x", &raw[6..], "other:x", "task:"] {
        execute(&client, &function, &referring(bad)).await.is_error(400, "invalid_payload");
    }
    let id = put(&client, &[], b"as it is").await.text_at("blob_id");
    let reply = execute(&client, &function, &referring(&format!("bytes:{id}"))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let args = dispatcher.claim(1).await.pop().expect("a task").invocation.args;
    assert!(args.windows(17).any(|part| part == b"\x8e\x08\0\0\0\0\0\0\0as it is"));
}

#[tokio::test]
async fn results_of_the_sandbox_are_data_elsewhere() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11", "sandbox:3.11"]).await;
    let native = gateway.register().await;
    let body = json!({"name": "len", "payload": FUNCTION, "runtime": "sandbox"});
    let sandbox = gateway.register_with(body).await;
    let large = [&b"\x80\x04B\0\0\x02\0"[..], &[7; 1 << 17], b"."].concat();
    for (result, names) in [(b"\x80\x04cos\nsystem\n.".to_vec(), true), (large, false)] {
        execute(&client, &sandbox, &payload::decode(ARGS).expect("base64")).await;
        let task = dispatcher.claim(1).await.pop().expect("a task");
        let verdict = CallVerdict::Completed(Bytes::from(result));
        dispatcher.finish_with(&task, Outcome::bare(verdict, Duration::from_millis(1))).await;
        let args = referring(&format!("task:{}", task.id()));
        assert_eq!(execute(&client, &sandbox, &args).await.status, 200);
        let reply = execute(&client, &native, &args).await;
        if names {
            reply.is_error(403, "value_not_data");
            assert!(reply.text().contains("os.system"), "{}", reply.text());
        } else {
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        dispatcher.claim(4).await;
        let ids = json!({"task_ids": [task.id().to_string()]});
        let kept = client.post("/v1/results?keep=true", &ids).await.json();
        assert_eq!(kept["results"][0]["status"], "COMPLETED");
        assert_eq!(kept["results"][0]["result"], "", "it stays there");
    }
}

#[tokio::test]
async fn without_a_directory_values_are_refused() {
    let gateway = Gateway::with(|_| {}, |store| store.blobs = None).await;
    put(&gateway.client(), &[], b"x").await.is_error(501, "no_blob_directory");
    let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let reply = gateway.client().get(&format!("/v1/blobs/{id}")).await;
    reply.is_error(404, "unknown_blob");
}

#[tokio::test]
async fn a_directory_that_is_away_costs_what_needs_it_and_nothing_else() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let function = gateway.register().await;
    let value = b"\x80\x04\x8c\x01x.";
    let id = put(&client, &[], value).await.text_at("blob_id");
    let args = referring(&format!("blob:{id}"));
    let (here, away) = (gateway.values.path(), gateway.values.path().with_extension("away"));
    std::fs::rename(here, &away).expect("moved");
    put(&client, &[], b"another").await.is_error(503, "store_refuses_writes");
    execute(&client, &function, &args).await.is_error(503, "store_refuses_writes");
    let got = client.get(&format!("/v1/blobs/{id}")).await;
    got.is_error(500, "record_unreadable");
    gateway.execute(&function).await;
    std::fs::rename(&away, here).expect("moved back");
    assert_eq!(execute(&client, &function, &args).await.status, 200);
    assert_eq!(put(&client, &[], b"another").await.status, 201);
    assert!(client.get(&format!("/v1/blobs/{id}")).await.body == value);
}

#[tokio::test]
async fn a_bucket_that_is_away_costs_what_needs_it_and_nothing_else() {
    let bucket = Bucket::start().expect("a bucket");
    let gateway = Gateway::in_bucket(&bucket).await;
    let client = gateway.client();
    let function = gateway.register().await;
    let value = b"\x80\x04\x8c\x01x.";
    let id = put(&client, &[], value).await.text_at("blob_id");
    let codes = async || {
        let ready = client.get("/readyz").await;
        let problems = ready.json()["problems"].clone();
        let codes = problems.as_array().into_iter().flatten().map(|one| one["code"].clone());
        (ready.status, codes.collect::<Vec<_>>())
    };
    assert!(!codes().await.1.contains(&json!("bucket_unreachable")));
    bucket.set_away(true);
    put(&client, &[], b"another").await.is_error(503, "bucket_unreachable");
    client.get(&format!("/v1/blobs/{id}")).await.is_error(503, "bucket_unreachable");
    let large = [&b"\x80\x04B\0\0\x02\0"[..], &[7; 2 << 16], b"\x85}\x86."].concat();
    execute(&client, &function, &large).await.is_error(503, "bucket_unreachable");
    gateway.execute(&function).await;
    let (status, problems) = codes().await;
    assert!(status == 200 && problems.contains(&json!("bucket_unreachable")), "{problems:?}");
    bucket.set_away(false);
    crate::support::until("it is back", async || {
        client.get(&format!("/v1/blobs/{id}")).await.body == value
    })
    .await;
    assert_eq!(execute(&client, &function, &large).await.status, 200);
    assert!(!codes().await.1.contains(&json!("bucket_unreachable")));
}

#[tokio::test]
async fn results_elsewhere_are_answered_while_the_bucket_is_away() {
    let bucket = Bucket::start().expect("a bucket");
    let gateway = Gateway::in_bucket(&bucket).await;
    let client = gateway.client();
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let function = gateway.register().await;
    let large = [&b"\x80\x04B\0\0\x02\0"[..], &[7; 1 << 17], b"."].concat();
    let mut ids = Vec::new();
    for result in [large, b"\x80\x04N.".to_vec()] {
        gateway.execute(&function).await;
        let task = dispatcher.claim(1).await.pop().expect("a task");
        dispatcher.finish(&task, CallVerdict::Completed(result.into())).await;
        ids.push(task.id().to_string());
    }
    let asked = async |ids: &[String]| {
        client.post("/v1/results", &json!({"task_ids": ids, "wait": 5})).await
    };
    let answered = async || asked(&ids).await.json()["results"].as_array().map_or(0, Vec::len);
    assert_eq!(answered().await, 2);
    bucket.set_away(true);
    let reply = asked(&ids).await.json();
    assert_eq!(reply["results"].as_array().map(Vec::len), Some(1), "{reply}");
    assert_eq!(reply["results"][0]["task_id"], ids[1]);
    asked(&ids[..1]).await.is_error(503, "bucket_unreachable");
    bucket.set_away(false);
    crate::support::until("it is back", async || answered().await == 2).await;
}

#[tokio::test]
async fn a_repeated_submission_gives_the_first_answer_when_its_value_is_gone() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let function = gateway.register().await;
    let [id, other] = [&b"\x80\x04K\x07."[..], b"\x80\x04K\x08."];
    let id = put(&client, &[], id).await.text_at("blob_id");
    let other = put(&client, &[], other).await.text_at("blob_id");
    let pickled = |id: &str| payload::encode(&referring(&format!("blob:{id}")));
    let one =
        |id: &str| json!({"function_id": function, "payload": pickled(id), "idempotency_key": "k"});
    let many = |id: &str| {
        let payloads = [pickled(id), ARGS.to_owned()];
        json!({"function_id": function, "payloads": payloads, "idempotency_key": "k"})
    };
    let first = client.post("/execute_function", &one(&id)).await.text_at("task_id");
    let batch = client.post("/v1/tasks", &many(&id)).await.json()["task_ids"].clone();
    assert_eq!(batch.as_array().map(Vec::len), Some(2));
    // The same length does not make it the same.
    client.post("/execute_function", &one(&other)).await.is_error(409, "idempotency_conflict");
    for gone in [false, true] {
        if gone {
            for id in [&id, &other] {
                let path = format!("/v1/blobs/{id}");
                assert_eq!(client.send("DELETE", &path, &[], b"").await.status, 200);
            }
        }
        assert_eq!(client.post("/execute_function", &one(&id)).await.text_at("task_id"), first);
        assert_eq!(client.post("/v1/tasks", &many(&id)).await.json()["task_ids"], batch);
    }
    client.post("/execute_function", &one(&other)).await.is_error(409, "idempotency_conflict");
    let mut fresh = one(&id);
    fresh["idempotency_key"] = json!("fresh");
    client.post("/execute_function", &fresh).await.is_error(404, "unknown_value");
    // A client that waits gets the result of the first.
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    for task in dispatcher.claim(3).await {
        dispatcher.finish(&task, CallVerdict::Completed(Bytes::from_static(b"\x80\x04N."))).await;
    }
    let waited = client.post("/execute_function?wait=5", &one(&id)).await;
    assert_eq!((waited.text_at("task_id"), waited.text_at("status")), (first, "COMPLETED".into()));
    let mut waiting = many(&id);
    waiting["wait"] = json!(5);
    let waited = client.post("/v1/tasks", &waiting).await;
    assert_eq!(waited.json()["results"].as_array().map(Vec::len), Some(2));
}
