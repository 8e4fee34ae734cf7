//! More load than the service can take, a thousand long polls at once, a long queue, large payloads.

use std::sync::Arc;

use anyhow::{Result, ensure};

use super::RUNTIMES;
use crate::context::Context;
use crate::drive::{Requests, burst, closed, open, single};
use crate::run::{less, rate};
use crate::service::Service;

const EXPERIMENT: &str = "stress";
/// The service is saturated when it does less than this share of the offered rate.
const SATURATED: f64 = 0.9;
/// The quantiles of open latencies.
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.999];
const MIB: usize = 1 << 20;
/// Payload sizes in bytes, and the number of calls with each.
const SIZES: [(usize, usize); 5] =
    [(1_000, 100), (10_000, 100), (100_000, 50), (1_000_000, 20), (10_000_000, 5)];
/// Connections that carry large payloads at once.
const CONNECTIONS: usize = 4;
/// Different blocks of a mebibyte.
const BLOCKS: usize = 20;

pub(super) async fn run(cx: &mut Context) -> Result<()> {
    let rates: &[f64] = cx.profile.pick(
        &[250.0, 500.0, 1e3, 1.5e3, 2e3, 2.5e3, 3e3, 4e3, 5e3, 6e3, 8e3, 10e3],
        &[500.0, 1e3, 2e3, 4e3],
    );
    cx.progress.begin("stress: load", rates.len() + 2);
    let service = cx.subject().await?;
    rising(cx, &service, rates).await?;
    polls(cx, &service).await?;
    drain(cx, &service).await?;
    cx.progress.end();
    drop(service);
    cx.progress.begin("stress: size", SIZES.len() + 1);
    let service = cx.subject().await?;
    payloads(cx, &service).await?;
    mebibytes(cx, &service).await?;
    cx.progress.end();
    Ok(())
}

async fn rising(cx: &mut Context, service: &Service, rates: &[f64]) -> Result<()> {
    let seconds = cx.profile.pick(4.0, 1.5);
    let function_id = cx.register(service, "noop", "native").await?;
    let calls: Arc<[_]> = cx.python.numbered("noop", 0, 20_000)?.into();
    // Connections, caches and windows are warm before the first rate.
    cx.count(&closed(service.address, 16, &function_id, &calls[..1_000].into()).await?);
    for &offered in rates {
        cx.progress.step(format!("{offered} calls a second"));
        let timed = open(service.address, offered, seconds, &function_id, &calls).await?;
        cx.count(&timed);
        cx.keep(rate(EXPERIMENT, "achieved").at("offered", offered), vec![timed.rate()]);
        for quantile in QUANTILES {
            let series = less(EXPERIMENT, "open latency", "ms").at("offered", offered);
            let latency = timed.quantile_ms(quantile).into_iter().collect();
            cx.keep(series.at("quantile", quantile), latency);
        }
        if timed.rate() < SATURATED * offered {
            break;
        }
    }
    Ok(())
}

/// Many connections, each of which waits for its own task.
async fn polls(cx: &mut Context, service: &Service) -> Result<()> {
    let count = cx.profile.pick(1_000, 200);
    cx.progress.step(format!("{count} long polls at once"));
    let function_id = cx.register(service, "noop", "native").await?;
    let calls: Arc<[_]> = cx.python.numbered("noop", 0, count)?.into();
    let timed = closed(service.address, count, &function_id, &calls).await?;
    cx.count(&timed);
    cx.keep(rate(EXPERIMENT, "polls").at("polls", count), vec![timed.rate()]);
    cx.keep(less(EXPERIMENT, "polls latency", "ms").at("polls", count), timed.latencies_ms);
    Ok(())
}

/// A queue that fills faster than it drains.
async fn drain(cx: &mut Context, service: &Service) -> Result<()> {
    let count = cx.profile.pick(100_000, 10_000);
    cx.progress.step(format!("a queue of {count}"));
    let function_id = cx.register(service, "noop", "native").await?;
    let calls = cx.python.numbered("noop", 0, count)?;
    let mut client = service.client().await?;
    let timed = burst(&mut client, &function_id, &calls).await?;
    cx.count(&timed);
    ensure!(client.audit().await?.consistent, "the service has lost count of its tasks");
    cx.keep(rate(EXPERIMENT, "drain").at("tasks", count), vec![timed.rate()]);
    Ok(())
}

/// Arguments and results from 1 kB to 10 MB, there and back.
async fn payloads(cx: &mut Context, service: &Service) -> Result<()> {
    for (bytes, full) in SIZES {
        cx.progress.step(format!("{bytes} bytes"));
        let calls = cx.python.echoes(bytes, cx.profile.pick(full, full.div_ceil(10)))?;
        for runtime in RUNTIMES {
            let function_id = cx.register(service, "echo", runtime).await?;
            let mut client = service.client().await?;
            let timed = single(&mut client, &function_id, &calls, Requests::One).await?;
            cx.count(&timed);
            let series = less(EXPERIMENT, "echo latency", "ms").at("runtime", runtime);
            cx.keep(series.at("bytes", bytes), timed.latencies_ms);
        }
    }
    Ok(())
}

async fn mebibytes(cx: &mut Context, service: &Service) -> Result<()> {
    let count = cx.profile.pick(200, 40);
    cx.progress.step(format!("1 MiB, {count} times"));
    let blocks = cx.python.echoes(MIB, BLOCKS)?;
    let function_id = cx.register(service, "echo", "native").await?;
    let calls: Arc<[_]> = (0..count).map(|index| blocks[index % BLOCKS].clone()).collect();
    for _ in 0..cx.profile.pick(3, 1) {
        let timed = closed(service.address, CONNECTIONS, &function_id, &calls).await?;
        cx.count(&timed);
        cx.keep(less(EXPERIMENT, "mebibytes", "s").at("tasks", count), vec![timed.seconds]);
    }
    Ok(())
}
