//! Payloads of 10 MB, long queues, a thousand waiters, and the cost of an idle service.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use belljar_testkit::{Redis, process};
use belljar_tests::Service;
use serde_json::{Value, json};

#[test]
fn ten_megabytes_come_back() -> Result<()> {
    let service = Service::start(&["-w", "1"])?;
    let echo = service.python.dumps("", "lambda x: x")?;
    let function = service.client.register(&echo, json!({}))?;
    let args = service.python.dumps("", "((bytes(range(256)) * 40960,), {})")?;
    let task = service.client.submit(&function, &args, json!({}))?;
    let (status, result) = service.client.wait(&task, 60)?;
    ensure!(status == "COMPLETED", "{status}");
    // The argument's pickle differs from the result's by its tuple and dict.
    ensure!(result.len() > 13_000_000, "{}", result.len());
    ensure!(service.python.loads(&result)?.class == "bytes");
    Ok(())
}

#[test]
fn a_long_queue_drains_and_a_thousand_polls_are_answered() -> Result<()> {
    const TASKS: usize = 20_000;
    let service = Service::start(&["-w", "2"])?;
    let function = service.client.register(&service.python.dumps("", "abs")?, json!({}))?;
    let args = vec![service.python.dumps("", "((-7,), {})")?; 10_000];
    let mut tasks = Vec::new();
    for _ in 0..TASKS / args.len() {
        tasks.extend(service.client.submit_batch(&function, &args)?);
    }
    let waiters: Vec<_> = tasks
        .iter()
        .rev()
        .take(1000)
        .map(|task| {
            let (client, task) = (service.client.clone(), task.clone());
            let waiter = std::thread::Builder::new().stack_size(256 << 10);
            waiter.spawn(move || client.wait(&task, 60))
        })
        .collect::<std::io::Result<_>>()?;
    for waiter in waiters {
        let (status, _) = waiter.join().map_err(|_| anyhow::anyhow!("a waiter panicked"))??;
        ensure!(status == "COMPLETED", "{status}");
    }
    let mut audit = Value::Null;
    let drained = process::eventually(Duration::from_secs(60), || {
        audit = service.client.get("/v1/audit").map(|(_, audit)| audit).unwrap_or_default();
        audit["completed"] == TASKS as u64
    });
    ensure!(drained && audit["consistent"] == true, "{audit}");
    Ok(())
}

#[test]
fn an_idle_service_uses_almost_nothing() -> Result<()> {
    let service = Service::start(&["-w", "2"])?;
    let gateway = service.process("belljar gateway")?;
    let kilobytes = memory_kb(gateway.pid);
    ensure!(kilobytes < 50 << 10, "the gateway holds {kilobytes} kB");
    let redis = Redis::start()?;
    // The first seconds may still see a spare interpreter start.
    let (mut share, mut bare) = (1.0, 0.0);
    let idle = process::eventually(Duration::from_secs(40), || {
        let idled = || redis.cpu_time().unwrap_or_default();
        let (before, began, started) = (cpu_time(&service), idled(), Instant::now());
        std::thread::sleep(Duration::from_secs(4)); // What is measured is the passing of time.
        let of = |used: Duration| used.as_secs_f64() / started.elapsed().as_secs_f64();
        (share, bare) = (of(cpu_time(&service) - before), of(idled() - began));
        share < f64::max(0.01, 3.0 * bare)
    });
    let (share, bare) = (share * 100.0, bare * 100.0);
    ensure!(idle, "{share:.1} % of a processor while idle, a bare redis-server {bare:.1} %");
    Ok(())
}

fn memory_kb(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(u64::MAX)
}

/// The processor time of all processes of a service.
fn cpu_time(service: &Service) -> Duration {
    service.processes().iter().filter_map(|process| process::cpu_time(process.pid)).sum()
}

/// While calls wait there are more workers, and afterwards fewer; no call is lost or made twice.
#[test]
fn workers_come_and_go_with_the_load() -> Result<()> {
    const SLOW: Duration = Duration::from_secs(60);
    let more = ["-m", "pull", "-w", "1", "--workers", "1..3", "--worker-idle", "2"];
    let service = Service::start(&more)?;
    let nap = "def nap(x):\n    import time\n    time.sleep(1.5)\n    return x";
    let function = service.client.register(&service.python.dumps(nap, "nap")?, json!({}))?;
    let workers = || -> Option<usize> {
        let (_, listed) = service.client.get("/v1/workers").ok()?;
        Some(listed["items"].as_array()?.len())
    };
    ensure!(workers() == Some(1), "{:?} at the start", workers());
    let args = vec![service.python.dumps("", "((1,), {})")?; 12];
    let tasks = service.client.submit_batch(&function, &args)?;
    ensure!(process::eventually(SLOW, || workers() == Some(3)), "{:?} under load", workers());
    for task in &tasks {
        let (status, _) = service.client.wait(task, 60)?;
        ensure!(status == "COMPLETED", "{status}");
        let record = service.client.record(task)?;
        ensure!(record["attempts"] == 1 && record["losses"] == json!([]), "{record}");
    }
    ensure!(process::eventually(SLOW, || workers() == Some(1)), "{:?} afterwards", workers());
    let last = service.client.submit(&function, &args[0], json!({}))?;
    ensure!(service.client.wait(&last, 60)?.0 == "COMPLETED");
    Ok(())
}
