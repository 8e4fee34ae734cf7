//! A few scenarios, once each. `make faults` runs all of them many times.

#![expect(clippy::print_stdout, reason = "the figures are worth seeing")]

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belljar_faults::matrix;
use belljar_faults::report::Row;
use belljar_faults::run::{self, Options};

/// Services that run side by side would disturb each other's measurements.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn check(names: &[&str]) -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let options =
        Options { repeats: 1, rate: 100, seed: 1, longest: Duration::from_secs(4), keep: None };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("no runtime")?;
    for name in names {
        let mut all = matrix::all().into_iter();
        let scenario =
            all.find(|scenario| scenario.to_string() == *name).context("no such scenario")?;
        let report = run::run(scenario, &options, &runtime)?;
        println!("{}", Row(scenario, &report));
        ensure!(report.findings.is_empty(), "{scenario}: {:?}", report.findings);
        ensure!(report.faults >= 1 && report.accepted > 0, "{scenario}: nothing happened");
    }
    Ok(())
}

#[test]
fn nothing_is_lost_when_a_process_is_killed() -> Result<()> {
    check(&["push/gateway/enqueued", "pull/redis/computed", "push/child/running"])?;
    check(&["push/gateway/values_held"])
}

#[test]
fn nothing_is_lost_when_a_worker_is_killed() -> Result<()> {
    check(&["push/worker/sent", "pull/worker/computed", "push/sandbox-worker/running"])?;
    check(&["push/worker/result_named"])
}

#[test]
fn nothing_is_lost_when_a_dispatcher_is_killed() -> Result<()> {
    check(&["push/dispatcher/leased", "pull/dispatcher/stored", "local/dispatcher/running"])?;
    check(&["push/dispatcher/result_keyed"])
}

#[test]
fn nothing_is_lost_with_values_in_a_bucket() -> Result<()> {
    check(&["push/worker/result_sending/bucket", "pull/worker/args_coming/bucket"])?;
    check(&["push/bucket/values_held", "push/bucket/half-open", "local/bucket/cut"])
}

#[test]
fn nothing_is_lost_on_a_broken_network() -> Result<()> {
    check(&["pull/dispatcher-worker/half-open", "push/dispatcher-worker/reset"])
}

#[test]
fn nothing_is_lost_or_repeated_while_every_part_is_restarted() -> Result<()> {
    check(&["push/all/rolling"])
}
