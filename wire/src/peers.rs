//! The peers of a router: which are connected, which are admitted, and what is queued for each.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::PeerLimits;
use crate::error::{ConnectionError, SendError};
use crate::incoming::PeerId;
use crate::proxy::{ProxyOwner, Shutdown};
use crate::send_quota::SendQuota;
use crate::zmq_socket::ZmqSocket;
use crate::zmtp::SocketType;

/// One connection of one peer, from the moment it is accepted.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    /// Its ZeroMQ identity.
    pub(crate) identity: Bytes,
    /// Its type, and the socket that it is registered with, once the handshake is done.
    pub(crate) registered: OnceLock<(SocketType, Arc<ZmqSocket>)>,
    pub(crate) quota: SendQuota,
    limits: PeerLimits,
    admitted: AtomicBool,
    has_sent: AtomicBool,
    reason: OnceLock<ConnectionError>,
    shutdown: watch::Sender<Option<Shutdown>>,
    closing: CancellationToken,
}

impl Peer {
    pub(crate) fn is_admitted(&self) -> bool {
        self.admitted.load(Ordering::Relaxed)
    }

    /// Whether it ever sent a message, so that the layer above knows it.
    pub(crate) fn has_sent(&self) -> bool {
        self.has_sent.load(Ordering::Relaxed)
    }

    /// Why it ended. The first reason counts.
    pub(crate) fn reason(&self) -> ConnectionError {
        self.reason.get().cloned().unwrap_or(ConnectionError::ClosedLocally)
    }

    pub(crate) fn disconnect(&self, reason: ConnectionError, shutdown: Shutdown) {
        let _ = self.reason.set(reason);
        self.shutdown.send_replace(Some(shutdown));
    }
}

impl ProxyOwner for Peer {
    fn inbound_limit(&self) -> usize {
        let limits = &self.limits;
        if self.is_admitted() { limits.message_bytes } else { limits.first_message_bytes }
    }

    fn outbound_limit(&self) -> usize {
        self.limits.message_bytes
    }

    fn on_received(&self) {
        self.has_sent.store(true, Ordering::Relaxed);
    }

    fn quota(&self) -> &SendQuota {
        &self.quota
    }

    fn on_net_closed(&self, reason: ConnectionError) {
        let _ = self.reason.set(reason);
        self.quota.close();
    }

    async fn shutdown_requested(&self) -> Shutdown {
        let mut shutdown = self.shutdown.subscribe();
        tokio::select! {
            shutdown = shutdown.wait_for(Option::is_some) => {
                shutdown.ok().and_then(|shutdown| *shutdown).unwrap_or(Shutdown::Immediate)
            }
            () = self.closing.cancelled() => Shutdown::Graceful,
        }
    }

    async fn reader_dropped(&self) {
        self.closing.cancelled().await;
    }
}

/// The peers of a router.
#[derive(Debug)]
pub(crate) struct Peers {
    limits: PeerLimits,
    next: AtomicU64,
    // Locked for one look-up at a time, never across an await.
    table: Mutex<Table>,
    pub(crate) closing: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    all: HashMap<PeerId, Arc<Peer>>,
    /// Peers that are not admitted yet, the oldest first.
    pending: BTreeSet<PeerId>,
}

/// An entry in [`Peers`], removed on drop.
#[derive(Debug)]
pub(crate) struct PeerGuard {
    peers: Arc<Peers>,
    pub(crate) peer: Arc<Peer>,
}

impl Drop for PeerGuard {
    fn drop(&mut self) {
        let mut table = self.peers.table();
        table.all.remove(&self.peer.id);
        table.pending.remove(&self.peer.id);
        drop(table);
        self.peer.quota.close();
    }
}

impl Peers {
    pub(crate) fn new(limits: PeerLimits, closing: CancellationToken) -> Self {
        Self { limits, next: AtomicU64::new(1), table: Mutex::default(), closing }
    }

    /// Adds a new connection. With too many pending peers it disconnects the oldest of them: an
    /// honest one is admitted within milliseconds, so that a flood mostly displaces itself.
    pub(crate) fn add(self: &Arc<Self>) -> PeerGuard {
        let id = PeerId(self.next.fetch_add(1, Ordering::Relaxed));
        let peer = Arc::new(Peer {
            id,
            identity: Bytes::copy_from_slice(&id.0.to_be_bytes()),
            registered: OnceLock::new(),
            quota: SendQuota::new(&self.limits),
            limits: self.limits,
            admitted: AtomicBool::new(false),
            has_sent: AtomicBool::new(false),
            reason: OnceLock::new(),
            shutdown: watch::Sender::new(None),
            closing: self.closing.clone(),
        });
        let mut table = self.table();
        table.all.insert(id, peer.clone());
        table.pending.insert(id);
        let is_full = table.pending.len() > self.limits.pending_peers;
        drop(table);
        if is_full {
            self.disconnect_oldest_pending();
        }
        PeerGuard { peers: self.clone(), peer }
    }

    /// Frees a descriptor and an entry.
    pub(crate) fn disconnect_oldest_pending(&self) {
        let mut table = self.table();
        let oldest = table.pending.pop_first().and_then(|id| table.all.get(&id).cloned());
        drop(table);
        if let Some(peer) = oldest {
            peer.disconnect(ConnectionError::NotAdmitted, Shutdown::Immediate);
        }
    }

    pub(crate) fn find(&self, id: PeerId) -> Result<Arc<Peer>, SendError> {
        self.table().all.get(&id).cloned().ok_or(SendError::Disconnected)
    }

    pub(crate) fn admit(&self, id: PeerId) -> Result<(), SendError> {
        let mut table = self.table();
        let peer = table.all.get(&id).cloned().ok_or(SendError::Disconnected)?;
        if peer.is_admitted() {
            return Ok(());
        }
        // Peers that are disconnecting are in neither group. Counting them as admitted is safe.
        if table.all.len() - table.pending.len() >= self.limits.peers {
            return Err(SendError::Full);
        }
        if !table.pending.remove(&id) {
            return Err(SendError::Disconnected);
        }
        peer.admitted.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.table().all.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code under the lock panics halfway through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
