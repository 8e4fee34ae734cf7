//! Quotas: who exceeds one is told which, and nobody else notices.

use std::time::{Duration, Instant};

use belljar_core::outcome::{CallVerdict, Outcome};
use belljar_gateway::Config;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use crate::support::client::{Client, Reply, request};
use crate::support::guarded::{ALL, Guarded};
use crate::support::tenants::TenantsFile;
use crate::support::{ARGS, Dispatcher, Gateway, class, until};

async fn guarded(file: &TenantsFile) -> Guarded {
    Guarded::with(|config| file.configure(config)).await
}

/// Checks a refusal: which quota, its value in the sentence, and when to come back.
fn is_exceeded(reply: &Reply, quota: &str, limit: &str) {
    reply.is_error(429, "quota_exceeded");
    assert_eq!(reply.text_at("quota"), quota);
    let text = reply.text_at("detail");
    assert!(text.contains(limit) && text.contains(&format!("`{quota}`")), "{text}");
    let seconds = reply.header("retry-after").map(str::parse::<u64>);
    assert!(seconds.is_some_and(|seconds| seconds.is_ok_and(|it| it >= 1)), "{reply:?}");
}

#[tokio::test]
async fn requests_a_second_are_those_of_one_tenant() {
    let file = TenantsFile::new("[tenant.acme]\nquotas = { requests_per_s = 1, burst = 3 }");
    let guarded = guarded(&file).await;
    // Two keys of a tenant share what it may.
    let keys = [guarded.key("acme", &ALL).await, guarded.key("acme", &ALL).await];
    let other = guarded.key("other", &ALL).await;
    let list = async |key: &str| guarded.send(key, "GET", "/v1/tasks", &Value::Null).await;
    let mut refused = Vec::new();
    for turn in 0..8 {
        let reply = list(&keys[turn % 2]).await;
        assert!([200, 429].contains(&reply.status), "{}", reply.text());
        refused.extend(Some(reply).filter(|reply| reply.status == 429));
        assert_eq!(list(&other).await.status, 200);
    }
    assert!(refused.len() >= 3, "{}", refused.len());
    is_exceeded(&refused[0], "requests_per_s", "is 1");
    assert_eq!(guarded.send("", "GET", "/healthz", &Value::Null).await.status, 200);
    until("a request comes back", async || list(&keys[0]).await.status == 200).await;
}

#[tokio::test]
async fn long_polls_and_event_streams_are_those_of_one_tenant() {
    let file = TenantsFile::new("[default]\nquotas = { long_polls = 1, event_streams = 1 }");
    let guarded = guarded(&file).await;
    let keys = [guarded.key("acme", &ALL).await, guarded.key("other", &ALL).await];
    let mut open = Vec::new();
    for key in &keys {
        let function = guarded.register(key).await;
        let task = guarded.execute(key, &function).await;
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let mut stream = guarded.gateway.client().connect().await;
        stream.write(&request("GET", "/v1/events", &headers, b"")).await;
        stream.until(": connected").await;
        let reply = guarded.send(key, "GET", "/v1/events", &Value::Null).await;
        is_exceeded(&reply, "event_streams", "has 1 event streams open");
        let mut poll = guarded.gateway.client().connect().await;
        let path = format!("/result/{task}?wait=60");
        poll.write(&request("GET", &path, &headers, b"")).await;
        open.push((stream, poll, task, function));
    }
    let (_, _, task, function) = &open[0];
    let short = format!("/status/{task}?wait=0.01");
    let poll = async || guarded.send(&keys[0], "GET", &short, &Value::Null).await;
    until("the poll is open", async || poll().await.status == 429).await;
    is_exceeded(&poll().await, "long_polls", "has 1 requests open");
    let one = json!({"function_id": function, "payloads": [ARGS], "wait": 1});
    let reply = guarded.send(&keys[0], "POST", "/v1/tasks", &one).await;
    is_exceeded(&reply, "long_polls", "has 1 requests open");
    let many = json!({"task_ids": [task], "wait": 0.01});
    let reply = guarded.send(&keys[0], "POST", "/v1/results", &many).await;
    is_exceeded(&reply, "long_polls", "has 1 requests open");
    let status = format!("/status/{task}");
    assert_eq!(guarded.send(&keys[0], "GET", &status, &Value::Null).await.status, 200);
    open.clear();
    until("what was open is closed", async || poll().await.status == 200).await;
}

