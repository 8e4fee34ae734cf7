//! More workers: with more work in proportion (weak scaling, 5 tasks per worker), and with the same work
//! (strong scaling, 20 and 200 tasks).

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::context::Context;
use crate::drive::burst;
use crate::python::Call;
use crate::run::{Better, Series, less};
use crate::service::{Service, ServiceMode, Setup};

const EXPERIMENT: &str = "scaling";
/// Tasks per worker in weak scaling.
const WEAK: usize = 5;
/// Tasks of all workers together in strong scaling.
const STRONG: [usize; 2] = [20, 200];
/// From this ideal time on, the modes sleep at the same time: they hardly use the processors. Shorter
/// measurements take turns, as three services with sixteen workers each would wait for a processor.
const TOGETHER_SECONDS: f64 = 2.0;

/// One kind of work.
#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    function: &'static str,
    /// The seconds that a task sleeps, if it does; also the argument behind the number of the task.
    sleeps: Option<f64>,
    /// Repetitions in weak scaling.
    repeats: usize,
    is_quick: bool,
    /// Whether it is used for strong scaling: 200 long tasks on one worker take too long.
    is_short: bool,
}

const fn work(name: &'static str, function: &'static str, repeats: usize, is_quick: bool) -> Work {
    Work { name, function, sleeps: None, repeats, is_quick, is_short: true }
}

const fn sleep(name: &'static str, seconds: f64, repeats: usize) -> Work {
    let is_short = seconds < 1.0;
    let sleeps = Some(seconds);
    Work { name, function: "sleep", sleeps, repeats, is_quick: is_short, is_short }
}

const WORK: &[Work] = &[
    work("no-op", "noop", 5, true),
    sleep("sleep 0.1 s", 0.1, 5),
    sleep("sleep 1 s", 1.0, 1),
    sleep("sleep 3 s", 3.0, 1),
    work("cpu", "cpu", 3, true),
    work("fibonacci", "fibonacci", 3, false),
    work("file I/O", "file_io", 3, false),
];

impl Work {
    /// The arguments behind the number of the task.
    fn more(self) -> Option<Value> {
        self.sleeps.map(|seconds| json!(seconds)).or((self.name == "fibonacci").then(|| json!(25)))
    }
}

/// One measurement: this work, so many tasks, on these services.
struct Point {
    work: Work,
    kind: &'static str,
    workers: usize,
    tasks: usize,
}

pub(super) async fn run(cx: &mut Context) -> Result<()> {
    if cx.given.is_some() {
        cx.note("scaling: left out, as the number of workers of a given service is fixed");
        return Ok(());
    }
    let counts = cx.profile.pick(&[1, 2, 4, 8, 16][..], &[1, 2, 4][..]);
    let is_wanted = |work: &&Work| cx.profile.pick(true, work.is_quick);
    let work: Vec<Work> = WORK.iter().filter(is_wanted).copied().collect();
    let strong = cx.profile.pick(&STRONG[..], &STRONG[..1]);
    cx.progress.begin(EXPERIMENT, counts.len() * work.len());
    for &workers in counts {
        let mut services = Vec::new();
        for mode in ServiceMode::ALL {
            services.push((mode, cx.launcher.start(&Setup::workers(mode, workers)).await?));
        }
        for &work in &work {
            cx.progress.step(format!("{} on {workers} workers", work.name));
            let functions = register(cx, &services, work, workers).await?;
            let weak = Point { work, kind: "weak", workers, tasks: WEAK * workers };
            for _ in 0..work.repeats {
                measure(cx, &services, &functions, &weak).await?;
            }
            for &tasks in strong.iter().filter(|_| work.is_short) {
                let point = Point { work, kind: "strong", workers, tasks };
                measure(cx, &services, &functions, &point).await?;
            }
        }
    }
    cx.progress.end();
    Ok(())
}

/// The ids of the function in each service, after a warm-up of every slot.
async fn register(
    cx: &mut Context,
    services: &[(ServiceMode, Service)],
    work: Work,
    workers: usize,
) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    // Long sleeps need no warm-up: the work before has warmed the same slots.
    let warm_up = if work.is_short { 2 * workers } else { 0 };
    for (_, service) in services {
        let function_id = cx.register(service, work.function, "native").await?;
        let calls = calls(cx, work, 1 << 20, warm_up)?;
        let timed = burst(&mut service.client().await?, &function_id, &calls).await?;
        cx.count(&timed);
        ids.push(function_id);
    }
    Ok(ids)
}

fn calls(cx: &mut Context, work: Work, first: usize, count: usize) -> Result<Vec<Call>> {
    let args = |number| std::iter::once(json!(number)).chain(work.more()).collect();
    cx.python.calls(work.function, (first..first + count).map(args))
}

async fn measure(
    cx: &mut Context,
    services: &[(ServiceMode, Service)],
    functions: &[String],
    point: &Point,
) -> Result<()> {
    let calls = calls(cx, point.work, 0, point.tasks)?;
    let ideal = point.work.sleeps.map(|time| time * point.tasks as f64 / point.workers as f64);
    let is_together = ideal.is_some_and(|seconds| seconds >= TOGETHER_SECONDS);
    let mut running = JoinSet::new();
    let mut found = Vec::new();
    for ((mode, service), function_id) in services.iter().zip(functions) {
        let (mode, mut client) = (*mode, service.client().await?);
        let (calls, function_id) = (calls.clone(), function_id.clone());
        running.spawn(async move {
            let begun = Instant::now();
            let mut timed = burst(&mut client, &function_id, &calls).await?;
            timed.seconds = begun.elapsed().as_secs_f64();
            anyhow::Ok((mode, timed))
        });
        if !is_together {
            found.extend(running.join_next().await.transpose()?.transpose()?);
        }
    }
    while let Some(ended) = running.join_next().await {
        found.push(ended??);
    }
    for (mode, timed) in found {
        cx.count(&timed);
        let of = |series: Series| {
            let series = series.at("mode", mode.as_str()).at("kind", point.kind);
            let series = series.at("work", point.work.name).at("workers", point.workers);
            series.at("tasks", point.tasks)
        };
        cx.keep(of(less(EXPERIMENT, "completion", "s")), vec![timed.seconds]);
        let success = Series { better: Better::More, ..less(EXPERIMENT, "success", "") };
        cx.keep(of(success), vec![timed.success()]);
        cx.keep(of(less(EXPERIMENT, "latency", "ms")), timed.latencies_ms);
    }
    Ok(())
}
