//! Limits, cancellation, retries, order, output and grants of calls, in both runtimes.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use belljar_testkit::process;
use belljar_tests::Service;
use serde_json::{Value, json};

/// Submits a call of the function `f` that `source` defines.
fn submit(service: &Service, source: &str, args: &str, more: Value) -> Result<String> {
    let function = service.client.register(&service.python.dumps(source, "f")?, json!({}))?;
    service.client.submit(&function, &service.python.dumps("", args)?, more)
}

fn wait_until_running(service: &Service, task: &str) -> Result<()> {
    let running = process::eventually(Duration::from_secs(10), || {
        service.client.record(task).is_ok_and(|record| record["status"] == "RUNNING")
    });
    ensure!(running, "it does not run");
    Ok(())
}

const SPIN: &str = "def f():\n  while True: pass";
const SLEEP: &str = "import time\ndef f(s): time.sleep(s)";

fn a_deadline_ends_a_call(service: &Service) -> Result<()> {
    for (source, args) in [(SPIN, "((), {})"), (SLEEP, "((30,), {})")] {
        let task = submit(service, source, args, json!({"timeout_s": 0.5}))?;
        let (status, result) = service.client.wait(&task, 30)?;
        let error = service.python.loads(&result)?;
        ensure!((status.as_str(), error.class.as_str()) == ("FAILED", "TimeoutError"), "{error:?}");
        ensure!(error.repr.contains("500ms"), "{}", error.repr);
        let run_ms = service.client.record(&task)?["durations_ms"]["run"].as_f64();
        ensure!(run_ms.is_some_and(|ms| (500.0..1500.0).contains(&ms)), "{run_ms:?}");
    }
    Ok(())
}

fn a_running_call_is_cancelled(service: &Service) -> Result<()> {
    let task = submit(service, SPIN, "((), {})", json!({}))?;
    wait_until_running(service, &task)?;
    let asked = Instant::now();
    let (status, reply) = service.client.post(&format!("/v1/tasks/{task}/cancel"), &json!({}))?;
    ensure!((status, &reply["status"]) == (200, &json!("CANCELLED")), "{status} {reply}");
    ensure!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    ensure!(service.client.wait(&task, 1)? == ("CANCELLED".to_owned(), String::new()));
    let (status, _) = service.client.post(&format!("/v1/tasks/{task}/cancel"), &json!({}))?;
    ensure!(status == 409, "{status}");
    Ok(())
}

fn a_queued_call_never_runs_once_cancelled(service: &Service) -> Result<()> {
    let blocker = submit(service, SLEEP, "((1,), {})", json!({}))?;
    wait_until_running(service, &blocker)?;
    let task = submit(service, "def f(): return 1", "((), {})", json!({"priority": "low"}))?;
    let (status, reply) = service.client.post(&format!("/v1/tasks/{task}/cancel"), &json!({}))?;
    ensure!((status, &reply["status"]) == (200, &json!("CANCELLED")), "{status} {reply}");
    service.client.wait(&blocker, 30)?;
    ensure!(service.client.record(&task)?["attempts"] == 0, "it ran");
    Ok(())
}

fn high_priority_overtakes_low(service: &Service) -> Result<()> {
    let blocker = submit(service, SLEEP, "((0.5,), {})", json!({}))?;
    wait_until_running(service, &blocker)?;
    let submit =
        |priority| submit(service, "def f(): pass", "((), {})", json!({"priority": priority}));
    let (low, high) = (submit("low")?, submit("high")?);
    service.client.wait(&low, 30)?;
    service.client.wait(&high, 30)?;
    let started = |task: &str| -> Result<String> {
        let record = service.client.record(task)?;
        Ok(record["started_at"].as_str().with_context(|| record.to_string())?.to_owned())
    };
    ensure!(started(&high)? < started(&low)?, "{} {}", started(&high)?, started(&low)?);
    Ok(())
}

fn a_delay_postpones_a_call(service: &Service) -> Result<()> {
    let submitted = Instant::now();
    let task = submit(service, "def f(): return 1", "((), {})", json!({"delay_s": 0.7}))?;
    let (status, _) = service.client.wait(&task, 30)?;
    let took = submitted.elapsed();
    ensure!(status == "COMPLETED", "{status}");
    ensure!(took >= Duration::from_millis(700) && took < Duration::from_secs(3), "{took:?}");
    Ok(())
}

fn output_is_kept_in_the_record(service: &Service) -> Result<()> {
    let source = "import sys\ndef f():\n  print('out ü')\n  print('err', file=sys.stderr)";
    let task = submit(service, source, "((), {})", json!({}))?;
    service.client.wait(&task, 30)?;
    let record = service.client.record(&task)?;
    ensure!(record["stdout"]["text"] == "out ü\n", "{record}");
    ensure!(record["stderr"]["text"] == "err\n", "{record}");
    Ok(())
}

