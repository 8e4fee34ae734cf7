//! How much a worker can take.

/// Where tenants compete, at most so many calls wait behind each slot: one that comes waits for all in front of it, of other tenants too.
const SHARED_AHEAD: usize = 4;

/// A worker, as the registry knows it.
#[derive(Debug)]
pub(crate) struct Worker {
    /// The index of its group.
    pub(crate) group: usize,
    /// How many calls it runs at once.
    pub(crate) slots: usize,
    /// How many calls it takes, as it says.
    pub(crate) wanted: usize,
    /// How many it takes now: fewer, where tenants compete.
    pub(crate) window: usize,
    /// How many it has.
    pub(crate) running: usize,
    /// Its index in its bucket.
    pub(crate) position: usize,
}

impl Worker {
    /// How many more calls it takes.
    pub(crate) fn free(&self) -> usize {
        self.window.saturating_sub(self.running)
    }

    /// How many calls may wait there behind those that run.
    pub(crate) fn ahead(&self) -> usize {
        self.window.saturating_sub(self.slots)
    }

    /// How many calls it could begin at once.
    pub(crate) fn idle(&self) -> usize {
        self.free().min(self.slots.saturating_sub(self.running))
    }

    /// Its room.
    pub(crate) fn room(&self) -> Room {
        let free = self.free();
        Room { has_idle_slot: self.running < self.slots && free > 0, free }
    }
}

/// How much a worker can take. More is better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Room {
    /// Whether a call would begin at once.
    pub(crate) has_idle_slot: bool,
    /// How many more calls it takes.
    pub(crate) free: usize,
}

/// How many calls a worker takes that has so many slots and wants so many calls.
pub(crate) fn window_of(slots: usize, wanted: usize, is_shared: bool) -> usize {
    if is_shared { wanted.min(slots * (1 + SHARED_AHEAD)) } else { wanted }
}