#[tokio::test]
async fn connections_are_those_of_one_address() {
    let file = TenantsFile::new("connections_per_address = 2");
    let gateway = Gateway::with(|config| file.configure(config), |_| {}).await;
    let get = request("GET", "/v1/tasks", &[], b"");
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut connection = gateway.client().connect().await;
        connection.write(&get).await;
        assert_eq!(connection.reply().await.expect("a reply").status, 200);
        open.push(connection);
    }
    let mut third = gateway.client().connect().await;
    third.write(&get).await;
    let reply = third.reply().await.expect("a reply");
    is_exceeded(&reply, "connections_per_address", "has 2 connections open");
    assert!(third.rest().await.is_empty(), "it is closed");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.2:0".parse().expect("an address")).expect("an address of loopback");
    let mut other = socket.connect(gateway.address).await.expect("a connection");
    tokio::io::AsyncWriteExt::write_all(&mut other, &get).await.expect("sent");
    let mut answer = [0; 12];
    other.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200", "another address");
    open.clear();
    until("there is room again", async || {
        let mut connection = gateway.client().connect().await;
        connection.write(&get).await;
        connection.reply().await.is_some_and(|reply| reply.status == 200)
    })
    .await;
}

#[tokio::test]
async fn functions_and_their_bytes_are_those_of_one_tenant() {
    let file = TenantsFile::new(
        "[tenant.acme]\nquotas.functions = 1\n[tenant.large]\nquotas.stored_mb = 1\n[tenant.none]\nquotas.stored_mb = 0",
    );
    let guarded = guarded(&file).await;
    let [acme, large, none, other] = [
        guarded.key("acme", &ALL).await,
        guarded.key("large", &ALL).await,
        guarded.key("none", &ALL).await,
        guarded.key("other", &ALL).await,
    ];
    let body = json!({"name": "len", "payload": crate::support::FUNCTION});
    let register = async |key: &str| guarded.send(key, "POST", "/register_function", &body).await;
    let first = register(&acme).await.text_at("function_id");
    let refused = register(&acme).await;
    is_exceeded(&refused, "functions", "has 1 functions");
    assert!(refused.text_at("detail").contains("DELETE /v1/functions/"), "{}", refused.text());
    for key in [&large, &other, &other] {
        assert_eq!(register(key).await.status, 200);
    }
    is_exceeded(&register(&none).await, "stored_mb", "is 0");
    let path = format!("/v1/functions/{first}");
    assert_eq!(guarded.send(&acme, "DELETE", &path, &Value::Null).await.status, 200);
    assert_eq!(register(&acme).await.status, 200, "in its place");
}

/// Submits so many calls and returns the answer.
async fn submit(client: Client, key: &str, function: &str, count: usize) -> Reply {
    let body = json!({"function_id": function, "payloads": vec![ARGS; count]});
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    client.send("POST", "/v1/tasks", &headers, body.to_string().as_bytes()).await
}

#[tokio::test]
async fn racing_submitters_over_two_gateways_keep_to_the_queue_of_their_tenant() {
    let file = TenantsFile::new("[tenant.acme]\nquotas.queued_tasks = 20");
    let guarded = guarded(&file).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let second = Client::new(listener.local_addr().expect("an address"));
    let mut config = Config { require_keys: true, ..Config::new(class()) };
    file.configure(&mut config);
    let (store, token) = (guarded.gateway.store.clone(), CancellationToken::new());
    tokio::spawn(belljar_gateway::run(config, listener, store.clone(), token.clone()));
    let keys = [guarded.key("acme", &ALL).await, guarded.key("other", &ALL).await];
    let functions = [guarded.register(&keys[0]).await, guarded.register(&keys[1]).await];
    let clients = [guarded.gateway.client(), second];
    let racing = (0..40).map(|n| submit(clients[n % 2], &keys[0], &functions[0], 1 + n % 3));
    let replies = futures_util::future::join_all(racing).await;
    let (accepted, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|it| it.status == 200);
    let ids = |reply: &Reply| reply.json()["task_ids"].as_array().map_or(0, Vec::len);
    let accepted: usize = accepted.into_iter().map(ids).sum();
    assert!((18..=20).contains(&accepted), "{accepted}");
    assert_eq!(store.audit().await.expect("read").counts.queued, accepted as u64);
    is_exceeded(refused.last().expect("some are refused"), "queued_tasks", "is 20");
    assert_eq!(submit(second, &keys[1], &functions[1], 100).await.status, 200, "another tenant");
    let dispatcher = Dispatcher::start(&store, &["native:3.11"]).await;
    dispatcher.claim(200).await;
    assert_eq!(submit(second, &keys[0], &functions[0], 20).await.status, 200, "they have begun");
    token.cancel();
}

