//! Where the time of a lone task goes: the processor time of each process that it passes, and what the
//! same number of hand-overs costs on this machine when nothing is done with what is handed over.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use anyhow::Result;

use super::RUNTIMES;
use crate::drive::one_at_a_time;
use crate::lab::{Lab, Subject};
use crate::meter::Meter;
use crate::run::{Better, Series};

/// Gateway, Redis, dispatcher and interpreter: there and back, a task is handed over twice for each.
const STATIONS: usize = 4;
/// About as long as what passes between them.
const MESSAGE_BYTES: usize = 100;
const ROUNDS: usize = 2_000;

/// Profiles lone calls of the first subject.
pub(super) async fn profile(lab: &mut Lab, subject: &Subject, first: usize) -> Result<()> {
    // Processor time is counted in hundredths of a second: it takes many calls to tell.
    let size = lab.effort.pick(3_000, 1_000);
    for (turn, runtime) in RUNTIMES.iter().enumerate() {
        let function_id = lab.register(&subject.service, "noop", runtime).await?;
        let calls = lab.python.numbered("noop", first + turn * size, size)?;
        let mut client = subject.service.client().await?;
        let meter = Meter::begin(&subject.service);
        let timed = one_at_a_time(&mut client, &function_id, &calls).await?;
        let cost = meter.end();
        lab.count(&timed);
        for (part, seconds) in cost.map(|cost| cost.parts).unwrap_or_default() {
            let series = Series::new("latency", "processor time alone", "us", Better::Less);
            let series = series.at("mode", &subject.mode).at("runtime", runtime).at("part", part);
            lab.keep(series.of(vec![seconds * 1e6 / size as f64]));
        }
    }
    let series = Series::new("latency", "hand-overs", "ms", Better::Less);
    lab.keep(series.at("count", 2 * STATIONS).of(hand_overs()?));
    Ok(())
}

/// How long a message takes through a chain of threads and back, in milliseconds.
fn hand_overs() -> Result<Vec<f64>> {
    let (mut client, mut upstream) = UnixStream::pair()?;
    for _ in 1..STATIONS {
        let (downstream, next) = UnixStream::pair()?;
        std::thread::spawn(move || pass(upstream, downstream));
        upstream = next;
    }
    std::thread::spawn(move || echo(upstream));
    let mut message = [0; MESSAGE_BYTES];
    let mut samples = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let sent = Instant::now();
        client.write_all(&message)?;
        client.read_exact(&mut message)?;
        samples.push(sent.elapsed().as_secs_f64() * 1e3);
    }
    Ok(samples)
}

/// Passes messages on and their answers back, until the other side leaves.
fn pass(mut upstream: UnixStream, mut downstream: UnixStream) -> std::io::Result<()> {
    let mut message = [0; MESSAGE_BYTES];
    loop {
        upstream.read_exact(&mut message)?;
        downstream.write_all(&message)?;
        downstream.read_exact(&mut message)?;
        upstream.write_all(&message)?;
    }
}

fn echo(mut upstream: UnixStream) -> std::io::Result<()> {
    let mut message = [0; MESSAGE_BYTES];
    loop {
        upstream.read_exact(&mut message)?;
        upstream.write_all(&message)?;
    }
}
