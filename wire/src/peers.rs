//! Who is connected to a router, whether it was admitted, and what waits for it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bridge::{Stop, Watch};
use crate::config::Limits;
use crate::error::{Broken, SendError};
use crate::inner::Inner;
use crate::queue::Queue;
use crate::router::PeerId;
use crate::zmtp::Kind;

/// One connection of one peer, from the moment it was accepted.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    /// Its name inside the zeromq crate.
    pub(crate) identity: Bytes,
    /// Its kind, and the socket that it was introduced to, once it has shaken hands.
    pub(crate) introduced: OnceLock<(Kind, Arc<Inner>)>,
    pub(crate) queue: Queue,
    limits: Limits,
    admitted: AtomicBool,
    heard: AtomicBool,
    reason: OnceLock<Broken>,
    stop: watch::Sender<Option<Stop>>,
    closing: CancellationToken,
}

impl Peer {
    pub(crate) fn is_admitted(&self) -> bool {
        self.admitted.load(Ordering::Relaxed)
    }

    /// Whether it ever sent a message, so that the layer above knows of it.
    pub(crate) fn was_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// Why it ended; the first reason counts.
    pub(crate) fn reason(&self) -> Broken {
        self.reason.get().cloned().unwrap_or(Broken::Ended)
    }

    pub(crate) fn end(&self, reason: Broken, stop: Stop) {
        let _ = self.reason.set(reason);
        self.stop.send_replace(Some(stop));
    }
}

impl Watch for Peer {
    fn inward_limit(&self) -> usize {
        let limits = &self.limits;
        if self.is_admitted() { limits.message_bytes } else { limits.first_message_bytes }
    }

    fn outward_limit(&self) -> usize {
        self.limits.message_bytes
    }

    fn heard(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn outer_ended(&self, reason: Broken) {
        let _ = self.reason.set(reason);
        self.queue.close();
    }

    async fn stopped(&self) -> Stop {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            stop = stop.wait_for(Option::is_some) => stop.ok().and_then(|stop| *stop).unwrap_or(Stop::Now),
            () = self.closing.cancelled() => Stop::Gently,
        }
    }

    async fn abandoned(&self) {
        self.closing.cancelled().await;
    }
}

/// Everyone connected to a router.
#[derive(Debug)]
pub(crate) struct Peers {
    limits: Limits,
    next: AtomicU64,
    // Held for a look-up at a time, never across an await.
    table: Mutex<Table>,
    pub(crate) closing: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    all: HashMap<PeerId, Arc<Peer>>,
    /// Those not admitted yet, the oldest first.
    strangers: BTreeSet<PeerId>,
}

/// A place in [`Peers`], given up on drop.
#[derive(Debug)]
pub(crate) struct Place {
    peers: Arc<Peers>,
    pub(crate) peer: Arc<Peer>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.peers.table();
        table.all.remove(&self.peer.id);
        table.strangers.remove(&self.peer.id);
        drop(table);
        self.peer.queue.close();
    }
}

impl Peers {
    pub(crate) fn new(limits: Limits, closing: CancellationToken) -> Self {
        Self { limits, next: AtomicU64::new(1), table: Mutex::default(), closing }
    }

    /// A place for a new connection. Where there are too many strangers, the oldest is sent away: an
    /// honest one is admitted within milliseconds, so that a flood mostly displaces itself.
    pub(crate) fn enter(self: &Arc<Self>) -> Place {
        let id = PeerId(self.next.fetch_add(1, Ordering::Relaxed));
        let peer = Arc::new(Peer {
            id,
            identity: Bytes::copy_from_slice(&id.0.to_be_bytes()),
            introduced: OnceLock::new(),
            queue: Queue::new(&self.limits),
            limits: self.limits,
            admitted: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            reason: OnceLock::new(),
            stop: watch::Sender::new(None),
            closing: self.closing.clone(),
        });
        let mut table = self.table();
        table.all.insert(id, peer.clone());
        table.strangers.insert(id);
        let surplus = table.strangers.len() > self.limits.strangers;
        drop(table);
        if surplus {
            self.send_oldest_stranger_away();
        }
        Place { peers: self.clone(), peer }
    }

    /// Makes room where descriptors or places have run out.
    pub(crate) fn send_oldest_stranger_away(&self) {
        let mut table = self.table();
        let oldest = table.strangers.pop_first().and_then(|id| table.all.get(&id).cloned());
        drop(table);
        if let Some(peer) = oldest {
            peer.end(Broken::NotAdmitted, Stop::Now);
        }
    }

    pub(crate) fn find(&self, id: PeerId) -> Result<Arc<Peer>, SendError> {
        self.table().all.get(&id).cloned().ok_or(SendError::Gone)
    }

    pub(crate) fn admit(&self, id: PeerId) -> Result<(), SendError> {
        let mut table = self.table();
        let peer = table.all.get(&id).cloned().ok_or(SendError::Gone)?;
        if peer.is_admitted() {
            return Ok(());
        }
        // Those on their way out are in neither group; counting them as peers errs on the safe side.
        if table.all.len() - table.strangers.len() >= self.limits.peers {
            return Err(SendError::Full);
        }
        if !table.strangers.remove(&id) {
            return Err(SendError::Gone);
        }
        peer.admitted.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.table().all.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing in here can panic halfway through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