#[tokio::test]
async fn processor_time_is_that_of_one_tenant() {
    let file =
        TenantsFile::new("[default]\nquotas = { cpu_s_per_hour = 5, memory_mb_s_per_day = 1000 }");
    let guarded = guarded(&file).await;
    let dispatcher = Dispatcher::start(&guarded.gateway.store, &["native:3.11"]).await;
    for (name, quota, has) in [
        ("acme", "cpu_s_per_hour", "used 6 seconds of processors in this hour"),
        ("large", "memory_mb_s_per_day", "used 1200 MiB of memory times seconds in this day"),
    ] {
        let key = guarded.key(name, &ALL).await;
        let function = guarded.register(&key).await;
        guarded.execute(&key, &function).await;
        let task = dispatcher.claim(1).await.pop().expect("a task");
        let verdict = CallVerdict::Completed(Bytes::from_static(b"\x80\x04N."));
        let mut outcome = Outcome::bare(verdict, Duration::from_secs(2));
        (outcome.phases.cpu_us, outcome.peak_memory_bytes) =
            if name == "acme" { (6_000_000, 1 << 20) } else { (1, 600 << 20) };
        dispatcher.finish_with(&task, outcome).await;
        let reply = submit(guarded.gateway.client(), &key, &function, 1).await;
        is_exceeded(&reply, quota, has);
        let other = guarded.key("other", &ALL).await;
        let function = guarded.register(&other).await;
        assert_eq!(submit(guarded.gateway.client(), &other, &function, 1).await.status, 200);
        dispatcher.complete_one(b"\x80\x04N.").await;
    }
}

#[tokio::test]
async fn tasks_beyond_those_that_may_run_wait_and_say_why() {
    let file = TenantsFile::new("[tenant.acme]\nquotas.running_tasks = 2");
    let guarded = guarded(&file).await;
    let dispatcher = Dispatcher::start(&guarded.gateway.store, &["native:3.11"]).await;
    let (key, other) = (guarded.key("acme", &ALL).await, guarded.key("other", &ALL).await);
    let function = guarded.register(&key).await;
    let reply = submit(guarded.gateway.client(), &key, &function, 3).await;
    assert_eq!(reply.status, 200);
    let mut running = dispatcher.claim(9).await;
    assert_eq!(running.len(), 2);
    let ids = reply.json()["task_ids"].clone();
    let is_running = |id: &str| running.iter().any(|task| task.id().to_string() == id);
    let third = ids.as_array().expect("ids").iter().filter_map(Value::as_str);
    let third = third.into_iter().find(|id| !is_running(id)).expect("one waits");
    let record =
        guarded.send(&key, "GET", &format!("/v1/tasks/{third}"), &Value::Null).await.json();
    assert_eq!(record["waiting"]["reason"], "quota", "{record}");
    let detail = record["waiting"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("runs 2 tasks") && detail.contains("`running_tasks`"), "{detail}");
    let theirs = guarded.register(&other).await;
    assert_eq!(submit(guarded.gateway.client(), &other, &theirs, 3).await.status, 200);
    assert_eq!(dispatcher.claim(9).await.len(), 3, "another tenant");
    let verdict = CallVerdict::Completed(Bytes::from_static(b"\x80\x04N."));
    dispatcher.finish(&running.remove(0), verdict).await;
    let claimed = dispatcher.claim(9).await;
    assert_eq!(claimed.iter().map(|task| task.id().to_string()).collect::<Vec<_>>(), [third]);
}

