//! The proxy alone, told what a hostile child may say.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use belljar_core::http::{HTTP_NOTES, HTTP_REQUESTS, HTTP_RESPONSE_BYTES};
use belljar_worker::http_proxy::{CallProxy, HttpConfig, HttpProxy, Resolve};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::server::Server;

/// Names lead to this machine, or where a test says.
#[derive(Debug, Default)]
struct Names {
    /// One answer after the other; the last one again and again.
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Names {
    fn answering(answers: &[&[&str]]) -> Arc<Self> {
        let addresses = |list: &&[&str]| list.iter().map(|it| it.parse().expect("valid")).collect();
        let answers = Mutex::new(answers.iter().map(addresses).collect());
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Resolve for Names {
    async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut answers = self.answers.lock().expect("unpoisoned");
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers.concat() })
    }
}

/// The proxy of a worker that trusts `server` and lets names lead to this machine.
fn proxy(server: &Server, secrets: Option<&str>) -> HttpProxy {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a directory");
    let secrets = secrets.map(|text| {
        let path = dir.path().join("secrets.toml");
        std::fs::write(&path, text).expect("written");
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, mode).expect("set");
        path
    });
    let authorities = Vec::from_iter(server.authority.exists().then(|| server.authority.clone()));
    let private = vec!["127.0.0.0/8".parse().expect("a network")];
    let proxy = HttpProxy::new(&HttpConfig { secrets, authorities, private }).expect("it works");
    proxy.resolving(Names::answering(&[&["127.0.0.1"]]))
}

/// The requests of one call to `server`.
struct Call {
    proxy: CallProxy,
    head: Value,
}

impl Call {
    fn new(proxy: HttpProxy, server: &Server, granted: &[&str]) -> Self {
        let port = server.address.port();
        let granted = granted.iter().map(|text| text.replace("PORT", &port.to_string()));
        let granted = granted.map(|text| text.parse().expect("a pattern")).collect();
        let scheme = if server.authority.exists() { "https" } else { "http" };
        let head = json!({
            "method": "GET", "scheme": scheme, "host": "api.test", "port": port, "target": "/v1/x",
            "headers": [], "timeout_ms": null,
        });
        Self { proxy: CallProxy::new(Arc::new(proxy), granted), head }
    }

    /// The head and the body of the answer to a request that differs in `changes`.
    async fn request(&mut self, changes: Value, body: &[u8]) -> (Value, Bytes) {
        let mut head = self.head.clone();
        head.as_object_mut().expect("an object").extend(changes.as_object().expect("one").clone());
        let head = head.to_string();
        let length = u32::try_from(head.len()).expect("short").to_le_bytes();
        self.raw([&length, head.as_bytes(), body].concat().into()).await
    }

    async fn raw(&mut self, message: Bytes) -> (Value, Bytes) {
        let answer = self.proxy.answer(message).await;
        let length = u32::from_le_bytes(*answer.first_chunk().expect("a length")) as usize;
        let head = serde_json::from_slice(&answer[4..4 + length]).expect("JSON");
        (head, answer.slice(4 + length..))
    }

    /// The kind of the refusal of a request, and its text.
    async fn refusal(&mut self, changes: Value) -> (String, String) {
        let (head, body) = self.request(changes.clone(), b"").await;
        assert!(body.is_empty(), "{changes} is answered: {head}");
        let text = |name: &str| head[name].as_str().map(str::to_owned);
        let kind = text("error").unwrap_or_else(|| panic!("{changes} is answered: {head}"));
        (kind, text("text").expect("a text"))
    }
}

const GRANTED: &[&str] = &["GET,POST,HEAD https://api.test:PORT/v1/*"];
const PLAIN: &[&str] = &["GET,POST http://api.test:PORT/v1/*"];

