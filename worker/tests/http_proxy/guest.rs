//! Functions in a guest that make HTTP requests, by the libraries that Python has for that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use belljar_core::access::{Denied, DeniedKind};
use belljar_core::grants::{GrantPolicy, GrantRequest};
use belljar_core::outcome::{CallVerdict, FailureKind, Outcome};
use belljar_core::task::PythonVersion;
use belljar_testkit::{binary, paths};
use belljar_worker::ChildCommand;
use belljar_worker::executor::{Executor, Instance, SandboxExecutor};
use belljar_worker::http_proxy::{HttpConfig, HttpProxy};
use belljar_worker::live::{Live, Watch};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::server::Server;
use crate::support::{call, completed, failed, read, within};

/// An executor that offers what `offered` names, and its instance.
struct Guest {
    executor: SandboxExecutor,
    instance: Option<Box<dyn Instance>>,
}

impl Guest {
    async fn new(server: &Server, offered: &[&str]) -> Self {
        let mut command = ChildCommand::new(binary("belljar-sandbox"));
        if std::env::var_os("BELLJAR_ALLOW_WEAK_SANDBOX").is_some() {
            command.args.push(SandboxExecutor::ALLOW_WEAK.into());
        }
        // What functions import that is not the guest's.
        let command = command.option("--python-path", paths::site());
        let python = PythonVersion::default();
        let guest = paths::guests().join(python.to_string());
        let http = offered.iter().map(|text| text.parse().expect("a pattern")).collect();
        let policy = GrantPolicy { http, ..GrantPolicy::default() };
        let authorities =
            Vec::from_iter(server.authority.exists().then(|| server.authority.clone()));
        let config = HttpConfig {
            authorities,
            private: vec!["127.0.0.0/8".parse().expect("a network")],
            ..HttpConfig::default()
        };
        let proxy = HttpProxy::new(&config).expect("it works");
        let executor = SandboxExecutor::new(python, command, guest, policy);
        let executor = executor.with_http(Some(Arc::new(proxy)));
        let instance = Some(executor.start().await.expect("it starts").instance);
        Self { executor, instance }
    }

    /// Calls `f` of `source` with the server's URL, granted what `granted` names.
    async fn run(&mut self, source: &str, url: &str, granted: &[&str]) -> Outcome {
        let mut invocation = within(20_000, call(source, &format!("(({url:?},), {{}})")));
        if !granted.is_empty() {
            let http = granted.iter().map(|&text| text.to_owned()).collect();
            let asked = GrantRequest { http, ..GrantRequest::default() };
            invocation.spec.grants = Some(Box::new(asked));
        }
        self.call(invocation).await
    }

    async fn call(&mut self, invocation: belljar_core::invocation::Invocation) -> Outcome {
        let instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.executor.start().await.expect("it starts").instance,
        };
        let (watch, (events, _shown)) = (Watch::default(), mpsc::channel(16));
        let live = Live::new(invocation.task, &watch, &events);
        let ran = instance.run(&invocation, &CancellationToken::new(), &live).await;
        self.instance = ran.instance;
        ran.outcome.expect("it began")
    }

    async fn value(&mut self, source: &str, url: &str, granted: &[&str]) -> String {
        read(&completed(&self.run(source, url, granted).await))
    }
}

/// The grant of everything below `/v1` of the server, by its name.
fn granted(server: &Server) -> (String, String) {
    let scheme = if server.authority.exists() { "https" } else { "http" };
    let url = format!("{scheme}://localhost:{}/v1", server.address.port());
    let pattern = format!("* {url}/*");
    (url, pattern)
}

/// Each gives `[200, {"ok": true}]` for a `GET`, with the library that it is named after.
const LIBRARIES: &[(&str, &str)] = &[
    (
        "http.client",
        "
def f(url):
    import http.client, json, urllib.parse
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == 'https' else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=10)
    connection.request('GET', parts.path + '/x')
    first = connection.getresponse()
    read = first.read(4) + first.read()
    connection.request('GET', parts.path + '/x')
    answer = connection.getresponse()
    assert answer.read() == read and answer.getheader('content-type') == 'application/json'
    return [answer.status, json.loads(read)]
",
    ),
    (
        "urllib.request",
        "
def f(url):
    import json, urllib.request
    with urllib.request.urlopen(url + '/x', timeout=10) as answer:
        return [answer.status, json.load(answer)]
",
    ),
    (
        "sockets",
        "
def f(url):
    import json, socket, ssl, urllib.parse
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 10) as connection:
        if parts.scheme == 'https':
            connection = ssl.create_default_context().wrap_socket(connection, server_hostname=parts.hostname)
        connection.send(f'GET {parts.path}/x HTTP/1.1\\r\\nHost: {parts.netloc}\\r\\n'.encode())
        connection.sendall(b'\\r\\n')
        text = b''
        while piece := connection.recv(10): text += piece
    head, _, body = text.partition(b'\\r\\n\\r\\n')
    return [int(head.split()[1]), json.loads(body)]
