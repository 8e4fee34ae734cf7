//! What large requests and large results cost, whatever they contain.

use crate::support::client::{Connection, request};
use crate::support::{ARGS, Dispatcher, FUNCTION, Gateway};
use belljar_core::outcome::CallVerdict;
use belljar_pickle::payload;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

/// The size of each body.
const BODY: usize = 31 << 20;

/// A line of `/proc/self/status`, in bytes. Tests run in processes of their own.
fn memory(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux process");
    let line = status.lines().find(|line| line.starts_with(name)).expect("the line");
    let kib = line.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok());
    kib.expect("a number") << 10
}

/// The memory now, from which on the highest is measured.
fn begin() -> usize {
    // "5" sets the highest memory so far to the memory now.
    std::fs::write("/proc/self/clear_refs", "5").expect("reset");
    memory("VmRSS")
}

/// `part` as often as it fits, between `start` and `end`.
fn filled(start: &str, part: &str, end: &str) -> Vec<u8> {
    let count = (BODY - start.len() - end.len()) / part.len();
    [start, &part.repeat(count), end].concat().into_bytes()
}

#[tokio::test]
async fn a_large_body_costs_four_times_its_size_at_most() {
    let gateway = Gateway::start().await;
    let function_id = gateway.register().await;
    let large_bytes = [&b"\x80\x04B\x00\x00\x60\x01"[..], &vec![7; 22 << 20], b"."].concat();
    let large_argument = serde_json::json!({
        "function_id": function_id, "payload": payload::encode(&large_bytes)
    });
    drop(large_bytes);
    let cases = [
        ("/register_function", filled(r#"{"name": ["#, "[],", "0]}"), 422),
        ("/register_function", filled(r#"{"grants": {"env": ["#, r#""","#, r#"""]}}"#), 422),
        ("/register_function", filled(r#"{"grants": {"#, r#""":0,"#, r#""":0}}"#), 422),
        ("/register_function", filled("{", r#""":0,"#, r#""":0}"#), 422),
        ("/register_function", filled(r#"{"name": "#, "[", ""), 422),
        ("/register_function", filled(r#"{"name": "a", "payload": ""#, "\\n", r#""}"#), 400),
        ("/v1/tasks", filled(r#"{"payloads": ["#, r#""","#, r#"""]}"#), 422),
        ("/v1/results", filled(r#"{"task_ids": ["#, r#""x","#, r#"""]}"#), 422),
        ("/execute_function", large_argument.to_string().into_bytes(), 200),
    ];
    drop(large_argument);
    for (path, body, status) in cases {
        let bytes = request("POST", path, &[], &body);
        let size = body.len();
        let start = String::from_utf8_lossy(&body[..40.min(size)]).into_owned();
        drop(body);
        let before = begin();
        let mut connection = gateway.client().connect().await;
        connection.write(&bytes).await;
        let reply = connection.reply().await.expect("a reply");
        assert_eq!(reply.status, status, "{start}: {}", reply.text());
        let cost = memory("VmHWM").saturating_sub(before);
        println!("{start}: {} MiB", cost >> 20);
        assert!(cost <= size * 4, "{start}: {} MiB", cost >> 20);
        drop(connection);
        drop(bytes);
    }
}

#[tokio::test]
async fn ten_thousand_calls_with_the_longest_grants_cost_little() {
    let patience = std::time::Duration::from_secs(60);
    let gateway = Gateway::with(|_| {}, |store| store.timeout = patience).await;
    let read: Vec<_> = (0..20).map(|n| format!("/{n:0>99}")).collect();
    let body = json!({"name": "f", "payload": FUNCTION, "grants": {"read": read}});
    let function_id = gateway.register_with(body).await;
    let body = json!({"function_id": function_id, "payloads": vec![ARGS; 10_000]});
    let before = begin();
    let reply = gateway.client().post("/v1/tasks", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let cost = memory("VmHWM").saturating_sub(before);
    println!("{} MiB", cost >> 20);
    assert!(cost <= 160 << 20, "{} MiB", cost >> 20);
}

#[tokio::test]
async fn large_bodies_at_once_wait_for_room() {
    let gateway = Gateway::with(|config| config.max_buffered_bytes = 0, |_| {}).await;
    let bytes =
        request("POST", "/v1/tasks", &[], &filled(r#"{"payloads": ["#, r#""","#, r#"""]}"#));
    let before = begin();
    let send = async || {
        let mut connection = gateway.client().connect().await;
        connection.write(&bytes).await;
        connection.reply().await.expect("a reply").status
    };
    let statuses: [u16; 3] = tokio::join!(send(), send(), send()).into();
    assert!(statuses.contains(&422), "one has room: {statuses:?}");
    assert!(statuses.iter().all(|status| [422, 503].contains(status)), "{statuses:?}");
    let cost = memory("VmHWM").saturating_sub(before);
    // Beside the one that has room, the others have what the kernel and one read of the socket hold.
    assert!(cost <= BODY * 4 + (8 << 20), "{} MiB", cost >> 20);
}

/// Reads so many bytes of an answer and forgets them.
async fn read(connection: &mut Connection, bytes: u64) -> u64 {
    let mut taken = (&mut connection.stream).take(bytes);
    tokio::io::copy(&mut taken, &mut tokio::io::sink()).await.expect("an answer")
}

#[tokio::test]
async fn readers_of_a_large_result_hold_a_part_of_it_each() {
    const RESULT: usize = 64 << 20;
    let gateway = Gateway::start().await;
    let function_id = gateway.register().await;
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let task_id = gateway.execute(&function_id).await;
    let task = dispatcher.claim(1).await.pop().expect("a task");
    let path = format!("/result/{task_id}?wait=30");
    let batch = json!({"task_ids": [task_id], "wait": 30}).to_string();
    let batch = || request("POST", "/v1/results", &[], batch.as_bytes());
    // Two wait for the end, two come later; two read all of it, and two stop soon.
    let (mut fast, mut slow) = (gateway.client().connect().await, gateway.client().connect().await);
    fast.write(&request("GET", &path, &[], b"")).await;
    slow.write(&batch()).await;
    let value = [&b"\x80\x04B\0\0\0\x04"[..], &vec![7; RESULT], b"."].concat();
    dispatcher.finish(&task, CallVerdict::Completed(value.into())).await;
    let length = payload::length_in_json(RESULT + 8) as u64;
    let before = begin();
    let (mut second_fast, mut second_slow) =
        (gateway.client().connect().await, gateway.client().connect().await);
    second_fast.write(&batch()).await;
    second_slow.write(&request("GET", &path, &[], b"")).await;
    read(&mut slow, 1 << 20).await;
    read(&mut second_slow, 1 << 20).await;
    let both = tokio::join!(read(&mut fast, length), read(&mut second_fast, length));
    assert_eq!(both, (length, length));
    let cost = memory("VmHWM").saturating_sub(before);
    println!("{} KiB for four readers", cost >> 10);
    assert!(cost < 16 << 20, "{} MiB", cost >> 20);
    assert_eq!(read(&mut slow, length - (1 << 20)).await, length - (1 << 20), "it goes on");
}

#[tokio::test]
async fn a_store_that_fails_while_a_result_is_sent_cuts_the_connection() {
    let mut gateway = Gateway::start().await;
    let function_id = gateway.register().await;
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let body = json!({"function_id": function_id, "payload": ARGS});
    let task_id = gateway.client().post("/execute_function", &body).await.text_at("task_id");
    let task = dispatcher.claim(1).await.pop().expect("a task");
    dispatcher.finish(&task, CallVerdict::Completed(vec![7; 64 << 20].into())).await;
    let mut connection = gateway.client().connect().await;
    connection.write(&request("GET", &format!("/result/{task_id}"), &[], b"")).await;
    read(&mut connection, 1 << 20).await;
    gateway.redis.kill();
    let (mut rest, mut part) = (0, vec![0; 64 << 10]);
    while let Ok(count @ 1..) = connection.stream.read(&mut part).await {
        rest += count;
    }
    assert!(rest < payload::length_in_json(32 << 20), "{rest} bytes came nevertheless");
}