#[tokio::test]
async fn a_granted_request_is_made_over_tls_and_noted() {
    let server = Server::start(Some("api.test")).await;
    let mut call = Call::new(proxy(&server, None), &server, GRANTED);
    let headers =
        json!([["X-Own", "v\u{e9}"], ["Content-Length", "3"], ["Connection", "keep-alive"]]);
    let changes = json!({"method": "POST", "target": "/v1/%61?q=1", "headers": headers});
    let (head, body) = call.request(changes, b"abc").await;
    assert_eq!((&head["status"], &head["reason"]), (&json!(200), &json!("OK")), "{head}");
    assert_eq!(body, "{\"ok\": true}");
    let [sent] = <[String; 1]>::try_from(server.taken()).expect("one request");
    assert!(
        sent.starts_with("POST /v1/a?q=1 HTTP/1.1\r\n") && sent.ends_with("\r\n\r\nabc"),
        "{sent}"
    );
    let host = format!("host: api.test:{}\r\n", server.address.port());
    assert_eq!(sent.matches("host:").count(), 1, "{sent}");
    assert!(sent.contains(&host) && sent.contains("connection: close\r\n"), "{sent}");
    assert_eq!(sent.matches("content-length: 3\r\n").count(), 1, "{sent}");

    let (head, body) = call.request(json!({"target": "/v1/chunked"}), b"").await;
    let shown =
        json!([["x-a", "1"], ["x-a", "2"], ["content-length", "5"], ["connection", "close"]]);
    assert_eq!((&head["reason"], &head["headers"]), (&json!("Fine"), &shown));
    assert_eq!(body, "abcde");
    let log = call.proxy.into_log().http.expect("two requests");
    assert_eq!((log.total, log.requests.len()), (2, 2));
    let note = &log.requests[0];
    assert_eq!(note.url, format!("https://api.test:{}/v1/a", server.address.port()));
    assert_eq!((note.status, note.request_bytes, note.response_bytes), (Some(200), 3, 12));
}

#[tokio::test]
async fn what_is_not_granted_reaches_no_server() {
    let server = Server::start(Some("api.test")).await;
    let mut call = Call::new(proxy(&server, None), &server, GRANTED);
    let port = server.address.port();
    for changes in [
        json!({"method": "DELETE"}),
        json!({"scheme": "http"}),
        json!({"host": "other.test"}),
        json!({"host": "127.0.0.1"}),
        json!({"host": "api.test.evil.org"}),
        json!({"port": if port == 443 { 444 } else { 443 }}),
        json!({"target": "/"}),
        json!({"target": "/v1"}),
        json!({"target": "//v1/x"}),
        json!({"target": "/v2/x"}),
        json!({"target": "/v1%2Fx"}),
    ] {
        let (kind, text) = call.refusal(changes.clone()).await;
        assert!(kind == "denied" && text.contains("is not granted"), "{changes}: {text}");
    }
    let (head, _) = call.request(json!({"target": "/v2/x?secret=1"}), b"").await;
    assert_eq!(head["grant"], format!("GET https://api.test:{port}/v2/x"));
    for changes in [
        json!({"method": "CONNECT"}),
        json!({"method": "GET /v1/x HTTP/1.1\r\nX: y\r\n\r\nGET"}),
        json!({"scheme": "file"}),
        json!({"host": "api.test/"}),
        json!({"host": "api.test\r\nx"}),
        json!({"host": "evil.org#api.test"}),
        json!({"host": "0x7f.1"}),
        json!({"port": 0}),
        json!({"port": 65_536 + 80}),
        json!({"target": "/v1/../admin"}),
        json!({"target": "/v1/%2e%2E/admin"}),
        json!({"target": "/v1/x%2f..%2f..%2fadmin"}),
        json!({"target": "/v1/..%5cadmin"}),
        json!({"target": "/v1/%252e%252e/admin"}),
        json!({"target": "/v1/..;/admin"}),
        json!({"target": "/v1/x HTTP/1.1\r\nHost: evil\r\n\r\n"}),
        json!({"target": "/v1/x?a\r\nX: y"}),
        json!({"target": "/v1/x#y"}),
        json!({"target": "https://api.test/v1/x"}),
        json!({"target": "@evil.org/v1/x"}),
        json!({"target": format!("/v1/{}", "x".repeat(9000))}),
    ] {
        assert_eq!(call.refusal(changes.clone()).await.0, "invalid", "{changes}");
    }
    assert_eq!(server.taken(), [""; 0]);
}

