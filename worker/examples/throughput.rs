//! How fast slots run a no-op: one call at a time, and as many as the pool wants to have. On one thread,
//! so that what is measured is the slots and not the way between threads.
//!
//! `cargo run --release -p belljar-worker --example throughput -- PYTHON [SLOTS [CALLS]]`, where PYTHON
//! is that of a virtual environment with dill, after `cargo build --release -p belljar-interpreter`.
#![allow(clippy::print_stdout, reason = "its output is the point")]
#![allow(clippy::unwrap_used, reason = "a measurement, not a service")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use belljar_core::grants::GrantPolicy;
use belljar_core::id::TaskId;
use belljar_core::invocation::Invocation;
use belljar_core::outcome::{CallVerdict, Outcome};
use belljar_core::task::{PythonVersion, Runtime, TaskAttempt, TaskClass};
use belljar_worker::ChildCommand;
use belljar_worker::config::PoolConfig;
use belljar_worker::executor::NativeExecutor;
use belljar_worker::pool::{Pool, PoolEvent};
use bytes::Bytes;
use tokio::sync::mpsc::Receiver;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let python = PathBuf::from(args.next().unwrap_or_else(|| ".belljar/venv/bin/python".into()));
    let slots = args.next().map_or(1, |text| text.parse().unwrap());
    let calls = args.next().map_or(20_000, |text| text.parse().unwrap());
    let own = std::env::current_exe().unwrap();
    let program = own.ancestors().nth(2).unwrap().join("belljar-python");
    let minor = PythonVersion::default();
    let packages = format!("lib/python{minor}/site-packages");
    let site = python.ancestors().nth(2).unwrap().join(packages);
    let command = ChildCommand::new(program).option("--site", site);
    let executor = NativeExecutor::new(minor, command, GrantPolicy::default());
    let start = Instant::now();
    let (pool, mut events) = Pool::start(PoolConfig::new(slots, vec![Arc::new(executor)]));

    let up = events.recv().await;
    println!("{up:?} after {:?}", start.elapsed());
    let no_op = invocation(&python, "def f(): return None", "((), {})");
    let add = invocation(&python, "def f(x, y=1): return x + y", "((1,), {'y': 2})");
    for (name, invocation) in [("no-op", no_op), ("add", add)] {
        burst(&pool, &mut events, &invocation, 500).await;
        one_by_one(&pool, &mut events, &invocation, name, calls / 4).await;
        let before = cpu();
        let start = Instant::now();
        burst(&pool, &mut events, &invocation, calls).await;
        let took = start.elapsed();
        let rate = f64::from(calls) / took.as_secs_f64();
        let own = (cpu() - before).as_secs_f64() * 1e6 / f64::from(calls);
        println!("{name}: {slots} slots, {rate:.0} calls/s, {own:.1} us CPU of the pool per call");
    }
    let start = Instant::now();
    let drain = pool.drain(Duration::from_secs(5));
    tokio::join!(drain, async { while events.recv().await.is_some() {} });
    println!("drained in {:?}", start.elapsed());
}

async fn one_by_one(
    pool: &Pool,
    events: &mut Receiver<PoolEvent>,
    invocation: &Invocation,
    name: &str,
    calls: u32,
) {
    let (mut times, mut inside) = (Vec::new(), Vec::new());
    for _ in 0..calls {
        let start = Instant::now();
        pool.submit(fresh(invocation)).unwrap();
        let outcome = finished(events).await;
        times.push(start.elapsed());
        let phases = outcome.phases;
        inside.push([phases.decode_us, phases.call_us, phases.encode_us, outcome.elapsed_us]);
    }
    times.sort();
    let at = |part: usize| times[times.len() * part / 1000];
    let mean =
        |index: usize| inside.iter().map(|it| it[index]).sum::<u64>() as f64 / f64::from(calls);
    println!(
        "{name}: one by one p50 {:?} p99 {:?}; in Python: decode {:.1} call {:.1} encode {:.1} us; \
         in the slot {:.1} us",
        at(500),
        at(990),
        mean(0),
        mean(1),
        mean(2),
        mean(3)
    );
}

async fn burst(pool: &Pool, events: &mut Receiver<PoolEvent>, invocation: &Invocation, calls: u32) {
    let (mut submitted, mut ended) = (0, 0);
    let (mut longest, mut returned) = (0, 0);
    while ended < calls {
        while submitted < calls && pool.in_flight() < pool.window() {
            pool.submit(fresh(invocation)).unwrap();
            submitted += 1;
        }
        match events.recv().await.unwrap() {
            PoolEvent::Finished(report) => {
                longest = longest.max(report.outcome.elapsed_us);
                ended += 1;
            }
            // Where the machine stood still for a while.
            PoolEvent::Returned(_) => {
                returned += 1;
                submitted -= 1;
            }
            other => panic!("{other:?}"),
        }
    }
    if returned > 0 {
        println!("{returned} given back; the longest call took {longest} us");
    }
}

async fn finished(events: &mut Receiver<PoolEvent>) -> Outcome {
    match events.recv().await.unwrap() {
        PoolEvent::Finished(report) => {
            assert!(matches!(report.outcome.verdict, CallVerdict::Completed(_)), "{report:?}");
            report.outcome
        }
        other => panic!("{other:?}"),
    }
}

fn fresh(invocation: &Invocation) -> Invocation {
    let task = TaskAttempt { task_id: TaskId::random(), ..invocation.task };
    Invocation { task, ..invocation.clone() }
}

fn invocation(python: &Path, source: &str, args: &str) -> Invocation {
    let dill = |what: &str| {
        let script = "import sys, dill; exec(sys.argv[1]); \
                      sys.stdout.buffer.write(dill.dumps(eval(sys.argv[2])))";
        let output = Command::new(python).args(["-c", script, source, what]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Bytes::from(output.stdout)
    };
    let code = dill("f");
    let class = TaskClass::new(Runtime::Native, PythonVersion::default());
    Invocation::standalone(class, code, dill(args))
}

/// Processor time of this process, children not counted.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let main: u64 = stat.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten().filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(threads.sum::<u64>().max(main))
}
