//! Whether a task costs the same however many wait, and however many functions are registered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use crate::api::{Client, MAX_BATCH};
use crate::context::Context;
use crate::drive::{collect, payloads};
use crate::process::{self, UsageTimer};
use crate::python::Call;
use crate::run::{less, rate};
use crate::service::Service;

const EXPERIMENT: &str = "stress";
/// The memory that a million waiting tasks may need, in MiB.
const ROOM_MIB: f64 = 4_096.0;
/// The length of the tasks that hold the slots until they are cancelled.
const HOLD_S: f64 = 600.0;
/// The number of functions that the measured tasks use.
const SPREAD: usize = 100;
/// Connections that register functions.
const REGISTRARS: usize = 8;
/// How often to ask whether a task runs.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

pub(super) async fn run(cx: &mut Context) -> Result<()> {
    let depths = cx.profile.pick(&[1_000, 10_000, 100_000, 1_000_000][..], &[1_000, 20_000][..]);
    let registered = cx.profile.pick(&[1, 100, 1_000, 10_000, 100_000][..], &[1, 1_000][..]);
    cx.progress.begin("stress: many", depths.len() + registered.len());
    waiting(cx, depths).await?;
    functions(cx, registered).await?;
    cx.progress.end();
    Ok(())
}

/// What is submitted behind a queue.
struct Work {
    noop: String,
    sleep: String,
    calls: Vec<Call>,
}

/// The cost of a task in front of a longer and longer queue.
async fn waiting(cx: &mut Context, depths: &[usize]) -> Result<()> {
    let service = cx.subject().await?;
    let mut client = service.client().await?;
    let work = Work {
        noop: cx.register(&service, "noop", "native").await?,
        sleep: cx.register(&service, "sleep", "native").await?,
        calls: cx.python.numbered("noop", 0, MAX_BATCH)?,
    };
    for &wanted in depths {
        if wanted >= 1_000_000 && process::machine_mib().1 < ROOM_MIB {
            cx.note(format!("stress: no queue of {wanted}, as less than {ROOM_MIB} MiB are free"));
            break;
        }
        cx.progress.step(format!("{wanted} tasks wait"));
        // Redis rewrites its file after a queue was filled: that affects one turn, not all.
        for _ in 0..cx.profile.pick(3, 1) {
            behind(cx, &service, &mut client, &work, wanted).await?;
        }
    }
    Ok(())
}

/// A burst in front of a queue, which fills up while tasks that sleep hold every slot.
async fn behind(
    cx: &mut Context,
    service: &Service,
    client: &mut Client,
    Work { noop, sleep, calls }: &Work,
    wanted: usize,
) -> Result<()> {
    let size = cx.profile.pick(10_000, 2_000);
    let held = hold(cx, client, sleep).await?;
    let mut depth = client.audit().await?.entries_queued;
    while depth < wanted {
        let batch = payloads(&calls[..(wanted - depth).min(MAX_BATCH)]);
        client.submit_batch(noop, &batch, "low").await?;
        depth += batch.len();
    }
    let calls = &calls[..size];
    let usage = UsageTimer::start(service);
    let begun = Instant::now();
    let ids = client.submit_batch(noop, &payloads(calls), "normal").await?;
    let submitted_per_s = size as f64 / begun.elapsed().as_secs_f64();
    let submission_cost = usage.stop_per_task(size);
    for task_id in &held {
        client.cancel(task_id).await?;
    }
    // The first result shows that the slots are free again, with new interpreters.
    client.results(&[&ids[0]]).await?;
    let usage = UsageTimer::start(service);
    let now = Instant::now();
    let submitted: Vec<_> = ids.into_iter().map(|id| (id, now)).collect();
    let timed = collect(client, &submitted, calls).await?;
    let cost = usage.stop_per_task(size);
    cx.count(&timed);
    for (series, samples) in [
        (rate(EXPERIMENT, "waiting rate"), vec![timed.rate()]),
        (rate(EXPERIMENT, "waiting submission"), vec![submitted_per_s]),
        (less(EXPERIMENT, "waiting cost", "us"), cost),
        (less(EXPERIMENT, "waiting submission cost", "us"), submission_cost),
    ] {
        cx.keep(series.at("waiting", wanted), samples);
    }
    Ok(())
}

/// Fills every slot with a task that does not end by itself, so that a queue can build up.
async fn hold(cx: &mut Context, client: &mut Client, sleep: &str) -> Result<Vec<String>> {
    let args = (0..cx.slots).map(|number| json!([number, HOLD_S]));
    let calls = cx.python.calls("sleep", args)?;
    let ids = client.submit_batch(sleep, &payloads(&calls), "high").await?;
    let begun = Instant::now();
    for task_id in &ids {
        while !client.is_running(task_id).await? {
            ensure!(begun.elapsed().as_secs_f64() < HOLD_S, "task {task_id} does not start");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
    Ok(ids)
}

/// The cost of a task while more and more functions are registered.
async fn functions(cx: &mut Context, counts: &[usize]) -> Result<()> {
    let size = cx.profile.pick(10_000, 2_000);
    let service = cx.subject().await?;
    let mut client = service.client().await?;
    let mut registered = Vec::new();
    for &wanted in counts {
        cx.progress.step(format!("{wanted} functions"));
        while registered.len() < wanted {
            let count = (wanted - registered.len()).min(MAX_BATCH);
            let payloads = cx.python.variants("marked", registered.len(), count)?;
            registered.extend(register(&service, payloads).await?);
        }
        let used: Vec<&String> =
            registered.iter().step_by((registered.len() / SPREAD).max(1)).take(SPREAD).collect();
        let calls = cx.python.numbered("marked", 0, size)?;
        // Each function once, so that its code is cached everywhere.
        for function_id in &used {
            let ids = client.submit_batch(function_id, &payloads(&calls[..1]), "normal").await?;
            client.results(&[&ids[0]]).await?;
        }
        let usage = UsageTimer::start(&service);
        let begun = Instant::now();
        let mut submitted = Vec::new();
        for (batch, function_id) in calls.chunks(size / SPREAD).zip(used.iter().cycle()) {
            let ids = client.submit_batch(function_id, &payloads(batch), "normal").await?;
            submitted.extend(ids.into_iter().map(|id| (id, begun)));
        }
        let timed = collect(&mut client, &submitted, &calls).await?;
        let (seconds, cost) = (begun.elapsed().as_secs_f64(), usage.stop_per_task(size));
        cx.count(&timed);
        let series = rate(EXPERIMENT, "registered rate").at("functions", wanted);
        cx.keep(series, vec![size as f64 / seconds]);
        cx.keep(less(EXPERIMENT, "registered cost", "us").at("functions", wanted), cost);
    }
    Ok(())
}

/// Registers functions over a few connections, and returns their ids.
async fn register(service: &Service, payloads: Vec<String>) -> Result<Vec<String>> {
    let (next, payloads) = (Arc::new(AtomicUsize::new(0)), Arc::new(payloads));
    let mut registrars = JoinSet::new();
    for _ in 0..REGISTRARS {
        let (next, payloads) = (Arc::clone(&next), Arc::clone(&payloads));
        let mut client = service.client().await?;
        registrars.spawn(async move {
            let mut ids = Vec::new();
            while let Some(payload) = payloads.get(next.fetch_add(1, Ordering::Relaxed)) {
                ids.push(client.register("marked", payload, "native").await?);
            }
            anyhow::Ok(ids)
        });
    }
    let mut ids = Vec::new();
    while let Some(registered) = registrars.join_next().await {
        ids.extend(registered??);
    }
    Ok(ids)
}
