//! Whether a task costs the same however many wait, and however many functions are registered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use crate::api::{Client, MAX_BATCH, Priority};
use crate::drive::collect;
use crate::lab::Lab;
use crate::meter::{Cost, Meter};
use crate::process;
use crate::python::Call;
use crate::run::{Better, Series};
use crate::service::Service;

const EXPERIMENT: &str = "stress";
/// The memory that a million waiting tasks may need at most, in MiB.
const ROOM_MIB: f64 = 4_096.0;
/// How long the tasks that hold the slots would take if nobody stopped them.
const HOLD_S: f64 = 600.0;
/// Functions that the measured tasks are spread over.
const SPREAD: usize = 100;
/// Connections that register functions.
const REGISTRARS: usize = 8;
/// How often to look whether a task runs: nothing tells.
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    let depths = lab.effort.pick(&[1_000, 10_000, 100_000, 1_000_000][..], &[1_000, 20_000][..]);
    let registered = lab.effort.pick(&[1, 100, 1_000, 10_000, 100_000][..], &[1, 1_000][..]);
    lab.progress.begin("stress: many", depths.len() + registered.len());
    waiting(lab, depths).await?;
    functions(lab, registered).await?;
    lab.progress.end();
    Ok(())
}

/// The cost of a task in front of a longer and longer queue.
async fn waiting(lab: &mut Lab, depths: &[usize]) -> Result<()> {
    // What Redis does about its file once a queue was filled meets one turn, not all.
    let turns = lab.effort.pick(3, 1);
    let service = lab.subject().await?;
    let mut client = service.client().await?;
    let work = Work {
        noop: lab.register(&service, "noop", "native").await?,
        sleep: lab.register(&service, "sleep", "native").await?,
        calls: lab.python.numbered("noop", 0, MAX_BATCH)?,
    };
    for &wanted in depths {
        if wanted >= 1_000_000 && process::available_mib().is_none_or(|free| free < ROOM_MIB) {
            lab.note(format!("stress: no queue of {wanted}, as less than {ROOM_MIB} MiB are free"));
            break;
        }
        lab.progress.step(format!("{wanted} tasks wait"));
        let [mut rates, mut submissions, mut costs, mut submission_costs] =
            [const { Vec::new() }; 4];
        for _ in 0..turns {
            let burst = behind(lab, &service, &mut client, &work, wanted).await?;
            rates.push(burst.rate);
            submissions.push(burst.submitted_per_s);
            costs.extend(burst.us_a_task);
            submission_costs.extend(burst.us_a_submission);
        }
        let series = |metric, unit, better| {
            Series::new(EXPERIMENT, metric, unit, better).at("waiting", wanted)
        };
        lab.keep(series("waiting rate", "tasks/s", Better::More).of(rates));
        lab.keep(series("waiting submission", "tasks/s", Better::More).of(submissions));
        lab.keep(series("waiting cost", "us", Better::Less).of(costs));
        lab.keep(series("waiting submission cost", "us", Better::Less).of(submission_costs));
    }
    Ok(())
}

/// What is done behind a queue.
struct Work {
    noop: String,
    sleep: String,
    calls: Vec<Call>,
}

/// What a burst took and cost.
struct Burst {
    rate: f64,
    submitted_per_s: f64,
    us_a_task: Vec<f64>,
    us_a_submission: Vec<f64>,
}

