//! What the service holds of memory over the attack.

use std::fmt;

use anyhow::{Result, ensure};
use belljar_testkit::process::Process;
use belljar_tests::Service;

/// By what factor the memory of a process may grow.
const KEPT_MOST: f64 = 1.05;
/// Growth that is no leak in a small process: pages of an allocator.
const KEPT_BYTES: u64 = 8 << 20;
/// By how much more the largest process of the sandbox may have grown: it is replaced at the first.
const SANDBOX_BYTES: u64 = 256 << 20;

/// Resident bytes of one kind of process.
struct Part {
    name: &'static str,
    /// How much the last may be above the first.
    may_keep: u64,
    first: u64,
    most: u64,
    last: u64,
}

/// Those of all kinds.
pub(crate) struct Memory(Vec<Part>);

impl Memory {
    /// Takes the present for the baseline.
    pub(crate) fn start(service: &Service) -> Self {
        let parts = [
            ("gateway", KEPT_BYTES),
            ("dispatcher", KEPT_BYTES),
            ("worker", KEPT_BYTES),
            ("belljar-sandbox", SANDBOX_BYTES),
        ];
        let processes = service.processes();
        let part = |(name, may_keep)| {
            let now = largest(&processes, name);
            Part { name, may_keep, first: now, most: now, last: now }
        };
        Self(parts.map(part).into())
    }

    /// Looks again.
    pub(crate) fn look(&mut self, service: &Service) {
        let processes = service.processes();
        for part in &mut self.0 {
            part.last = largest(&processes, part.name);
            part.most = part.most.max(part.last);
        }
    }

    /// Fails where more is held than at the start.
    pub(crate) fn check(&self) -> Result<()> {
        for Part { name, may_keep, first, last, .. } in &self.0 {
            let kept = *last as f64 / (*first).max(1) as f64;
            let grown = last.saturating_sub(*first);
            ensure!(
                kept < KEPT_MOST || grown < *may_keep,
                "{name}: {first} bytes, {last} at the end"
            );
        }
        Ok(())
    }
}

/// The most that one process of the name has.
fn largest(processes: &[Process], name: &str) -> u64 {
    let named =
        |process: &&Process| process.command.split(' ').take(2).any(|word| word.ends_with(name));
    processes.iter().filter(named).map(|process| resident(process.pid)).max().unwrap_or(0)
}

fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    1024 * kibibytes.unwrap_or(0)
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<28}{:>10}{:>14}{:>10}",
            "resident MiB, the largest", "before", "most", "after"
        )?;
        for Part { name, first, most, last, .. } in &self.0 {
            write!(f, "\n{name:<28}{:>10}{:>14}{:>10}", first >> 20, most >> 20, last >> 20)?;
        }
        Ok(())
    }
}
