//! Arguments and results from 1 kB to 10 MB, there and back.

use std::sync::Arc;

use anyhow::Result;

use super::RUNTIMES;
use crate::drive::{closed, one_at_a_time};
use crate::lab::Lab;
use crate::run::{Better, Series};
use crate::service::Service;

const EXPERIMENT: &str = "stress";
const MIB: usize = 1 << 20;
/// Sizes in bytes, and how often each is sent.
const SIZES: [(usize, usize); 5] =
    [(1_000, 100), (10_000, 100), (100_000, 50), (1_000_000, 20), (10_000_000, 5)];
/// Connections that carry large payloads side by side.
const CONNECTIONS: usize = 4;
/// Different blocks of a mebibyte.
const BLOCKS: usize = 20;

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    lab.progress.begin("stress: size", SIZES.len() + 1);
    let service = lab.subject().await?;
    for (bytes, full) in SIZES {
        lab.progress.step(format!("{bytes} bytes"));
        let count = lab.effort.pick(full, full.div_ceil(10));
        let calls = lab.python.echoes(bytes, count)?;
        for runtime in RUNTIMES {
            let function_id = lab.register(&service, "echo", runtime).await?;
            let mut client = service.client().await?;
            let timed = one_at_a_time(&mut client, &function_id, &calls).await?;
            lab.count(&timed);
            let series = Series::new(EXPERIMENT, "echo latency", "ms", Better::Less);
            let series = series.at("runtime", runtime).at("bytes", bytes);
            lab.keep(series.of(timed.latencies_ms));
        }
    }
    mebibytes(lab, &service).await?;
    lab.progress.end();
    Ok(())
}

async fn mebibytes(lab: &mut Lab, service: &Service) -> Result<()> {
    let count = lab.effort.pick(200, 40);
    lab.progress.step(format!("1 MiB, {count} times"));
    let blocks = lab.python.echoes(MIB, BLOCKS)?;
    let function_id = lab.register(service, "echo", "native").await?;
    let calls: Arc<[_]> = (0..count).map(|index| blocks[index % BLOCKS].clone()).collect();
    for _ in 0..lab.effort.pick(3, 1) {
        let timed = closed(service.address, CONNECTIONS, &function_id, &calls).await?;
        lab.count(&timed);
        let new = Series::new(EXPERIMENT, "mebibytes", "s", Better::Less).at("tasks", count);
        match lab.run.series.iter_mut().find(|known| known.is_counterpart(&new)) {
            Some(known) => known.samples.push(timed.seconds),
            None => lab.keep(new.of(vec![timed.seconds])),
        }
    }
    Ok(())
}
