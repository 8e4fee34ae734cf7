//! Counters and queue lengths.

use belljar_core::task::TaskClass;
use belljar_core::tenant::Tenant;
use serde::{Deserialize, Serialize};

/// What has been accepted and what became of it, counted by the scripts since the store was empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Tasks accepted.
    pub accepted: u64,
    /// Waiting in a queue.
    pub queued: u64,
    /// Held back by their delay.
    pub delayed: u64,
    /// In the hands of dispatchers.
    pub running: u64,
    /// Ended with a value.
    pub completed: u64,
    /// Ended with an exception.
    pub failed: u64,
    /// Ended by cancel.
    pub cancelled: u64,
}

impl Counts {
    /// Whether every accepted task is in exactly one place.
    #[must_use]
    pub const fn is_balanced(&self) -> bool {
        self.accepted
            == self.queued
                + self.delayed
                + self.running
                + self.completed
                + self.failed
                + self.cancelled
    }
}

/// The counters beside what the queues really hold, read in one script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// By the counters.
    pub counts: Counts,
    /// Entries in the queues, leased to no dispatcher.
    pub entries_queued: u64,
    /// Entries that dispatchers hold.
    pub entries_running: u64,
    /// Entries in the set of delayed tasks.
    pub entries_delayed: u64,
}

impl Audit {
    /// Whether the counters balance and agree with the queues.
    #[must_use]
    pub const fn is_consistent(&self) -> bool {
        self.counts.is_balanced()
            && self.counts.queued == self.entries_queued
            && self.counts.running == self.entries_running
            && self.counts.delayed == self.entries_delayed
    }
}

/// Tasks of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantCounts {
    /// Whose they are.
    pub tenant: Tenant,
    /// Accepted since the store was empty.
    pub accepted: u64,
    /// Waiting in queues.
    pub queued: u64,
    /// In the hands of dispatchers.
    pub running: u64,
}

/// Which runtime and Python a queue's length is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLength {
    /// The class of the queue.
    pub class: TaskClass,
    /// Tasks waiting in it.
    pub queued: u64,
}
