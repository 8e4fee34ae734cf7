//! `belljar-faults`: runs the fault scenarios and prints a table. Fails if a promise is broken.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use belljar_faults::matrix;
use belljar_faults::report::{self, Row};
use belljar_faults::run::{self, Options};
use belljar_faults::scenario::Scenario;
use clap::Parser;

/// Kills processes at exact moments and breaks connections under load, and checks that no promise is broken.
#[derive(Debug, Parser)]
#[command(name = "belljar-faults", version)]
struct Args {
    /// The scenarios to run, such as `push/worker/sent` or `*/redis/*`. All by default.
    #[arg(value_name = "SCENARIO", default_value = "*")]
    scenarios: Vec<String>,
    /// How often each fault happens.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    repeats: usize,
    /// Determines moments, durations and victims.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// The longest network fault, in seconds; at least 1.
    #[arg(long, value_name = "SECONDS", default_value_t = 4)]
    longest: u64,
    /// Tasks submitted per second.
    #[arg(long, value_name = "N", default_value_t = 200)]
    rate: u64,
    /// Keep histories and logs in this directory, one subdirectory per scenario.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Only print the names of the scenarios.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_line(&format!("belljar-faults: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<()> {
    let fits = |scenario: &Scenario| args.scenarios.iter().any(|pattern| scenario.matches(pattern));
    let scenarios: Vec<_> = matrix::all().into_iter().filter(fits).collect();
    if scenarios.is_empty() {
        bail!("no scenario matches {:?}\n  hint: --list prints their names", args.scenarios);
    }
    if args.list {
        scenarios.iter().for_each(|scenario| print_line(&scenario.to_string()));
        return Ok(());
    }
    let Args { repeats, rate, seed, keep, .. } = args;
    let longest = Duration::from_secs(args.longest);
    let options = Options { repeats, rate, seed, longest, keep };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("the async runtime cannot start")?;
    print_line(report::HEAD);
    let (mut broken, mut failed) = (0, 0);
    for scenario in &scenarios {
        match run::run(*scenario, &options, &runtime) {
            Ok(report) => {
                print_line(&Row(*scenario, &report).to_string());
                broken += report.findings.len();
                let findings = report::findings(*scenario, &report);
                if !findings.is_empty() {
                    print_line(findings.trim_end());
                }
            }
            Err(error) => {
                failed += 1;
                print_line(&format!("{error:#}"));
            }
        }
    }
    if broken + failed > 0 {
        bail!(
            "{broken} findings, {failed} of {} scenarios did not run; seed {seed}",
            scenarios.len()
        );
    }
    Ok(())
}

/// Prints a line at once: a run takes long and is watched.
fn print_line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // A closed output does not stop the run.
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}
