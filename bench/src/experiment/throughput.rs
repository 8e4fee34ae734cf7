//! The highest rate of no-ops: in a batch, and by clients that submit one after another; with the processor
//! time that each process spends on a task.

use std::sync::Arc;

use anyhow::Result;

use super::RUNTIMES;
use crate::context::{Context, Subject};
use crate::drive::{burst, closed};
use crate::process::UsageTimer;
use crate::run::{Series, less, rate};
use crate::service::ServiceMode;

const EXPERIMENT: &str = "throughput";
/// Tasks before the first burst, which do not count.
const WARM_UP: usize = 500;

pub(super) async fn run(cx: &mut Context) -> Result<()> {
    let repeats = cx.profile.pick(5, 2);
    let connections = cx.profile.pick(&[1, 2, 4, 8, 16, 32, 64][..], &[1, 8, 32][..]);
    cx.progress.begin(EXPERIMENT, repeats + 2 * connections.len() + 1);
    cx.progress.step("starting services");
    let subjects = cx.subjects(&ServiceMode::ALL).await?;
    bursts(cx, &subjects, repeats).await?;
    for runtime in RUNTIMES {
        clients(cx, &subjects[0], runtime, connections).await?;
    }
    drop(subjects);
    cx.progress.end();
    Ok(())
}

async fn bursts(cx: &mut Context, subjects: &[Subject], repeats: usize) -> Result<()> {
    for repeat in 0..=repeats {
        // The first turn warms up.
        let size = if repeat == 0 { WARM_UP } else { cx.profile.pick(5_000, 2_000) };
        if repeat > 0 {
            cx.progress.step(format!("bursts of {size}"));
        }
        for runtime in RUNTIMES {
            for subject in subjects {
                let function_id = cx.register(&subject.service, "noop", runtime).await?;
                let calls = cx.python.numbered("noop", repeat * size, size)?;
                let mut client = subject.service.client().await?;
                let usage = UsageTimer::start(&subject.service);
                let timed = burst(&mut client, &function_id, &calls).await?;
                let cost = usage.stop();
                cx.count(&timed);
                if repeat == 0 {
                    continue;
                }
                let of = |series: Series| series.at("mode", &subject.mode).at("runtime", runtime);
                cx.keep(of(rate(EXPERIMENT, "burst")).at("tasks", size), vec![timed.rate()]);
                if repeat == repeats {
                    cx.keep(of(less(EXPERIMENT, "burst latency", "ms")), timed.latencies_ms);
                }
                if let Some(cost) = cost {
                    let per_task = |seconds: f64| vec![seconds * 1e6 / size as f64];
                    cx.keep(of(less(EXPERIMENT, "cost", "us")), per_task(cost.total));
                    let parts = cost.parts.into_iter().map(|(part, time)| (part, per_task(time)));
                    cx.keep_parts(&of(less(EXPERIMENT, "cost of part", "us")), parts);
                }
            }
        }
    }
    Ok(())
}

/// More and more clients, each submitting one call after another.
async fn clients(
    cx: &mut Context,
    subject: &Subject,
    runtime: &str,
    connections: &[usize],
) -> Result<()> {
    let size = cx.profile.pick(3_000, 500);
    let function_id = cx.register(&subject.service, "noop", runtime).await?;
    for (turn, &connections) in connections.iter().enumerate() {
        cx.progress.step(format!("{connections} clients, {runtime}"));
        let calls: Arc<[_]> = cx.python.numbered("noop", turn * size, size)?.into();
        let timed = closed(subject.service.address, connections, &function_id, &calls).await?;
        cx.count(&timed);
        let of = |series: Series| {
            let series = series.at("mode", &subject.mode).at("runtime", runtime);
            series.at("connections", connections)
        };
        cx.keep(of(rate(EXPERIMENT, "clients")), vec![timed.rate()]);
        cx.keep(of(less(EXPERIMENT, "clients latency", "ms")), timed.latencies_ms);
    }
    Ok(())
}
