//! One connection of a worker, and the reply that a REQ socket on it waits for.

use std::time::{Duration, Instant};

use belljar_core::task::TaskAttempt;
use belljar_wire::PeerId;

/// One connection of a worker.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) peer: PeerId,
    pub(crate) reply: Reply,
    /// The tasks in the last reply, until the next request shows that it has arrived.
    pub(crate) unconfirmed: Vec<TaskAttempt>,
}

/// What a REQ socket waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// For nothing: it is the worker's turn.
    None,
    /// For whatever comes up; since then.
    Waits(Instant),
    /// For an answer, be it that there is nothing.
    Now,
}

impl Line {
    pub(crate) const fn new(peer: PeerId) -> Self {
        Self { peer, reply: Reply::None, unconfirmed: Vec::new() }
    }

    /// A wait that is over gets its answer.
    pub(crate) fn hurry(&mut self, patience: Duration, now: Instant) -> Option<()> {
        let late = matches!(self.reply, Reply::Waits(since) if now - since >= patience);
        late.then(|| self.reply = Reply::Now)
    }
}
