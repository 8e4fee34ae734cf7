//! The way to one worker: what differs between push and pull.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use belljar_core::invocation::Invocation;
use belljar_core::task::TaskAttempt;
use belljar_wire::PeerId;

/// The largest number of calls at once that is accepted from a worker.
pub(crate) const MAX_AT_ONCE: u32 = 65_536;

/// Where the next message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outlet {
    /// The connection.
    pub(crate) peer: PeerId,
    /// Whether the worker must get a message now, even an empty one.
    pub(crate) is_due: bool,
    /// How many tasks fit.
    pub(crate) max_tasks: usize,
}

/// The connections of one worker.
pub(crate) trait WorkerLink: Debug + Send {
    /// The connections, the oldest first.
    fn peers(&self) -> Vec<PeerId>;

    /// Whether there is a connection.
    fn is_connected(&self) -> bool;

    /// The connections that must go before another is attached.
    fn surplus(&self) -> Vec<PeerId>;

    /// Adds a connection.
    fn attach(&mut self, peer: PeerId, now: Instant);

    /// Removes a connection. Returns the attempts in its last message, if the worker has not confirmed
    /// that message; `None` if there is no such connection.
    fn detach(&mut self, peer: PeerId) -> Option<Vec<TaskAttempt>>;

    /// A message has come in on this connection, so the last one has arrived.
    fn confirm(&mut self, peer: PeerId);

    /// Whether the worker can report without a message of ours first.
    fn can_report(&self) -> bool;

    /// Whether the worker waits for a last message before it leaves.
    fn expects_farewell(&self) -> bool;

    /// Time has passed. Returns whether a message is due.
    fn tick(&mut self, heartbeat: Duration, now: Instant) -> bool;

    /// Where the next message can go, if anywhere.
    fn outlet(&self, heartbeat: Duration, now: Instant) -> Option<Outlet>;

    /// A message with these tasks goes out on this connection.
    fn on_sent(&mut self, peer: PeerId, tasks: &[Invocation], now: Instant);
}
