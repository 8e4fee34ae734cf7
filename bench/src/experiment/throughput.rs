//! As many no-ops as go through: in a batch, and by clients that submit one after another; with the
//! processor time that each process spends on a task.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;

use super::RUNTIMES;
use crate::drive::{burst, closed};
use crate::lab::{Lab, Subject};
use crate::meter::Meter;
use crate::run::{Better, Series};
use crate::service::Mode;

const EXPERIMENT: &str = "throughput";
/// Tasks that are not counted, before the first burst.
const WARM_UP: usize = 500;

/// What bursts of one subject and runtime have given.
#[derive(Default)]
struct Found {
    rates: Vec<f64>,
    latencies_ms: Vec<f64>,
    cost_us: Vec<f64>,
    parts_us: BTreeMap<&'static str, Vec<f64>>,
}

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    let repeats = lab.effort.pick(5, 2);
    let connections = lab.effort.pick(&[1, 2, 4, 8, 16, 32, 64][..], &[1, 8, 32][..]);
    lab.progress.begin(EXPERIMENT, repeats + 2 * connections.len() + 1);
    lab.progress.step("starting services");
    let subjects = lab.subjects(&Mode::ALL).await?;
    bursts(lab, &subjects, repeats).await?;
    for runtime in RUNTIMES {
        clients(lab, &subjects[0], runtime, connections).await?;
    }
    drop(subjects);
    lab.progress.end();
    Ok(())
}

async fn bursts(lab: &mut Lab, subjects: &[Subject], repeats: usize) -> Result<()> {
    let size = lab.effort.pick(5_000, 2_000);
    let mut found = BTreeMap::<(&str, usize), Found>::new();
    for repeat in 0..=repeats {
        // The first turn warms up.
        let size = if repeat == 0 { WARM_UP } else { size };
        if repeat > 0 {
            lab.progress.step(format!("bursts of {size}"));
        }
        for runtime in RUNTIMES {
            for (index, subject) in subjects.iter().enumerate() {
                let function_id = lab.register(&subject.service, "noop", runtime).await?;
                let calls = lab.python.numbered("noop", repeat * size, size)?;
                let mut client = subject.service.client().await?;
                let meter = Meter::begin(&subject.service);
                let timed = burst(&mut client, &function_id, &calls).await?;
                let cost = meter.end();
                lab.count(&timed);
                if repeat == 0 {
                    continue;
                }
                let found = found.entry((runtime, index)).or_default();
                found.rates.push(timed.rate());
                found.latencies_ms = timed.latencies_ms;
                let per_task = |seconds: f64| seconds * 1e6 / size as f64;
                if let Some(cost) = cost {
                    found.cost_us.push(per_task(cost.total));
                    for (part, seconds) in cost.parts {
                        found.parts_us.entry(part).or_default().push(per_task(seconds));
                    }
                }
            }
        }
    }
    for ((runtime, index), found) in found {
        let series = |metric, unit, better| {
            let series = Series::new(EXPERIMENT, metric, unit, better);
            series.at("mode", &subjects[index].mode).at("runtime", runtime)
        };
        lab.keep(series("burst", "tasks/s", Better::More).at("tasks", size).of(found.rates));
        lab.keep(series("burst latency", "ms", Better::Less).of(found.latencies_ms));
        lab.keep(series("cost", "us", Better::Less).of(found.cost_us));
        for (part, cost) in found.parts_us {
            lab.keep(series("cost of part", "us", Better::Less).at("part", part).of(cost));
        }
    }
    Ok(())
}

/// More and more clients, each submitting one call after another.
async fn clients(
    lab: &mut Lab,
    subject: &Subject,
    runtime: &str,
    connections: &[usize],
) -> Result<()> {
    let size = lab.effort.pick(3_000, 500);
    let function_id = lab.register(&subject.service, "noop", runtime).await?;
    for (turn, &connections) in connections.iter().enumerate() {
        lab.progress.step(format!("{connections} clients, {runtime}"));
        let calls: Arc<[_]> = lab.python.numbered("noop", turn * size, size)?.into();
        let timed = closed(subject.service.address, connections, &function_id, &calls).await?;
        lab.count(&timed);
        let series = |metric, unit, better| {
            let series = Series::new(EXPERIMENT, metric, unit, better).at("mode", &subject.mode);
            series.at("runtime", runtime).at("connections", connections)
        };
        lab.keep(series("clients", "tasks/s", Better::More).of(vec![timed.rate()]));
        lab.keep(series("clients latency", "ms", Better::Less).of(timed.latencies_ms));
    }
    Ok(())
}
