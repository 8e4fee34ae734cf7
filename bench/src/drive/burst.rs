//! All tasks at once, in batches; results as they come.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::Result;

use super::Timed;
use crate::api::{Client, MAX_BATCH, Priority, ended};
use crate::python::Call;

/// Submits all calls in batches, then gathers all results.
pub(crate) async fn burst(client: &mut Client, function_id: &str, calls: &[Call]) -> Result<Timed> {
    let begun = Instant::now();
    let mut submitted = Vec::with_capacity(calls.len());
    for batch in calls.chunks(MAX_BATCH) {
        let at = Instant::now();
        let payloads: Vec<&str> = batch.iter().map(|call| call.args.as_str()).collect();
        let ids = client.submit_batch(function_id, &payloads, Priority::Normal).await?;
        submitted.extend(ids.into_iter().map(|id| (id, at)));
    }
    let mut timed = collect(client, &submitted, calls).await?;
    timed.seconds = begun.elapsed().as_secs_f64();
    Ok(timed)
}

/// Gathers the results of submitted tasks, which are those of `calls` in the same order.
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
