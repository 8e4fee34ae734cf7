//! Bursts, clients side by side, and what a task costs which process.

use super::Section;
use super::figures::{curve, fits, median_sets, quantile, values};
use crate::chart::{Axis, Bar, Figure, Line, Marks, Panel, Set};
use crate::experiment::RUNTIMES;
use crate::run::{Run, Series};
use crate::show::{figure, maybe, table};
use crate::stats::median;

const EXPERIMENT: &str = "throughput";
/// The metrics of the processor time of one process, by experiment: of the Rust client, of the Python one.
const PARTS: [(&str, &str); 2] = [(EXPERIMENT, "Rust client"), ("client", "Python client")];

pub(super) fn section(run: &Run) -> Option<Section> {
    let mut text = String::new();
    let mut pictures = Vec::new();
    if run.all(EXPERIMENT, "burst").next().is_some() {
        text += &bursts(run);
        text += &clients(run);
        pictures.push(burst_figure(run));
        pictures.push(clients_figure(run));
    }
    if run.all("client", "batch").next().is_some() {
        text += &python(run);
    }
    if run.all(EXPERIMENT, "cost of part").chain(run.all("client", "cost of part")).next().is_some()
    {
        text += &parts(run);
        pictures.push(parts_figure(run));
    }
    (!text.is_empty()).then_some(Section { title: "Throughput", text, figures: pictures })
}

fn bursts(run: &Run) -> String {
    let rows = run.all(EXPERIMENT, "burst").map(|series| {
        let situation = [("mode", series.label("mode")), ("runtime", series.label("runtime"))];
        let rate = |q| quantile(&series.samples, q).map(figure).unwrap_or_default();
        vec![
            situation[1].1.to_owned(),
            situation[0].1.to_owned(),
            rate(0.5),
            format!("{} - {}", rate(0.0), rate(1.0)),
            maybe(quantile(run.samples(EXPERIMENT, "burst latency", &situation), 0.5)),
            maybe(quantile(run.samples(EXPERIMENT, "burst latency", &situation), 0.99)),
            maybe(median(run.samples(EXPERIMENT, "cost", &situation))),
        ]
    });
    let size = run.all(EXPERIMENT, "burst").next().map_or("", |series| series.label("tasks"));
    let head =
        ["runtime", "mode", "tasks/s", "slowest - fastest", "p50 (ms)", "p99 (ms)", "us a task"];
    format!(
        "No-ops, {size} in one batch, Rust client; latencies from the submission of the batch, processor \
         time of client and all processes.\n\n{}",
        table(&head, rows)
    )
}

fn clients(run: &Run) -> String {
    let rows = run.all(EXPERIMENT, "clients").map(|series| {
        let connections = series.label("connections");
        let situation = [("runtime", series.label("runtime")), ("connections", connections)];
        let latencies = run.samples(EXPERIMENT, "clients latency", &situation);
        vec![
            situation[0].1.to_owned(),
            connections.to_owned(),
            maybe(median(&series.samples)),
            maybe(quantile(latencies, 0.5)),
            maybe(quantile(latencies, 0.99)),
        ]
    });
    format!(
        "\nClients side by side, each with a connection of its own and one call under way:\n\n{}",
        table(&["runtime", "clients", "tasks/s", "p50 (ms)", "p99 (ms)"], rows)
    )
}

fn python(run: &Run) -> String {
    let rows = RUNTIMES.iter().map(|&runtime| {
        let middle = |metric| median(run.samples("client", metric, &[("runtime", runtime)]));
        let ratio = middle("single").zip(middle("pool single")).map(|(ours, pool)| ours / pool);
        vec![
            runtime.to_owned(),
            maybe(middle("single")),
            maybe(middle("pool single")),
            maybe(ratio),
            maybe(middle("batch")),
            maybe(middle("pool")),
            maybe(middle("cost")),
        ]
    });
    let head = [
        "runtime",
        "single p50 (ms)",
        "pool's (ms)",
        "ratio",
        "batch (tasks/s)",
        "pool's (tasks/s)",
        "us a task",
    ];
    format!(
        "\nA Python client over one connection, beside `concurrent.futures.ProcessPoolExecutor` in the same \
         minutes (`make bench-client`):\n\n{}",
        table(&head, rows)
    )
}

