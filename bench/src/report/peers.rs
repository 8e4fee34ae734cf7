//! Other systems with the same work.

use super::Section;
use super::figures::values;
use crate::chart::{Axis, Bar, Figure, Marks, Panel, Set};
use crate::experiment::RUNTIMES;
use crate::run::Run;
use crate::show::{maybe, table};
use crate::stats::median;

const EXPERIMENT: &str = "peers";

/// One system's figures: one at a time in ms, all at once in tasks/s, processor time in us.
struct Row {
    name: String,
    single: Option<f64>,
    batch: Option<f64>,
    cost: Option<f64>,
}

pub(super) fn section(run: &Run) -> Option<Section> {
    run.all(EXPERIMENT, "batch").next()?;
    let rows = all(run);
    let shown = rows
        .iter()
        .map(|row| vec![row.name.clone(), maybe(row.single), maybe(row.batch), maybe(row.cost)]);
    let text = format!(
        "Other systems with the same no-ops in the same run, as many workers, Python clients, each set up as its \
         documentation says for a single machine (`make bench-peers`). Every call of belljar's sandbox and of \
         eryx gets a fresh interpreter; the others run natively.\n\n{}",
        table(&["system", "one at a time, p50 (ms)", "all at once (tasks/s)", "us a task"], shown)
    );
    let groups: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    let panel = |title: &str, label: &str, of: fn(&Row) -> Option<f64>| {
        let bars = rows.iter().map(|row| of(row).map(Bar::plain)).collect();
        let sets = vec![Set { name: title.to_owned(), bars }];
        let marks = Marks::Bars { groups: groups.clone(), sets };
        Panel::new(title, Axis::linear(""), Axis::log(label), marks)
    };
    let panels = vec![
        panel("one at a time, p50", "ms", |row| row.single),
        panel("all at once", "tasks/s", |row| row.batch),
    ];
    let figure = Figure::of("peers", "No-ops by other systems", panels, 1);
    Some(Section { title: "Other systems", text, figures: vec![figure] })
}

fn all(run: &Run) -> Vec<Row> {
    let ours = RUNTIMES.map(|runtime| {
        let of = |metric| median(run.samples("client", metric, &[("runtime", runtime)]));
        let name = format!("belljar {runtime}");
        Row { name, single: of("single"), batch: of("batch"), cost: of("cost") }
    });
    let peers = values(run.all(EXPERIMENT, "batch"), "system").into_iter().map(|name| {
        let of = |metric| median(run.samples(EXPERIMENT, metric, &[("system", &name)]));
        Row { single: of("single"), batch: of("batch"), cost: of("cost"), name }
    });
    ours.into_iter().chain(peers).collect()
}
