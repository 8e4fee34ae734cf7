//! How `belljar up` stops under load, and how one of its workers leaves: soon after the calls that run, in every mode, and
//! without a call that is lost or runs twice.

#![expect(clippy::print_stdout, reason = "figures, shown by --nocapture")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use belljar_testkit::Python;
use belljar_testkit::process::eventually;
use belljar_tests::{Deployment, Service};
use rustix::process::Signal;
use serde_json::json;

const CALLS: usize = 600;
const CALL: Duration = Duration::from_millis(50);
/// A call that runs, and a second for everything to end. The rest is for loaded machines, and far below
/// the timeouts that a missing acknowledgement runs into.
const STOP_LIMIT: Duration = Duration::from_secs(5);

fn stops_under_load(mode: &str) -> Result<()> {
    let kept = tempfile::tempdir()?;
    let data = kept.path().join("data");
    let options = ["--mode", mode, "-w", "2"];
    let mut service = Service::start_over(data.clone(), &options)?;
    let source = "import time\ndef f(n, s):\n  time.sleep(s)\n  return n";
    let function = service.client.register(&service.python.dumps(source, "f")?, json!({}))?;
    let args = |n| service.python.dumps("", &format!("(({n}, {}), {{}})", CALL.as_secs_f64()));
    let args = (0..CALLS).map(args).collect::<Result<Vec<_>>>()?;
    let tasks = service.client.submit_batch(&function, &args)?;
    let (status, _) = service.client.wait(&tasks[20], 30)?;
    ensure!(status == "COMPLETED", "{status}");

    let asked = Instant::now();
    service.signal(Signal::INT);
    ensure!(service.ended(Duration::from_secs(60))? == Some(0));
    let took = asked.elapsed();
    println!("{mode}: everything ended {took:.2?} after the signal");
    ensure!(took < STOP_LIMIT, "{mode}: {took:?}");

    let again = Service::start_over(data, &options)?;
    let is_completed = |task: &String| {
        again.client.record(task).is_ok_and(|record| record["status"] == "COMPLETED")
    };
    ensure!(eventually(Duration::from_secs(60), || tasks.last().is_some_and(is_completed)));
    for task in &tasks {
        let (status, _) = again.client.wait(task, 30)?;
        let record = again.client.record(task)?;
        ensure!(status == "COMPLETED" && record["deaths"] == 0, "{mode}: {record}");
    }
    Ok(())
}

#[test]
fn local_stops_under_load() -> Result<()> {
    stops_under_load("local")
}

#[test]
fn push_stops_under_load() -> Result<()> {
    stops_under_load("push")
}

#[test]
fn pull_stops_under_load() -> Result<()> {
    stops_under_load("pull")
}

/// A worker that is drained finishes what it runs and leaves, while another one takes the rest.
fn a_drained_worker_leaves(mode: &str) -> Result<()> {
    let deployment = Deployment::start(mode, &[])?;
    let client = &deployment.client;
    let serves = |count: usize| {
        let serving = |workers: Vec<_>| {
            let serves = |worker: &serde_json::Value| worker["classes"][0].is_string();
            workers.len() == count && workers.iter().all(serves)
        };
        eventually(Duration::from_secs(30), || deployment.workers().is_ok_and(serving))
    };
    let mut first = deployment.worker("first", &[])?;
    ensure!(serves(1), "the first worker serves nothing");
    let listed = deployment.workers()?;
    ensure!(listed[0]["version"] == env!("CARGO_PKG_VERSION") && listed[0]["draining"] == false);
    let path = format!("/v1/workers/{}/drain", listed[0]["worker_id"].as_str().context("an id")?);

    let python = Python::start()?;
    let source = "import time\ndef f(n):\n  time.sleep(0.1)\n  return n";
    let function = client.register(&python.dumps(source, "f")?, json!({}))?;
    let args = (0..30).map(|n| python.dumps("", &format!("(({n},), {{}})")));
    let tasks = client.submit_batch(&function, &args.collect::<Result<Vec<_>>>()?)?;
    ensure!(client.wait(&tasks[2], 30)?.0 == "COMPLETED");
    let (status, reply) = client.post(&path, &json!({}))?;
    ensure!(status == 202, "{status} {reply}");
    let ended = eventually(Duration::from_secs(10), || {
        first.exit_status().ok().flatten().is_some_and(|status| status.success())
    });
    ensure!(ended, "{mode}: the worker does not leave");
    ensure!(client.record(&tasks[29])?["status"] == "QUEUED", "the rest waits for another worker");

    let _second = deployment.worker("second", &[])?;
    for task in &tasks {
        let (status, _) = client.wait(task, 60)?;
        let record = client.record(task)?;
        ensure!(status == "COMPLETED" && record["deaths"] == 0, "{mode}: {record}");
        ensure!(record["losses"] == json!([]), "{mode}: {record}");
    }
    ensure!(serves(1), "{:?}", deployment.workers());
    ensure!(client.post(&path, &json!({}))?.0 == 404, "it has left");
    Ok(())
}

#[test]
fn push_drains_a_worker() -> Result<()> {
    a_drained_worker_leaves("push")
}

#[test]
fn pull_drains_a_worker() -> Result<()> {
    a_drained_worker_leaves("pull")
}