fn a_memory_bomb_is_a_memory_error(service: &Service) -> Result<()> {
    let source = "def f():\n  data = []\n  while True: data.append(bytearray(1 << 20))";
    let bytes = service.python.dumps(source, "f")?;
    let function = service.client.register(&bytes, json!({"memory_mb": 128}))?;
    let args = service.python.dumps("", "((), {})")?;
    let task = service.client.submit(&function, &args, json!({}))?;
    let (status, result) = service.client.wait(&task, 60)?;
    let error = service.python.loads(&result)?;
    ensure!((status.as_str(), error.class.as_str()) == ("FAILED", "MemoryError"), "{error:?}");
    Ok(())
}

fn the_same_key_is_the_same_task(service: &Service) -> Result<()> {
    let function = service.client.register(&service.python.dumps("", "abs")?, json!({}))?;
    let args = service.python.dumps("", "((-3,), {})")?;
    let key = json!({"idempotency_key": format!("key of {function}")});
    let first = service.client.submit(&function, &args, key.clone())?;
    ensure!(service.client.submit(&function, &args, key.clone())? == first);
    let other = service.python.dumps("", "((-4,), {})")?;
    let refused = service.client.submit(&function, &other, key);
    ensure!(refused.is_err_and(|error| error.to_string().starts_with("409")));
    Ok(())
}

/// Asks for a variable, a directory and scratch space; `up` must allow the first two.
fn granted_resources_are_reached(service: &Service) -> Result<()> {
    let source = "import os, tempfile\ndef f(path):\n  with tempfile.TemporaryFile() as out: out.write(b'x')\n  \
                  return os.environ['BELLJAR_TEST_GRANT'], open(path + '/granted').read()";
    let grants = json!({"env": ["BELLJAR_TEST_GRANT"], "read": [GRANTED_DIR], "scratch_mb": 2});
    let payload = service.python.dumps(source, "f")?;
    let function = service.client.register(&payload, json!({"grants": grants}))?;
    let args = service.python.dumps("", &format!("(('{GRANTED_DIR}',), {{}})"))?;
    let task = service.client.submit(&function, &args, json!({}))?;
    let (_, result) = service.client.wait(&task, 30)?;
    let value = service.python.loads(&result)?;
    ensure!(value.repr == "('value', 'text')", "{value:?}");
    ensure!(service.client.record(&task)?["grants"] == grants);
    // The next call in the same slot has no grants.
    let look = "import os\ndef f(): return os.environ.get('BELLJAR_TEST_GRANT')";
    let task = submit(service, look, "((), {})", json!({}))?;
    ensure!(service.python.loads(&service.client.wait(&task, 30)?.1)?.repr == "None");
    Ok(())
}

fn a_grant_that_is_not_allowed_is_denied_by_name(service: &Service) -> Result<()> {
    let payload = service.python.dumps("def f(): return 1", "f")?;
    for (grants, named) in [
        (json!({"env": ["PATH"]}), "`PATH`"),
        (json!({"read": ["/etc"]}), "`/etc`"),
        (json!({"scratch_mb": 65}), "65 MiB"),
        (json!({"http": ["GET https://a/*"]}), "`GET https://a/*`"),
    ] {
        let function = service.client.register(&payload, json!({"grants": grants}))?;
        let args = service.python.dumps("", "((), {})")?;
        let task = service.client.submit(&function, &args, json!({}))?;
        let (status, result) = service.client.wait(&task, 30)?;
        let error = service.python.loads(&result)?;
        ensure!((status.as_str(), &*error.class) == ("FAILED", "PermissionError"), "{error:?}");
        ensure!(error.repr.contains(named), "{}", error.repr);
        let record = service.client.record(&task)?;
        ensure!(record["failure"]["kind"] == "denied" && record["attempts"] == 1, "{record}");
    }
    Ok(())
}

fn workers_report_when_they_started(service: &Service) -> Result<()> {
    let (_, workers) = service.client.get("/v1/workers")?;
    let since = workers["items"][0]["since"].as_str().with_context(|| workers.to_string())?;
    let task = submit(service, "def f(): return 1", "((), {})", json!({}))?;
    let record = service.client.record(&task)?;
    let accepted = record["accepted_at"].as_str().with_context(|| record.to_string())?;
    // The same year, and before the task.
    ensure!(since[..4] == accepted[..4] && since < accepted, "{since} {accepted}");
    Ok(())
}

type Check = fn(&Service) -> Result<()>;

/// The directory that functions may read.
const GRANTED_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data");