/// The situations in which parts were told: which client, mode, runtime.
fn situations(run: &Run) -> Vec<(String, Vec<&Series>)> {
    let mut found: Vec<(String, Vec<&Series>)> = Vec::new();
    for (experiment, client) in PARTS {
        for series in run.all(experiment, "cost of part") {
            let words = [client, series.label("mode"), series.label("runtime")];
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            let name = words.join(", ");
            match found.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => all.push(series),
                None => found.push((name, vec![series])),
            }
        }
    }
    found
}

fn parts(run: &Run) -> String {
    let situations = situations(run);
    let names = values(situations.iter().flat_map(|(_, all)| all.iter().copied()), "part");
    let rows = situations.iter().map(|(situation, all)| {
        let of = |part: &String| {
            let series = all.iter().find(|series| series.label("part") == part);
            maybe(series.and_then(|series| median(&series.samples)))
        };
        std::iter::once(situation.clone()).chain(names.iter().map(of)).collect()
    });
    let head: Vec<&str> =
        std::iter::once("us a task").chain(names.iter().map(String::as_str)).collect();
    format!("\nWhere the processor time of a burst goes:\n\n{}", table(&head, rows))
}

fn parts_figure(run: &Run) -> Figure {
    let situations = situations(run);
    let names = values(situations.iter().flat_map(|(_, all)| all.iter().copied()), "part");
    let panels = RUNTIMES.iter().map(|&runtime| {
        let here: Vec<_> = situations
            .iter()
            .filter(|(_, all)| all.iter().any(|series| series.label("runtime") == runtime))
            .collect();
        let groups = here.iter().map(|(name, _)| {
            let short = name.replace(" client", "").replace(&format!(", {runtime}"), "");
            short.replace("Rust, ", "")
        });
        let sets = names.iter().map(|part| {
            let bar = |(_, all): &&(String, Vec<&Series>)| {
                let series = all.iter().find(|series| fits(series, &[("part", part)]))?;
                Some(Bar::plain(median(&series.samples)?))
            };
            Set { name: part.clone(), bars: here.iter().map(bar).collect() }
        });
        let marks = Marks::Stacks { groups: groups.collect(), sets: sets.collect() };
        Panel::new(runtime, Axis::linear(""), Axis::linear("us a task"), marks)
    });
    let title = "Processor time of a no-op in a burst, by process";
    Figure::of("cost", title, panels.collect(), 2)
}

fn burst_figure(run: &Run) -> Figure {
    let (groups, sets) = median_sets(run, (EXPERIMENT, "burst"), ("mode", "runtime"), &[]);
    let marks = Marks::Bars { groups, sets };
    let panel = Panel::new("", Axis::linear(""), Axis::linear("tasks/s"), marks);
    Figure::one("burst", "Bursts of no-ops, Rust client", panel)
}

fn clients_figure(run: &Run) -> Figure {
    let lines = |metric| {
        let line = |&runtime: &&str| {
            let fixed = [("runtime", runtime)];
            Line::new(runtime, curve(run, (EXPERIMENT, metric), "connections", &fixed))
        };
        Marks::Lines(RUNTIMES.iter().map(line).collect())
    };
    let axes = |label| (Axis::log("clients"), Axis::linear(label));
    let (x, rate) = axes("tasks/s");
    let (_, time) = axes("p50 (ms)");
    let panels = vec![
        Panel::new("rate", x.clone(), rate, lines("clients")),
        Panel::new("latency", x, time, lines("clients latency")),
    ];
    Figure::of("clients", "Clients side by side, one call each under way", panels, 2)
}
