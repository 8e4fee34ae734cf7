//! Other systems with the same work: no-ops one at a time and all at once, and the suite's `fib`. Each
//! lives in one environment of its own, `make bench-peers` installs it; what is not installed is left
//! out.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde::Deserialize;

use crate::lab::Lab;
use crate::run::{Better, Series};

const EXPERIMENT: &str = "peers";
/// One script for all, as they get the same work.
const SCRIPT: &str = include_str!("../../peers/peers.py");
/// The systems, as the script names them.
const PEERS: [&str; 6] = ["pool", "celery", "huey", "dask", "ray", "eryx"];

/// What the script prints.
#[derive(Debug, Deserialize)]
struct Figures {
    version: String,
    single_ms: Vec<f64>,
    batch_rate: Vec<f64>,
    cost_us: Vec<f64>,
}

pub(super) fn run(lab: &mut Lab, environment: &Path) -> Result<()> {
    let python = environment.join("bin/python");
    if !python.is_file() {
        let path = python.display();
        lab.note(format!("peers: left out, as there is no `{path}`; `make bench-peers` makes it"));
        return Ok(());
    }
    lab.progress.begin(EXPERIMENT, PEERS.len());
    let dir = tempfile::tempdir()?;
    let script = dir.path().join("belljar_peers.py");
    std::fs::write(&script, SCRIPT)?;
    let (singles, batch) = lab.effort.pick(("500", "5000"), ("100", "1000"));
    for peer in PEERS {
        lab.progress.step(peer);
        let mut command = Command::new(&python);
        command.arg(&script).arg(peer).args(["--singles", singles, "--batch", batch]);
        let output = command.args(["--workers", &lab.slots.to_string()]).output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        match serde_json::from_slice::<Figures>(&output.stdout) {
            Ok(figures) if output.status.success() => keep(lab, peer, figures),
            _ => {
                let last = told.lines().last().unwrap_or("it told no figures").to_owned();
                lab.note(format!("peers: no figures of {peer}: {last}"));
            }
        }
    }
    lab.progress.end();
    Ok(())
}

fn keep(lab: &mut Lab, peer: &str, figures: Figures) {
    lab.run.machine.versions.insert(peer.to_owned(), figures.version);
    let at =
        |metric, unit, better| Series::new(EXPERIMENT, metric, unit, better).at("system", peer);
    lab.keep(at("single", "ms", Better::Less).of(figures.single_ms));
    lab.keep(at("batch", "tasks/s", Better::More).of(figures.batch_rate));
    lab.keep(at("cost", "us", Better::Less).of(figures.cost_us));
}
