//! Accepted tasks are not lost: processes are killed under load, and every task ends once with the right result.

use std::time::Duration;

use anyhow::{Result, ensure};
use belljar_testkit::process;
use belljar_tests::Service;
use rustix::process::Signal;
use serde_json::{Value, json};

const TASKS: usize = 1000;
const WORK: &str = "import time\ndef f(n):\n  time.sleep(0.002)\n  return n * n";

/// Submits a thousand calls, kills the processes whose command lines hold `victims` one after the other
/// meanwhile, and expects every result.
fn survives(mode: &str, victims: &[&str]) -> Result<()> {
    let service = Service::start(&["-m", mode, "-w", "2", "--workers", "2"])?;
    let function = service.client.register(&service.python.dumps(WORK, "f")?, json!({}))?;
    let args: Vec<String> = (0..TASKS)
        .map(|n| service.python.dumps("", &format!("(({n},), {{}})")))
        .collect::<Result<_>>()?;
    let tasks = service.client.submit_batch(&function, &args)?;
    for victim in victims {
        let victim = service.process(victim)?;
        process::kill(victim.pid, Signal::KILL);
        ensure!(process::eventually(Duration::from_secs(5), || {
            !process::all().contains(&victim)
        }));
    }
    for (n, task) in tasks.iter().enumerate() {
        let (status, result) = wait_through_restarts(&service, task)?;
        ensure!(status == "COMPLETED", "task {n}: {status} {result}");
        let value = service.python.loads(&result)?.repr;
        ensure!(value == (n * n).to_string(), "task {n}: {value}");
    }
    is_consistent(&service)
}

/// Waits for a result although the gateway may be restarting.
fn wait_through_restarts(service: &Service, task: &str) -> Result<(String, String)> {
    let mut last = Err(anyhow::anyhow!("never asked"));
    let _ = process::eventually(Duration::from_secs(60), || {
        last = service.client.wait(task, 30);
        matches!(&last, Ok((status, _)) if !matches!(status.as_str(), "QUEUED" | "RUNNING"))
    });
    last
}

fn is_consistent(service: &Service) -> Result<()> {
    let mut audit = Value::Null;
    let consistent = process::eventually(Duration::from_secs(10), || {
        audit = service.client.get("/v1/audit").map(|(_, audit)| audit).unwrap_or_default();
        audit["consistent"] == true && audit["running"] == 0
    });
    ensure!(consistent, "{audit}");
    let ended = audit["completed"].as_u64();
    ensure!(ended == Some(TASKS as u64), "{audit}");
    Ok(())
}

#[test]
fn nothing_is_lost_when_the_dispatcher_is_killed() -> Result<()> {
    survives("local", &["belljar dispatcher", "belljar dispatcher"])
}

#[test]
fn nothing_is_lost_when_the_gateway_is_killed() -> Result<()> {
    survives("local", &["belljar gateway", "belljar gateway"])
}

#[test]
fn nothing_is_lost_when_children_are_killed() -> Result<()> {
    survives("local", &["belljar-python", "belljar-python"])
}

#[test]
fn nothing_is_lost_when_redis_is_killed() -> Result<()> {
    survives("local", &["redis-server", "redis-server"])
}

#[test]
fn nothing_is_lost_when_everything_is_killed_in_turn() -> Result<()> {
    survives("local", &["belljar-python", "redis-server", "belljar dispatcher", "belljar gateway"])
}

#[test]
fn nothing_is_lost_when_pull_workers_and_their_dispatcher_are_killed() -> Result<()> {
    survives("pull", &["belljar worker", "belljar dispatcher", "belljar worker"])
}

#[test]
fn nothing_is_lost_when_push_workers_and_their_dispatcher_are_killed() -> Result<()> {
    survives("push", &["belljar worker", "belljar dispatcher", "belljar worker"])
}
