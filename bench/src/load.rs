//! What else the machine did during a run: other work on its processors makes figures worse, and a
//! report that does not tell is worth little.

use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::process;

/// How often the load is looked at.
const EVERY: Duration = Duration::from_secs(1);
const TICKS_PER_SECOND: f64 = 100.0;

/// The load during a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Load {
    /// The one-minute load average, once a second.
    pub(crate) averages: Vec<f64>,
    /// The part of the processors' time that the measured processes, the client and their children
    /// used.
    pub(crate) ours: f64,
    /// The part that other processes of this system used.
    pub(crate) others: f64,
    /// The part that the hypervisor gave to other systems.
    pub(crate) stolen: f64,
}

/// Watches the load until it is asked.
#[derive(Debug)]
pub(crate) struct Watch {
    begun: Times,
    family: f64,
    watching: JoinHandle<()>,
    averages: std::sync::Arc<std::sync::Mutex<Vec<f64>>>,
}

/// Seconds of all processors together since the machine started.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    busy: f64,
    stolen: f64,
    all: f64,
}

impl Watch {
    /// Begins; needs a runtime.
    pub(crate) fn begin() -> Self {
        let averages = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let kept = std::sync::Arc::clone(&averages);
        let watching = tokio::spawn(async move {
            let mut clock = tokio::time::interval(EVERY);
            loop {
                clock.tick().await;
                if let (Some(average), Ok(mut kept)) = (average(), kept.lock()) {
                    kept.push(average);
                }
            }
        });
        let family = process::family_seconds();
        Self { begun: times().unwrap_or_default(), family, watching, averages }
    }

    /// The load since it began. All processes that were started meanwhile must have ended.
    pub(crate) fn end(self) -> Load {
        self.watching.abort();
        let (begun, ended) = (self.begun, times().unwrap_or_default());
        let all = (ended.all - begun.all).max(f64::MIN_POSITIVE);
        let ours = process::family_seconds() - self.family;
        let others = (ended.busy - begun.busy - ours).max(0.0);
        let averages = self.averages.lock().map(|kept| kept.clone()).unwrap_or_default();
        let stolen = (ended.stolen - begun.stolen) / all;
        Load { averages, ours: ours / all, others: others / all, stolen }
    }
}

fn average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

fn times() -> Option<Times> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    parse(stat.lines().next()?)
}

/// `cpu user nice system idle iowait irq softirq steal guest guest_nice`; guests are within users.
fn parse(line: &str) -> Option<Times> {
    let ticks: Vec<f64> = line.split_whitespace().skip(1).map_while(|t| t.parse().ok()).collect();
    let [user, nice, system, idle, iowait, irq, softirq, stolen] = *ticks.first_chunk()?;
    let busy = user + nice + system + irq + softirq;
    let [busy, stolen, all] =
        [busy, stolen, busy + idle + iowait + stolen].map(|ticks| ticks / TICKS_PER_SECOND);
    Some(Times { busy, stolen, all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_busy() {
        let times = parse("cpu  100 10 50 800 20 5 5 10 0 0").unwrap();
        assert_eq!((times.busy, times.stolen, times.all), (1.7, 0.1, 10.0));
    }
}