/// A request over HTTP/2 that asks and does not wait for its answer.
async fn ask_http2(client: &h2::client::SendRequest<Bytes>, key: &str, path: &str) -> u16 {
    let request = axum::http::Request::get(format!("http://127.0.0.1{path}"));
    let request = request.header("authorization", format!("Bearer {key}")).body(());
    let mut ready = client.clone().ready().await.expect("room");
    let (answer, _) = ready.send_request(request.expect("a request"), true).expect("a stream");
    answer.await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn one_tenant_leaves_room_for_requests_and_waiting_tasks_of_others() {
    let guarded = Guarded::with(|config| {
        config.max_connections = 16;
        config.max_waiters = 16;
    })
    .await;
    let (key, other) = (guarded.key("acme", &ALL).await, guarded.key("other", &ALL).await);
    let mut ids = Vec::new();
    for (key, count) in [(&key, 16), (&other, 2)] {
        let function = guarded.register(key).await;
        let reply = submit(guarded.gateway.client(), key, &function, count).await.json();
        ids.push(reply["task_ids"].as_array().expect("ids").clone());
    }
    let [ours, theirs] = [&ids[0][..], &ids[1][..]];
    let wait = async |key: &str, ids: &[Value]| {
        let body = json!({"task_ids": ids, "wait": 0.01});
        guarded.send(key, "POST", "/v1/results", &body).await
    };
    is_exceeded(&wait(&key, &ours[..15]).await, "waited_tasks", "is 14");
    assert_eq!(wait(&key, &ours[..14]).await.status, 200);

    // Over one connection, so that it is not about connections.
    let stream = tokio::net::TcpStream::connect(guarded.gateway.address).await.expect("connected");
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let poll = format!("/status/{}?wait=60", ours[0].as_str().expect("an id"));
    let mut open = Vec::new();
    for _ in 0..14 {
        let (client, key, poll) = (client.clone(), key.clone(), poll.clone());
        // A list below may be in its way for a moment.
        let again = async move { while ask_http2(&client, &key, &poll).await == 429 {} };
        open.push(tokio::spawn(again));
    }
    let list = async |key: &str| ask_http2(&client, key, "/v1/tasks").await;
    until("all polls are open", async || list(&key).await == 429).await;
    let asked = Instant::now();
    let refused = guarded.send(&key, "GET", "/v1/tasks", &Value::Null).await;
    is_exceeded(&refused, "open_requests", "has 14 requests open");
    assert!(asked.elapsed() >= Duration::from_millis(100), "who asks at once again takes little");
    assert_eq!(list(&other).await, 200, "another tenant");
    assert_eq!(wait(&other, theirs).await.status, 200, "it waits, too");
    open.iter().for_each(tokio::task::JoinHandle::abort);
    until("there is room again", async || list(&key).await == 200).await;
}

#[tokio::test]
async fn one_address_leaves_connections_to_others_where_tenants_share() {
    let guarded = Guarded::with(|config| config.max_connections = 8).await;
    let key = guarded.key("acme", &ALL).await;
    let mut open = Vec::new();
    for _ in 0..7 {
        open.push(guarded.gateway.client().connect().await);
    }
    let refused = async || {
        let reply = guarded.send(&key, "GET", "/v1/tasks", &Value::Null).await;
        (reply.status == 429).then_some(reply)
    };
    let mut reply = None;
    until("all are taken", async || {
        reply = refused().await;
        reply.is_some()
    })
    .await;
    is_exceeded(&reply.expect("refused"), "connections_per_address", "has 7 connections open");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.2:0".parse().expect("an address")).expect("an address of loopback");
    let mut other = socket.connect(guarded.gateway.address).await.expect("a connection");
    let get = request("GET", "/healthz", &[], b"");
    tokio::io::AsyncWriteExt::write_all(&mut other, &get).await.expect("sent");
    let mut answer = [0; 12];
    other.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
}
