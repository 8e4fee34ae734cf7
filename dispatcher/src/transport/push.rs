//! Push: one connection on which both sides send whenever they like.

use std::time::{Duration, Instant};

use belljar_core::invocation::Invocation;
use belljar_core::task::TaskAttempt;
use belljar_wire::PeerId;

use super::link::{Outlet, WorkerLink};

/// The connection of a push worker.
#[derive(Debug)]
pub(crate) struct PushLink {
    peer: Option<PeerId>,
    last_sent: Instant,
}

impl PushLink {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { peer: None, last_sent: now }
    }
}

impl WorkerLink for PushLink {
    fn peers(&self) -> Vec<PeerId> {
        self.peer.into_iter().collect()
    }

    fn is_connected(&self) -> bool {
        self.peer.is_some()
    }

    fn surplus(&self) -> Vec<PeerId> {
        self.peers()
    }

    fn attach(&mut self, peer: PeerId, now: Instant) {
        (self.peer, self.last_sent) = (Some(peer), now);
    }

    fn detach(&mut self, peer: PeerId) -> Option<Vec<TaskAttempt>> {
        // Without any connection every attempt is in doubt, so none is named here.
        self.peer.take_if(|known| *known == peer).map(|_| Vec::new())
    }

    fn confirm(&mut self, _: PeerId) {}

    fn can_report(&self) -> bool {
        true
    }

    fn expects_farewell(&self) -> bool {
        false
    }

    fn tick(&mut self, heartbeat: Duration, now: Instant) -> bool {
        now - self.last_sent >= heartbeat
    }

    fn outlet(&self, heartbeat: Duration, now: Instant) -> Option<Outlet> {
        let is_due = now - self.last_sent >= heartbeat;
        self.peer.map(|peer| Outlet { peer, is_due, max_tasks: usize::MAX })
    }

    fn on_sent(&mut self, _: PeerId, _: &[Invocation], now: Instant) {
        self.last_sent = now;
    }
}
