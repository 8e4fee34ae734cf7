//! `belljar-bench` measures belljar over its public HTTP interface, as any client does. The report of a run is
//! made in Python, by `bench/report/`.
//!
//! # Layout
//!
//! * `args`: the command line.
//! * `context`: what experiments share.
//! * `experiment/`: the measurements.
//! * `floods`: what tenants notice of another one that floods.
//! * `drive`: ways to put load on a service.
//! * `service`, `http`, `api`, `python`: a service, a connection, the interface, and the Python that
//!   serializes for clients.
//! * `run`: every sample of a run.
//! * `machine`, `process`: the machine and its load; processor time and memory of processes.
//! * `report`: the programs that make reports and compare runs.

mod api;
mod args;
mod context;
mod drive;
mod experiment;
mod floods;
mod http;
mod machine;
mod process;
mod progress;
mod python;
mod report;
mod run;
mod service;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use args::{Action, Cli, Experiment, Options};
use context::Context;
use machine::{Machine, Watch};
use progress::Progress;
use python::Python;
use run::Run;
use service::Launcher;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The file in a run's directory that takes the standard error of services.
const LOG_FILE: &str = "services.log";
/// The Python of the checkout, which has dill and what clients need.
const VENV_PYTHON: &str = ".belljar/venv/bin/python";

fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(&cli.action.unwrap_or(Action::Run), &cli.options) {
        Ok(code) => code,
        Err(error) => {
            say_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// The exit code of what was asked.
fn execute(action: &Action, options: &Options) -> Result<ExitCode> {
    match action {
        Action::Report { run, publish } => report::write(options, run, publish.as_deref()),
        Action::Compare { before, after, tolerance } => {
            report::compare(options, before, after, *tolerance)
        }
        Action::Floods { only } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { floods::run(&mut context(options)?, only).await })?;
            Ok(ExitCode::SUCCESS)
        }
        measured => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let run = runtime.block_on(measure(Experiment::of(measured), options))?;
            run.save(&options.out)?;
            let ended = report::write(options, &options.out, None)?;
            if let Some(wrong) = run.wrong.first() {
                bail!("{} results are wrong, the first: {wrong}", run.wrong.len());
            }
            Ok(ended)
        }
    }
}

async fn measure(experiments: &[Experiment], options: &Options) -> Result<Run> {
    let mut context = context(options)?;
    let (begun, watch) = (Instant::now(), Watch::start());
    for &experiment in experiments {
        let ended = experiment::run(experiment, &mut context).await;
        ended.with_context(|| format!("cannot measure {experiment:?}"))?;
    }
    let mut run = context.run;
    run.load = watch.stop();
    run.seconds = begun.elapsed().as_secs_f64();
    Ok(run)
}

/// What measurements share.
fn context(options: &Options) -> Result<Context> {
    let out = &options.out;
    fs::create_dir_all(out).with_context(|| format!("cannot make `{}`", out.display()))?;
    let belljar = env::current_exe()?.with_file_name("belljar");
    let interpreter = options.python.clone().map_or_else(|| in_checkout(VENV_PYTHON), Ok)?;
    let mut python = Python::start(&interpreter)?;
    let about = python.about()?;
    let mut machine = Machine::here(&belljar);
    machine.versions.extend(about.versions);
    machine.yardstick_ms = about.seconds * 1e3;
    let site = options.site.clone();
    Ok(Context {
        profile: options.profile(),
        launcher: Launcher { belljar, site, log: out.join(LOG_FILE) },
        given: options.url.as_deref().map(http::address_of).transpose()?,
        slots: options.slots,
        peers: options.peers.clone(),
        interpreter,
        python,
        progress: Progress::hidden(),
        run: Run::new(options.profile().as_str(), machine),
    })
}

/// A file of the checkout that contains this program, or else of the working directory.
fn in_checkout(file: &str) -> Result<PathBuf> {
    let own = env::current_exe()?;
    let mut near = own.ancestors().skip(1).take(4).chain([Path::new("")]);
    let found = near.find_map(|dir| Some(dir.join(file)).filter(|path| path.is_file()));
    found.with_context(|| format!("there is no `{file}` here; `make tools` installs it"))
}

#[expect(clippy::print_stderr, reason = "the command's word to its user")]
fn say_error(error: &anyhow::Error) {
    eprintln!("belljar-bench: {error:#}");
}
