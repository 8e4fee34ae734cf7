//! Measures belljar over its public HTTP interface, as any client meets it, and reports what it found.
//!
//! # Layout
//!
//! * [`config`]: what to do. * `lab`: what experiments share. * `experiment/`: the measurements.
//! * `service`, `http`, `api`, `python`: a service, a connection, the interface, and the Python that
//!   serializes for clients. * `drive/`: ways to put load on a service.
//! * `run`: every sample of a run, with `machine` and `load`. * `process`, `meter`: processor time and
//!   memory. * `stats`: percentiles and intervals. * `target`: what is to be reached.
//! * `report/`, `chart/`, `show`: Markdown, HTML, pictures, tables. * `compare`: two runs.

mod api;
mod chart;
mod compare;
pub mod config;
mod drive;
mod experiment;
mod http;
mod lab;
mod load;
mod machine;
mod meter;
mod process;
mod progress;
mod python;
mod report;
mod run;
mod service;
mod show;
mod stats;
mod target;

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use config::{Config, Measure};
use lab::Lab;
use load::Watch;
use machine::Machine;
use progress::Progress;
use python::Python;
use run::Run;
use service::Launcher;

/// The file in a run's directory that takes what services say on standard error.
const LOG_FILE: &str = "services.log";

/// Does what the command line asks for.
///
/// # Errors
/// Something could not be measured or written, a result was wrong, or a later run is worse.
pub fn run(config: &Config) -> Result<()> {
    match config {
        Config::Measure(measure) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let run = runtime.block_on(measured(measure))?;
            run.save(&measure.out)?;
            report::write(&run, &measure.out)?;
            say(&report::summary(&run));
            say(&format!("The report: {}", measure.out.join("report.html").display()));
            if let Some(wrong) = run.wrong.first() {
                bail!("{} results were wrong, the first: {wrong}", run.wrong.len());
            }
            Ok(())
        }
        Config::Report { run: dir, publish } => {
            let run = Run::load(dir)?;
            report::write(&run, dir)?;
            match publish {
                Some(docs) => report::publish(&run, docs)?,
                None => say(&report::summary(&run)),
            }
            Ok(())
        }
        Config::Compare { before, after, tolerance } => {
            let found = compare::compare(&Run::load(before)?, &Run::load(after)?, *tolerance);
            say(&found.text);
            if found.regressions > 0 {
                bail!("{} figures are worse", found.regressions);
            }
            Ok(())
        }
    }
}

async fn measured(measure: &Measure) -> Result<Run> {
    let out = &measure.out;
    fs::create_dir_all(out).with_context(|| format!("cannot make `{}`", out.display()))?;
    let mut python = Python::start(&measure.python)?;
    let about = python.about()?;
    let mut machine = Machine::here(&measure.belljar);
    machine.versions.extend(about.versions);
    machine.yardstick_ms = about.seconds * 1e3;
    let mut lab = Lab {
        effort: measure.effort,
        launcher: Launcher {
            belljar: measure.belljar.clone(),
            site: measure.site.clone(),
            log: out.join(LOG_FILE),
        },
        given: measure.url.as_deref().map(http::address_of).transpose()?,
        slots: measure.slots,
        interpreter: measure.python.clone(),
        python,
        progress: Progress::hidden(),
        run: Run::new(measure.effort.as_str(), machine),
    };
    let (begun, watch) = (Instant::now(), Watch::begin());
    for &experiment in &measure.experiments {
        let ended = experiment::run(experiment, &mut lab, measure).await;
        ended.with_context(|| format!("`{}` could not be measured", experiment.as_str()))?;
    }
    let mut run = lab.run;
    run.load = watch.end();
    run.seconds = begun.elapsed().as_secs_f64();
    Ok(run)
}

#[expect(clippy::print_stdout, reason = "the command's word to its user")]
fn say(text: &str) {
    println!("{text}");
}
