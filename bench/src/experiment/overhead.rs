//! The cost of the sandbox beside the native runtime: a single call, its phases, pure Python work, memory,
//! starts; and the cost of an idle service.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::RUNTIMES;
use crate::api::Client;
use crate::context::Context;
use crate::drive::{Requests, single};
use crate::process;
use crate::python::{Call, suite};
use crate::run::less;
use crate::service::{Service, ServiceMode, Setup};

const EXPERIMENT: &str = "overhead";
/// Calls of one turn.
const TURN: usize = 25;
/// The time that a service gets to settle after its start.
const SETTLE: Duration = Duration::from_secs(2);
/// The phases of a task's record that figures name.
pub(crate) const PHASES: [&str; 6] = ["queue", "instance", "decode", "call", "encode", "slot"];

pub(super) async fn run(cx: &mut Context) -> Result<()> {
    let (starts, turns) = (cx.profile.pick(5, 1), cx.profile.pick(20, 4));
    cx.progress.begin(EXPERIMENT, starts + 1 + turns + suite().len());
    cold_starts(cx, starts).await?;
    let service = cx.subject().await?;
    let mut client = service.client().await?;
    phases(cx, &service, &mut client, turns).await?;
    idle(cx, &service).await;
    for function in suite() {
        cx.progress.step(function);
        compare(cx, &service, &mut client, function).await?;
    }
    drop(service);
    cx.progress.end();
    Ok(())
}

/// The time from nothing to the ready line, and to the first answer of each runtime.
async fn cold_starts(cx: &mut Context, starts: usize) -> Result<()> {
    if cx.given.is_some() {
        return Ok(());
    }
    for _ in 0..starts {
        cx.progress.step("cold start");
        let service = cx.launcher.start(&Setup::slots(ServiceMode::Local, cx.slots)).await?;
        let ready = service.cold_start().map(|time| time.as_secs_f64() * 1e3);
        cx.keep(less(EXPERIMENT, "cold start", "ms"), ready.into_iter().collect());
        for runtime in RUNTIMES {
            let function_id = cx.register(&service, "noop", runtime).await?;
            let calls = cx.python.numbered("noop", 0, 1)?;
            let mut client = service.client().await?;
            let timed = single(&mut client, &function_id, &calls, Requests::One).await?;
            cx.count(&timed);
            let series = less(EXPERIMENT, "first call", "ms").at("runtime", runtime);
            cx.keep(series, timed.latencies_ms);
        }
    }
    Ok(())
}

/// The ids of a function in both runtimes.
async fn register(cx: &mut Context, service: &Service, function: &str) -> Result<[String; 2]> {
    let [native, sandbox] = RUNTIMES;
    Ok([
        cx.register(service, function, native).await?,
        cx.register(service, function, sandbox).await?,
    ])
}

/// Calls once: the latency in milliseconds, and the phases of the record.
async fn call(
    cx: &mut Context,
    client: &mut Client,
    id: &str,
    call: &Call,
) -> Result<(f64, Value)> {
    let submitted = Instant::now();
    let (task_id, checked) = client.call(id, &call.args, &call.expected).await?;
    let latency_ms = submitted.elapsed().as_secs_f64() * 1e3;
    cx.run.check(1, checked.err().as_slice());
    Ok((latency_ms, client.durations(&task_id).await?))
}

/// A no-op in both runtimes: the latency for clients, and the phases of the records.
async fn phases(
    cx: &mut Context,
    service: &Service,
    client: &mut Client,
    turns: usize,
) -> Result<()> {
    let ids = register(cx, service, "noop").await?;
    for turn in 0..turns {
        cx.progress.step("no-op");
        let calls = cx.python.numbered("noop", turn * TURN, TURN)?;
        for (runtime, id) in RUNTIMES.iter().zip(&ids) {
            for noop in &calls {
                let (latency_ms, phases) = call(cx, client, id, noop).await?;
                let series = less(EXPERIMENT, "no-op latency", "ms").at("runtime", runtime);
                cx.keep(series, vec![latency_ms]);
                for phase in PHASES {
                    let series = less(EXPERIMENT, "phase", "ms").at("runtime", runtime);
                    let sample = phases[phase].as_f64().into_iter().collect();
                    cx.keep(series.at("phase", phase), sample);
                }
            }
        }
    }
    Ok(())
}

/// One function of the suite in both runtimes, in turns: the time within the call.
async fn compare(
    cx: &mut Context,
    service: &Service,
    client: &mut Client,
    function: &str,
) -> Result<()> {
    let ids = register(cx, service, function).await?;
    let rounds = cx.profile.pick(30, 5);
    let calls = cx.python.numbered(function, 1, rounds + 1)?;
    for (round, work) in calls.iter().enumerate() {
        for (runtime, id) in RUNTIMES.iter().zip(&ids) {
            let (_, phases) = call(cx, client, id, work).await?;
            // The first round warms up.
            let sample = phases["call"].as_f64().filter(|_| round > 0);
            let series = less(EXPERIMENT, "call", "ms").at("function", function);
            cx.keep(series.at("runtime", runtime), sample.into_iter().collect());
        }
    }
    Ok(())
}

/// The processor time and memory of an idle service.
async fn idle(cx: &mut Context, service: &Service) {
    cx.progress.step("idle");
    let Some(pid) = service.pid() else { return };
    tokio::time::sleep(SETTLE).await;
    let (before, begun) = (process::usage(pid), Instant::now());
    tokio::time::sleep(cx.profile.pick(Duration::from_secs(10), Duration::from_secs(3))).await;
    let used = process::total(&before, &process::usage(pid));
    let percent = 100.0 * used / begun.elapsed().as_secs_f64();
    cx.keep(less(EXPERIMENT, "idle processor", "%"), vec![percent]);
    for part in ["gateway", "dispatcher", "Redis", "native Python", "sandbox"] {
        let memory = process::memory_mib(pid, part);
        for (metric, samples) in ["resident memory", "private memory"].into_iter().zip(memory) {
            cx.keep(less(EXPERIMENT, metric, "MiB").at("part", part), samples);
        }
    }
}
