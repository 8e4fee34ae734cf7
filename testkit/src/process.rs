//! The process table, read from `/proc`, and waiting for what no event announces.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The longest pause between two checks of [`eventually`].
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// Its command line, words joined by spaces.
    pub command: String,
}

/// Every process that is not a zombie.
#[must_use]
pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn read(pid: i32) -> Option<Process> {
    let stat = stat(pid)?;
    let mut fields = stat.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
    Some(Process { pid, parent, command })
}

/// The fields of a process's `stat`, from its state on.
fn stat(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields begin after the last one.
    Some(stat.get(stat.rfind(')')? + 2..)?.to_owned())
}

/// The processes below `pid`, at any depth.
#[must_use]
pub fn descendants(pid: i32) -> Vec<Process> {
    let all = all();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|process| process.parent == parent);
        for child in children {
            parents.push(child.pid);
            found.push(child.clone());
        }
    }
    found
}

/// All processes but this one that have `mark` in their command line, or in the environment that they
/// started with.
#[must_use]
pub fn marked(mark: &str) -> Vec<Process> {
    let is_marked = |process: &Process| {
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        process.command.contains(mark) || String::from_utf8_lossy(&environment).contains(mark)
    };
    let own = std::process::id().cast_signed();
    all().into_iter().filter(|process| process.pid != own && is_marked(process)).collect()
}

/// Sends a signal to a process, which may be gone.
pub fn kill(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// The processor time that a process has used, user and system, in steps of 10 ms. `None` if the process
/// is gone.
#[must_use]
pub fn cpu_time(pid: i32) -> Option<Duration> {
    let stat = stat(pid)?;
    let mut ticks = stat.split(' ').skip(11).map(str::parse::<u64>);
    Some(Duration::from_millis((ticks.next()?.ok()? + ticks.next()?.ok()?) * 10))
}

/// Whether `condition` becomes true within `timeout`. For what no event announces.
#[must_use]
pub fn eventually(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + timeout;
    let mut pause = Duration::from_millis(1);
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(pause);
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Program;

    #[test]
    fn a_child_is_in_the_table_until_it_ends() {
        let own = std::process::id().cast_signed();
        let environment = vec![("BELLJAR_TEST_MARK".into(), "mark-of-a-child".into())];
        let argv = vec!["sleep".into(), "60".into()];
        let mut child = Program::start(argv, environment, None).expect("started");
        let pid = child.pid().cast_signed();
        let is_there =
            || descendants(own).iter().any(|it| it.pid == pid && it.command == "sleep 60");
        assert!(eventually(Duration::from_secs(10), is_there), "{:?}", descendants(own));
        assert_eq!(marked("mark-of-a-child").len(), 1);
        assert!(cpu_time(pid).is_some());
        child.kill();
        assert!(!is_there() && marked("mark-of-a-child").is_empty());
        assert_eq!(cpu_time(pid), None);
    }

    #[test]
    fn what_never_becomes_true_is_false_in_the_end() {
        assert!(!eventually(Duration::from_millis(5), || false));
    }
}
