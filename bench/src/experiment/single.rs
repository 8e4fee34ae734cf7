//! Where the time of a single call goes: the processor time of each process on its way, and the time of as
//! many hand-overs between threads that do nothing else.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use anyhow::Result;

use super::RUNTIMES;
use crate::context::{Context, Subject};
use crate::drive::{self, Requests};
use crate::process::UsageTimer;
use crate::run::less;

/// Gateway, Redis, dispatcher and interpreter: a task is handed over twice for each, there and back.
const STATIONS: usize = 4;
/// About the size of what passes between them.
const MESSAGE_BYTES: usize = 100;
const ROUNDS: usize = 2_000;

/// Profiles single calls of a service.
pub(super) async fn profile(cx: &mut Context, subject: &Subject, first: usize) -> Result<()> {
    // The kernel counts processor time in hundredths of a second: a figure takes many calls.
    let size = cx.profile.pick(3_000, 1_000);
    for (turn, runtime) in RUNTIMES.iter().enumerate() {
        let function_id = cx.register(&subject.service, "noop", runtime).await?;
        let calls = cx.python.numbered("noop", first + turn * size, size)?;
        let mut client = subject.service.client().await?;
        let usage = UsageTimer::start(&subject.service);
        let timed = drive::single(&mut client, &function_id, &calls, Requests::One).await?;
        let cost = usage.stop();
        cx.count(&timed);
        let series = less("latency", "processor time of a single call", "us");
        let series = series.at("mode", &subject.mode).at("runtime", runtime);
        let parts = cost.map(|cost| cost.parts).unwrap_or_default().into_iter();
        cx.keep_parts(&series, parts.map(|(part, time)| (part, vec![time * 1e6 / size as f64])));
    }
    cx.keep(less("latency", "hand-overs", "ms").at("count", 2 * STATIONS), hand_overs()?);
    Ok(())
}

/// The time of a message through a chain of threads and back, in milliseconds.
fn hand_overs() -> Result<Vec<f64>> {
    let (mut client, mut upstream) = UnixStream::pair()?;
    for _ in 1..STATIONS {
        let (downstream, next) = UnixStream::pair()?;
        std::thread::spawn(move || pass(upstream, Some(downstream)));
        upstream = next;
    }
    std::thread::spawn(move || pass(upstream, None));
    let mut message = [0; MESSAGE_BYTES];
    let mut round = || -> Result<f64> {
        let sent = Instant::now();
        client.write_all(&message)?;
        client.read_exact(&mut message)?;
        Ok(sent.elapsed().as_secs_f64() * 1e3)
    };
    (0..ROUNDS).map(|_| round()).collect()
}

/// Passes messages on and their answers back, or answers itself, until the other side leaves.
fn pass(mut upstream: UnixStream, mut downstream: Option<UnixStream>) -> std::io::Result<()> {
    let mut message = [0; MESSAGE_BYTES];
    loop {
        upstream.read_exact(&mut message)?;
        if let Some(downstream) = &mut downstream {
            downstream.write_all(&message)?;
            downstream.read_exact(&mut message)?;
        }
        upstream.write_all(&message)?;
    }
}
