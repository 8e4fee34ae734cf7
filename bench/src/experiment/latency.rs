//! One no-op at a time: submitted, waited for, and only then the next. Modes and runtimes take turns.

use anyhow::Result;

use super::{RUNTIMES, alone};
use crate::api::Client;
use crate::drive::{one_at_a_time, one_at_a_time_in_two};
use crate::lab::Lab;
use crate::run::{Better, Series};
use crate::service::Mode;

/// Calls of one turn.
const TURN: usize = 100;
/// Calls that are not counted, before the first turn.
const WARM_UP: usize = 50;

struct Case {
    mode: String,
    runtime: &'static str,
    client: Client,
    function_id: String,
    samples: Vec<f64>,
    /// By the classic pair of requests.
    in_two: Vec<f64>,
}

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    let sizes = lab.effort.pick([100, 1_000], [100, 200]);
    let turns: usize = sizes.iter().map(|size| size / TURN).sum();
    lab.progress.begin("latency", turns + 3);
    lab.progress.step("starting services");
    let subjects = lab.subjects(&Mode::ALL).await?;
    let mut cases = Vec::new();
    for runtime in RUNTIMES {
        for subject in &subjects {
            let function_id = lab.register(&subject.service, "noop", runtime).await?;
            let client = subject.service.client().await?;
            let mode = subject.mode.clone();
            let (samples, in_two) = (Vec::new(), Vec::new());
            cases.push(Case { mode, runtime, client, function_id, samples, in_two });
        }
    }
    let calls = lab.python.numbered("noop", 0, WARM_UP)?;
    for case in &mut cases {
        let warm_up = one_at_a_time(&mut case.client, &case.function_id, &calls).await?;
        lab.count(&warm_up);
    }
    let mut first = WARM_UP;
    for size in sizes {
        for _ in 0..size / TURN {
            lab.progress.step(format!("{size} samples"));
            for case in &mut cases {
                let calls = lab.python.numbered("noop", first, TURN)?;
                first += TURN;
                let timed = one_at_a_time(&mut case.client, &case.function_id, &calls).await?;
                lab.count(&timed);
                case.samples.extend(timed.latencies_ms);
                let calls = lab.python.numbered("noop", first, TURN)?;
                first += TURN;
                let pair = one_at_a_time_in_two(&mut case.client, &case.function_id, &calls);
                let timed = pair.await?;
                lab.count(&timed);
                case.in_two.extend(timed.latencies_ms);
            }
        }
        for case in &mut cases {
            let found = [
                ("latency", std::mem::take(&mut case.samples)),
                ("latency in two requests", std::mem::take(&mut case.in_two)),
            ];
            for (metric, samples) in found {
                let series = Series::new("latency", metric, "ms", Better::Less);
                let series = series.at("mode", &case.mode).at("runtime", case.runtime);
                lab.keep(series.at("study", size).of(samples));
            }
        }
    }
    lab.progress.step("where the time goes");
    if let Some(subject) = subjects.first() {
        alone::profile(lab, subject, first).await?;
    }
    lab.progress.step("stopping services");
    drop(subjects);
    lab.progress.end();
    Ok(())
}