/// A burst in front of a queue, which is filled up while tasks that sleep hold every slot.
async fn behind(
    lab: &mut Lab,
    service: &Service,
    client: &mut Client,
    Work { noop, sleep, calls }: &Work,
    wanted: usize,
) -> Result<Burst> {
    let size = lab.effort.pick(10_000, 2_000);
    let held = hold(lab, client, sleep).await?;
    let mut depth = client.audit().await?.entries_queued;
    while depth < wanted {
        let batch = &calls[..(wanted - depth).min(MAX_BATCH)];
        let payloads: Vec<&str> = batch.iter().map(|call| call.args.as_str()).collect();
        client.submit_batch(noop, &payloads, Priority::Low).await?;
        depth += batch.len();
    }
    let calls = &calls[..size];
    let payloads: Vec<&str> = calls.iter().map(|call| call.args.as_str()).collect();
    let meter = Meter::begin(service);
    let submission = Instant::now();
    let ids = client.submit_batch(noop, &payloads, Priority::Normal).await?;
    let (submission, submitting) = (submission.elapsed().as_secs_f64(), meter.end());
    for task_id in &held {
        client.cancel(task_id).await?;
    }
    // The first end says that the slots are free again, with new interpreters.
    client.results(&[&ids[0]]).await?;
    let meter = Meter::begin(service);
    let now = Instant::now();
    let submitted: Vec<_> = ids.into_iter().map(|id| (id, now)).collect();
    let timed = collect(client, &submitted, calls).await?;
    let cost = meter.end();
    lab.count(&timed);
    Ok(Burst {
        rate: timed.rate(),
        submitted_per_s: size as f64 / submission,
        us_a_task: per_task(cost, size),
        us_a_submission: per_task(submitting, size),
    })
}

fn per_task(cost: Option<Cost>, tasks: usize) -> Vec<f64> {
    cost.map(|cost| cost.total * 1e6 / tasks as f64).into_iter().collect()
}

/// Fills every slot with a task that does not end by itself, so that a queue can be built.
async fn hold(lab: &mut Lab, client: &mut Client, sleep: &str) -> Result<Vec<String>> {
    let args = (0..lab.slots).map(|number| json!([number, HOLD_S]));
    let calls = lab.python.calls("sleep", args)?;
    let payloads: Vec<&str> = calls.iter().map(|call| call.args.as_str()).collect();
    let ids = client.submit_batch(sleep, &payloads, Priority::High).await?;
    let begun = Instant::now();
    for task_id in &ids {
        while client.status(task_id).await? != "RUNNING" {
            ensure!(begun.elapsed().as_secs_f64() < HOLD_S, "task {task_id} does not start");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(ids)
}

/// The cost of a task while more and more functions are registered.
async fn functions(lab: &mut Lab, counts: &[usize]) -> Result<()> {
    let size = lab.effort.pick(10_000, 2_000);
    let service = lab.subject().await?;
    let mut client = service.client().await?;
    let mut registered = Vec::new();
    for &wanted in counts {
        lab.progress.step(format!("{wanted} functions"));
        while registered.len() < wanted {
            let count = (wanted - registered.len()).min(MAX_BATCH);
            let payloads = lab.python.variants("marked", registered.len(), count)?;
            registered.extend(register(&service, payloads).await?);
        }
        let used: Vec<&String> =
            registered.iter().step_by((registered.len() / SPREAD).max(1)).take(SPREAD).collect();
        let calls = lab.python.numbered("marked", 0, size)?;
        // Every function once, so that its code is where it is needed.
        for function_id in &used {
            let payload = [calls[0].args.as_str()];
            let ids = client.submit_batch(function_id, &payload, Priority::Normal).await?;
            client.results(&[&ids[0]]).await?;
        }
        let meter = Meter::begin(&service);
        let begun = Instant::now();
        let mut submitted = Vec::new();
        for (batch, function_id) in calls.chunks(size / SPREAD).zip(used.iter().cycle()) {
            let payloads: Vec<&str> = batch.iter().map(|call| call.args.as_str()).collect();
            let ids = client.submit_batch(function_id, &payloads, Priority::Normal).await?;
            submitted.extend(ids.into_iter().map(|id| (id, begun)));
        }
        let timed = collect(&mut client, &submitted, &calls).await?;
        let (seconds, cost) = (begun.elapsed().as_secs_f64(), meter.end());
        lab.count(&timed);
        let series = |metric, unit, better| {
            Series::new(EXPERIMENT, metric, unit, better).at("functions", wanted)
        };
        let rate = size as f64 / seconds;
        lab.keep(series("registered rate", "tasks/s", Better::More).of(vec![rate]));
        lab.keep(series("registered cost", "us", Better::Less).of(per_task(cost, size)));
    }
    Ok(())
}

/// Registers functions by a few clients: their ids.
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
