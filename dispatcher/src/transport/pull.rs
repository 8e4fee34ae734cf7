//! Pull: up to two connections on which the worker asks and the dispatcher replies.

use std::time::{Duration, Instant};

use belljar_core::invocation::Invocation;
use belljar_core::task::TaskAttempt;
use belljar_wire::PeerId;

use super::link::{MAX_AT_ONCE, Outlet, WorkerLink};

/// One waits for tasks while results travel on the other.
const MAX_CONNECTIONS: usize = 2;

/// The connections of a pull worker, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct PullLink {
    connections: Vec<Connection>,
    /// How many more tasks the worker takes.
    free: usize,
}

/// One REQ connection.
#[derive(Debug)]
struct Connection {
    peer: PeerId,
    turn: Turn,
    /// The tasks in the last reply, until the next request shows that it has arrived.
    unconfirmed: Vec<TaskAttempt>,
}

/// Whose turn it is on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The worker's: it has the reply to its last request.
    Worker,
    /// Ours: the worker waits for tasks since then.
    WaitsSince(Instant),
    /// Ours: the worker must get a reply now, even an empty one.
    ReplyDue,
}

impl PullLink {
    /// A request has come in on this connection: for up to `free` tasks, or only for a reply.
    pub(crate) fn on_request(&mut self, peer: PeerId, free: Option<u32>, now: Instant) {
        let turn = if free.is_some() { Turn::WaitsSince(now) } else { Turn::ReplyDue };
        if let Some(connection) = self.find(peer) {
            connection.turn = turn;
        }
        if let Some(free) = free {
            self.free = free.min(MAX_AT_ONCE) as usize;
        }
    }

    /// How many more tasks the worker takes.
    pub(crate) const fn free(&self) -> usize {
        self.free
    }

    /// Replies to the request that has waited longest.
    pub(crate) fn reply_to_oldest(&mut self) {
        if let Some(at) = self.longest_waiting() {
            self.connections[at].turn = Turn::ReplyDue;
        }
    }

    /// Replies to every request.
    pub(crate) fn reply_to_all(&mut self) {
        for connection in &mut self.connections {
            if matches!(connection.turn, Turn::WaitsSince(_)) {
                connection.turn = Turn::ReplyDue;
            }
        }
    }

    fn find(&mut self, peer: PeerId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.peer == peer)
    }

    fn longest_waiting(&self) -> Option<usize> {
        let connections = self.connections.iter().enumerate();
        let waits = connections.filter_map(|(at, connection)| match connection.turn {
            Turn::WaitsSince(since) => Some((since, at)),
            Turn::Worker | Turn::ReplyDue => None,
        });
        waits.min().map(|(_, at)| at)
    }
}

impl WorkerLink for PullLink {
    fn peers(&self) -> Vec<PeerId> {
        self.connections.iter().map(|connection| connection.peer).collect()
    }

    fn is_connected(&self) -> bool {
        !self.connections.is_empty()
    }

    fn surplus(&self) -> Vec<PeerId> {
        let count = (self.connections.len() + 1).saturating_sub(MAX_CONNECTIONS);
        self.connections.iter().take(count).map(|connection| connection.peer).collect()
    }

    fn attach(&mut self, peer: PeerId, _: Instant) {
        self.connections.push(Connection { peer, turn: Turn::Worker, unconfirmed: Vec::new() });
    }

    fn detach(&mut self, peer: PeerId) -> Option<Vec<TaskAttempt>> {
        let at = self.connections.iter().position(|connection| connection.peer == peer)?;
        Some(self.connections.remove(at).unconfirmed)
    }

    fn confirm(&mut self, peer: PeerId) {
        if let Some(connection) = self.find(peer) {
            connection.unconfirmed.clear();
        }
    }

    fn can_report(&self) -> bool {
        self.connections.iter().any(|connection| connection.turn == Turn::Worker)
    }

    fn expects_farewell(&self) -> bool {
        true
    }

    fn tick(&mut self, heartbeat: Duration, now: Instant) -> bool {
        let mut is_due = false;
        for connection in &mut self.connections {
            if matches!(connection.turn, Turn::WaitsSince(since) if now - since >= heartbeat) {
                connection.turn = Turn::ReplyDue;
                is_due = true;
            }
        }
        is_due
    }

    fn outlet(&self, _: Duration, _: Instant) -> Option<Outlet> {
        let due = self.connections.iter().position(|it| it.turn == Turn::ReplyDue);
        let at = due.or_else(|| self.longest_waiting())?;
        let Connection { peer, turn, .. } = self.connections[at];
        Some(Outlet { peer, is_due: turn == Turn::ReplyDue, max_tasks: self.free })
    }

    fn on_sent(&mut self, peer: PeerId, tasks: &[Invocation], _: Instant) {
        self.free = self.free.saturating_sub(tasks.len());
        if let Some(connection) = self.find(peer) {
            connection.turn = Turn::Worker;
            connection.unconfirmed = tasks.iter().map(|invocation| invocation.task).collect();
        }
    }
}
