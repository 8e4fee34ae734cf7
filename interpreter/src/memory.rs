//! How much memory a call may have and how much it had.
//!
//! The limit is on address space, above what the process has between calls: an allocation beyond it fails
//! and Python raises `MemoryError`, an ordinary exception. It holds during a call only, so that
//! reading its arguments and writing its result cannot fail for it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::sys;

/// Above the highest peak so far and this much below it, the kernel's peak is set back: a small call
/// after a big one is then measured again.
const PEAK_SLACK_BYTES: u64 = 64 << 20;
/// What a call of at most this many bytes adds to the address space before it begins is not counted.
const SMALL_CALL_BYTES: usize = 64 << 10;
/// A child that holds this much more than at its start, after so many calls, or in any case that
/// much, asks to be replaced: something collects in it.
const LEAK_BYTES: u64 = 512 << 20;
const LEAK_CALLS: u64 = 100;
const BIG_LEAK_BYTES: u64 = 2 << 30;

/// Measures and limits the memory of this process.
pub(crate) struct Memory {
    /// `/proc/self/statm`, kept open: one read costs a microsecond.
    statm: File,
    page_bytes: u64,
    /// The hard limit of address space.
    hard_limit: Option<u64>,
    /// The address space at the end of the last call.
    address_space: u64,
    resident_at_start: u64,
    peak: u64,
    /// Processor time up to the end of the last call.
    cpu_us: u64,
    calls: u64,
}

/// Size and resident part of this process.
struct Sizes {
    address_space: u64,
    resident: u64,
}

/// What a call had.
pub(crate) struct Used {
    /// The most memory that the process held, in bytes.
    pub(crate) peak: u64,
    /// Processor time since the call before, in microseconds.
    pub(crate) cpu_us: u64,
    /// Whether so much was kept that the process should be replaced.
    pub(crate) kept: Option<String>,
}

impl Memory {
    /// Takes the present as the baseline.
    pub(crate) fn start(statm: File) -> io::Result<Self> {
        let page_bytes = rustix::param::page_size() as u64;
        let mut memory = Self {
            statm,
            page_bytes,
            hard_limit: getrlimit(Resource::As).maximum,
            address_space: 0,
            resident_at_start: 0,
            peak: 0,
            cpu_us: 0,
            calls: 0,
        };
        let sizes = memory.sizes()?;
        (memory.address_space, memory.resident_at_start) = (sizes.address_space, sizes.resident);
        let used = sys::usage();
        (memory.peak, memory.cpu_us) = (used.max_resident, used.cpu_us);
        Ok(memory)
    }

    fn sizes(&self) -> io::Result<Sizes> {
        let mut text = [0; 128];
        let length = self.statm.read_at(&mut text, 0)?;
        let text = str::from_utf8(&text[..length]).map_err(io::Error::other)?;
        let mut pages = text.split_ascii_whitespace().map(|word| word.parse::<u64>().unwrap_or(0));
        let mut next = || pages.next().unwrap_or(0) * self.page_bytes;
        Ok(Sizes { address_space: next(), resident: next() })
    }

    /// Lets the process have `memory_mb` more than it has now, with a call of so many bytes.
    pub(crate) fn limit(&mut self, memory_mb: u32, call_bytes: usize) -> io::Result<()> {
        // A small call has not changed the address space by much.
        if call_bytes > SMALL_CALL_BYTES {
            self.address_space = self.sizes()?.address_space;
        }
        self.set_address_space(Some(self.address_space + (u64::from(memory_mb) << 20)))
    }

    /// Takes the limit away and says what the call had.
    pub(crate) fn release(&mut self) -> io::Result<Used> {
        self.set_address_space(None)?;
        self.calls += 1;
        let Sizes { address_space, resident } = self.sizes()?;
        self.address_space = address_space;
        let used = sys::usage();
        let (reached, cpu_us) = (used.max_resident, used.cpu_us.saturating_sub(self.cpu_us));
        self.cpu_us = used.cpu_us;
        let peak = if reached > self.peak { reached } else { resident };
        self.peak = self.peak.max(reached);
        if self.peak > resident + PEAK_SLACK_BYTES {
            // "5" sets the peak back to what is resident now.
            let _ = std::fs::write("/proc/self/clear_refs", "5");
            self.peak = sys::usage().max_resident;
        }
        let held = resident.saturating_sub(self.resident_at_start);
        let leaks = held > BIG_LEAK_BYTES || held > LEAK_BYTES && self.calls >= LEAK_CALLS;
        let kept = leaks.then(|| format!("{} MiB of memory", held >> 20));
        Ok(Used { peak, cpu_us, kept })
    }

    /// Sets the soft limit; `None` goes as high as the hard one allows.
    fn set_address_space(&mut self, bytes: Option<u64>) -> io::Result<()> {
        let limited = |maximum: Option<u64>| {
            let current = match (bytes, maximum) {
                (Some(bytes), Some(maximum)) => Some(bytes.min(maximum)),
                (bytes, maximum) => bytes.or(maximum),
            };
            setrlimit(Resource::As, Rlimit { current, maximum })
        };
        if limited(self.hard_limit).is_err() {
            // The function has lowered the hard limit, which only root can raise again.
            self.hard_limit = getrlimit(Resource::As).maximum;
            limited(self.hard_limit)?;
        }
        Ok(())
    }
}
