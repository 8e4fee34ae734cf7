//! Whether the store refuses requests, for the log: one line at the start of an outage and one at its end, whatever is
//! answered in between.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long nothing may have been refused before an outage counts as over. A store whose memory is nearly full refuses
/// some writes and takes others.
const SETTLED: Duration = Duration::from_secs(5);

/// What the store did not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreFault {
    /// Answer.
    Silent,
    /// Take a write, although it answers.
    RefusedWrite,
    /// Have a write on as many replicas as it should.
    Unconfirmed,
}

/// Whether there is an outage.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    is_on: AtomicBool,
    last: Mutex<Option<(StoreFault, Instant)>>,
}

impl Outage {
    /// The store did not do something. Returns whether that is new.
    pub(crate) fn failed(&self, fault: StoreFault, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = last.is_none_or(|(before, _)| before != fault);
        *last = Some((fault, now));
        self.is_on.store(true, Ordering::Relaxed);
        is_new
    }

    /// The store did what a request asked for, a write among it where it `wrote`. Returns whether that ends an outage.
    pub(crate) fn succeeded(&self, wrote: bool, now: Instant) -> bool {
        if !self.is_on.load(Ordering::Relaxed) {
            return false;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((fault, at)) = *last else { return false };
        // Reading shows nothing about writing.
        let shows_it = wrote || fault == StoreFault::Silent;
        let is_over = shows_it && now.saturating_duration_since(at) >= SETTLED;
        if is_over {
            *last = None;
            self.is_on.store(false, Ordering::Relaxed);
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_at_its_start_and_once_at_its_end() {
        let (outage, start) = (Outage::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!outage.succeeded(true, at(0)));
        assert!(outage.failed(StoreFault::RefusedWrite, at(1)));
        // A store that is nearly full takes some writes, and it answers all reads.
        assert!(!outage.succeeded(true, at(2)));
        assert!(!outage.failed(StoreFault::RefusedWrite, at(3)));
        assert!(!outage.succeeded(false, at(9)));
        assert!(outage.succeeded(true, at(9)));
        assert!(!outage.succeeded(true, at(9)));
        assert!(outage.failed(StoreFault::Silent, at(10)));
        assert!(outage.failed(StoreFault::RefusedWrite, at(11)), "it is another outage");
        assert!(outage.failed(StoreFault::Silent, at(12)));
        assert!(!outage.succeeded(false, at(16)) && outage.succeeded(false, at(17)));
    }
}
