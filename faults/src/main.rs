//! `belljar-faults`: the kill matrix and broken networks, as a table. Fails where a promise is broken.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use belljar_faults::cell::{self, Cell};
use belljar_faults::report::{self, Row};
use belljar_faults::run::{self, Options};
use clap::Parser;

/// Kills processes at exact moments and breaks connections under load, and checks what came of it.
#[derive(Debug, Parser)]
#[command(name = "belljar-faults", version)]
struct Args {
    /// The cells to run, such as `push/worker/sent` or `*/redis/*`; all unless given.
    #[arg(value_name = "CELL", default_value = "*")]
    cells: Vec<String>,
    /// How often each fault happens.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    repeats: usize,
    /// What chooses moments, lengths and victims.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How long a connection is broken at most, in seconds; at least one.
    #[arg(long, value_name = "SECONDS", default_value_t = 4)]
    longest: u64,
    /// How many tasks are offered in a second.
    #[arg(long, value_name = "N", default_value_t = 200)]
    rate: u64,
    /// Keep histories and logs there, in a directory for each cell.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Only show the names of the cells.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("belljar-faults: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<()> {
    let fits = |cell: &Cell| args.cells.iter().any(|pattern| cell.matches(pattern));
    let cells: Vec<_> = cell::all().into_iter().filter(fits).collect();
    if cells.is_empty() {
        bail!("no cell is named {:?}\n  hint: --list shows them", args.cells);
    }
    if args.list {
        cells.iter().for_each(|cell| say(&cell.to_string()));
        return Ok(());
    }
    let Args { repeats, rate, seed, keep, .. } = args;
    let longest = Duration::from_secs(args.longest);
    let options = Options { repeats, rate, seed, longest, keep };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("the async runtime cannot start")?;
    say(report::HEAD);
    let (mut broken, mut failed) = (0, 0);
    for cell in &cells {
        match run::run(*cell, &options, &runtime) {
            Ok(verdict) => {
                say(&Row(*cell, &verdict).to_string());
                broken += verdict.findings.len();
                let findings = report::findings(*cell, &verdict);
                if !findings.is_empty() {
                    say(findings.trim_end());
                }
            }
            Err(error) => {
                failed += 1;
                say(&format!("{error:#}"));
            }
        }
    }
    if broken + failed > 0 {
        bail!("{broken} findings, {failed} of {} cells did not run; seed {seed}", cells.len());
    }
    Ok(())
}

/// A line on standard output, at once: a run takes long and is watched.
fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // A reader that has left does not stop the run.
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}
