//! The sandbox crate by itself: its own example measures it in its process, without a service.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::lab::Lab;
use crate::run::{Better, Series};

const EXPERIMENT: &str = "sandbox";

/// What `belljar-sandbox-bench` prints when asked for JSON.
#[derive(Debug, Deserialize)]
struct Figures {
    load_ms: f64,
    first_ms: f64,
    whole_ms: Vec<f64>,
    answer_ms: Vec<f64>,
    page_faults: f64,
    instance_kib: f64,
    processor_ms: f64,
    two_processes_per_s: f64,
    /// The best seconds, natively and in the sandbox.
    suite: BTreeMap<String, [f64; 2]>,
}

pub(super) fn run(lab: &mut Lab, belljar: &Path) -> Result<()> {
    let program = belljar.with_file_name("belljar-sandbox-bench");
    if !program.is_file() {
        lab.note(format!(
            "sandbox: not measured by itself, as there is no `{}`; `make build` builds it",
            program.display()
        ));
        return Ok(());
    }
    lab.progress.begin(EXPERIMENT, 1);
    lab.progress.step("the sandbox by itself");
    let output = Command::new(&program).arg("json").output().context("cannot start it")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}` failed: {told}", program.display());
    let figures = serde_json::from_slice(&output.stdout).context("it told no figures")?;
    keep(lab, figures);
    lab.progress.end();
    Ok(())
}

fn keep(lab: &mut Lab, figures: Figures) {
    use Better::{Less, More};
    let calls_per_s = figures.whole_ms.len() as f64 * 1e3 / figures.whole_ms.iter().sum::<f64>();
    let mut one = |metric, unit, better, value| {
        lab.keep(Series::new(EXPERIMENT, metric, unit, better).of(vec![value]));
    };
    one("load", "ms", Less, figures.load_ms);
    one("first interpreter", "ms", Less, figures.first_ms);
    one("page faults", "a call", Less, figures.page_faults);
    one("instance memory", "MiB", Less, figures.instance_kib / 1024.0);
    one("processor time", "ms", Less, figures.processor_ms);
    one("one process", "calls/s", More, calls_per_s);
    one("two processes", "calls/s", More, figures.two_processes_per_s);
    lab.keep(Series::new(EXPERIMENT, "whole call", "ms", Less).of(figures.whole_ms));
    lab.keep(Series::new(EXPERIMENT, "answer", "ms", Less).of(figures.answer_ms));
    for (function, seconds) in figures.suite {
        for (runtime, seconds) in super::RUNTIMES.into_iter().zip(seconds) {
            let series = Series::new(EXPERIMENT, "best time", "ms", Less);
            let series = series.at("function", &function).at("runtime", runtime);
            lab.keep(series.of(vec![seconds * 1e3]));
        }
    }
}