",
    ),
    (
        "requests",
        "
def f(url):
    import requests
    with requests.Session() as session:
        assert session.post(url + '/echo', json={'a': 1}).text.endswith('{\"a\": 1}')
        answer = session.get(url + '/x', params={'q': 'a b'}, timeout=10)
    return [answer.status_code, answer.json()]
",
    ),
];

#[tokio::test]
async fn libraries_make_granted_requests() {
    for name in [None, Some("localhost")] {
        let server = Server::start(name).await;
        let (url, pattern) = granted(&server);
        let mut guest = Guest::new(&server, &[&pattern]).await;
        for (library, source) in LIBRARIES {
            if *library == "requests" && !paths::site().join("requests").is_dir() {
                eprintln!("SKIPPED: requests is not installed");
                continue;
            }
            let value = guest.value(source, &url, &[&pattern]).await;
            assert_eq!(value, "[200, {'ok': True}]", "{library}");
        }
        assert!(guest.instance.is_some(), "the child goes on");
    }
}

const POST: &str = "
def f(url):
    import io, urllib.request
    def post(body, **headers):
        request = urllib.request.Request(url + '/echo', body, headers, method='POST')
        with urllib.request.urlopen(request) as answer: return answer.read().decode()
    whole, chunked = post(b'x' * 100_000, **{'X-Own': 'a'}), post(io.BytesIO(b'y' * 300_000))
    assert 'x-own: a\\r\\n' in whole and 'content-length: 100000\\r\\n' in whole, whole[:500]
    assert 'transfer-encoding' not in chunked and 'content-length: 300000\\r\\n' in chunked, chunked[:500]
    return [whole.count('x' * 100_000), chunked.count('y' * 300_000)]
";

const ERRORS: &str = "
def f(url):
    import socket, ssl, urllib.error, urllib.request
    def error(call):
        try: return repr(call())
        except Exception as error: return error
    def kind(error): return [type(getattr(error, 'reason', error)).__name__, str(error)]
    get = lambda url, **more: lambda: urllib.request.urlopen(url, **more).read()
    other = error(get(url.replace('/v1', '/v2')))
    assert isinstance(other, urllib.error.URLError) and isinstance(other.reason, ConnectionRefusedError)
    late = error(get(url + '/silent', timeout=0.05))
    assert isinstance(getattr(late, 'reason', late), TimeoutError)
    broken, unknown = error(get(url + '/broken')), error(get(url.replace('localhost', 'nowhere.invalid')))
    moved = error(get(url + '/redirect'))
    plain = error(lambda: socket.create_connection(('localhost', 1)).sendall(b'SSH-2.0-x\\r\\n\\r\\n\\r\\n'))
    listens = error(lambda: socket.socket().bind(('', 1)))
    datagram = error(lambda: socket.socket(type=socket.SOCK_DGRAM))
    return [kind(other), kind(late)[0], kind(broken)[0], kind(unknown)[0], kind(moved), kind(plain)[0], kind(listens)[1], kind(datagram)[1]]
";

#[tokio::test]
async fn errors_are_of_the_types_that_libraries_expect() {
    let server = Server::start(None).await;
    let (url, pattern) = granted(&server);
    let unknown = format!("GET http://nowhere.invalid:{}/*", server.address.port());
    let mut guest = Guest::new(&server, &[&pattern, &unknown]).await;
    assert_eq!(guest.value(POST, &url, &[&pattern]).await, "[1, 1]");
    let value = guest.value(ERRORS, &url, &[&pattern, &unknown]).await;
    let other = url.replace("/v1", "/v2");
    let expected = format!(
        "[['ConnectionRefusedError', '<urlopen error [Errno 111] the HTTP request `GET {other}` is not granted>'], \
         'TimeoutError', 'ConnectionResetError', 'gaierror', \
         ['ConnectionRefusedError', '<urlopen error [Errno 111] the HTTP request `GET \
         http://169.254.169.254/latest/meta-data/` is not granted>'], 'OSError', \
         '[Errno 97] the sandbox has no network', '[Errno 97] the sandbox has no network']"
    );
    assert_eq!(value, expected);
    let outcome = guest.run(LIBRARIES[1].1, &other, &[&pattern]).await;
    let denied = &outcome.access.as_ref().expect("told").denied;
    let expected = Denied { kind: DeniedKind::Http, name: format!("GET {other}/x") };
    assert_eq!(*denied, [expected]);
    let failure = failed(&outcome);
    let hint = format!(
        "hint: the function asks for other HTTP requests, or for none: options(http=[\"GET {other}/x\"])"
    );
    assert!(failure.traceback.contains(&hint), "{}", failure.traceback);
}

