//! Experiments that programs of their own carry out: each prints its samples as JSON.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::RUNTIMES;
use crate::context::Context;
use crate::run::{Better, Series, less, rate};

/// Run where it is: it imports from `testkit/`.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python_client.py");
const PEERS_SCRIPT: &str = include_str!("../../peers/peers.py");
/// The other systems, as the script names them.
const PEERS: [&str; 6] = ["pool", "celery", "huey", "dask", "ray", "eryx"];

/// Runs a program and reads what it prints.
fn figures<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start `{name}`"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", errors.lines().last().unwrap_or("it failed"));
    serde_json::from_slice(&output.stdout).context("it printed no figures")
}

/// A script as a file, as the processes of a pool import what they run.
fn with_script<T>(text: &str, run: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let dir = tempfile::tempdir()?;
    let script = dir.path().join("belljar_script.py");
    std::fs::write(&script, text)?;
    run(&script)
}

/// The output of `python_client.py`.
#[derive(Debug, Deserialize)]
struct ClientFigures {
    single_ms: Vec<f64>,
    two_requests_ms: Vec<f64>,
    pool_single_ms: Vec<f64>,
    batch_rate: Vec<f64>,
    pool_rate: Vec<f64>,
    cost_us: Vec<f64>,
    /// Of each process of the service, and of the client.
    parts_us: BTreeMap<String, Vec<f64>>,
}

/// A Python client beside `concurrent.futures.ProcessPoolExecutor`.
pub(super) fn client(cx: &mut Context) -> Result<()> {
    if cx.given.is_some() {
        cx.note("client: left out, as it starts a service of its own");
        return Ok(());
    }
    cx.progress.begin("client", RUNTIMES.len());
    let (singles, batch) = cx.profile.pick(("2000", "5000"), ("400", "2000"));
    for runtime in RUNTIMES {
        cx.progress.step(runtime);
        let mut command = Command::new(&cx.interpreter);
        command.arg(CLIENT).arg("--belljar").arg(&cx.launcher.belljar);
        command.envs(cx.launcher.site.iter().map(|site| ("BELLJAR_SITE", site)));
        command.args(["--runtime", runtime, "--json", "--singles", singles, "--batch", batch]);
        let found: ClientFigures = figures(&mut command).context("python_client.py")?;
        cx.run.checked += found.single_ms.len() as u64;
        let of = |series: Series| series.at("runtime", runtime);
        cx.keep(of(less("client", "single", "ms")), found.single_ms);
        cx.keep(of(less("client", "single in two requests", "ms")), found.two_requests_ms);
        cx.keep(of(less("client", "pool single", "ms")), found.pool_single_ms);
        cx.keep(of(rate("client", "batch")).at("tasks", batch), found.batch_rate);
        cx.keep(of(rate("client", "pool")), found.pool_rate);
        cx.keep(of(less("client", "cost", "us")), found.cost_us);
        cx.keep_parts(&of(less("client", "cost of part", "us")), found.parts_us);
    }
    cx.progress.end();
    Ok(())
}

/// The output of `peers.py`.
#[derive(Debug, Deserialize)]
struct PeerFigures {
    version: String,
    single_ms: Vec<f64>,
    batch_rate: Vec<f64>,
    cost_us: Vec<f64>,
}

/// Other systems with the same work, those that `make bench-peers` could install.
pub(super) fn peers(cx: &mut Context) -> Result<()> {
    let python = cx.peers.join("bin/python");
    if !python.is_file() {
        let path = python.display();
        cx.note(format!("peers: left out, as there is no `{path}`; `make bench-peers` makes it"));
        return Ok(());
    }
    cx.progress.begin("peers", PEERS.len());
    let (singles, batch) = cx.profile.pick(("500", "5000"), ("100", "1000"));
    for peer in PEERS {
        cx.progress.step(peer);
        let found = with_script(PEERS_SCRIPT, |script| {
            let mut command = Command::new(&python);
            command.arg(script).arg(peer).args(["--singles", singles, "--batch", batch]);
            figures::<PeerFigures>(command.args(["--workers", &cx.slots.to_string()]))
        });
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                cx.note(format!("peers: no figures of {peer}: {error:#}"));
                continue;
            }
        };
        cx.run.machine.versions.insert(peer.to_owned(), found.version);
        cx.keep(less("peers", "single", "ms").at("system", peer), found.single_ms);
        cx.keep(rate("peers", "batch").at("system", peer), found.batch_rate);
        cx.keep(less("peers", "cost", "us").at("system", peer), found.cost_us);
    }
    cx.progress.end();
    Ok(())
}

/// The output of `belljar-sandbox-bench json`.
#[derive(Debug, Deserialize)]
struct SandboxFigures {
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

/// The sandbox crate by itself: its own program measures it, without a service.
pub(super) fn sandbox(cx: &mut Context) -> Result<()> {
    let program = cx.launcher.belljar.with_file_name("belljar-sandbox-bench");
    if !program.is_file() {
        let path = program.display();
        cx.note(format!("sandbox: left out, as there is no `{path}`; `make bench` builds it"));
        return Ok(());
    }
    cx.progress.begin("sandbox", 1);
    cx.progress.step("the sandbox by itself");
    let found: SandboxFigures =
        figures(Command::new(&program).arg("json")).context("belljar-sandbox-bench")?;
    let per_s = found.whole_ms.len() as f64 * 1e3 / found.whole_ms.iter().sum::<f64>();
    for (metric, unit, better, value) in [
        ("load", "ms", Better::Less, found.load_ms),
        ("first interpreter", "ms", Better::Less, found.first_ms),
        ("page faults", "a call", Better::Less, found.page_faults),
        ("instance memory", "MiB", Better::Less, found.instance_kib / 1024.0),
        ("processor time", "ms", Better::Less, found.processor_ms),
        ("one process", "calls/s", Better::More, per_s),
        ("two processes", "calls/s", Better::More, found.two_processes_per_s),
    ] {
        cx.keep(Series { better, ..less("sandbox", metric, unit) }, vec![value]);
    }
    cx.keep(less("sandbox", "whole call", "ms"), found.whole_ms);
    cx.keep(less("sandbox", "answer", "ms"), found.answer_ms);
    for (function, seconds) in found.suite {
        for (runtime, seconds) in RUNTIMES.into_iter().zip(seconds) {
            let series = less("sandbox", "best time", "ms").at("function", &function);
            cx.keep(series.at("runtime", runtime), vec![seconds * 1e3]);
        }
    }
    cx.progress.end();
    Ok(())
}
