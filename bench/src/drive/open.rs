//! Calls at a rate, whether answers come or not, as from clients that know nothing of each other.
//! A latency counts from the moment at which its call was due: a service that falls behind cannot
//! hide that by keeping the client from asking.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::Timed;
use crate::api::Client;
use crate::python::Call;

/// The most connections; calls beyond wait for one, and their latency counts that.
const MAX_CONNECTIONS: usize = 256;
/// The longest latency that the histogram tells from longer ones, in microseconds.
const LONGEST_US: u64 = 120_000_000;

/// Load at a rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrivals {
    /// Calls a second.
    pub(crate) rate: f64,
    pub(crate) seconds: f64,
}

impl Arrivals {
    pub(crate) fn count(self) -> usize {
        (self.rate * self.seconds) as usize
    }

    /// When a call is due. On the grid of the timer, which has a millisecond: several calls are due at
    /// once beyond a rate of 1,000, as none can be sent between two of its ticks.
    fn due(self, index: usize) -> Duration {
        Duration::from_millis((index as f64 / self.rate * 1e3) as u64)
    }
}

/// Runs calls at a rate, again from the first once all were used: what was found, and the histogram of
/// latencies in microseconds.
pub(crate) async fn open(
    address: SocketAddr,
    arrivals: Arrivals,
    function_id: &str,
    calls: &Arc<[Call]>,
) -> Result<(Timed, Histogram<u64>)> {
    let count = arrivals.count();
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..MAX_CONNECTIONS.min(count) {
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
                if index >= count {
                    return anyhow::Ok(timed);
                }
                let due = begun + arrivals.due(index);
                tokio::time::sleep_until(due.into()).await;
                let call = &calls[index % calls.len()];
                let call = client.call(&function_id, &call.args, &call.expected);
                let (_, checked) = call.await?;
                timed.take(due, checked);
            }
        });
    }
    let mut timed = Timed::default();
    let mut histogram = Histogram::new_with_bounds(1, LONGEST_US, 3)?;
    while let Some(ended) = loops.join_next().await {
        let ended = ended??;
        for latency in &ended.latencies_ms {
            histogram.saturating_record(((latency * 1e3) as u64).max(1));
        }
        timed.total += ended.total;
        timed.latencies_ms.extend(ended.latencies_ms);
        timed.wrong.extend(ended.wrong);
    }
    timed.seconds = begun.elapsed().as_secs_f64();
    Ok((timed, histogram))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_due_evenly() {
        let arrivals = Arrivals { rate: 500.0, seconds: 2.0 };
        assert_eq!(arrivals.count(), 1_000);
        assert_eq!(arrivals.due(0), Duration::ZERO);
        assert_eq!(arrivals.due(250), Duration::from_millis(500));
        assert_eq!(arrivals.due(999), Duration::from_millis(1_998));
    }
}
