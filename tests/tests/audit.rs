//! The audit log of a whole service: it survives a kill, and no log ever has a secret.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belljar_testkit::process::{self, eventually};
use belljar_testkit::{Program, Python, Redis};
use belljar_tests::{Client, belljar};
use rustix::process::Signal;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);
/// Stands in everything that must not be logged.
const PLANTED: &str = "planted-6b1f2c";
/// A key that nobody made.
const UNKNOWN: &str = "bj_0000000000000000000000000000000000000000";

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path is not UTF-8")
}

/// How many records of an audit log are of this action. Torn lines are none.
fn count(path: &Path, action: &str) -> usize {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.filter(|record| record["action"] == action).count()
}

/// Does everything that has to do with secrets; returns the keys that it used.
fn use_secrets(client: &Client, data: &str) -> Result<Vec<String>> {
    let key = |words: &[&str]| belljar(&[&["key", "--data", data], words].concat());
    let (done, made) = key(&["create", "ann", "--scope", "admin"])?;
    ensure!(done, "{made}");
    let mut keys = vec![made.trim().to_owned()];
    let python = Python::start()?;
    let own = client.with_key(&keys[0]);
    let source = format!(
        "def speak(word):\n    import os, sys\n    print(word, os.environ['TOKEN'])\n    print(word, file=sys.stderr)\n    if word.endswith('!'):\n        raise ValueError(word)\n    return word + '{PLANTED}'"
    );
    let grants = json!({"grants": {"env": ["TOKEN"]}, "description": PLANTED});
    let function = own.register(&python.dumps(&source, "speak")?, grants)?;
    for (word, status) in [(PLANTED.to_owned(), "COMPLETED"), (format!("{PLANTED}!"), "FAILED")] {
        let args = python.dumps("", &format!("(({word:?},), {{}})"))?;
        let task = own.submit(&function, &args, json!({"idempotency_key": word}))?;
        ensure!(own.wait(&task, 30)?.0 == status, "{word}");
        let other = json!({"function_id": function, "payload": args, "idempotency_key": word, "delay_s": 1});
        ensure!(own.post("/execute_function", &other)?.0 == 409);
    }
    let (done, made) = key(&["rotate", "ann", "--overlap", "0s"])?;
    ensure!(done, "{made}");
    keys.push(made.trim().to_owned());
    ensure!(client.with_key(&keys[1]).get("/v1/tasks")?.0 == 200);
    for wrong in [UNKNOWN, PLANTED, &format!("bj_{PLANTED}")] {
        ensure!(client.with_key(wrong).get(&format!("/v1/tasks?cursor={PLANTED}"))?.0 == 401);
    }
    let (done, said) = key(&["revoke", &keys[1]])?;
    ensure!(done, "{said}");
    Ok(keys)
}

/// Every file below a directory, except what Redis keeps.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            if name != "appendonlydir" {
                found.extend(files(&entry.path())?);
            }
        } else if entry.file_type()?.is_file() && !name.to_string_lossy().ends_with(".rdb") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[test]
fn no_log_of_a_whole_run_has_a_secret_or_a_payload() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (data, log) = (dir.path().join("data"), dir.path().join("service.log"));
    let audit = dir.path().join("audit.log");
    let (data, token) = (text(&data)?, format!("TOKEN={PLANTED}"));
    let args = ["up", "-m", "push", "-w", "1", "--listen", "127.0.0.1:0", "--data", data];
    let options = ["--keys=required", "--audit-log", text(&audit)?, "--grant-env", &token];
    let logged = ["--log=debug", "--log-format=json"];
    let mut service =
        Program::belljar(&[&args[..], &options, &logged].concat(), Vec::new(), Some(log.clone()))?;
    let client = Client::new(&service.line_after("belljar is ready at ")?);
    let keys = use_secrets(&client, data)?;
    process::kill(service.pid().cast_signed(), Signal::TERM);
    ensure!(eventually(PATIENCE, || matches!(service.exit_status(), Ok(Some(_)))), "it goes on");

    let text = std::fs::read_to_string(&audit)?;
    for action in
        ["start", "create_key", "register", "submit", "rotate_key", "request", "revoke_key", "stop"]
    {
        ensure!(text.contains(&format!("\"action\":\"{action}\"")), "no {action}: {text}");
    }
    let (done, said) = belljar(&["audit", "verify", audit.to_str().context("UTF-8")?])?;
    ensure!(done && said.contains("from the beginning"), "{said}");
    let logs = files(dir.path())?;
    ensure!(logs.contains(&log) && logs.contains(&audit), "{logs:?}");
    ensure!(std::fs::read_to_string(&log)?.contains("DEBUG"), "the log has too little");
    // What base64 makes of it, at each of its three offsets.
    let encoded = ["cGxhbnRlZC02YjFmMm", "BsYW50ZWQtNmIxZjJj", "wbGFudGVkLTZiMWYyY"];
    let secrets = keys.iter().map(String::as_str).chain([PLANTED, UNKNOWN]).chain(encoded);
    for secret in secrets {
        for file in &logs {
            let bytes = std::fs::read(file)?;
            let found = bytes.windows(secret.len()).position(|window| window == secret.as_bytes());
            let around = found.map(|at| {
                let from = at.saturating_sub(300);
                String::from_utf8_lossy(&bytes[from..(at + 100).min(bytes.len())]).into_owned()
            });
            ensure!(around.is_none(), "`{secret}` is in {}: {around:?}", file.display());
        }
    }
    Ok(())
}

