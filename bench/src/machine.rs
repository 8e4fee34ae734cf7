//! The machine of a run: what it is, and what else it did meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use procfs::{Current, CurrentSI, KernelStats, LoadAverage, ProcResult};
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::process;

/// How often the load average is read.
const INTERVAL: Duration = Duration::from_secs(1);

/// What figures depend on.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory_mib: f64,
    pub(crate) system: String,
    pub(crate) kernel: String,
    /// By name: belljar, Python, dill, Redis.
    pub(crate) versions: BTreeMap<String, String>,
    /// The time of a fixed piece of Python work, in milliseconds: it tells machines apart.
    pub(crate) yardstick_ms: f64,
}

impl Machine {
    /// This machine; the caller adds what Python reports.
    pub(crate) fn here(belljar: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim_matches([' ', '\t', ':', '=', '"']).to_owned()
        };
        let programs = [("belljar", belljar), ("Redis", Path::new("redis-server"))];
        let versions = programs
            .into_iter()
            .filter_map(|(name, program)| Some((name.to_owned(), version(program)?)));
        Self {
            processor: field(&text("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: process::machine_mib().0,
            system: field(&text("/etc/os-release"), "PRETTY_NAME"),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            versions: versions.collect(),
            yardstick_ms: 0.0,
        }
    }
}

/// The first word with a digit in the output of `PROGRAM --version`, without a prefix such as `v=`.
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let numbered = |word: &&str| word.contains(|letter: char| letter.is_ascii_digit());
    let word = text.split_whitespace().find(numbered)?;
    Some(word.trim_start_matches("v=").to_owned())
}

/// The load during a run: other work on the processors makes figures worse.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Load {
    /// The one-minute load average, once a second.
    pub(crate) averages: Vec<f64>,
    /// The share of processor time of the service, the client and their children.
    pub(crate) ours: f64,
    /// The share of other processes of this system.
    pub(crate) others: f64,
    /// The share that the hypervisor gave to other systems.
    pub(crate) stolen: f64,
}

/// Watches the load until its end.
#[derive(Debug)]
pub(crate) struct Watch {
    begun: Option<Times>,
    family: f64,
    watching: JoinHandle<()>,
    averages: tokio::sync::mpsc::UnboundedReceiver<f64>,
}

/// Seconds of all processors together since the machine started.
#[derive(Debug, Clone, Copy)]
struct Times {
    busy: f64,
    stolen: f64,
    all: f64,
}

impl Watch {
    /// Starts to watch; needs a runtime.
    pub(crate) fn start() -> Self {
        // One number a second, for a quarter of an hour.
        let (sender, averages) = tokio::sync::mpsc::unbounded_channel();
        let watching = tokio::spawn(async move {
            let mut clock = tokio::time::interval(INTERVAL);
            loop {
                clock.tick().await;
                if let Ok(load) = LoadAverage::current() {
                    let _ = sender.send(f64::from(load.one));
                }
            }
        });
        Self { begun: times().ok(), family: process::family_seconds(), watching, averages }
    }

    /// The load since the start. All processes that were started since then must have ended.
    pub(crate) fn stop(mut self) -> Load {
        self.watching.abort();
        let averages = std::iter::from_fn(|| self.averages.try_recv().ok()).collect();
        let Some((begun, ended)) = self.begun.zip(times().ok()) else {
            return Load { averages, ..Load::default() };
        };
        let all = (ended.all - begun.all).max(f64::MIN_POSITIVE);
        let ours = process::family_seconds() - self.family;
        let others = (ended.busy - begun.busy - ours).max(0.0);
        let stolen = (ended.stolen - begun.stolen) / all;
        Load { averages, ours: ours / all, others: others / all, stolen }
    }
}

fn times() -> ProcResult<Times> {
    let time = KernelStats::current()?.total;
    let seconds = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64();
    let stolen = seconds(time.steal_duration());
    let interrupts = seconds(time.irq_duration()) + seconds(time.softirq_duration());
    let own = [time.user_duration(), time.nice_duration(), time.system_duration()];
    let busy = own.iter().map(Duration::as_secs_f64).sum::<f64>() + interrupts;
    let idle = time.idle_duration().as_secs_f64() + seconds(time.iowait_duration());
    Ok(Times { busy, stolen, all: busy + idle + stolen })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_processors_memory_and_time() {
        let machine = Machine::here(Path::new("/nowhere"));
        assert!(machine.processors > 0 && machine.memory_mib > 0.0, "{machine:?}");
        assert!(!machine.versions.contains_key("belljar"));
        let times = times().unwrap();
        assert!(times.busy > 0.0 && times.busy < times.all, "{times:?}");
    }
}
