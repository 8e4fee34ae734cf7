//! `belljar-bench`: short runs, to check what they report and not how fast it is.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use belljar_testkit::{binary, paths};
use belljar_tests::Service;
use serde_json::Value;

/// Runs `belljar-bench` with these arguments.
fn bench(args: &[&str]) -> Result<Output> {
    let mut command = Command::new(binary("belljar-bench"));
    command.args(args).env("BELLJAR_SITE", paths::site());
    command.env("BELLJAR_BENCH_PYTHON", paths::interpreter());
    Ok(command.output()?)
}

/// Runs it, expects success, and returns what it printed.
fn bench_ok(args: &[&str]) -> Result<String> {
    let output = bench(args)?;
    let (out, errors) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "{out}\n{errors}");
    Ok(out)
}

fn text(dir: &Path, name: &str) -> Result<String> {
    std::fs::read_to_string(dir.join(name)).with_context(|| name.to_owned())
}

fn run(dir: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&text(dir, "run.json")?)?)
}

fn path(dir: &Path) -> Result<&str> {
    dir.to_str().context("no text")
}

#[test]
fn latency_is_measured_in_every_mode_and_runtime_and_all_results_are_right() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = bench_ok(&["latency", "--quick", "--out", path(dir.path())?])?;
    ensure!(out.contains("one no-op at a time over REST, p50"), "{out}");
    let run = run(dir.path())?;
    ensure!(run["wrong"] == Value::Array(Vec::new()), "{}", run["wrong"]);
    // Six situations, each with 50 calls to warm up and studies of 100 and 200 calls by one request and by
    // two; and 1,000 single calls of each runtime, for their processor time.
    ensure!(run["checked"] == 6 * (50 + 2 * (100 + 200)) + 2 * 1_000, "{}", run["checked"]);
    let samples = text(dir.path(), "samples.csv")?;
    let latencies = samples.lines().filter(|line| line.starts_with("latency,latency"));
    ensure!(latencies.count() == 6 * 2 * 300);
    for part in ["Redis", "gateway", "dispatcher", "client"] {
        let wanted = format!(
            "latency,processor time of a single call,us,mode=local part={part} runtime=native"
        );
        ensure!(samples.contains(&wanted), "{wanted}");
    }
    for situation in ["mode=push runtime=sandbox study=200", "mode=local runtime=native study=100"]
    {
        ensure!(samples.contains(situation), "{situation}");
    }
    let page = text(dir.path(), "report.html")?;
    ensure!(page.contains("<svg") && page.contains("<table>") && page.contains("A single call"));
    ensure!(dir.path().join("plots/latency.png").is_file());

    // The report depends on the run only, and a run is not worse than itself.
    let markdown = text(dir.path(), "report.md")?;
    bench_ok(&["report", path(dir.path())?])?;
    ensure!(text(dir.path(), "report.md")? == markdown);
    let out = bench_ok(&["compare", path(dir.path())?, path(dir.path())?])?;
    ensure!(out.contains("Nothing is worse"), "{out}");
    Ok(())
}

#[test]
fn a_running_service_is_measured_by_its_address() -> Result<()> {
    let service = Service::start(&["-w", "2"])?;
    let dir = tempfile::tempdir()?;
    bench_ok(&[
        "throughput",
        "--quick",
        "--url",
        service.client.base(),
        "--out",
        path(dir.path())?,
    ])?;
    let run = run(dir.path())?;
    ensure!(run["wrong"] == Value::Array(Vec::new()), "{}", run["wrong"]);
    let series = run["series"].as_array().context("no series")?;
    let bursts: Vec<_> = series.iter().filter(|series| series["metric"] == "burst").collect();
    ensure!(bursts.len() == 2, "one for each runtime: {bursts:?}");
    // The processor time of a running service is unknown.
    ensure!(series.iter().all(|series| series["metric"] != "cost"));
    let (_, audit) = service.client.get("/v1/audit")?;
    ensure!(audit["consistent"] == true, "{audit}");
    Ok(())
}

#[test]
fn a_slower_run_fails_the_comparison() -> Result<()> {
    let dirs: [PathBuf; 2] = [tempfile::tempdir()?.keep(), tempfile::tempdir()?.keep()];
    let service = Service::start(&["-w", "1"])?;
    let url = service.client.base();
    bench_ok(&["latency", "--quick", "--url", url, "--out", path(&dirs[0])?])?;
    let mut slower = run(&dirs[0])?;
    for series in slower["series"].as_array_mut().context("no series")? {
        for sample in series["samples"].as_array_mut().context("no samples")? {
            *sample = (sample.as_f64().context("no number")? * 3.0).into();
        }
    }
    std::fs::write(dirs[1].join("run.json"), slower.to_string())?;
    let output = bench(&["compare", path(&dirs[0])?, path(&dirs[1])?])?;
    let out = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(1), "{out}");
    ensure!(out.contains("are worse") && out.contains("latency latency"), "{out}");
    for dir in dirs {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(())
}

#[test]
fn a_python_client_is_measured_beside_a_process_pool() -> Result<()> {
    let dir = tempfile::tempdir()?;
    bench_ok(&["client", "--quick", "--out", path(dir.path())?])?;
    let run = run(dir.path())?;
    let series = run["series"].as_array().context("no series")?;
    for metric in ["single", "pool single", "batch", "pool", "cost"] {
        let found = series.iter().filter(|series| series["metric"] == metric);
        ensure!(found.count() == 2, "{metric}: one for each runtime");
    }
    Ok(())
}