const DEVICE: &str = "
def f(url):
    import os
    seen = [os.path.exists('/dev/http'), 'http' in repr(os.environ)]
    for flags in (os.O_RDWR, os.O_RDONLY, os.O_WRONLY | os.O_CREAT):
        try: os.open('/dev/http', flags)
        except PermissionError: seen.append('refused')
    try: __import__('socket').socket()
    except OSError as error: seen.append(str(error))
    return seen
";

const HOSTILE: &str = "
def f(url):
    import errno, os
    device = os.open('/dev/http', os.O_RDWR)
    said = []
    for message in (b'', b'x', b'\\xff' * 8, b'\\x02\\0\\0\\0{}', bytes(9 << 20)):
        try:
            os.write(device, message)
            said.append(b'error' in os.read(device, 4096))
        except OSError as error: said.append(error.errno == errno.EFBIG)
    try: os.lseek(device, 0, 0)
    except OSError as error: said.append(error.errno == errno.ESPIPE)
    return said, os.read(device, 10)
";

#[tokio::test]
async fn the_device_is_there_for_calls_with_a_grant_alone() {
    let server = Server::start(None).await;
    let (url, pattern) = granted(&server);
    let mut guest = Guest::new(&server, &[&pattern]).await;
    let none =
        "[False, False, 'refused', 'refused', 'refused', '[Errno 97] the sandbox has no network']";
    assert_eq!(guest.value(DEVICE, &url, &[]).await, none);
    let outcome = guest.run(HOSTILE, &url, &[&pattern]).await;
    assert_eq!(read(&completed(&outcome)), "([True, True, True, True, True, True], b'')");
    // The write of nothing, and the one that is too long, reach no worker.
    assert_eq!(outcome.access.expect("noted").http.expect("noted").total, 4);
    assert_eq!(guest.value(DEVICE, &url, &[]).await, none, "and after it");
    assert_eq!(server.taken(), [""; 0]);
    let outcome = guest.run(DEVICE, &url, &["GET http://localhost/*"]).await;
    let failure = failed(&outcome);
    assert_eq!(failure.kind, FailureKind::Denied);
    assert!(
        failure.message.contains("--grant-http 'GET http://localhost/*'"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn a_slow_server_costs_the_call_its_deadline_and_the_record_tells() {
    let server = Server::start(None).await;
    let (url, pattern) = granted(&server);
    let mut guest = Guest::new(&server, &[&pattern]).await;
    let source = "def f(url):\n  import urllib.request\n  urllib.request.urlopen(url + '/silent')";
    let mut invocation = within(1_000, call(source, &format!("(({url:?},), {{}})")));
    let asked = GrantRequest { http: vec![pattern.clone()], ..GrantRequest::default() };
    invocation.spec.grants = Some(Box::new(asked));
    let started = Instant::now();
    let outcome = guest.call(invocation).await;
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(failed(&outcome).kind, FailureKind::Timeout);
    let log = outcome.access.expect("noted").http.expect("noted");
    assert_eq!((log.total, log.requests[0].url.as_str()), (1, format!("{url}/silent").as_str()));
    assert!(log.requests[0].error.is_some() && log.requests[0].status.is_none(), "{log:?}");

    let outcome = guest.run(LIBRARIES[1].1, &url, &[&pattern]).await;
    assert!(matches!(outcome.verdict, CallVerdict::Completed(_)), "{outcome:?}");
    let log = outcome.access.expect("noted").http.expect("noted");
    assert_eq!((log.total, log.requests[0].status), (1, Some(200)));
    let outcome = guest.run("def f(url): return 1", &url, &[&pattern]).await;
    assert_eq!(outcome.access, None);
}
