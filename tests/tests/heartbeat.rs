//! `--heartbeat`: how soon a silent worker is lost.

#![expect(clippy::expect_used, reason = "a process id is no zero")]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use belljar_testkit::{Python, eventually, paths};
use belljar_tests::Deployment;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);
/// With the default heartbeat of one second, a worker is lost after three seconds at the earliest.
const SOON: Duration = Duration::from_secs(2);
/// In seconds.
const SOONER_THAN_A_HEARTBEAT: u64 = 20;

fn is_lost_soon(mode: &str) -> Result<()> {
    let deployment = Deployment::start(mode, &["--heartbeat".into(), "0.2".into()])?;
    let worker = deployment.worker("worker", &[])?;
    let counts = |n: usize| deployment.workers().is_ok_and(|workers| workers.len() == n);
    ensure!(eventually(PATIENCE, || counts(1)), "it does not join: {}", worker.evidence());
    let pid = Pid::from_raw(worker.pid().cast_signed()).expect("a process");
    kill_process(pid, Signal::STOP)?;
    let stopped = Instant::now();
    ensure!(eventually(PATIENCE, || counts(0)), "a stopped worker is still listed");
    let took = stopped.elapsed();
    kill_process(pid, Signal::CONT)?;
    ensure!(eventually(PATIENCE, || counts(1)), "it does not come back: {}", worker.evidence());
    ensure!(took < SOON, "it was lost after {took:?}");
    Ok(())
}

/// Executors that start one after the other are announced at once, whatever the interval.
fn announces_each_runtime(mode: &str) -> Result<()> {
    let deployment = Deployment::start(mode, &["--heartbeat".into(), "60".into()])?;
    let worker = deployment.worker_of("both", "worker", &[])?;
    let classes = || -> Option<usize> {
        deployment.workers().ok()?.first()?["classes"].as_array().map(Vec::len)
    };
    let (native, sandboxed) = (paths::other_pythons(), paths::other_pythons_with_guests()?);
    let all = 2 + native.len() + sandboxed.len();
    let told = eventually(PATIENCE, || classes() == Some(all));
    ensure!(told, "{:?} after {PATIENCE:?}: {}", deployment.workers(), worker.evidence());
    Ok(())
}

/// Prefetched calls arrive without waiting for a heartbeat.
fn prefetches(mode: &str) -> Result<()> {
    let deployment = Deployment::start(mode, &["--heartbeat".into(), "60".into()])?;
    let _worker =
        deployment.worker("worker", &["--site".into(), paths::site().display().to_string()])?;
    let nap = "def nap(x):\n    import time\n    time.sleep(0.02)\n    return x";
    let python = Python::start()?;
    let function = deployment.client.register(&python.dumps(nap, "nap")?, json!({}))?;
    let args = vec![python.dumps("", "((1,), {})")?; 30];
    for _ in 0..3 {
        for id in deployment.client.submit_batch(&function, &args)? {
            let (status, _) = deployment.client.wait(&id, SOONER_THAN_A_HEARTBEAT)?;
            ensure!(status == "COMPLETED", "{id} is {status}");
        }
    }
    Ok(())
}

#[test]
fn a_push_worker_prefetches() -> Result<()> {
    prefetches("push")
}

#[test]
fn a_pull_worker_prefetches() -> Result<()> {
    prefetches("pull")
}

#[test]
fn a_push_worker_announces_each_runtime() -> Result<()> {
    announces_each_runtime("push")
}

#[test]
fn a_pull_worker_announces_each_runtime() -> Result<()> {
    announces_each_runtime("pull")
}

#[test]
fn a_push_worker_is_lost_as_soon_as_configured() -> Result<()> {
    is_lost_soon("push")
}

#[test]
fn a_pull_worker_is_lost_as_soon_as_configured() -> Result<()> {
    is_lost_soon("pull")
}
