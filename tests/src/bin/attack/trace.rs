//! What paths the sandbox processes pass to the kernel.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belljar_testkit::process;

/// `strace` beside the worker and all that it starts from now on.
pub(crate) struct Trace {
    strace: Child,
    file: tempfile::NamedTempFile,
}

/// Starts it beside the process `pid`, whose children start anew.
pub(crate) fn trace(pid: i32) -> Result<Trace> {
    let file = tempfile::NamedTempFile::new()?;
    let mut strace = Command::new("strace");
    // The sandbox processes that run now are killed, so that each is seen from its start.
    strace.args(["-f", "-qq", "-s", "256", "-e", "trace=%file,seccomp,execve", "-o"]);
    strace.arg(file.path()).args(["-p", &pid.to_string()]).stderr(Stdio::null());
    let strace = strace.spawn().context("strace: apt-get install strace")?;
    std::thread::sleep(Duration::from_millis(500));
    let old = process::descendants(pid);
    old.iter().for_each(|child| process::kill(child.pid, rustix::process::Signal::KILL));
    let gone = process::eventually(Duration::from_secs(30), || {
        let children = process::descendants(pid);
        children.iter().all(|child| old.iter().all(|old| old.pid != child.pid))
    });
    ensure!(gone, "the sandbox processes do not die");
    Ok(Trace { strace, file })
}

impl Trace {
    /// What the sandbox processes did once they were hardened.
    pub(crate) fn finish(mut self) -> Result<String> {
        let pid = rustix::process::Pid::from_child(&self.strace);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        self.strace.wait()?;
        check(self.file.path())
    }
}

/// Checks that every file that a hardened process names is opened beneath an open directory or refused. The
/// standard library and the allocator ask for files about the system, which are refused.
fn check(log: &Path) -> Result<String> {
    let log = std::fs::read_to_string(log)?;
    // The thread that applies the filter is the one that runs the guest.
    let (mut filtered, mut unfinished) = (HashSet::new(), HashMap::new());
    let (mut processes, mut beneath, mut by_descriptor, mut refused) = (0, 0, 0, 0);
    let mut beyond = Vec::new();
    for line in log.lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let mut call = call.trim_start().to_owned();
        if let Some(begin) = call.strip_suffix("<unfinished ...>") {
            unfinished.insert(pid, begin.to_owned());
            continue;
        }
        if call.starts_with("<... ") {
            let end = call.split_once(" resumed>").map_or("", |(_, end)| end);
            call = unfinished.remove(pid).unwrap_or_default() + end;
        }
        if call.starts_with("execve(") {
            filtered.remove(pid);
        } else if call.starts_with("seccomp(") {
            processes += 1;
            filtered.insert(pid);
        } else if filtered.contains(pid) && !call.starts_with(['+', '-']) {
            if call.contains(" = -1 ") {
                refused += 1;
            } else if call.starts_with("openat2(") && call.contains("RESOLVE_BENEATH") {
                beneath += 1;
            } else if call.contains(", \"\", ") {
                by_descriptor += 1;
            } else {
                beyond.push(call);
            }
        }
    }
    ensure!(beyond.is_empty(), "outside the granted directories:\n{}", beyond.join("\n"));
    ensure!(beneath > 0, "strace saw no sandbox open a file: {} lines", log.lines().count());
    Ok(format!(
        "{processes} hardened processes; {beneath} files opened beneath granted directories, \
         {by_descriptor} read by descriptor, {refused} refused, 0 otherwise"
    ))
}
