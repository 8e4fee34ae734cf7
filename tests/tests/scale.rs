//! Large and many: payloads of 10 MB, long queues, a thousand waiters, and what an idle service costs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use belljar_tests::{Service, process};
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
        audit["completed"] == TASKS as u64 + 1
    });
    ensure!(drained && audit["consistent"] == true, "{audit}");
    Ok(())
}

#[test]
fn an_idle_service_uses_next_to_nothing() -> Result<()> {
    let service = Service::start(&["-w", "2"])?;
    let gateway = service.process("belljar gateway")?;
    let kilobytes = memory_kb(gateway.pid);
    ensure!(kilobytes < 50 << 10, "the gateway holds {kilobytes} kB");
    // The first seconds may still see a spare interpreter start.
    let mut share = 1.0;
    let idle = process::eventually(Duration::from_secs(40), || {
        let (before, started) = (cpu_ticks(&service), Instant::now());
        std::thread::sleep(Duration::from_secs(4)); // What is measured is the passing of time.
        let used = Duration::from_millis((cpu_ticks(&service) - before) * 10);
        share = used.as_secs_f64() / started.elapsed().as_secs_f64();
        share < 0.01
    });
    ensure!(idle, "{:.1} % of a processor while idle", share * 100.0);
    Ok(())
}

fn memory_kb(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(u64::MAX)
}

/// User and system time of all processes of a service, in hundredths of a second.
fn cpu_ticks(service: &Service) -> u64 {
    let ticks = |pid: i32| -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<_> = stat.get(stat.rfind(')')? + 2..)?.split(' ').collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    };
    service.processes().iter().filter_map(|process| ticks(process.pid)).sum()
}
