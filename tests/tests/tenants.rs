//! The operator's side of tenants: the file and its errors, what `belljar tenant` shows, and a Redis that is full.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belljar_testkit::{Program, Redis, eventually};
use belljar_tests::{Service, belljar};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path is not UTF-8")
}

#[test]
fn a_broken_file_is_told_with_its_line_and_cause() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("tenants.toml");
    std::fs::write(&file, "[tenant.acme]\nruntime = \"native\"\n")?;
    let (done, said) = belljar(&["tenant", "check", text(&file)?])?;
    ensure!(!done && said.contains("line 2: unknown field `runtime`"), "{said}");
    let (done, said) = belljar(&["up", "--listen", "127.0.0.1:0", "--tenants", text(&file)?])?;
    ensure!(!done && said.contains("line 2: unknown field `runtime`"), "{said}");

    std::fs::write(&file, "[tenant.acme]\nweight = 2\n")?;
    let (done, said) = belljar(&["tenant", "check", text(&file)?])?;
    ensure!(done && said.contains("it has tables for acme"), "{said}");
    let redis = Redis::start()?;
    let (url, tenants) = (redis.url(), text(&file)?);
    let args = ["gateway", "--listen", "127.0.0.1:0", "--redis", &url, "--tenants", tenants];
    let gateway = Program::belljar(&args, Vec::new(), Some(dir.path().join("log")))?;
    gateway.line_after("belljar gateway listens at ")?;
    std::fs::write(&file, "[tenant.acme]\nweight = 2\n\nquotas = 3\n")?;
    let told = || gateway.log().contains("line 4") && gateway.log().contains("are kept");
    ensure!(eventually(PATIENCE, told), "{}", gateway.evidence());
    Ok(())
}

#[test]
fn policies_are_shown() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("tenants.toml");
    let rules =
        "[default]\nruntimes = [\"sandbox\"]\n[tenant.acme]\nweight = 3\nlimits.timeout_s = 60\n";
    std::fs::write(&file, rules)?;
    let redis = Redis::start()?;
    let (url, tenants) = (redis.url(), text(&file)?);
    let tenant = |words: &[&str]| {
        belljar(&[&["tenant", "--redis", &url, "--tenants", tenants], words].concat())
    };
    let (done, said) = belljar(&["key", "create", "ann", "--tenant", "other", "--redis", &url])?;
    ensure!(done, "{said}");
    let (done, said) = tenant(&["list"])?;
    let rows: Vec<Vec<_>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure!(done && rows.len() == 3, "{said}");
    ensure!(rows[1][..3] == ["acme", "0", "sandbox"], "{said}");
    ensure!(rows[2][..3] == ["other", "1", "sandbox"], "{said}");
    let (done, said) = tenant(&["show", "acme", "--json"])?;
    let shown: Value = serde_json::from_str(&said)?;
    ensure!(done && shown["weight"] == 3, "{said}");
    ensure!(shown["limits"]["timeout_s"] == 60 && shown["quotas"]["functions"].is_null(), "{said}");
    let (done, said) = tenant(&["show", "acme"])?;
    ensure!(done && said.lines().any(|line| line.starts_with("limits.timeout_s  ")), "{said}");
    Ok(())
}

#[test]
fn a_full_private_redis_refuses_and_loses_nothing() -> Result<()> {
    let service = Service::start(&["-w", "1", "--redis-memory-mb", "24"])?;
    let client = &service.client;
    let function = client.register(&service.python.dumps("", "len")?, json!({}))?;
    // Calls that wait long enough, each with as much as stays in Redis: larger values are in files.
    let args = service.python.dumps("", "((bytes(60 << 10),), {})")?;
    let body = json!({"function_id": function, "payload": args, "delay_s": 5});
    let mut accepted = Vec::new();
    let refused = loop {
        let (status, reply) = client.post("/execute_function", &body)?;
        match reply["task_id"].as_str() {
            Some(id) => accepted.push(id.to_owned()),
            None => break (status, reply),
        }
        ensure!(accepted.len() < 1024, "60 MiB are accepted");
    };
    ensure!(refused.0 == 503 && refused.1["code"] == "store_refuses_writes", "{refused:?}");
    let sentence = refused.1["detail"].as_str().unwrap_or_default();
    ensure!(
        sentence.contains("out of memory") && sentence.contains("nothing was changed"),
        "{sentence}"
    );
    ensure!(accepted.len() > 100, "only {} are accepted", accepted.len());
    for task in &accepted {
        let (status, _) = client.wait(task, 60)?;
        ensure!(status == "COMPLETED", "{task}: {status}");
    }
    let (status, reply) = client.post("/execute_function", &body)?;
    ensure!(status == 200, "ended calls make room: {reply}");
    Ok(())
}
