//! The sandbox crate by itself.

use super::Section;
use super::figures::{quantile, values};
use crate::run::Run;
use crate::show::{maybe, table};
use crate::stats::{geometric_mean, median};

const EXPERIMENT: &str = "sandbox";

pub(super) fn section(run: &Run) -> Option<Section> {
    let whole = run.samples(EXPERIMENT, "whole call", &[]);
    median(whole)?;
    let answer = run.samples(EXPERIMENT, "answer", &[]);
    let one = |metric| maybe(median(run.samples(EXPERIMENT, metric, &[])));
    let rows = [
        ("no-op until its answer, an instance standing by, p50", maybe(median(answer)), "ms"),
        ("the same, p99", maybe(quantile(answer, 0.99)), "ms"),
        ("and with the next instance prepared, p50", maybe(median(whole)), "ms"),
        ("the same, p99", maybe(quantile(whole, 0.99)), "ms"),
        ("processor time of a call", one("processor time"), "ms"),
        ("one process", one("one process"), "calls/s"),
        ("two processes together", one("two processes"), "calls/s"),
        ("page faults of a call", one("page faults"), ""),
        ("memory of a live instance", one("instance memory"), "MiB"),
        ("load of the guest", one("load"), "ms"),
        ("first interpreter after that", one("first interpreter"), "ms"),
    ];
    let rows = rows.map(|(what, value, unit)| vec![what.to_owned(), format!("{value} {unit}")]);
    let text = format!(
        "`belljar-sandbox-bench`: the library in its own process, a fresh interpreter \
         for every call, without service, queue or pipe.\n\n{}\n\
         The best times of its own suite, in turns with the system's Python:\n\n{}",
        table(&["", ""], rows),
        suite(run)
    );
    Some(Section { title: "The sandbox by itself", text, figures: Vec::new() })
}

fn suite(run: &Run) -> String {
    let mut ratios = Vec::new();
    let mut rows = Vec::new();
    for function in values(run.all(EXPERIMENT, "best time"), "function") {
        let best = |runtime| {
            let labels = [("function", function.as_str()), ("runtime", runtime)];
            median(run.samples(EXPERIMENT, "best time", &labels))
        };
        let (native, sandbox) = (best("native"), best("sandbox"));
        let ratio = native.zip(sandbox).map(|(native, sandbox)| sandbox / native);
        ratios.extend(ratio);
        rows.push(vec![function.clone(), maybe(native), maybe(sandbox), maybe(ratio)]);
    }
    let mean = maybe(geometric_mean(&ratios));
    rows.push(vec!["geometric mean".to_owned(), String::new(), String::new(), mean]);
    table(&["function", "native (ms)", "sandbox (ms)", "ratio"], rows)
}
