//! What one large request costs, whatever it contains.

use crate::support::Gateway;
use crate::support::client::request;
use belljar_pickle::payload;

/// The size of each body.
const BODY: usize = 31 << 20;

/// A line of `/proc/self/status`, in bytes. Tests run in processes of their own.
fn memory(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux process");
    let line = status.lines().find(|line| line.starts_with(name)).expect("the line");
    let kib = line.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok());
    kib.expect("a number") << 10
}

/// `part` as often as it fits, between `start` and `end`.
fn filled(start: &str, part: &str, end: &str) -> Vec<u8> {
    let count = (BODY - start.len() - end.len()) / part.len();
    [start, &part.repeat(count), end].concat().into_bytes()
}

#[tokio::test]
async fn a_large_body_costs_about_four_times_its_size_at_most() {
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
        // "5" sets the highest memory so far to the memory now.
        std::fs::write("/proc/self/clear_refs", "5").expect("reset");
        let before = memory("VmRSS");
        let mut connection = gateway.client().connect().await;
        connection.write(&bytes).await;
        let reply = connection.reply().await.expect("a reply");
        assert_eq!(reply.status, status, "{start}: {}", reply.text());
        let cost = memory("VmHWM").saturating_sub(before);
        assert!(cost <= size * 9 / 2, "{start}: {} MiB", cost >> 20);
        drop(connection);
        drop(bytes);
    }
}
