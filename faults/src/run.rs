//! One cell: a service, clients at work, the fault again and again, and what came of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::runtime::Runtime;

use crate::cell::{Break, Cell, Fault};
use crate::checker::{self, Verdict};
use crate::cluster::Cluster;
use crate::history::{Event, History, Recorder};
use crate::load::{Load, Work};
use crate::proxy::Weather;

/// How long everything may take to be as before. Far beyond every bound, so that what is late is
/// measured and not only missed.
const PATIENCE: Duration = Duration::from_secs(60);
/// The shortest fault of a network.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long a torn connection has to be used.
const TEARING: Duration = Duration::from_millis(500);

/// How cells are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often each fault happens.
    pub repeats: usize,
    /// How many tasks are offered in a second.
    pub rate: u64,
    /// What chooses moments, lengths and victims.
    pub seed: u64,
    /// How long a connection is broken at most.
    pub longest: Duration,
    /// Where histories and logs are kept; nowhere unless given.
    pub keep: Option<PathBuf>,
}

/// Numbers that follow from a seed (splitmix64).
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    /// One for each cell, so that a cell alone is as it is among others.
    fn new(seed: u64, cell: Cell) -> Self {
        let name = cell.to_string();
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

/// Runs a cell.
///
/// # Errors
/// The service does not start, does not come back after a fault, or cannot be asked in the end. What it
/// did wrong meanwhile is in the verdict.
pub fn run(cell: Cell, options: &Options, runtime: &Runtime) -> Result<Verdict> {
    let dir = tempfile::tempdir().context("no directory")?;
    let ran = run_in(dir.path(), cell, options, runtime);
    if let Some(keep) = &options.keep {
        let name = cell.to_string().replace('/', "-");
        copy_files(dir.path(), &keep.join(name)).context("cannot keep the history")?;
    }
    ran.with_context(|| cell.to_string())
}

fn run_in(dir: &Path, cell: Cell, options: &Options, runtime: &Runtime) -> Result<Verdict> {
    let (lines, notes) = (dir.join("clients.jsonl"), dir.join("tasks.jsonl"));
    let side = (!cell.is_sandboxed()).then_some(notes.as_path());
    let recorder = Arc::new(Recorder::create(&lines)?);
    let mut cluster = Cluster::start(dir, cell, runtime.handle())?;
    let work = Work { is_sandboxed: cell.is_sandboxed(), rate: options.rate };
    let load = Load::start(cluster.base(), &notes, &work, Arc::clone(&recorder))?;
    let mut chance = Chance::new(options.seed, cell);
    for _ in 0..options.repeats {
        std::thread::sleep(Duration::from_millis(100) + chance.up_to(Duration::from_millis(200)));
        strike(&mut cluster, cell, options.longest, &recorder, &mut chance)?;
        // Where it does not come, the checker finds it late or lost.
        let _ = load.settled(PATIENCE);
    }
    load.finish(side, PATIENCE)?;
    drop(cluster);
    Ok(checker::check(&History::read(&lines, side)?))
}

/// One fault, begun and ended.
fn strike(
    cluster: &mut Cluster,
    cell: Cell,
    longest: Duration,
    recorder: &Recorder,
    chance: &mut Chance,
) -> Result<()> {
    let bound_ms = u64::try_from(cell.fault.bound().as_millis())?;
    match cell.fault {
        Fault::Kill(victim, stage) => {
            let choice = chance.next() as usize;
            cluster.kill_at(stage, victim, choice, |what| {
                recorder.note(Event::Fault { what: what.to_owned(), bound_ms })
            })?;
            cluster.start_again(victim)
        }
        Fault::Network(link, how) => {
            let Some(proxy) = cluster.proxy(link) else { bail!("no proxy for {cell}") };
            let lasting = match how {
                Break::Reset => TEARING,
                _ => SHORTEST + chance.up_to(longest.saturating_sub(SHORTEST)),
            };
            recorder.note(Event::Fault { what: format!("{cell} for {lasting:?}"), bound_ms })?;
            proxy.set(how.weather());
            std::thread::sleep(lasting);
            proxy.set(Weather::Fair);
            recorder.note(Event::Healed)
        }
    }
}

/// Copies the histories and logs, and not the sockets beside them.
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
