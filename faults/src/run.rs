//! One scenario: a service under load, the fault as often as asked, and the check of the history.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::runtime::Runtime;

use crate::checker::{self, CheckReport};
use crate::cluster::{Cluster, VALUES};
use crate::history::{Event, History, Recorder};
use crate::load::{Load, LoadConfig};
use crate::proxy::NetworkFault;
use crate::scenario::{Fault, Scenario};

/// How long recovery is waited for. It is far beyond every bound, so that late recovery is measured too.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// The shortest network fault.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long connections are reset at the next piece that they carry.
const RESET_TIME: Duration = Duration::from_millis(500);

/// How scenarios are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often each fault happens.
    pub repeats: usize,
    /// How many tasks are offered in a second.
    pub rate: u64,
    /// Determines moments, durations and victims.
    pub seed: u64,
    /// How long a connection is broken at most.
    pub longest: Duration,
    /// Where histories and logs are kept, if they are.
    pub keep: Option<PathBuf>,
}

/// Pseudorandom numbers from a seed (splitmix64).
#[derive(Debug)]
struct Random(u64);

impl Random {
    /// Each scenario has its own, so that it runs the same alone as among others.
    fn new(seed: u64, scenario: Scenario) -> Self {
        let name = scenario.to_string();
        Self(name.bytes().fold(seed, |state, byte| state.wrapping_mul(31) ^ u64::from(byte)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        let most_us = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.next() % most_us)
    }
}

/// Runs a scenario.
///
/// # Errors
/// The service does not start, does not recover, or does not answer at the end. Promises that it broke are in
/// the report instead.
pub fn run(scenario: Scenario, options: &Options, runtime: &Runtime) -> Result<CheckReport> {
    let dir = tempfile::tempdir().context("no directory")?;
    let ran = run_in(dir.path(), scenario, options, runtime);
    if let Some(keep) = &options.keep {
        let name = scenario.to_string().replace('/', "-");
        copy_files(dir.path(), &keep.join(name)).context("cannot keep the history")?;
    }
    ran.with_context(|| scenario.to_string())
}

fn run_in(
    dir: &Path,
    scenario: Scenario,
    options: &Options,
    runtime: &Runtime,
) -> Result<CheckReport> {
    let (lines, executions) = (dir.join("clients.jsonl"), dir.join("tasks.jsonl"));
    let traced = (!scenario.is_sandboxed()).then_some(executions.as_path());
    let recorder = Arc::new(Recorder::create(&lines)?);
    let mut cluster = Cluster::start(dir, scenario, runtime.handle())?;
    let (is_sandboxed, has_values) = (scenario.is_sandboxed(), scenario.has_values());
    let has_large_tasks = scenario.has_large_tasks();
    let config = LoadConfig { is_sandboxed, has_values, has_large_tasks, rate: options.rate };
    let load = Load::start(cluster.bases(), &executions, &config, Arc::clone(&recorder))?;
    let mut random = Random::new(options.seed, scenario);
    for _ in 0..options.repeats {
        std::thread::sleep(Duration::from_millis(100) + random.up_to(Duration::from_millis(200)));
        inject(&mut cluster, scenario, options.longest, &recorder, &mut random)?;
        // If it does not recover, the checker finds tasks late or lost.
        let _ = load.settled(RECOVERY_TIMEOUT);
    }
    let large = load.finish(traced, RECOVERY_TIMEOUT)?;
    let left = match has_values || has_large_tasks {
        true => left_after_collection(&dir.join(VALUES), &large.tasks),
        false => Vec::new(),
    };
    drop(cluster);
    let mut report = checker::check(&History::read(&lines, traced)?);
    report.allow_no_leaks(&left);
    report.allow_none_dangling(&large.dangling);
    if matches!(scenario.fault, Fault::Rolling | Fault::Drain) {
        report.allow_no_reruns();
    }
    Ok(report)
}

/// The files or objects of values that are still there some time after every task has ended and every value was deleted, but for the one with
/// the result of each of these tasks.
fn left_after_collection(values: &Path, published: &HashSet<String>) -> Vec<String> {
    let mut left = Vec::new();
    let _ = belljar_testkit::eventually(RECOVERY_TIMEOUT, || {
        let (mut missing, mut found) = (published.clone(), Vec::new());
        left = match add_names(values, &mut found) {
            Ok(()) => found,
            Err(error) => vec![error.to_string()],
        };
        left.retain(|name| {
            // result-ATTEMPT-TASK, and the number of an object
            let task = name.strip_prefix("result-").and_then(|name| name.split_once('-'));
            let task = task.map(|(_, task)| task.split('.').next().unwrap_or(task));
            !task.is_some_and(|task| missing.remove(task))
        });
        left.is_empty()
    });
    left
}

/// The names of the files of values below a directory, which may be that of a bucket.
fn add_names(directory: &Path, names: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            add_names(&entry.path(), names)?;
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        // Whose it is, the lock of sweeps, and what a bucket has for itself.
        if !(name == "owner" || name == "lock" || name.starts_with('.')) {
            names.push(name);
        }
    }
    Ok(())
}

/// Begins and ends one fault.
fn inject(
    cluster: &mut Cluster,
    scenario: Scenario,
    longest: Duration,
    recorder: &Recorder,
    random: &mut Random,
) -> Result<()> {
    let bound_ms = u64::try_from(scenario.bound().as_millis())?;
    match scenario.fault {
        Fault::Kill(victim, stage) => {
            let choice = random.next() as usize;
            cluster.kill_at(stage, victim, choice, |what| {
                recorder.record(Event::Fault { what: what.to_owned(), bound_ms })
            })?;
            cluster.restart(victim)
        }
        Fault::Network(connection, how) => {
            let Some(proxy) = cluster.proxy(connection) else { bail!("no proxy for {scenario}") };
            let duration = match how {
                NetworkFault::Reset => RESET_TIME,
                _ => SHORTEST + random.up_to(longest.saturating_sub(SHORTEST)),
            };
            recorder
                .record(Event::Fault { what: format!("{scenario} for {duration:?}"), bound_ms })?;
            proxy.set(Some(how));
            std::thread::sleep(duration);
            proxy.set(None);
            recorder.record(Event::FaultEnded)
        }
        Fault::Failover => cluster.fail_over(
            |what| recorder.record(Event::Fault { what: what.to_owned(), bound_ms }),
            || Ok(()),
        ),
        Fault::Rolling => cluster.roll(
            |what| recorder.record(Event::Fault { what: what.to_owned(), bound_ms }),
            || recorder.record(Event::FaultEnded),
        ),
        Fault::Drain => {
            let choice = random.next() as usize;
            cluster.drain(choice, |what| {
                recorder.record(Event::Fault { what: what.to_owned(), bound_ms })
            })?;
            recorder.record(Event::FaultEnded)
        }
    }
}

/// Copies the histories and logs but not the sockets beside them.
fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
