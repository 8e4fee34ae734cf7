//! A Python client beside `concurrent.futures.ProcessPoolExecutor`, by `bench/python_client.py`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::RUNTIMES;
use crate::lab::Lab;
use crate::run::{Better, Series};

const EXPERIMENT: &str = "client";
const SCRIPT: &str = include_str!("../../python_client.py");

/// What the script prints when asked for JSON: samples by what they are of.
#[derive(Debug, Deserialize)]
struct Figures {
    single_ms: Vec<f64>,
    two_requests_ms: Vec<f64>,
    pool_single_ms: Vec<f64>,
    batch_rate: Vec<f64>,
    pool_rate: Vec<f64>,
    cost_us: Vec<f64>,
    /// Of each process that belongs to the service, and of the client.
    parts_us: BTreeMap<String, Vec<f64>>,
}

pub(super) fn run(lab: &mut Lab, belljar: &Path) -> Result<()> {
    if lab.given.is_some() {
        lab.note("client: left out, as it starts a service of its own");
        return Ok(());
    }
    lab.progress.begin(EXPERIMENT, RUNTIMES.len());
    let dir = tempfile::tempdir()?;
    // The pool's processes import what they run from a file.
    let script = dir.path().join("python_client.py");
    std::fs::write(&script, SCRIPT)?;
    let (singles, batch) = lab.effort.pick(("2000", "5000"), ("400", "2000"));
    for runtime in RUNTIMES {
        lab.progress.step(runtime);
        let mut command = Command::new(&lab.interpreter);
        command.arg(&script).arg("--belljar").arg(belljar).args(["--runtime", runtime, "--json"]);
        command.env("BELLJAR_SITE", &lab.launcher.site);
        let output = command.args(["--singles", singles, "--batch", batch]).output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "bench/python_client.py failed: {told}");
        let figures = serde_json::from_slice(&output.stdout);
        keep(lab, runtime, batch, figures.context("bench/python_client.py told no figures")?);
    }
    lab.progress.end();
    Ok(())
}

fn keep(lab: &mut Lab, runtime: &str, batch: &str, figures: Figures) {
    use Better::{Less, More};
    let at =
        |metric, unit, better| Series::new(EXPERIMENT, metric, unit, better).at("runtime", runtime);
    lab.run.checked += figures.single_ms.len() as u64;
    lab.keep(at("single", "ms", Less).of(figures.single_ms));
    lab.keep(at("single in two requests", "ms", Less).of(figures.two_requests_ms));
    lab.keep(at("pool single", "ms", Less).of(figures.pool_single_ms));
    lab.keep(at("batch", "tasks/s", More).at("tasks", batch).of(figures.batch_rate));
    lab.keep(at("pool", "tasks/s", More).of(figures.pool_rate));
    lab.keep(at("cost", "us", Less).of(figures.cost_us));
    for (part, cost) in figures.parts_us {
        lab.keep(at("cost of part", "us", Less).at("part", part).of(cost));
    }
}