#[test]
fn a_killed_gateway_leaves_a_log_that_goes_on() -> Result<()> {
    let (dir, redis) = (tempfile::tempdir()?, Redis::start()?);
    let audit = dir.path().join("audit.log");
    let url = redis.url();
    let args =
        ["gateway", "--listen", "127.0.0.1:0", "--redis", &url, "--audit-log", text(&audit)?];
    let mut gateway = Program::belljar(&args, Vec::new(), Some(dir.path().join("log")))?;
    let python = Python::start()?;
    let (len, arguments) = (python.dumps("", "len")?, python.dumps("", "(('four',), {})")?);
    let mut accepted = 0;
    for _ in 0..3 {
        let client = Client::new(&gateway.line_after("belljar gateway listens at ")?);
        let function = client.register(&len, json!({}))?;
        for _ in 0..50 {
            client.submit(&function, &arguments, json!({}))?;
            accepted += 1;
        }
        let submits = || count(&audit, "submit");
        ensure!(eventually(PATIENCE, || submits() == accepted), "{} of {accepted}", submits());
        gateway.kill();
        // As a process leaves it that is killed while it writes.
        let whole = std::fs::read_to_string(&audit)?;
        let begun = whole.lines().next().context("a line")?;
        std::fs::write(&audit, format!("{whole}{}", &begun[..40]))?;
        let (done, said) = belljar(&["audit", "verify", text(&audit)?])?;
        ensure!(done && said.contains("The log ends there"), "{said}");
        gateway.restart()?;
    }
    gateway.line_after("belljar gateway listens at ")?;
    let (done, said) = belljar(&["audit", "verify", "--json", text(&audit)?])?;
    let verified: Value = serde_json::from_str(&said)?;
    ensure!(done && verified["torn"].as_array().is_some_and(|torn| torn.len() == 3), "{said}");
    let last = verified["last"].as_str().context("a hash")?;
    let (done, said) = belljar(&["audit", "verify", "--contains", last, text(&audit)?])?;
    ensure!(done, "{said}");

    let changed = std::fs::read_to_string(&audit)?.replacen(
        "\"action\":\"submit\"",
        "\"action\":\"cancel\"",
        1,
    );
    std::fs::write(&audit, changed)?;
    let (done, said) = belljar(&["audit", "verify", text(&audit)?])?;
    ensure!(!done && said.contains("line 3: it is not as it was written"), "{said}");
    Ok(())
}

#[test]
fn a_service_does_not_start_with_a_log_that_it_cannot_write() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let other = dir.path().join("other");
    std::fs::write(&other, "something else\n")?;
    for (log, why) in [(&other, "is no record"), (&dir.path().to_owned(), "cannot be written")] {
        let data = dir.path().join("data");
        let (done, said) = belljar(&[
            "up",
            "--listen",
            "127.0.0.1:0",
            "--data",
            text(&data)?,
            "--audit-log",
            text(log)?,
        ])?;
        ensure!(!done && said.contains(why), "{said}");
    }
    Ok(())
}

#[test]
fn a_service_keeps_its_audit_log_in_the_store() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let data = text(&data)?;
    let args = ["up", "-w", "1", "--listen", "127.0.0.1:0", "--data", data];
    let args = [&args[..], &["--audit-stream", "1000"]].concat();
    let service = Program::belljar(&args, Vec::new(), Some(dir.path().join("log")))?;
    let client = Client::new(&service.line_after("belljar is ready at ")?);
    client.register(&Python::start()?.dumps("", "len")?, json!({}))?;
    let verify = |words: &[&str]| {
        belljar(&[&["audit", "verify", "--stream", "--data", data], words].concat())
    };
    let records = || -> Option<Value> { serde_json::from_str(&verify(&["--json"]).ok()?.1).ok() };
    let has =
        |count: u64| eventually(PATIENCE, || records().is_some_and(|it| it["records"] == count));
    ensure!(has(2), "the start and the registration: {:?}", records());
    let (done, made) = belljar(&["key", "create", "ann", "--data", data])?;
    ensure!(done && has(3), "what the operator does is recorded, too: {made} {:?}", records());
    let (done, said) = verify(&[])?;
    ensure!(done && said.contains("3 records follow each other, from the beginning"), "{said}");

    let mut redis = UnixStream::connect(format!("{data}/redis.sock"))?;
    redis.write_all(b"XADD {belljar}:audit_log * line other\r\n")?;
    redis.read_exact(&mut [0])?;
    let (done, said) = verify(&[])?;
    ensure!(!done && said.contains("it is not as it was written"), "{said}");
    // What cannot be recorded is not done.
    let (done, said) = belljar(&["key", "create", "bob", "--data", data])?;
    ensure!(!done && said.contains("belljar audit verify --stream"), "{said}");
    Ok(())
}