fn every_check(options: &[&str]) -> Result<()> {
    let policy = ["--grant-env", "BELLJAR_TEST_GRANT=value", "--grant-read", GRANTED_DIR];
    let service = Service::start(&[options, &policy].concat())?;
    let checks: &[(&str, Check)] = &[
        ("deadline", a_deadline_ends_a_call),
        ("cancel running", a_running_call_is_cancelled),
        ("cancel queued", a_queued_call_never_runs_once_cancelled),
        ("priority", high_priority_overtakes_low),
        ("delay", a_delay_postpones_a_call),
        ("output", output_is_kept_in_the_record),
        ("memory", a_memory_bomb_is_a_memory_error),
        ("idempotency", the_same_key_is_the_same_task),
        ("grants", granted_resources_are_reached),
        ("workers", workers_report_when_they_started),
        ("denied", a_grant_that_is_not_allowed_is_denied_by_name),
    ];
    let wrong: Vec<_> = checks
        .iter()
        .filter_map(|(name, check)| check(&service).err().map(|why| format!("{name}: {why:#}")))
        .collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn local_native() -> Result<()> {
    every_check(&["-m", "local", "-w", "1", "--runtime", "native"])
}

#[test]
fn local_sandbox() -> Result<()> {
    every_check(&["-m", "local", "-w", "1", "--runtime", "sandbox"])
}

#[test]
fn a_call_that_kills_its_executor_three_times_fails_with_the_evidence() -> Result<()> {
    let service = Service::start(&["-w", "1"])?;
    let deadly = "import ctypes\ndef f(): ctypes.string_at(0)";
    let task = submit(&service, deadly, "((), {})", json!({}))?;
    let (status, result) = service.client.wait(&task, 60)?;
    let error = service.python.loads(&result)?;
    ensure!((status.as_str(), error.class.as_str()) == ("FAILED", "RuntimeError"), "{error:?}");
    ensure!(error.repr.contains("SIGSEGV") && error.repr.contains("attempt 3 of 3"), "{error:?}");
    let record = service.client.record(&task)?;
    ensure!(
        record["attempts"] == 3 && record["losses"].as_array().is_some_and(|l| l.len() == 2),
        "{record}"
    );
    let after = submit(&service, "def f(): return 'fine'", "((), {})", json!({}))?;
    ensure!(service.client.wait(&after, 30)?.0 == "COMPLETED");
    Ok(())
}

const FETCH: &str = "
def f(url):
    import urllib.request
    request = urllib.request.Request(url + '?q=hidden', headers={'Authorization': '{{secret:TOKEN}}'})
    return urllib.request.urlopen(request, timeout=10).read()
";

/// Answers one request, and returns it.
fn answer_one(listener: &TcpListener) -> Result<String> {
    let (mut stream, _) = listener.accept()?;
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !text.contains("\r\n\r\n") {
        let length = stream.read(&mut buffer)?;
        ensure!(length > 0, "it ends early: {text}");
        text.push_str(std::str::from_utf8(&buffer[..length])?);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
    Ok(text)
}

#[test]
fn a_granted_http_request_is_made_by_the_worker_and_in_the_record() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/v1/x", listener.local_addr()?);
    let pattern = format!("GET {}", url.replace("/x", "/*"));
    let dir = tempfile::tempdir()?;
    let secrets = dir.path().join("secrets.toml");
    std::fs::write(&secrets, format!("[TOKEN]\nvalue = 's3cr3t'\nfor = ['{pattern}']\n"))?;
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o600))?;
    let secrets = secrets.to_str().context("UTF-8")?;
    let service = Service::start(&[
        "-m",
        "push",
        "-w",
        "1",
        "--runtime",
        "sandbox",
        "--grant-http",
        &pattern,
        "--grant-http-secrets",
        secrets,
    ])?;
    let server = std::thread::spawn(move || answer_one(&listener));
    let grants = json!({"http": [format!("GET {url}")]});
    let payload = service.python.dumps(FETCH, "f")?;
    let function = service.client.register(&payload, json!({"grants": grants}))?;
    let args = service.python.dumps("", &format!("(('{url}',), {{}})"))?;
    let task = service.client.submit(&function, &args, json!({}))?;
    let value = service.python.loads(&service.client.wait(&task, 30)?.1)?;
    ensure!(value.repr == "b'hello'", "{value:?}");
    let sent = server.join().map_err(|_| anyhow!("the server panicked"))??;
    ensure!(sent.contains("authorization: s3cr3t\r\n"), "{sent}");
    let record = service.client.record(&task)?;
    let request = &record["http"]["requests"][0];
    ensure!(record["http"]["total"] == 1 && request["status"] == 200, "{record}");
    ensure!(request["url"] == url && request["response_bytes"] == 5, "{record}");
    let told = record.to_string();
    ensure!(!told.contains("s3cr3t") && !told.contains("hidden"), "{told}");
    Ok(())
}