#[tokio::test]
async fn headers_add_no_request_and_no_header() {
    let server = Server::start(None).await;
    let mut call = Call::new(proxy(&server, None), &server, PLAIN);
    for header in [
        json!(["X", "a\r\nHost: evil"]),
        json!(["X", "a\nY: b"]),
        json!(["X", "a\u{0}"]),
        json!(["X", "\u{20ac}"]),
        json!(["X: y\r\nZ", "a"]),
        json!(["X Y", "a"]),
        json!(["", "a"]),
        json!(["Host", "evil.org"]),
        json!(["HOST", "api.test"]),
        json!(["Content-Length", "5"]),
        json!(["content-length", "+0"]),
        json!(["Content-Length", "0, 5"]),
        json!(["Transfer-Encoding", "chunked"]),
        json!(["transfer-encoding", "identity"]),
        json!(["Upgrade", "h2c"]),
    ] {
        assert_eq!(call.refusal(json!({"headers": [header]})).await.0, "invalid", "{header}");
    }
    let many: Vec<_> = (0..101).map(|number| json!([format!("x-{number}"), "a"])).collect();
    assert_eq!(call.refusal(json!({"headers": many})).await.0, "limit");
    assert_eq!(call.refusal(json!({"headers": [["x", "y".repeat(65_536)]]})).await.0, "limit");
    for message in
        [&b""[..], b"\x01\0\0\0", b"\x02\0\0\0{}", b"\xff\xff\xff\xff{}", b"\x04\0\0\0null"]
    {
        let (head, _) = call.raw(Bytes::from_static(message)).await;
        assert!(["invalid", "limit"].contains(&head["error"].as_str().expect("a kind")), "{head}");
    }
    let long = Bytes::from(vec![b' '; (8 << 20) + 1]);
    assert_eq!(call.raw(long).await.0["error"], "limit");
    assert_eq!(server.taken(), [""; 0]);
    // Those of the connection are the worker's.
    let headers = json!([
        ["Connection", "x-own"],
        ["TE", "trailers"],
        ["Keep-Alive", "a"],
        ["Proxy-Connection", "a"],
        ["Expect", "100-continue"],
        ["X-Own", "kept"]
    ]);
    call.request(json!({"headers": headers}), b"").await;
    let sent = server.taken().concat();
    assert!(sent.contains("x-own: kept\r\n") && sent.contains("connection: close\r\n"), "{sent}");
    assert_eq!(sent.lines().count(), 5, "{sent}");
}

