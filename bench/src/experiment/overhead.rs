//! What the sandbox costs beside the native runtime: a call by itself, its phases, pure Python work,
//! memory, starts; and what a service costs that has nothing to do.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::RUNTIMES;
use crate::api::Client;
use crate::drive::one_at_a_time;
use crate::lab::Lab;
use crate::process;
use crate::python::{Call, SUITE};
use crate::run::{Better, Series};
use crate::service::{Mode, Service, Setup};

const EXPERIMENT: &str = "overhead";
/// Calls of one turn.
const TURN: usize = 25;
/// After it was started, a service gets this long to come to rest.
const REST: Duration = Duration::from_secs(2);
/// The phases of a task's record that figures name.
const PHASES: [&str; 6] = ["queue", "instance", "decode", "call", "encode", "slot"];

/// One function in one runtime.
struct Side {
    runtime: &'static str,
    function_id: String,
}

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    let rounds = lab.effort.pick(30, 5);
    let turns = lab.effort.pick(20, 4);
    let starts = lab.effort.pick(5, 1);
    lab.progress.begin(EXPERIMENT, starts + 1 + turns + SUITE.len());
    cold_starts(lab, starts).await?;
    let service = lab.subject().await?;
    let mut client = service.client().await?;
    alone(lab, &service, &mut client, turns).await?;
    idle(lab, &service).await;
    for function in SUITE {
        lab.progress.step(*function);
        compare(lab, &service, &mut client, function, rounds).await?;
    }
    drop(service);
    lab.progress.end();
    Ok(())
}

/// From nothing to the line that says ready, and to the first answer of each runtime.
async fn cold_starts(lab: &mut Lab, starts: usize) -> Result<()> {
    if lab.given.is_some() {
        return Ok(());
    }
    let (mut ready, mut first) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..starts {
        lab.progress.step("cold start");
        let service = lab.launcher.start(&Setup::slots(Mode::Local, lab.slots)).await?;
        ready.extend(service.cold_start().map(|time| time.as_secs_f64() * 1e3));
        for (runtime, first) in RUNTIMES.into_iter().zip(&mut first) {
            let function_id = lab.register(&service, "noop", runtime).await?;
            let calls = lab.python.numbered("noop", 0, 1)?;
            let timed = one_at_a_time(&mut service.client().await?, &function_id, &calls).await?;
            lab.count(&timed);
            first.extend(timed.latencies_ms);
        }
    }
    lab.keep(Series::new(EXPERIMENT, "cold start", "ms", Better::Less).of(ready));
    for (runtime, first) in RUNTIMES.into_iter().zip(first) {
        let series = Series::new(EXPERIMENT, "first call", "ms", Better::Less);
        lab.keep(series.at("runtime", runtime).of(first));
    }
    Ok(())
}

async fn sides(lab: &mut Lab, service: &Service, function: &str) -> Result<Vec<Side>> {
    let mut sides = Vec::new();
    for runtime in RUNTIMES {
        let function_id = lab.register(service, function, runtime).await?;
        sides.push(Side { runtime, function_id });
    }
    Ok(sides)
}

/// A no-op in both runtimes: what clients see, and the phases that records tell.
async fn alone(lab: &mut Lab, service: &Service, client: &mut Client, turns: usize) -> Result<()> {
    let sides = sides(lab, service, "noop").await?;
    let mut latencies = [Vec::new(), Vec::new()];
    let mut phases = [const { [const { Vec::new() }; PHASES.len()] }; 2];
    for turn in 0..turns {
        lab.progress.step("no-op");
        let calls = lab.python.numbered("noop", turn * TURN, TURN)?;
        for (index, side) in sides.iter().enumerate() {
            for call in &calls {
                let called = called(lab, client, &side.function_id, call).await?;
                latencies[index].push(called.latency_ms);
                for (kept, phase) in phases[index].iter_mut().zip(called.phases) {
                    kept.extend(phase);
                }
            }
        }
    }
    for ((side, latencies), phases) in sides.iter().zip(latencies).zip(phases) {
        let series = |metric| {
            Series::new(EXPERIMENT, metric, "ms", Better::Less).at("runtime", side.runtime)
        };
        lab.keep(series("no-op latency").of(latencies));
        for (name, samples) in PHASES.into_iter().zip(phases) {
            lab.keep(series("phase").at("phase", name).of(samples));
        }
    }
    Ok(())
}

struct Called {
    latency_ms: f64,
    phases: [Option<f64>; PHASES.len()],
}

async fn called(lab: &mut Lab, client: &mut Client, id: &str, call: &Call) -> Result<Called> {
    let submitted = Instant::now();
    let (task_id, checked) = client.call(id, &call.args, &call.expected).await?;
    let latency_ms = submitted.elapsed().as_secs_f64() * 1e3;
    lab.count_one(checked);
    let times = client.durations(&task_id).await?;
    let phases = [times.queue, times.instance, times.decode, times.call, times.encode, times.slot];
    Ok(Called { latency_ms, phases })
}

/// One function of the suite in both runtimes, in turns: the time within the call.
async fn compare(
    lab: &mut Lab,
    service: &Service,
    client: &mut Client,
    function: &str,
    rounds: usize,
) -> Result<()> {
    let sides = sides(lab, service, function).await?;
    let mut times = [Vec::new(), Vec::new()];
    let calls = lab.python.numbered(function, 1, rounds + 1)?;
    for (round, call) in calls.iter().enumerate() {
        for (side, times) in sides.iter().zip(&mut times) {
            let [_, _, _, time, ..] = called(lab, client, &side.function_id, call).await?.phases;
            // The first one warms up.
            times.extend(time.filter(|_| round > 0));
        }
    }
    for (side, times) in sides.iter().zip(times) {
        let series = Series::new(EXPERIMENT, "call", "ms", Better::Less);
        lab.keep(series.at("function", function).at("runtime", side.runtime).of(times));
    }
    Ok(())
}

/// What a service uses while it has nothing to do.
async fn idle(lab: &mut Lab, service: &Service) {
    lab.progress.step("idle");
    let Some(pid) = service.pid() else { return };
    let looked = lab.effort.pick(Duration::from_secs(10), Duration::from_secs(3));
    tokio::time::sleep(REST).await;
    let (before, begun) = (process::usage(pid), Instant::now());
    tokio::time::sleep(looked).await;
    let used = process::total(&before, &process::usage(pid));
    let percent = 100.0 * used / begun.elapsed().as_secs_f64();
    lab.keep(Series::new(EXPERIMENT, "idle processor", "%", Better::Less).of(vec![percent]));
    for part in ["gateway", "dispatcher", "Redis", "native Python", "sandbox"] {
        let pids = process::playing(pid, part);
        let series = |metric| Series::new(EXPERIMENT, metric, "MiB", Better::Less).at("part", part);
        let resident = pids.iter().filter_map(|&pid| process::resident_mib(pid)).collect();
        lab.keep(series("resident memory").of(resident));
        let private = pids.iter().filter_map(|&pid| process::private_mib(pid)).collect();
        lab.keep(series("private memory").of(private));
    }
}
