//! One no-op at a time: submitted, awaited, and only then the next. Modes and runtimes take turns.

use anyhow::Result;

use super::{RUNTIMES, single};
use crate::api::Client;
use crate::context::Context;
use crate::drive::{self, Requests};
use crate::run::less;
use crate::service::ServiceMode;

/// Calls of one turn.
const TURN: usize = 100;
/// Calls before the first turn, which do not count.
const WARM_UP: usize = 50;

struct Case {
    mode: String,
    runtime: &'static str,
    client: Client,
    function_id: String,
}

pub(super) async fn run(cx: &mut Context) -> Result<()> {
    let sizes = cx.profile.pick([100, 1_000], [100, 200]);
    let turns: usize = sizes.iter().map(|size| size / TURN).sum();
    cx.progress.begin("latency", turns + 3);
    cx.progress.step("starting services");
    let subjects = cx.subjects(&ServiceMode::ALL).await?;
    let mut cases = Vec::new();
    for runtime in RUNTIMES {
        for subject in &subjects {
            let function_id = cx.register(&subject.service, "noop", runtime).await?;
            let client = subject.service.client().await?;
            cases.push(Case { mode: subject.mode.clone(), runtime, client, function_id });
        }
    }
    let calls = cx.python.numbered("noop", 0, WARM_UP)?;
    for Case { client, function_id, .. } in &mut cases {
        cx.count(&drive::single(client, function_id, &calls, Requests::One).await?);
    }
    let mut first = WARM_UP;
    for size in sizes {
        for _ in 0..size / TURN {
            cx.progress.step(format!("{size} samples"));
            for Case { mode, runtime, client, function_id } in &mut cases {
                for (metric, requests) in
                    [("latency", Requests::One), ("latency in two requests", Requests::Two)]
                {
                    let calls = cx.python.numbered("noop", first, TURN)?;
                    first += TURN;
                    let timed = drive::single(client, function_id, &calls, requests).await?;
                    cx.count(&timed);
                    let series = less("latency", metric, "ms").at("mode", &*mode);
                    cx.keep(series.at("runtime", *runtime).at("study", size), timed.latencies_ms);
                }
            }
        }
    }
    cx.progress.step("where the time goes");
    if let Some(subject) = subjects.first() {
        single::profile(cx, subject, first).await?;
    }
    cx.progress.step("stopping services");
    drop(subjects);
    cx.progress.end();
    Ok(())
}
