//! What surrounds the figures: targets, machine, load, method, and how to read all of it.

use crate::run::Run;
use crate::show::{figure, maybe, table};
use crate::target::{Bound, TARGETS, Verdict};

const HOW_TO_READ: &str = "\
* **A latency is that of one task**, from the moment its client sends it (or, at a given rate, from the moment
  it was due) to the moment the client holds its result. It is never a total divided by a number of tasks.
* **p50, p95, p99**: so many percent of the tasks were answered within this time. Means hide the slow ones.
* **Nothing is the best of several.** Rates are medians of repeated bursts, with the slowest and the fastest
  beside them; ratios are of medians and carry the interval that holds them with 95 % confidence
  (bootstrap, 2,000 draws).
* **Compare within a run.** What is compared took turns within the same minutes on the same machine, so that
  whatever else the machine did meets all of it. Figures of different runs compare only where the yardstick
  and the load above are alike; `belljar bench compare A B` looks at that first.
* **Processor time per task** counts every process of the service and the client, by `/proc/PID/stat`. On
  a machine whose processors are full, 1 / (time per task) times processors bounds the rate.
* **Every result was checked**: each task has an argument of its own, and its answer must be, byte for byte,
  what Python makes of it on the client's side.
";

const METHOD: &str = "\
Services are started as `belljar up` on a free port with a Redis of their own (append-only file on, as shipped),
and measured over HTTP by one client process on one thread, over connections that stay open, on the same
machine: client and service share its processors. Functions are serialized by dill, as clients do. Samples
of all that follows are in `samples.csv` and `run.json`; `belljar bench report DIR` makes this text from them.
";

/// Everything before the sections.
pub(super) fn head(run: &Run) -> String {
    let mut text = String::from("# Performance\n\n");
    text += &format!(
        "`make bench`{} on {}, {:.0} s. ",
        if run.effort == "quick" { " (`ARGS=--quick`)" } else { "" },
        run.started,
        run.seconds
    );
    text += &findings(run);
    text += &format!("\n## Targets\n\n{}", targets(run));
    text += &format!("\n## Machine and load\n\n{}", machine(run));
    text += &format!("\n## How to read it\n\n{HOW_TO_READ}");
    text += &format!("\n## Method\n\n{METHOD}");
    let missing = TARGETS.iter().filter(|target| target.measured(run).is_none());
    let missing: Vec<String> = missing.map(|target| target.what.to_owned()).collect();
    if !missing.is_empty() {
        text += &format!("\nNot measured in this run: {}.\n", missing.join("; "));
    }
    if !run.notes.is_empty() {
        text += "\nWhat else is missing, and why:\n\n";
        text += &run.notes.iter().map(|note| format!("* {note}\n")).collect::<String>();
    }
    text
}

/// Every target that was measured, beside its figure.
pub(super) fn targets(run: &Run) -> String {
    let measured = TARGETS.iter().filter(|target| target.measured(run).is_some());
    let rows = measured.map(|target| {
        let (word, number) = match target.bound {
            Bound::Most(number) => ("at most", number),
            Bound::Least(number) => ("at least", number),
        };
        let goal = target.goal.map(|goal| format!(" (goal {})", figure(goal)));
        let wanted = format!("{word} {}{}", figure(number), goal.unwrap_or_default());
        vec![
            target.group.to_owned(),
            target.what.to_owned(),
            format!("{wanted} {}", target.unit).trim_end().to_owned(),
            maybe(target.measured(run)),
            target.verdict(run).as_str().to_owned(),
        ]
    });
    table(&["", "figure", "target", "measured", "verdict"], rows)
}

/// How many targets were met, and whether results were right.
pub(super) fn findings(run: &Run) -> String {
    let of = |wanted: &[Verdict]| {
        TARGETS.iter().filter(|target| wanted.contains(&target.verdict(run))).count()
    };
    let met = of(&[Verdict::Met, Verdict::MetShortOfGoal]);
    let mut text = format!(
        "{met} of {} targets that were measured are met. ",
        TARGETS.len() - of(&[Verdict::NotMeasured])
    );
    let checked = figure(run.checked as f64);
    text += &match run.wrong.len() {
        0 => format!("{checked} results were checked, all were right.\n"),
        wrong => format!("**{wrong} of {checked} results were wrong.**\n"),
    };
    for wrong in &run.wrong {
        text += &format!("\n    {}\n", wrong.replace('\n', " "));
    }
    text
}

fn machine(run: &Run) -> String {
    let (machine, load) = (&run.machine, &run.load);
    let versions = machine.versions.iter().map(|(name, version)| format!("{name} {version}"));
    let averages = crate::stats::Sorted::new(&load.averages);
    let percent = |part: f64| format!("{:.1} %", 100.0 * part);
    let rows = [
        ("processor", format!("{} of {}", machine.processors, machine.processor)),
        ("memory", format!("{} MiB", figure(machine.memory_mib))),
        ("system", format!("{}, Linux {}", machine.system, machine.kernel)),
        ("versions", versions.collect::<Vec<_>>().join(", ")),
        (
            "yardstick",
            format!("{} ms for a fixed piece of Python work", figure(machine.yardstick_ms)),
        ),
        (
            "load average",
            format!(
                "{} (median), {} (highest)",
                maybe(averages.quantile(0.5)),
                maybe(averages.quantile(1.0))
            ),
        ),
        ("processors used by the measurement", percent(load.ours)),
        ("by other processes", percent(load.others)),
        ("taken by the hypervisor", percent(load.stolen)),
    ];
    table(&["", ""], rows.map(|(name, value)| vec![name.to_owned(), value]))
}
