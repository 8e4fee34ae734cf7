//! Where the time of a lone task goes.

use super::Section;
use super::figures::{fits, quantile, values};
use crate::experiment::RUNTIMES;
use crate::run::{Run, Series};
use crate::show::{figure, maybe, table};

/// What a lone task costs each process on its way.
pub(super) fn section(run: &Run) -> Option<Section> {
    let all: Vec<&Series> = run.all("latency", "processor time alone").collect();
    let parts = values(all.iter().copied(), "part");
    let of = |runtime: &str, part: &String| {
        let found = all.iter().find(|series| fits(series, &[("runtime", runtime), ("part", part)]));
        found.and_then(|series| series.samples.first().copied())
    };
    let mut rows: Vec<Vec<String>> = parts
        .iter()
        .map(|part| {
            let mut row = vec![part.clone()];
            row.extend(RUNTIMES.iter().map(|runtime| maybe(of(runtime, part))));
            row
        })
        .collect();
    let mut sum = vec!["all".to_owned()];
    sum.extend(
        RUNTIMES
            .iter()
            .map(|runtime| figure(parts.iter().filter_map(|part| of(runtime, part)).sum())),
    );
    rows.push(sum);
    let relay = run.all("latency", "hand-overs").next()?;
    let mut head = vec!["processor time of a lone task (us)"];
    head.extend(RUNTIMES);
    let text = format!(
        "In local mode, one no-op at a time. A lone task is handed over eight times: client, gateway, Redis, \
         dispatcher, interpreter, and back. Each process sleeps until its turn comes and then runs with cold \
         caches, which is why a task costs several times what it costs in a burst. Handing a message of 100 \
         bytes through as many threads that do nothing with it takes {} ms here (p50).\n\n{}",
        maybe(quantile(&relay.samples, 0.5)),
        table(&head, rows)
    );
    Some(Section { title: "A lone task", text, figures: Vec::new() })
}
