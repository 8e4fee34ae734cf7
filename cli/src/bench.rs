//! `belljar bench`: what the command line says, for the crate that measures.

use anyhow::Result;
use belljar_bench::config::{Config, Effort, Experiment, Measure};

use crate::args::{BenchAction, BenchArgs, BenchOptions};
use crate::install;

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let experiments = match &args.action {
        None => Experiment::USUAL.to_vec(),
        Some(BenchAction::Latency) => vec![Experiment::Latency],
        Some(BenchAction::Scaling) => vec![Experiment::Scaling],
        Some(BenchAction::Throughput) => vec![Experiment::Throughput],
        Some(BenchAction::Stress) => vec![Experiment::Stress],
        Some(BenchAction::Overhead) => vec![Experiment::Overhead],
        // Beside native, through REST: what isolation costs in the end.
        Some(BenchAction::Sandbox) => {
            vec![
                Experiment::Sandbox,
                Experiment::Latency,
                Experiment::Throughput,
                Experiment::Overhead,
            ]
        }
        Some(BenchAction::Client) => vec![Experiment::Client],
        // Its own figures beside theirs, from a client like theirs.
        Some(BenchAction::Peers) => vec![Experiment::Client, Experiment::Peers],
        Some(BenchAction::Report { run, publish }) => {
            let (run, publish) = (run.clone(), publish.clone());
            return belljar_bench::run(&Config::Report { run, publish });
        }
        Some(BenchAction::Compare { before, after, tolerance }) => {
            let (before, after, tolerance) = (before.clone(), after.clone(), tolerance / 100.0);
            return belljar_bench::run(&Config::Compare { before, after, tolerance });
        }
    };
    belljar_bench::run(&Config::Measure(measure(experiments, &args.options)?))
}

fn measure(experiments: Vec<Experiment>, options: &BenchOptions) -> Result<Measure> {
    let site = install::site(options.site.as_deref())?;
    let python = match &options.python {
        Some(python) => python.clone(),
        None => install::python(Some(&site))?,
    };
    Ok(Measure {
        experiments,
        effort: if options.quick { Effort::Quick } else { Effort::Full },
        out: options.out.clone(),
        belljar: install::own_binary()?,
        python,
        site,
        url: options.url.clone(),
        slots: options.slots.max(1),
        peers: options.peers.clone(),
    })
}
