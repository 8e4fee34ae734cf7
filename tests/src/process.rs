//! The process table, read from `/proc`.

use std::fs;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rustix::process::{Pid, Signal, kill_process};

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

/// Every process that is no zombie.
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
    // The name in parentheses may hold anything; the fields begin behind the last one.
    Some(stat.get(stat.rfind(')')? + 2..)?.to_owned())
}

/// The processes below `pid`, however deep.
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

/// Kills a process, which may be gone.
pub fn kill(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether `condition` comes true within `timeout`; for what no event tells.
#[must_use]
pub fn eventually(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + timeout;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The processor time that a process has used, user and system, in steps of 10 ms; `None` where it is
/// gone.
#[must_use]
pub fn cpu_time(pid: i32) -> Option<Duration> {
    let stat = stat(pid)?;
    let mut ticks = stat.split(' ').skip(11).map(str::parse::<u64>);
    Some(Duration::from_millis((ticks.next()?.ok()? + ticks.next()?.ok()?) * 10))
}

/// A `redis-server` that nobody uses. It wakes ten times a second; what that costs says how dear waking
/// is on this machine: 0.2 % of a processor on one at ease, five times that on a crowded one.
#[derive(Debug)]
pub struct Idler {
    child: std::process::Child,
    _directory: tempfile::TempDir,
}

impl Idler {
    /// Starts it, and waits until it has nothing to do any more.
    ///
    /// # Errors
    /// There is no `redis-server`, or it does not start.
    pub fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut command = std::process::Command::new("redis-server");
        command
            .args(["--port", "0", "--save", "", "--unixsocket", "redis.sock"])
            .current_dir(directory.path());
        let child = command.stdout(std::process::Stdio::null()).spawn()?;
        let socket = directory.path().join("redis.sock");
        let idler = Self { child, _directory: directory };
        // Its start is no idleness: it would make a dear process look cheap beside it.
        let is_up = || UnixStream::connect(&socket).is_ok();
        ensure!(eventually(Duration::from_secs(10), is_up), "redis-server does not start");
        Ok(idler)
    }

    /// The processor time that it has used.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Duration> {
        cpu_time(self.child.id().cast_signed())
    }
}

impl Drop for Idler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
