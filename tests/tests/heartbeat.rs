//! `--heartbeat`: how soon a worker that says nothing is lost.

#![expect(clippy::expect_used, reason = "a process id is no zero")]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use belljar_tests::Parts;
use belljar_tests::process::eventually;
use belljar_tests::python::{self, Python, site};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);
/// With the usual heartbeat of a second, a worker is missed after three at the soonest.
const SOON: Duration = Duration::from_secs(2);
/// In seconds.
const SOONER_THAN_A_HEARTBEAT: u64 = 20;

fn is_missed_soon(mode: &str) -> Result<()> {
    let parts = Parts::start(mode, &["--heartbeat".into(), "0.2".into()])?;
    let worker = parts.worker("worker", &[])?;
    let counts = |n: usize| parts.workers().is_ok_and(|workers| workers.len() == n);
    ensure!(eventually(PATIENCE, || counts(1)), "it does not join: {}", worker.evidence());
    let pid = Pid::from_raw(worker.pid().cast_signed()).expect("a process");
    kill_process(pid, Signal::STOP)?;
    let stopped = Instant::now();
    ensure!(eventually(PATIENCE, || counts(0)), "a worker that stands still is still listed");
    let took = stopped.elapsed();
    kill_process(pid, Signal::CONT)?;
    ensure!(eventually(PATIENCE, || counts(1)), "it does not come back: {}", worker.evidence());
    ensure!(took < SOON, "it was missed after {took:?}");
    Ok(())
}

/// What comes up one after the other is told as it comes, whatever the interval.
fn tells_of_each_runtime(mode: &str) -> Result<()> {
    let parts = Parts::start(mode, &["--heartbeat".into(), "60".into()])?;
    let worker = parts.worker_of("both", "worker", &[])?;
    let classes =
        || -> Option<usize> { parts.workers().ok()?.first()?["classes"].as_array().map(Vec::len) };
    let (natively, jarred) = (python::further(), python::further_with_guests()?);
    let all = 2 + natively.len() + jarred.len();
    let told = eventually(PATIENCE, || classes() == Some(all));
    ensure!(told, "{:?} after {PATIENCE:?}: {}", parts.workers(), worker.evidence());
    Ok(())
}

/// Calls that are asked for ahead of time come without waiting for a heartbeat.
fn fetches_ahead(mode: &str) -> Result<()> {
    let parts = Parts::start(mode, &["--heartbeat".into(), "60".into()])?;
    let _worker = parts.worker("worker", &["--site".into(), site().display().to_string()])?;
    let nap = "def nap(x):\n    import time\n    time.sleep(0.02)\n    return x";
    let python = Python::start()?;
    let function = parts.client.register(&python.dumps(nap, "nap")?, json!({}))?;
    let args = vec![python.dumps("", "((1,), {})")?; 30];
    for _ in 0..3 {
        for id in parts.client.submit_batch(&function, &args)? {
            let (status, _) = parts.client.wait(&id, SOONER_THAN_A_HEARTBEAT)?;
            ensure!(status == "COMPLETED", "{id} is {status}");
        }
    }
    Ok(())
}

#[test]
fn a_push_worker_fetches_ahead() -> Result<()> {
    fetches_ahead("push")
}

#[test]
fn a_pull_worker_fetches_ahead() -> Result<()> {
    fetches_ahead("pull")
}

#[test]
fn a_push_worker_tells_of_each_runtime() -> Result<()> {
    tells_of_each_runtime("push")
}

#[test]
fn a_pull_worker_tells_of_each_runtime() -> Result<()> {
    tells_of_each_runtime("pull")
}

#[test]
fn a_push_worker_is_missed_as_soon_as_asked() -> Result<()> {
    is_missed_soon("push")
}

#[test]
fn a_pull_worker_is_missed_as_soon_as_asked() -> Result<()> {
    is_missed_soon("pull")
}
