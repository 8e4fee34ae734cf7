//! More than goes through: calls at a rising rate until the service cannot follow, a thousand long
//! polls at once, a long queue.

use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::drive::{Arrivals, burst, closed, open};
use crate::lab::Lab;
use crate::run::{Better, Series};
use crate::service::Service;

const EXPERIMENT: &str = "stress";
/// The service no longer follows when it does less than this part of what arrives.
const FOLLOWS: f64 = 0.9;
/// Quantiles of the curves of latency.
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.999];

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    let rates: &[f64] = lab.effort.pick(
        &[250.0, 500.0, 1e3, 1.5e3, 2e3, 2.5e3, 3e3, 4e3, 5e3, 6e3, 8e3, 10e3],
        &[500.0, 1e3, 2e3, 4e3],
    );
    lab.progress.begin("stress: load", rates.len() + 2);
    let service = lab.subject().await?;
    rising(lab, &service, rates).await?;
    polls(lab, &service).await?;
    drain(lab, &service).await?;
    lab.progress.end();
    Ok(())
}

async fn rising(lab: &mut Lab, service: &Service, rates: &[f64]) -> Result<()> {
    let seconds = lab.effort.pick(4.0, 1.5);
    let function_id = lab.register(service, "noop", "native").await?;
    let calls: Arc<[_]> = lab.python.numbered("noop", 0, 20_000)?.into();
    // Connections, caches and windows are warm before the first rate.
    lab.count(&closed(service.address, 16, &function_id, &calls[..1_000].into()).await?);
    for &rate in rates {
        lab.progress.step(format!("{rate} calls a second"));
        let arrivals = Arrivals { rate, seconds };
        let (timed, histogram) = open(service.address, arrivals, &function_id, &calls).await?;
        lab.count(&timed);
        let series = |metric, unit, better| {
            Series::new(EXPERIMENT, metric, unit, better).at("offered", rate)
        };
        let achieved = timed.rate();
        lab.keep(series("achieved", "tasks/s", Better::More).of(vec![achieved]));
        for quantile in QUANTILES {
            let latency = histogram.value_at_quantile(quantile) as f64 / 1e3;
            let series = series("open latency", "ms", Better::Less);
            lab.keep(series.at("quantile", quantile).of(vec![latency]));
        }
        if achieved < FOLLOWS * rate {
            break;
        }
    }
    Ok(())
}

/// Many connections, each of which waits for the end of its own task.
async fn polls(lab: &mut Lab, service: &Service) -> Result<()> {
    let count = lab.effort.pick(1_000, 200);
    lab.progress.step(format!("{count} long polls at once"));
    let function_id = lab.register(service, "noop", "native").await?;
    let calls: Arc<[_]> = lab.python.numbered("noop", 0, count)?.into();
    let timed = closed(service.address, count, &function_id, &calls).await?;
    lab.count(&timed);
    let series =
        |metric, unit, better| Series::new(EXPERIMENT, metric, unit, better).at("polls", count);
    lab.keep(series("polls", "tasks/s", Better::More).of(vec![timed.rate()]));
    lab.keep(series("polls latency", "ms", Better::Less).of(timed.latencies_ms));
    Ok(())
}

/// A queue that is filled faster than it drains.
async fn drain(lab: &mut Lab, service: &Service) -> Result<()> {
    let count = lab.effort.pick(100_000, 10_000);
    lab.progress.step(format!("a queue of {count}"));
    let function_id = lab.register(service, "noop", "native").await?;
    let calls = lab.python.numbered("noop", 0, count)?;
    let mut client = service.client().await?;
    let timed = burst(&mut client, &function_id, &calls).await?;
    lab.count(&timed);
    ensure!(client.audit().await?.consistent, "the service has lost count of its tasks");
    let series = Series::new(EXPERIMENT, "drain", "tasks/s", Better::More).at("tasks", count);
    lab.keep(series.of(vec![timed.rate()]));
    Ok(())
}
