//! How `belljar up` stops under load: soon after the calls that run, in every mode, and without a call
//! that is lost or runs twice.

#![expect(clippy::print_stdout, reason = "figures, shown by --nocapture")]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use belljar_testkit::process::eventually;
use belljar_tests::Service;
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
