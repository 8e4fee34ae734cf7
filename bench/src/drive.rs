//! Ways to put load on a service. Each checks every result.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use crate::api::{Client, MAX_BATCH, ended};
use crate::python::Call;

/// The most connections of an open loop; calls beyond wait for one, and their latency counts that.
const MAX_CONNECTIONS: usize = 256;

/// What a load has found.
#[derive(Debug, Default)]
pub(crate) struct Timed {
    /// From the first submission to the last answer.
    pub(crate) seconds: f64,
    /// From each task's submission to its answer, in milliseconds.
    pub(crate) latencies_ms: Vec<f64>,
    /// Number of tasks.
    pub(crate) total: usize,
    /// The wrong results.
    pub(crate) wrong: Vec<String>,
}

impl Timed {
    /// Takes the end of one task.
    fn take(&mut self, submitted: Instant, checked: Result<(), String>) {
        self.total += 1;
        match checked {
            Ok(()) => self.latencies_ms.push(submitted.elapsed().as_secs_f64() * 1e3),
            Err(wrong) => self.wrong.push(wrong),
        }
    }

    /// Tasks per second.
    pub(crate) fn rate(&self) -> f64 {
        self.total as f64 / self.seconds
    }

    /// The latency within which a share `q` of the tasks ended; `None` without any.
    pub(crate) fn quantile_ms(&self, q: f64) -> Option<f64> {
        let mut sorted = self.latencies_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        Some(sorted[(q * last as f64).round() as usize])
    }

    /// The share of right results.
    pub(crate) fn success(&self) -> f64 {
        1.0 - self.wrong.len() as f64 / self.total.max(1) as f64
    }
}

/// How a single call is submitted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Requests {
    /// One request that is answered with the result.
    One,
    /// The classic pair: submit, then ask for the result.
    Two,
}

/// Submits a call, waits for its result, and only then submits the next one.
pub(crate) async fn single(
    client: &mut Client,
    function_id: &str,
    calls: &[Call],
    requests: Requests,
) -> Result<Timed> {
    let mut timed = Timed::default();
    let begun = Instant::now();
    for Call { args, expected } in calls {
        let submitted = Instant::now();
        let checked = match requests {
            Requests::One => client.call(function_id, args, expected).await?.1,
            Requests::Two => client.call_in_two(function_id, args, expected).await?,
        };
        timed.take(submitted, checked);
    }
    timed.seconds = begun.elapsed().as_secs_f64();
    Ok(timed)
}

/// Submits all calls in batches, then collects all results.
pub(crate) async fn burst(client: &mut Client, function_id: &str, calls: &[Call]) -> Result<Timed> {
    let begun = Instant::now();
    let mut submitted = Vec::with_capacity(calls.len());
    for batch in calls.chunks(MAX_BATCH) {
        let at = Instant::now();
        let ids = client.submit_batch(function_id, &payloads(batch), "normal").await?;
        submitted.extend(ids.into_iter().map(|id| (id, at)));
    }
    let mut timed = collect(client, &submitted, calls).await?;
    timed.seconds = begun.elapsed().as_secs_f64();
    Ok(timed)
}

pub(crate) fn payloads(calls: &[Call]) -> Vec<&str> {
    calls.iter().map(|call| call.args.as_str()).collect()
}

/// Collects the results of submitted tasks, which are those of `calls` in the same order.
pub(crate) async fn collect(
    client: &mut Client,
    submitted: &[(String, Instant)],
    calls: &[Call],
) -> Result<Timed> {
    let begun = Instant::now();
    let places: HashMap<&str, usize> =
        submitted.iter().enumerate().map(|(place, (id, _))| (id.as_str(), place)).collect();
    let mut timed = Timed::default();
    for ids in submitted.chunks(MAX_BATCH) {
        let mut open: Vec<&str> = ids.iter().map(|(id, _)| id.as_str()).collect();
        while !open.is_empty() {
            let reply = client.results(&open).await?;
            let mut done = vec![false; submitted.len()];
            for task in ended(&reply)? {
                let Some(&place) = places.get(task.task_id.as_ref()) else { continue };
                done[place] = true;
                timed.take(submitted[place].1, task.verify(&calls[place].expected));
            }
            open.retain(|id| !done[places[id]]);
        }
    }
    timed.seconds = begun.elapsed().as_secs_f64();
    Ok(timed)
}

/// Runs all calls over so many connections, each with one call under way (a closed loop).
pub(crate) async fn closed(
    address: SocketAddr,
    connections: usize,
    function_id: &str,
    calls: &Arc<[Call]>,
) -> Result<Timed> {
    let pace = Pace { count: calls.len(), rate: None };
    concurrent(address, connections, function_id, calls, pace).await
}

/// Runs calls at a rate for some time, whether answers come or not (an open loop). A latency counts from the
/// moment when its call is due, so that a slow service cannot hide by delaying the client.
pub(crate) async fn open(
    address: SocketAddr,
    rate: f64,
    seconds: f64,
    function_id: &str,
    calls: &Arc<[Call]>,
) -> Result<Timed> {
    let count = (rate * seconds) as usize;
    let connections = MAX_CONNECTIONS.min(count);
    concurrent(address, connections, function_id, calls, Pace { count, rate: Some(rate) }).await
}

/// How many calls are made in all, and at what rate if not as fast as answers come.
#[derive(Clone, Copy)]
struct Pace {
    count: usize,
    rate: Option<f64>,
}

async fn concurrent(
    address: SocketAddr,
    connections: usize,
    function_id: &str,
    calls: &Arc<[Call]>,
    pace: Pace,
) -> Result<Timed> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(Client::connect(address).await?);
    }
    let begun = Instant::now();
    let mut loops = JoinSet::new();
    for mut client in clients {
        let (next, calls) = (Arc::clone(&next), Arc::clone(calls));
        let function_id = function_id.to_owned();
        loops.spawn(async move {
            let mut timed = Timed::default();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= pace.count {
                    return anyhow::Ok(timed);
                }
                let mut submitted = Instant::now();
                if let Some(rate) = pace.rate {
                    submitted = begun + due(rate, index);
                    tokio::time::sleep_until(submitted.into()).await;
                }
                let call = &calls[index % calls.len()];
                let call = client.call(&function_id, &call.args, &call.expected);
                let (_, checked) = call.await?;
                timed.take(submitted, checked);
            }
        });
    }
    let mut timed = Timed::default();
    while let Some(ended) = loops.join_next().await {
        let ended = ended??;
        timed.total += ended.total;
        timed.latencies_ms.extend(ended.latencies_ms);
        timed.wrong.extend(ended.wrong);
    }
    timed.seconds = begun.elapsed().as_secs_f64();
    Ok(timed)
}

/// When a call is due. The timer ticks once a millisecond: beyond 1,000 a second, several are due at once.
fn due(rate: f64, index: usize) -> Duration {
    Duration::from_millis((index as f64 / rate * 1e3) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_due_evenly() {
        let due = [0, 250, 999].map(|index| due(500.0, index).as_millis());
        assert_eq!(due, [0, 500, 1_998]);
    }
}
