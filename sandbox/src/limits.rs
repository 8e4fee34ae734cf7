//! What one call may use, and the account of it.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// What one call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory in bytes: the started interpreter, some 40 MiB, included. A limit below what the
    /// interpreter needs for its own is raised to that.
    pub memory_bytes: usize,
    /// Wall-clock time. Only an engine of the [`Epoch`](crate::Flavour::Epoch) flavour enforces it.
    pub time: Option<Duration>,
}

impl Default for Limits {
    /// 256 MiB, no deadline.
    fn default() -> Self {
        Self { memory_bytes: 256 << 20, time: None }
    }
}

/// Elements that a table may grow to; the guest has some 4,000 and never grows it.
const TABLE_ELEMENTS: usize = 50_000;

/// Holds one instance to its memory limit.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) memory_limit: usize,
    /// The most memory granted.
    pub(crate) peak: usize,
    /// How often memory was refused.
    pub(crate) refusals: u32,
}

/// Refusals after which a call ends. Python makes a `MemoryError` of the first, which a function may
/// well survive; but one whose heap is full of small objects could grind on at its limit for minutes.
const REFUSALS: u32 = 1000;

impl Account {
    pub(crate) const fn new(memory_limit: usize) -> Self {
        Self { memory_limit, peak: 0, refusals: 0 }
    }
}

impl ResourceLimiter for Account {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory_limit;
        if granted {
            self.peak = self.peak.max(desired);
        } else {
            self.refusals += 1;
            if self.refusals > REFUSALS {
                return Err(wasmtime::Error::msg("the memory limit was reached too often"));
            }
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}
