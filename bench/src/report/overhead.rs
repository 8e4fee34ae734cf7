//! What the sandbox costs, and what an idle service does.

use super::Section;
use super::figures::{fits, quantile, values};
use crate::chart::{Axis, Bar, Figure, Marks, Panel, Set};
use crate::experiment::RUNTIMES;
use crate::run::Run;
use crate::show::{figure, maybe, table};
use crate::stats::{Estimate, estimate_mean_ratio, estimate_ratio, median};

const EXPERIMENT: &str = "overhead";

pub(super) fn section(run: &Run) -> Option<Section> {
    run.all(EXPERIMENT, "no-op latency").next()?;
    let ratios = ratios(run);
    let text = format!("{}{}{}", alone(run), suite(run, &ratios), resources(run));
    Some(Section {
        title: "Overhead",
        text,
        figures: vec![suite_figure(&ratios), phases_figure(run)],
    })
}

/// A no-op by itself, with its phases.
fn alone(run: &Run) -> String {
    let phases = values(run.all(EXPERIMENT, "phase"), "phase");
    let rows = RUNTIMES.iter().map(|&runtime| {
        let latencies = run.samples(EXPERIMENT, "no-op latency", &[("runtime", runtime)]);
        let mut row = vec![
            runtime.to_owned(),
            maybe(quantile(latencies, 0.5)),
            maybe(quantile(latencies, 0.99)),
        ];
        row.extend(phases.iter().map(|phase| maybe(middle_of(run, runtime, phase))));
        row
    });
    let head = ["runtime", "p50 (ms)", "p99 (ms)"].into_iter();
    let head: Vec<&str> = head.chain(phases.iter().map(String::as_str)).collect();
    format!(
        "A no-op by itself, in turns; then the medians of its phases in ms, from the tasks' records: `queue` \
         until the attempt starts, `instance` a fresh interpreter (standing by: what is left of it), `decode`, \
         `call` and `encode` in Python, `slot` all of it in the worker.\n\n{}",
        table(&head, rows)
    )
}

fn middle_of(run: &Run, runtime: &str, phase: &str) -> Option<f64> {
    median(run.samples(EXPERIMENT, "phase", &[("runtime", runtime), ("phase", phase)]))
}

/// The time of each function in the sandbox over that of the native runtime; last, their mean.
fn ratios(run: &Run) -> Vec<(String, [f64; 2], Estimate)> {
    let [native, sandbox] = RUNTIMES;
    let mut pairs = Vec::new();
    let mut found = Vec::new();
    for function in values(run.all(EXPERIMENT, "call"), "function") {
        let samples = |runtime| {
            run.samples(EXPERIMENT, "call", &[("function", &function), ("runtime", runtime)])
        };
        let (native, sandbox) = (samples(native), samples(sandbox));
        let middles = median(native).zip(median(sandbox));
        if let Some(((native_ms, sandbox_ms), ratio)) = middles.zip(estimate_ratio(sandbox, native))
        {
            pairs.push((sandbox, native));
            found.push((function, [native_ms, sandbox_ms], ratio));
        }
    }
    if let Some(mean) = estimate_mean_ratio(&pairs) {
        found.push(("geometric mean".to_owned(), [f64::NAN; 2], mean));
    }
    found
}

fn suite(run: &Run, ratios: &[(String, [f64; 2], Estimate)]) -> String {
    let rounds = run.all(EXPERIMENT, "call").map(|series| series.samples.len()).max();
    let rows = ratios.iter().map(|(function, [native, sandbox], ratio)| {
        vec![
            function.clone(),
            figure(*native),
            figure(*sandbox),
            format!("{:.2}", ratio.value),
            format!("{:.2} - {:.2}", ratio.low, ratio.high),
        ]
    });
    format!(
        "\nPure Python work, {} calls of each function in each runtime, in turns; the time within the call, \
         by the task's record.\n\n{}",
        rounds.unwrap_or_default(),
        table(&["function", "native (ms)", "sandbox (ms)", "ratio", "95 %"], rows)
    )
}

fn resources(run: &Run) -> String {
    let mut rows = Vec::new();
    let mut add = |what: String, samples: &[f64], unit: &str| {
        if let Some(value) = median(samples) {
            let range = [0.0, 1.0].map(|q| maybe(quantile(samples, q)));
            rows.push(vec![what, format!("{} {unit}", figure(value)), range.join(" - ")]);
        }
    };
    add("from `belljar up` to ready".into(), run.samples(EXPERIMENT, "cold start", &[]), "ms");
    for runtime in RUNTIMES {
        let first = run.samples(EXPERIMENT, "first call", &[("runtime", runtime)]);
        add(format!("first {runtime} call after that"), first, "ms");
    }
    add("processor, idle".into(), run.samples(EXPERIMENT, "idle processor", &[]), "%");
    for metric in ["resident memory", "private memory"] {
        for series in run.all(EXPERIMENT, metric) {
            let part = series.label("part");
            add(format!("{metric} of a process: {part}"), &series.samples, "MiB");
        }
    }
    format!(
        "\nStarts, and a service that has nothing to do. Private memory is what a process shares with no \
         other: that of a sandbox process holds its standing instance.\n\n{}",
        table(&["", "median", "lowest - highest"], rows)
    )
}

fn suite_figure(ratios: &[(String, [f64; 2], Estimate)]) -> Figure {
    let groups = ratios.iter().map(|(function, ..)| function.replace("geometric ", ""));
    let bars = ratios.iter().map(|(.., ratio)| {
        Some(Bar { value: ratio.value, interval: Some((ratio.low, ratio.high)) })
    });
    let sets = vec![Set { name: "sandbox over native".into(), bars: bars.collect() }];
    let marks = Marks::Bars { groups: groups.collect(), sets };
    let panel = Panel::new("", Axis::linear(""), Axis::linear("times native"), marks).ruled(1.0);
    Figure::one("suite", "Pure Python in the sandbox, over native", panel)
}

fn phases_figure(run: &Run) -> Figure {
    let phases = values(run.all(EXPERIMENT, "phase"), "phase");
    // The slot's time is the sum of what happens in it, and more.
    let sets = phases.into_iter().filter(|phase| phase != "slot").map(|phase| {
        let of = |&runtime: &&str| {
            let fixed = [("runtime", runtime), ("phase", phase.as_str())];
            let mut all = run.all(EXPERIMENT, "phase").filter(|series| fits(series, &fixed));
            Some(Bar::plain(median(&all.next()?.samples)?))
        };
        Set { bars: RUNTIMES.iter().map(of).collect(), name: phase }
    });
    let groups = RUNTIMES.iter().map(|&runtime| runtime.to_owned()).collect();
    let marks = Marks::Stacks { groups, sets: sets.collect() };
    let panel = Panel::new("", Axis::linear(""), Axis::linear("ms (medians)"), marks);
    Figure::one("phases", "Phases of a no-op by itself", panel)
}
