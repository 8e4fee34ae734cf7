//! More workers: with more work in the same measure (weak scaling, 5 tasks for each worker), and with
//! the same work (strong scaling, 20 and 200 tasks).

use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use tokio::task::JoinSet;

use crate::drive::{Timed, burst};
use crate::lab::Lab;
use crate::python::Call;
use crate::run::{Better, Series};
use crate::service::{Mode, Service, Setup};

const EXPERIMENT: &str = "scaling";
/// Tasks for each worker in weak scaling.
const WEAK: usize = 5;
/// Tasks of all workers together in strong scaling.
const STRONG: [usize; 2] = [20, 200];

/// From so many seconds on the modes sleep at the same time: what they do beside sleeping is little then.
/// Shorter measurements take turns, as three services with sixteen workers each would wait for a processor.
const TOGETHER_SECONDS: f64 = 2.0;

/// Work of one kind.
#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    function: &'static str,
    /// The arguments behind the number of the task.
    rest: &'static [f64],
    /// How long a task sleeps.
    sleeps: Option<f64>,
    /// How often it is measured in weak scaling.
    repeats: usize,
    is_quick: bool,
    /// Whether strong scaling takes it: 200 long tasks on one worker take too long.
    is_short: bool,
}

const WORK: &[Work] = &[
    Work {
        name: "no-op",
        function: "noop",
        rest: &[],
        sleeps: None,
        repeats: 5,
        is_quick: true,
        is_short: true,
    },
    Work {
        name: "sleep 0.1 s",
        function: "sleep",
        rest: &[0.1],
        sleeps: Some(0.1),
        repeats: 5,
        is_quick: true,
        is_short: true,
    },
    Work {
        name: "sleep 1 s",
        function: "sleep",
        rest: &[1.0],
        sleeps: Some(1.0),
        repeats: 1,
        is_quick: false,
        is_short: false,
    },
    Work {
        name: "sleep 3 s",
        function: "sleep",
        rest: &[3.0],
        sleeps: Some(3.0),
        repeats: 1,
        is_quick: false,
        is_short: false,
    },
    Work {
        name: "cpu",
        function: "cpu",
        rest: &[],
        sleeps: None,
        repeats: 3,
        is_quick: true,
        is_short: true,
    },
    Work {
        name: "fibonacci",
        function: "fibonacci",
        rest: &[25.0],
        sleeps: None,
        repeats: 3,
        is_quick: false,
        is_short: true,
    },
    Work {
        name: "file I/O",
        function: "file_io",
        rest: &[],
        sleeps: None,
        repeats: 3,
        is_quick: false,
        is_short: true,
    },
];

/// One measurement: this work, so many tasks, on these services.
struct Point {
    work: Work,
    kind: &'static str,
    workers: usize,
    tasks: usize,
}

impl Point {
    /// How long it takes where nothing but sleeping takes time; of sleeping work.
    fn ideal_seconds(&self) -> Option<f64> {
        Some(self.work.sleeps? * self.tasks as f64 / self.workers as f64)
    }
}

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    if lab.given.is_some() {
        lab.note(
            "scaling: left out, as the number of workers of a given service is not ours to set",
        );
        return Ok(());
    }
    let counts = lab.effort.pick(&[1, 2, 4, 8, 16][..], &[1, 2, 4][..]);
    let work: Vec<Work> =
        WORK.iter().filter(|work| lab.effort.pick(true, work.is_quick)).copied().collect();
    let strong = lab.effort.pick(&STRONG[..], &STRONG[..1]);
    lab.progress.begin(EXPERIMENT, counts.len() * work.len());
    for &workers in counts {
        let mut services = Vec::new();
        for mode in Mode::ALL {
            services.push((mode, lab.launcher.start(&Setup::workers(mode, workers)).await?));
        }
        for &work in &work {
            lab.progress.step(format!("{} on {workers} workers", work.name));
            let functions = registered(lab, &services, work, workers).await?;
            for _ in 0..work.repeats {
                let point = Point { work, kind: "weak", workers, tasks: WEAK * workers };
                measure(lab, &services, &functions, &point).await?;
            }
            for &tasks in strong.iter().filter(|_| work.is_short) {
                let point = Point { work, kind: "strong", workers, tasks };
                measure(lab, &services, &functions, &point).await?;
            }
        }
    }
    lab.progress.end();
    Ok(())
}

/// The function's id in each service, after every slot has met it.
async fn registered(
    lab: &mut Lab,
    services: &[(Mode, Service)],
    work: Work,
    workers: usize,
) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    // Long sleeps need no warm-up: the other work has warmed the same slots.
    let warm_up = if work.sleeps.is_some_and(|seconds| seconds >= 1.0) { 0 } else { 2 * workers };
    for (_, service) in services {
        let function_id = lab.register(service, work.function, "native").await?;
        let calls = calls(lab, work, 1 << 20, warm_up)?;
        let timed = burst(&mut service.client().await?, &function_id, &calls).await?;
        lab.count(&timed);
        ids.push(function_id);
    }
    Ok(ids)
}

fn calls(lab: &mut Lab, work: Work, first: usize, count: usize) -> Result<Vec<Call>> {
    let args = (first..first + count).map(|number| {
        let rest = work.rest.iter().map(|&value| match work.function {
            "fibonacci" => json!(value as u64),
            _ => json!(value),
        });
        std::iter::once(json!(number)).chain(rest).collect()
    });
    lab.python.calls(work.function, args)
}

async fn measure(
    lab: &mut Lab,
    services: &[(Mode, Service)],
    functions: &[String],
    point: &Point,
) -> Result<()> {
    let calls = calls(lab, point.work, 0, point.tasks)?;
    let mut found = Vec::new();
    if point.ideal_seconds().is_some_and(|seconds| seconds >= TOGETHER_SECONDS) {
        let mut together = JoinSet::new();
        for ((mode, service), function_id) in services.iter().zip(functions) {
            let (mode, mut client) = (*mode, service.client().await?);
            let (calls, function_id) = (calls.clone(), function_id.clone());
            together.spawn(async move {
                anyhow::Ok((mode, burst(&mut client, &function_id, &calls).await?))
            });
        }
        while let Some(ended) = together.join_next().await {
            found.push(ended??);
        }
    } else {
        for ((mode, service), function_id) in services.iter().zip(functions) {
            let mut client = service.client().await?;
            // A service that answers the connection has nothing else to do.
            let begun = Instant::now();
            let mut timed = burst(&mut client, function_id, &calls).await?;
            timed.seconds = begun.elapsed().as_secs_f64();
            found.push((*mode, timed));
        }
    }
    for (mode, timed) in found {
        keep(lab, point, mode, timed);
    }
    Ok(())
}

fn keep(lab: &mut Lab, point: &Point, mode: Mode, timed: Timed) {
    lab.count(&timed);
    let series = |metric, unit, better| {
        let series = Series::new(EXPERIMENT, metric, unit, better).at("mode", mode.as_str());
        let series = series.at("kind", point.kind).at("work", point.work.name);
        series.at("workers", point.workers).at("tasks", point.tasks)
    };
    let success = series("success", "", Better::More).of(vec![timed.success()]);
    let completion = series("completion", "s", Better::Less).of(vec![timed.seconds]);
    let latency = series("latency", "ms", Better::Less).of(timed.latencies_ms);
    for new in [completion, success, latency] {
        match lab.run.series.iter_mut().find(|known| known.is_counterpart(&new)) {
            Some(known) => known.samples.extend(new.samples),
            None => lab.keep(new),
        }
    }
}