#[tokio::test]
async fn names_that_lead_inside_are_refused_and_no_second_answer_counts() {
    let server = Server::start(None).await;
    let only_public = || {
        let config = HttpConfig::default();
        HttpProxy::new(&config).expect("it works")
    };
    for inside in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"]
    {
        let proxy = only_public().resolving(Names::answering(&[&[inside]]));
        let (kind, text) = Call::new(proxy, &server, PLAIN).refusal(json!({})).await;
        assert!(kind == "denied" && text.contains("not public"), "{inside}: {text}");
        assert!(!text.contains(inside), "{text}");
    }
    // A name that leads outside when it is looked at and inside when it is connected to: nobody asks again.
    let rebinding = Names::answering(&[&["192.0.2.1", "127.0.0.1"], &["127.0.0.1"]]);
    let names: Arc<dyn Resolve> = rebinding.clone();
    let mut call = Call::new(only_public().resolving(names), &server, PLAIN);
    assert_eq!(call.refusal(json!({})).await.0, "denied", "both are special addresses");
    assert_eq!(rebinding.asked.load(Ordering::Relaxed), 1);
    assert_eq!(server.taken(), [""; 0]);
    // One of several addresses that is allowed is the one that is used.
    let config =
        HttpConfig { private: vec!["127.0.0.1".parse().expect("valid")], ..Default::default() };
    let names = Names::answering(&[&["10.0.0.1", "127.0.0.1"], &["10.0.0.1"]]);
    let proxy = HttpProxy::new(&config).expect("it works").resolving(names.clone());
    let (head, _) = Call::new(proxy, &server, PLAIN).request(json!({}), b"").await;
    assert_eq!((&head["status"], names.asked.load(Ordering::Relaxed)), (&json!(200), 1));
    let none = only_public().resolving(Names::answering(&[&[]]));
    assert_eq!(Call::new(none, &server, PLAIN).refusal(json!({})).await.0, "name");
    // An address is reached where a grant names it, and only there.
    let literal = &["GET http://127.0.0.1:PORT/v1/*"];
    let mut call = Call::new(only_public(), &server, literal);
    assert_eq!(call.request(json!({"host": "127.0.0.1"}), b"").await.0["status"], 200);
    assert_eq!(call.refusal(json!({"host": "127.0.0.2"})).await.0, "denied");
    assert_eq!(server.taken().len(), 2);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let server = Server::start(None).await;
    let mut call = Call::new(proxy(&server, None), &server, PLAIN);
    let (head, _) = call.request(json!({"target": "/v1/redirect"}), b"").await;
    assert_eq!(head["status"], 302);
    assert_eq!(server.taken().len(), 1);
    let metadata = json!({"host": "169.254.169.254", "port": 80, "target": "/latest/meta-data/"});
    assert_eq!(call.refusal(metadata).await.0, "denied");
}

#[tokio::test]
async fn certificates_are_checked() {
    let (server, other) =
        (Server::start(Some("api.test")).await, Server::start(Some("x.test")).await);
    let mut call = Call::new(proxy(&server, None), &other, GRANTED);
    let (kind, text) = call.refusal(json!({})).await;
    assert!(kind == "tls" && text.contains("certificate"), "another authority: {text}");
    let mut call = Call::new(proxy(&other, None), &other, GRANTED);
    let (kind, text) = call.refusal(json!({})).await;
    assert!(kind == "tls" && text.contains("not valid for name"), "another name: {text}");
    assert_eq!(other.taken(), [""; 0]);
}

#[tokio::test]
async fn answers_that_are_too_long_too_late_or_broken_are_refused() {
    let server = Server::start(None).await;
    let mut call = Call::new(proxy(&server, None), &server, PLAIN);
    for (path, kind) in [
        ("/v1/endless", "limit"),
        ("/v1/headers", "broken"),
        ("/v1/broken", "broken"),
        ("/v1/cut", "broken"),
        ("/v1/switch", "broken"),
    ] {
        let (found, text) = call.refusal(json!({"target": path})).await;
        assert_eq!(found, kind, "{path}: {text}");
    }
    let silent = json!({"target": "/v1/silent", "timeout_ms": 50});
    let (kind, text) = call.refusal(silent).await;
    assert!(kind == "timeout" && text.starts_with("timed out"), "{text}");
    // A call that ends meanwhile ends the request.
    let message = call.request(json!({"target": "/v1/silent"}), b"");
    assert!(tokio::time::timeout(Duration::from_millis(50), message).await.is_err());
    let log = call.proxy.into_log().http.expect("requests");
    let ended = log.requests.last().and_then(|note| note.error.as_deref());
    assert_eq!(ended, Some("the call ended before the answer came"));
    const { assert!(HTTP_RESPONSE_BYTES < 64 << 20) };
}

#[tokio::test]
async fn requests_and_notes_are_limited() {
    let server = Server::start(None).await;
    let mut call = Call::new(proxy(&server, None), &server, PLAIN);
    for _ in 0..HTTP_REQUESTS {
        assert_eq!(call.request(json!({}), b"").await.0["status"], 200);
    }
    let (kind, text) = call.refusal(json!({})).await;
    assert!(kind == "limit" && text.contains(&HTTP_REQUESTS.to_string()), "{text}");
    assert_eq!(server.taken().len(), HTTP_REQUESTS as usize);
    let log = call.proxy.into_log().http.expect("requests");
    assert_eq!((log.total, log.requests.len()), (HTTP_REQUESTS + 1, HTTP_NOTES));
}

