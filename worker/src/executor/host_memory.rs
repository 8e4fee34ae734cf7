//! Memory of a sandbox's process that is not its guest's: limited, and watched between calls, from outside.
//!
//! The sandbox itself holds the guest to its linear memory. What the host functions keep on behalf of a guest
//! is memory too. The process cannot undo this limit: it may not ask for one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use belljar_core::grants::DEFAULT_SCRATCH_MB;
use belljar_core::limits::{SANDBOX_HOST_BYTES, WARM_ADDRESS_BYTES};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// A process that holds this much more than at its start is replaced before its next call.
const KEPT_BYTES: u64 = 256 << 20;
/// What a process holds is looked at before every so many calls, and after each that had more scratch space than
/// the default.
const CALLS_PER_LOOK: u64 = 16;

/// The memory of one process.
#[derive(Debug)]
pub(super) struct HostMemory {
    pid: Pid,
    /// `/proc/PID/statm`, kept open.
    statm: File,
    at_start: Sizes,
    /// What the process is limited to beyond that.
    limit_mb: Option<u64>,
    had_scratch: bool,
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    resident: u64,
    /// Writable memory that is not shared, used or not: what the kernel limits as `RLIMIT_DATA`.
    data: u64,
}

impl HostMemory {
    /// Of a process that has just started.
    pub(super) fn of(pid: Pid) -> io::Result<Self> {
        let statm = File::open(format!("/proc/{}/statm", pid.as_raw_nonzero()))?;
        let at_start = Sizes::read(&statm)?;
        Ok(Self { pid, statm, at_start, limit_mb: None, had_scratch: false })
    }

    /// Limits the process for a call. No system call where the last one had the same limits.
    pub(super) fn limit(&mut self, memory_mb: u32, scratch_mb: u32) {
        self.had_scratch = scratch_mb > DEFAULT_SCRATCH_MB;
        // Twice: a result is copied out of the guest before its length is looked at.
        let limit_mb = 2 * u64::from(memory_mb) + u64::from(scratch_mb);
        if self.limit_mb == Some(limit_mb) {
            return;
        }
        self.limit_mb = Some(limit_mb);
        let maximum = getrlimit(Resource::Data).maximum;
        let bytes = self.at_start.data + (limit_mb << 20) + SANDBOX_HOST_BYTES + WARM_ADDRESS_BYTES;
        let current = Some(maximum.map_or(bytes, |maximum| bytes.min(maximum)));
        // A process that has died meanwhile is found out by the call.
        let _ = prlimit(Some(self.pid), Resource::Data, Rlimit { current, maximum });
    }

    /// Whether the process should be replaced before its next call, its `calls`th.
    pub(super) fn has_grown(&self, calls: u64) -> bool {
        (self.had_scratch || calls.is_multiple_of(CALLS_PER_LOOK))
            && Sizes::read(&self.statm)
                .is_ok_and(|now| now.resident > self.at_start.resident + KEPT_BYTES)
    }
}

impl Sizes {
    fn read(statm: &File) -> io::Result<Self> {
        let mut text = [0; 128];
        let length = statm.read_at(&mut text, 0)?;
        let text = str::from_utf8(&text[..length]).map_err(io::Error::other)?;
        let page_bytes = rustix::param::page_size() as u64;
        let fields: Vec<u64> = text
            .split_ascii_whitespace()
            .map(|word| word.parse::<u64>().unwrap_or(0) * page_bytes)
            .collect();
        match fields[..] {
            [_, resident, _, _, _, data, ..] => Ok(Self { resident, data }),
            _ => Err(io::Error::other("/proc/PID/statm has too few fields")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_start_twice_the_call_and_the_constant() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = Pid::from_child(&child);
        let mut memory = HostMemory::of(pid).expect("it runs");
        let limit = |memory: &mut HostMemory, memory_mb, scratch_mb| {
            memory.limit(memory_mb, scratch_mb);
            let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id()));
            let limits = limits.expect("it runs");
            let data = limits.lines().find_map(|line| line.strip_prefix("Max data size"));
            let soft = data.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            soft.expect("a number")
        };
        let base = memory.at_start.data + SANDBOX_HOST_BYTES + WARM_ADDRESS_BYTES;
        assert_eq!(limit(&mut memory, 100, 0), base + (200 << 20));
        assert_eq!(limit(&mut memory, 200, 8), base + (408 << 20));
        assert_eq!(limit(&mut memory, 100, 0), base + (200 << 20), "and less again");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    #[test]
    fn growth_is_seen() {
        let mut memory = HostMemory::of(rustix::process::getpid()).expect("this process runs");
        assert!(!memory.has_grown(0));
        let held = vec![1_u8; usize::try_from(KEPT_BYTES).expect("fits") + (32 << 20)];
        assert!(memory.has_grown(CALLS_PER_LOOK));
        assert!(!memory.has_grown(CALLS_PER_LOOK + 1), "not looked at");
        memory.had_scratch = true;
        assert!(memory.has_grown(CALLS_PER_LOOK + 1));
        drop(held);
        assert!(!memory.has_grown(0));
    }
}
