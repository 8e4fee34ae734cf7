//! What hostile and broken clients send: a 4xx in the one shape, never a 5xx, never a hang, and
//! others are served meanwhile.

use std::time::{Duration, Instant};

use crate::support::client::request;
use crate::support::{ARGS, FUNCTION, Gateway, until};
use belljar_gateway::Config;
use serde_json::json;

const SHORT: Duration = Duration::from_millis(150);

fn impatient(config: &mut Config) {
    config.header_timeout = SHORT;
    config.body_timeout = SHORT;
    config.idle_timeout = SHORT;
}

#[tokio::test]
async fn slow_headers_are_cut_wherever_they_stall() {
    let gateway = Gateway::with(impatient, |_| {}).await;
    for begin in [&b""[..], b"P", b"PRI * HTTP/2", b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"]
    {
        let start = Instant::now();
        let mut connection = gateway.client().connect().await;
        connection.write(begin).await;
        connection.rest().await;
        assert!(start.elapsed() < Duration::from_secs(2), "{begin:?}: {:?}", start.elapsed());
    }
    // One byte now and then is no progress.
    let mut connection = gateway.client().connect().await;
    let start = Instant::now();
    for byte in request("GET", "/healthz", &[("x-filler", &"x".repeat(500))], b"") {
        connection.write(&[byte]).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        if start.elapsed() > Duration::from_secs(1) {
            break;
        }
    }
    assert!(connection.reply().await.is_none(), "answered");
}

#[tokio::test]
async fn slow_bodies_are_408() {
    let gateway = Gateway::with(impatient, |_| {}).await;
    let head =
        "POST /register_function HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{";
    let mut connection = gateway.client().connect().await;
    connection.write(head.as_bytes()).await;
    let reply = connection.reply().await.expect("a reply");
    reply.is_error(408, "body_timeout");
    assert!(connection.rest().await.is_empty(), "the connection is closed");

    let head =
        "POST /register_function HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut connection = gateway.client().connect().await;
    connection.write(head.as_bytes()).await;
    let trickle = async {
        for _ in 0..100 {
            connection.write(b"1\r\n \r\n").await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    trickle.await;
    connection.reply().await.expect("a reply").is_error(408, "body_timeout");
}

#[tokio::test]
async fn idle_connections_are_closed_and_long_polls_are_not() {
    let gateway = Gateway::with(impatient, |_| {}).await;
    let task_id = gateway.execute(&gateway.register().await).await;
    let mut connection = gateway.client().connect().await;
    connection.write(&request("GET", &format!("/result/{task_id}?wait=0.6"), &[], b"")).await;
    let reply = connection.reply().await.expect("a reply, long after the idle timeout");
    assert_eq!(reply.json()["status"], "QUEUED");
    let start = Instant::now();
    assert!(connection.rest().await.is_empty());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn oversized_bodies_are_413_with_and_without_a_length() {
    let gateway = Gateway::with(|config| config.max_body_bytes = 100_000, |_| {}).await;
    let body = json!({"name": "a", "payload": "A".repeat(150_000)}).to_string();
    let reply = gateway.client().post_raw("/register_function", body.as_bytes()).await;
    reply.is_error(413, "body_too_large");
    assert!(reply.text().contains("100000"), "{}", reply.text());

    let mut chunked =
        "POST /register_function HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_owned();
    chunked.push_str(&format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    let mut connection = gateway.client().connect().await;
    connection.write(chunked.as_bytes()).await;
    connection.reply().await.expect("a reply").is_error(413, "body_too_large");

    // Who asks first is answered before the body.
    let mut connection = gateway.client().connect().await;
    let head = "POST /register_function HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 999999999\r\n\r\n";
    connection.write(head.as_bytes()).await;
    connection.reply().await.expect("a reply").is_error(413, "body_too_large");
}

#[tokio::test]
async fn bodies_share_a_bounded_memory() {
    let little = |config: &mut Config| {
        config.max_buffered_bytes = 0;
        config.max_body_bytes = 200_000;
        config.body_timeout = Duration::from_millis(600);
    };
    let gateway = Gateway::with(little, |_| {}).await;
    let body = json!({"name": "len", "payload": FUNCTION, "x": "x".repeat(150_000)}).to_string();
    let whole = request("POST", "/register_function", &[], body.as_bytes());
    let mut hog = gateway.client().connect().await;
    hog.write(&whole[..1_000]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut second = gateway.client().connect().await;
    second.write(&whole).await;
    // Small requests are not held up; the large one is served once the first is done or cut.
    assert_eq!(gateway.client().get("/healthz").await.status, 200);
    let reply = second.reply().await.expect("a reply");
    assert!(reply.status == 200 || reply.status == 503, "{}", reply.text());
    hog.reply().await.expect("a reply").is_error(408, "body_timeout");
    assert_eq!(gateway.client().post_raw("/register_function", body.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn encoded_bodies_are_415() {
    let gateway = Gateway::start().await;
    let headers = [("content-encoding", "br")];
    let reply = gateway.client().send("POST", "/register_function", &headers, b"\x1f\x8b").await;
    reply.is_error(415, "unsupported_encoding");
    let body = json!({"name": "len", "payload": FUNCTION}).to_string();
    let headers = [("content-encoding", "identity")];
    let reply =
        gateway.client().send("POST", "/register_function", &headers, body.as_bytes()).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn odd_json_is_422() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let deep = "[".repeat(100_000);
    let deep_field = format!(r#"{{"name": {deep}{}, "payload": ""}}"#, "]".repeat(100_000));
    let deep_objects = r#"{"a":"#.repeat(100_000);
    let bodies: [&[u8]; 10] = [
        deep.as_bytes(),
        deep_field.as_bytes(),
        deep_objects.as_bytes(),
        b"{\"name\": \"\xff\", \"payload\": \"\"}",
        b"\xff\xfe{\x00",
        br#"{"name": "\ud800", "payload": ""}"#,
        br#"{"name": "a", "name": "a", "payload": ""}"#,
        br#"{"name": "a", "payload": "", "timeout_s": NaN}"#,
        br#"{"name": "a", "payload": "", "timeout_s": 1e999}"#,
        br#"{"name": "a", "payload": "", "memory_mb": 99999999999999999999999999}"#,
    ];
    for body in bodies {
        for path in ["/register_function", "/execute_function", "/v1/tasks", "/v1/results"] {
            let reply = client.post_raw(path, body).await;
            reply.is_error(422, "invalid_request");
            assert!(reply.body.len() < 2_000, "{}", reply.text());
        }
    }
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused() {
    let configure = |config: &mut Config| config.allowed_hosts = vec!["faas.example".to_owned()];
    let gateway = Gateway::with(configure, |_| {}).await;
    let client = gateway.client();
    let get = async |host| client.send("GET", "/healthz", &[("host", host)], b"").await;
    get("evil.example").await.is_error(421, "unknown_host");
    get("").await.is_error(421, "unknown_host");
    assert_eq!(get("faas.example").await.status, 200);
    let mut connection = client.connect().await;
    connection.write(b"GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    connection.reply().await.expect("a reply").is_error(421, "unknown_host");
    let mut connection = client.connect().await;
    connection.write(b"GET /healthz HTTP/1.1\r\n\r\n").await;
    connection.reply().await.expect("a reply").is_error(400, "host_missing");

    let body = json!({"name": "len", "payload": FUNCTION}).to_string();
    let post = async |origin| {
        let headers = [("host", "localhost"), ("origin", origin)];
        client.send("POST", "/register_function", &headers, body.as_bytes()).await
    };
    for foreign in ["http://evil.example", "null", "http://localhost:3000", "localhost"] {
        let reply = post(foreign).await;
        reply.is_error(403, "foreign_origin");
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
    assert_eq!(post("http://localhost").await.status, 200);
    let preflight = client.send("OPTIONS", "/register_function", &[("origin", "http://evil")], b"");
    preflight.await.is_error(405, "method_not_allowed");
}

#[tokio::test]
async fn a_flood_of_idle_connections_passes() {
    let few = |config: &mut Config| {
        impatient(config);
        config.max_connections = 20;
    };
    let gateway = Gateway::with(few, |_| {}).await;
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(gateway.client().connect().await);
    }
    let start = Instant::now();
    assert_eq!(gateway.client().get("/healthz").await.status, 200);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[tokio::test]
async fn huge_headers_are_refused() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let reply = client.send("GET", "/healthz", &[("x-huge", &"x".repeat(1 << 20))], b"").await;
    assert_eq!(reply.status, 431);
    let many: Vec<_> = (0..500).map(|n| (format!("x-{n}"), "x".to_owned())).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(client.send("GET", "/healthz", &many, b"").await.status, 431);
    let mut connection = client.connect().await;
    connection.write(b"no http at all\r\n\r\n").await;
    assert_eq!(connection.reply().await.map(|reply| reply.status), Some(400));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let gateway = Gateway::start().await;
    let function_id = gateway.register().await;
    let call = json!({"function_id": function_id, "payload": ARGS}).to_string();
    let mut bytes = Vec::new();
    for n in 0..50 {
        let id = format!("request-{n}");
        let headers = [("x-request-id", id.as_str())];
        bytes.extend(if n % 2 == 0 {
            request("POST", "/execute_function", &headers, call.as_bytes())
        } else {
            request("GET", "/healthz", &headers, b"")
        });
    }
    let mut connection = gateway.client().connect().await;
    connection.write(&bytes).await;
    for n in 0..50 {
        let reply = connection.reply().await.expect("a reply");
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-request-id"), Some(format!("request-{n}").as_str()));
        assert!(reply.header("server-timing").is_some_and(|timing| timing.contains("total;dur=")));
    }
}

#[tokio::test]
async fn http2_is_spoken_and_rapid_resets_pass() {
    let gateway = Gateway::start().await;
    let stream = tokio::net::TcpStream::connect(gateway.address).await.expect("a connection");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let request = || {
        let uri = format!("http://{}/healthz", gateway.address);
        axum::http::Request::get(uri).body(()).expect("a request")
    };
    let (reply, _) = client.send_request(request(), true).expect("a stream");
    assert_eq!(reply.await.expect("a reply").status(), 200);
    for _ in 0..2_000 {
        let Ok(mut ready) = client.clone().ready().await else { break };
        let Ok((_, mut stream)) = ready.send_request(request(), true) else { break };
        stream.send_reset(h2::Reason::CANCEL);
    }
    drop(client);
    let _ = tokio::time::timeout(Duration::from_secs(5), connection).await;
    assert_eq!(gateway.client().get("/healthz").await.status, 200);
}

#[tokio::test]
#[expect(clippy::async_yields_async, reason = "the answer to a request comes later")]
async fn one_http2_connection_has_no_more_requests_open_than_there_may_be() {
    let most = 3;
    let gateway = Gateway::with(|config| config.max_connections = most, |_| {}).await;
    let task_id = gateway.execute(&gateway.register().await).await;
    let stream = tokio::net::TcpStream::connect(gateway.address).await.expect("a connection");
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let send = async |path: String| {
        let uri = format!("http://{}{path}", gateway.address);
        let request = axum::http::Request::get(uri).body(()).expect("a request");
        let mut ready = client.clone().ready().await.expect("room");
        ready.send_request(request, true).expect("a stream").0
    };
    let mut waiting = Vec::new();
    for _ in 0..most {
        waiting.push(send(format!("/result/{task_id}?wait=30")).await);
    }
    // Streams are opened in their order.
    let refused = send("/v1/functions".to_owned()).await.await.expect("an answer");
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    drop(waiting.pop());
    until("there is room again", async || {
        send("/v1/functions".to_owned()).await.await.expect("an answer").status() == 200
    })
    .await;
}

#[tokio::test]
async fn healthy_clients_are_served_while_others_send_much() {
    let gateway = Gateway::start().await;
    let junk = json!({"name": "a", "payload": "A".repeat(20 << 20)}).to_string();
    let client = gateway.client();
    let attack = tokio::spawn(async move {
        for _ in 0..2 {
            client
                .post_raw("/register_function", junk.as_bytes())
                .await
                .is_error(400, "invalid_payload");
        }
    });
    let mut served = 0;
    until("the attack is over", async || {
        assert_eq!(gateway.client().get("/healthz").await.status, 200);
        served += 1;
        attack.is_finished()
    })
    .await;
    attack.await.expect("4xx");
    assert!(served > 5, "{served}");
}