const SECRETS: &str = "
[TOKEN]
value = 'v4lue'
for = ['GET http://api.test:PORT/v1/*']
";

#[tokio::test]
async fn secrets_are_sent_with_the_requests_that_they_are_for_and_nowhere_told() {
    let server = Server::start(None).await;
    let secrets = SECRETS.replace("PORT", &server.address.port().to_string());
    let mut call = Call::new(proxy(&server, Some(&secrets)), &server, PLAIN);
    let with = |value: &str| json!([["Authorization", value]]);
    let headers = with("Bearer {{secret:TOKEN}}{{secret:TOKEN}}");
    let (head, _) = call.request(json!({"headers": headers}), b"").await;
    assert_eq!(head["status"], 200);
    let sent = server.taken().concat();
    assert!(sent.contains("authorization: Bearer v4luev4lue\r\n"), "{sent}");
    for (headers, method) in [
        (with("{{secret:OTHER}}"), "GET"),
        (with("{{secret:}}"), "GET"),
        // Granted, but the secret is not for it.
        (with("{{secret:TOKEN}}"), "POST"),
    ] {
        let (kind, text) = call.refusal(json!({"method": method, "headers": headers})).await;
        assert!(kind == "denied" && text.contains("no secret"), "{text}");
        assert!(!text.contains("v4lue"), "{text}");
    }
    assert_eq!(call.refusal(json!({"headers": with("{{secret:TOKEN")})).await.0, "invalid");
    assert_eq!(server.taken(), [""; 0]);
    // Not in a path, a body or a header's name.
    let changes = json!({"target": "/v1/{{secret:TOKEN}}?{{secret:TOKEN}}"});
    call.request(changes, b"{{secret:TOKEN}}").await;
    assert!(!server.taken().concat().contains("v4lue"));
    let log = call.proxy.into_log().http.expect("requests");
    assert!(!format!("{log:?}").contains("v4lue"), "{log:?}");
}

#[test]
fn a_file_of_secrets_is_the_services_alone_and_right() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("secrets.toml");
    let read = |text: &str, mode: u32| {
        std::fs::write(&path, text).expect("written");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, mode).expect("set");
        let config = HttpConfig { secrets: Some(path.clone()), ..HttpConfig::default() };
        HttpProxy::new(&config).map_err(|error| error.to_string())
    };
    let right = "[A]\nvalue = 'secr3t'\nfor = ['GET https://a/*']\n";
    assert!(read(right, 0o600).is_ok() && read(right, 0o400).is_ok() && read("", 0o600).is_ok());
    for mode in [0o640, 0o604, 0o620, 0o660] {
        let error = read(right, mode).expect_err("exposed");
        assert!(error.contains("may read or change it"), "{mode:o}: {error}");
    }
    for (text, why) in [
        ("[A]\nvalue = 'secr3t'\n", "missing field `for`"),
        ("[A]\nvalue = 'secr3t'\nfor = []", "`for` names the requests"),
        ("[A]\nvalue = 'secr3t'\nfor = ['a.b']", "is no grant of HTTP requests"),
        ("[A]\nvalue = \"se\\ncr3t\"\nfor = ['GET https://a/*']", "printable ASCII"),
        ("[A]\nvalue = ''\nfor = ['GET https://a/*']", "printable ASCII"),
        ("[A]\nvalue = 1\nfor = ['GET https://a/*']", "a table with a text"),
        ("['A B']\nvalue = 'secr3t'\nfor = ['GET https://a/*']", "`A B` is no name"),
        ("A = 'secr3t'", "a table with a text"),
    ] {
        let error = read(text, 0o600).expect_err(text);
        assert!(error.contains(why) && error.contains("line"), "{text}: {error}");
        assert!(!error.contains("cr3t"), "{text}: {error}");
    }
}
