//! So many clients side by side, each with a connection of its own and one call under way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Result;
use tokio::task::JoinSet;

use super::Timed;
use crate::api::Client;
use crate::python::Call;

/// Runs all calls through so many connections.
pub(crate) async fn closed(
    address: SocketAddr,
    connections: usize,
    function_id: &str,
    calls: &Arc<[Call]>,
) -> Result<Timed> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(Client::connect(address).await?);
    }
    let mut timed = Timed::default();
    let begun = Instant::now();
    let mut loops = JoinSet::new();
    for mut client in clients {
        let (next, calls) = (Arc::clone(&next), Arc::clone(calls));
        let function_id = function_id.to_owned();
        loops.spawn(async move {
            let mut timed = Timed::default();
            while let Some(call) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                let submitted = Instant::now();
                let call = client.call(&function_id, &call.args, &call.expected);
                let (_, checked) = call.await?;
                timed.take(submitted, checked);
            }
            anyhow::Ok(timed)
        });
    }
    while let Some(ended) = loops.join_next().await {
        let ended = ended??;
        timed.total += ended.total;
        timed.latencies_ms.extend(ended.latencies_ms);
        timed.wrong.extend(ended.wrong);
    }
    timed.seconds = begun.elapsed().as_secs_f64();
    Ok(timed)
}
