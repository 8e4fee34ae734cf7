//! A few cells of the matrix, once each; `make faults` runs all of them, again and again.

#![expect(clippy::print_stdout, reason = "the figures are worth seeing")]

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belljar_faults::cell;
use belljar_faults::report::Row;
use belljar_faults::run::{self, Options};

/// Side by side, services would measure each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn holds(names: &[&str]) -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let options =
        Options { repeats: 1, rate: 100, seed: 1, longest: Duration::from_secs(4), keep: None };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("no runtime")?;
    for name in names {
        let mut all = cell::all().into_iter();
        let cell = all.find(|cell| cell.to_string() == *name).context("no such cell")?;
        let verdict = run::run(cell, &options, &runtime)?;
        println!("{}", Row(cell, &verdict));
        ensure!(verdict.findings.is_empty(), "{cell}: {:?}", verdict.findings);
        ensure!(verdict.faults == 1 && verdict.accepted > 0, "{cell}: nothing happened");
    }
    Ok(())
}

#[test]
fn nothing_is_lost_with_a_process_killed_at_its_worst_moment() -> Result<()> {
    holds(&["push/gateway/enqueued", "pull/redis/computed", "push/child/running"])
}

#[test]
fn nothing_is_lost_with_a_worker_killed_at_its_worst_moment() -> Result<()> {
    holds(&["push/worker/sent", "pull/worker/computed", "push/sandbox-worker/running"])
}

#[test]
fn nothing_is_lost_with_a_dispatcher_killed_at_its_worst_moment() -> Result<()> {
    holds(&["push/dispatcher/leased", "pull/dispatcher/stored", "local/dispatcher/running"])
}

#[test]
fn nothing_is_lost_on_a_bad_network() -> Result<()> {
    holds(&["pull/dispatcher-worker/half-open", "push/dispatcher-worker/reset"])
}
