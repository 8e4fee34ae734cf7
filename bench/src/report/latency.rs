//! One no-op at a time, by mode and runtime.

use super::Section;
use super::figures::{fits, quantile, values};
use crate::chart::{Axis, Bar, Figure, Line, Marks, Panel, Set};
use crate::experiment::RUNTIMES;
use crate::run::{Run, Series};
use crate::show::{figure, maybe, table};
use crate::stats::{Sorted, estimate_median};

const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];
/// Points of a curve of a distribution.
const POINTS: usize = 200;

pub(super) fn section(run: &Run) -> Option<Section> {
    let all: Vec<&Series> = run.all("latency", "latency").collect();
    let largest = all.iter().map(|series| series.samples.len()).max()?;
    let studies = values(all.iter().copied(), "study");
    let largest_study = studies.last().cloned().unwrap_or_default();
    let rows = all.iter().map(|series| {
        let interval = estimate_median(&series.samples);
        let interval = interval.map(|at| format!("{} - {}", figure(at.low), figure(at.high)));
        let mut row = vec![
            series.label("runtime").to_owned(),
            series.label("mode").to_owned(),
            series.samples.len().to_string(),
        ];
        row.extend(QUANTILES.map(|(_, q)| maybe(quantile(&series.samples, q))));
        row.push(interval.unwrap_or_default());
        let labels = ["mode", "runtime", "study"].map(|label| (label, series.label(label)));
        let in_two = run.samples("latency", "latency in two requests", &labels);
        row.push(maybe(quantile(in_two, 0.5)));
        row
    });
    let head = [
        "runtime",
        "mode",
        "samples",
        "p50 (ms)",
        "p95 (ms)",
        "p99 (ms)",
        "95 % of p50",
        "p50 in two requests",
    ];
    let text = format!(
        "A no-op is submitted, its result waited for, and only then the next one submitted: by one request that is \
         answered with the result (`POST /execute_function?wait`), and, in turns, by the classic two.\n\n{}",
        table(&head, rows)
    );
    let modes = values(all.iter().copied(), "mode");
    let study = |runtime| [("runtime", runtime), ("study", largest_study.as_str())];
    let panels = RUNTIMES.iter().map(|&runtime| {
        let of = |mode: &String| {
            let fixed = study(runtime);
            all.iter().find(|series| series.label("mode") == mode && fits(series, &fixed))
        };
        let sets = QUANTILES.iter().map(|(name, q)| {
            let bar = |mode| Some(Bar::plain(quantile(&of(mode)?.samples, *q)?));
            Set { name: (*name).to_owned(), bars: modes.iter().map(bar).collect() }
        });
        let marks = Marks::Bars { groups: modes.clone(), sets: sets.collect() };
        Panel::new(runtime, Axis::linear(""), Axis::linear("ms"), marks)
    });
    let title = format!("One no-op at a time, {largest} samples");
    let bars = Figure::of("latency", &title, panels.collect(), 2);
    let panels = RUNTIMES.iter().map(|&runtime| {
        let fixed = study(runtime);
        let lines = all.iter().filter(|series| fits(series, &fixed));
        let lines = lines.map(|series| Line::new(series.label("mode"), curve(&series.samples)));
        let (x, y) = (Axis::log("ms"), Axis::linear("part of the tasks answered"));
        Panel::new(runtime, x, y, Marks::Lines(lines.collect()))
    });
    let title = "One no-op at a time: how many were answered within which time";
    let curves = Figure::of("latency-distribution", title, panels.collect(), 2);
    Some(Section { title: "Latency", text, figures: vec![bars, curves] })
}

/// The part of the samples that lies below each value.
fn curve(samples: &[f64]) -> Vec<(f64, f64)> {
    let sorted = Sorted::new(samples);
    let points = (0..=POINTS).map(|point| point as f64 / POINTS as f64);
    points.filter_map(|part| Some((sorted.quantile(part)?, part))).collect()
}
