//! More than goes through, large payloads, long queues, many functions.

use super::Section;
use super::figures::{curve, quantile, values};
use crate::chart::{Axis, Figure, Line, Marks, Panel};
use crate::experiment::RUNTIMES;
use crate::run::Run;
use crate::show::{count, maybe, table};
use crate::stats::median;

const EXPERIMENT: &str = "stress";
const QUANTILES: [(&str, &str); 4] =
    [("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"), ("0.999", "p99.9")];

pub(super) fn section(run: &Run) -> Option<Section> {
    run.all(EXPERIMENT, "achieved").next()?;
    let text = format!("{}{}{}{}", rising(run), single(run), payloads(run), many(run));
    let figures = vec![rising_figure(run), payloads_figure(run), many_figure(run)];
    Some(Section { title: "Stress", text, figures })
}

fn rising(run: &Run) -> String {
    let rows = run.all(EXPERIMENT, "achieved").map(|series| {
        let offered = series.label("offered");
        let mut row = vec![count(offered), maybe(median(&series.samples))];
        row.extend(QUANTILES.map(|(quantile, _)| {
            let labels = [("offered", offered), ("quantile", quantile)];
            maybe(median(run.samples(EXPERIMENT, "open latency", &labels)))
        }));
        row
    });
    let head = ["offered (tasks/s)", "achieved", "p50 (ms)", "p95 (ms)", "p99 (ms)", "p99.9 (ms)"];
    format!(
        "Single no-ops at a rising rate, whether answers come or not (open loop), until the service no longer \
         follows. A latency begins when its call was due; the client's clock ticks once a millisecond.\n\n{}",
        table(&head, rows)
    )
}

fn single(run: &Run) -> String {
    let mut rows = Vec::new();
    for series in run.all(EXPERIMENT, "drain") {
        let what = format!("queue of {} filled and drained", count(series.label("tasks")));
        rows.push(vec![what, format!("{} tasks/s", maybe(median(&series.samples)))]);
    }
    for series in run.all(EXPERIMENT, "polls latency") {
        let what =
            format!("{} long polls at once, each answered, p99", count(series.label("polls")));
        rows.push(vec![what, format!("{} ms", maybe(quantile(&series.samples, 0.99)))]);
    }
    for series in run.all(EXPERIMENT, "mebibytes") {
        let what = format!("1 MiB echoed {} times over four connections", series.label("tasks"));
        rows.push(vec![what, format!("{} s", maybe(median(&series.samples)))]);
    }
    format!("\n{}", table(&["", ""], rows))
}

fn payloads(run: &Run) -> String {
    let rows = values(run.all(EXPERIMENT, "echo latency"), "bytes").into_iter().map(|bytes| {
        let mut row = vec![count(&bytes)];
        for runtime in RUNTIMES {
            let labels = [("bytes", bytes.as_str()), ("runtime", runtime)];
            let samples = run.samples(EXPERIMENT, "echo latency", &labels);
            row.extend([maybe(median(samples)), maybe(quantile(samples, 1.0))]);
        }
        row
    });
    let head = ["bytes", "native p50 (ms)", "slowest", "sandbox p50 (ms)", "slowest"];
    format!("\nBlocks of bytes there and back, one at a time:\n\n{}", table(&head, rows))
}

fn many(run: &Run) -> String {
    let waiting = run.all(EXPERIMENT, "waiting rate").map(|series| {
        let waiting = series.label("waiting");
        let of = |metric| maybe(median(run.samples(EXPERIMENT, metric, &[("waiting", waiting)])));
        vec![
            count(waiting),
            of("waiting rate"),
            of("waiting cost"),
            of("waiting submission"),
            of("waiting submission cost"),
        ]
    });
    let registered = run.all(EXPERIMENT, "registered rate").map(|series| {
        let functions = series.label("functions");
        let cost = run.samples(EXPERIMENT, "registered cost", &[("functions", functions)]);
        vec![count(functions), maybe(median(&series.samples)), maybe(median(cost))]
    });
    let head = ["waiting tasks", "tasks/s", "us a task", "submitted/s", "us a submission"];
    let mut text = format!(
        "\nThe same burst in front of a longer and longer queue:\n\n{}",
        table(&head, waiting)
    );
    text += &format!(
        "\nThe same burst, spread over up to 100 functions, while more and more are registered, each with code \
         of its own:\n\n{}",
        table(&["functions", "tasks/s", "us a task"], registered)
    );
    text
}

fn rising_figure(run: &Run) -> Figure {
    let lines = QUANTILES.map(|(quantile, name)| {
        let fixed = [("quantile", quantile)];
        Line::new(name, curve(run, (EXPERIMENT, "open latency"), "offered", &fixed))
    });
    let axes = (Axis::linear("offered (tasks/s)"), Axis::log("ms"));
    let latency = Panel::new("latency", axes.0.clone(), axes.1, Marks::Lines(lines.to_vec()));
    let achieved = curve(run, (EXPERIMENT, "achieved"), "offered", &[]);
    let ideal = achieved.iter().map(|&(offered, _)| (offered, offered)).collect();
    let lines = vec![Line::new("achieved", achieved), Line::ideal("ideal", ideal)];
    let rate = Panel::new("rate", axes.0, Axis::linear("tasks/s"), Marks::Lines(lines));
    Figure::of("saturation", "Single no-ops at a rising rate", vec![latency, rate], 2)
}

fn payloads_figure(run: &Run) -> Figure {
    let lines = RUNTIMES.map(|runtime| {
        let fixed = [("runtime", runtime)];
        Line::new(runtime, curve(run, (EXPERIMENT, "echo latency"), "bytes", &fixed))
    });
    let marks = Marks::Lines(lines.to_vec());
    let panel = Panel::new("", Axis::log("bytes"), Axis::log("p50 (ms)"), marks);
    Figure::one("payloads", "Bytes there and back, one call at a time", panel)
}

fn many_figure(run: &Run) -> Figure {
    let panel = |title: &str, metric: &str, over: &str| {
        let points = curve(run, (EXPERIMENT, metric), over, &[]);
        let marks = Marks::Lines(vec![Line::new("processor time of a task", points)]);
        Panel::new(title, Axis::log(over), Axis::linear("us a task"), marks)
    };
    let panels = vec![
        panel("tasks that wait", "waiting cost", "waiting"),
        panel("functions that are registered", "registered cost", "functions"),
    ];
    Figure::of("flat", "Processor time of a task, however many there are", panels, 2)
}
