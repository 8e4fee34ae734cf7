//! The dispatcher's socket: one ROUTER for REQ and DEALER peers alike. One task reads it, one writes
//! it, everyone else has a bounded channel.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use zeromq::{SocketSend, ZmqMessage};

use crate::bridge::Stop;
use crate::config::ListenConfig;
use crate::error::{Broken, ListenError, SendError};
use crate::guard::{self, Guard};
use crate::inner::Inners;
use crate::peers::{Peer, Peers};
use crate::zmtp::Kind;

/// How many messages wait to be received, at most; their bytes have a limit of their own.
const INBOX_MESSAGES: usize = 1024;
/// How many messages wait for the task that writes, at most.
const OUTBOX_MESSAGES: usize = 4096;
/// How many of them it takes at once.
const WRITTEN_AT_ONCE: usize = 128;

/// Names one connection of one peer; never used again. A peer that connects again is a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub(crate) u64);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Something from a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A message.
    Message(PeerId, Bytes),
    /// The connection has ended: nothing follows from this peer. Said of those that sent something.
    Gone(PeerId, Broken),
}

/// Something that waits to be received, and the room that it takes meanwhile.
#[derive(Debug)]
pub(crate) struct Arrived {
    incoming: Incoming,
    _room: Option<OwnedSemaphorePermit>,
}

impl Arrived {
    pub(crate) const fn paid(incoming: Incoming, room: OwnedSemaphorePermit) -> Self {
        Self { incoming, _room: Some(room) }
    }

    pub(crate) const fn unpaid(incoming: Incoming) -> Self {
        Self { incoming, _room: None }
    }
}

/// A message on its way to the task that writes.
type Outgoing = (Arc<Peer>, Bytes);

/// A ROUTER behind its guard. When it is dropped, the port is closed, and the peers are cut as soon as
/// they have what was sent to them.
#[derive(Debug)]
pub struct Router {
    address: SocketAddr,
    inbox: mpsc::Receiver<Arrived>,
    sender: RouterSender,
    _closing: DropGuard,
}

/// Sends to the peers of a [`Router`]; clones are cheap.
#[derive(Debug, Clone)]
pub struct RouterSender {
    peers: Arc<Peers>,
    outbox: mpsc::Sender<Outgoing>,
    patience: Duration,
}

impl Router {
    /// Opens the port.
    ///
    /// # Errors
    /// The port cannot be had, must not be opened without a secret, or TLS cannot be set up.
    pub async fn bind(config: ListenConfig) -> Result<Self, ListenError> {
        let limits = config.limits;
        let closing = CancellationToken::new();
        let peers = Arc::new(Peers::new(limits, closing.clone()));
        let (to_inbox, inbox) = mpsc::channel(INBOX_MESSAGES);
        let (outbox, from_outbox) = mpsc::channel(OUTBOX_MESSAGES);

        let inners = Inners::start(&limits, to_inbox.clone(), closing.clone()).await?;
        let guard = Guard::new(&config, peers.clone(), inners, to_inbox)?;
        let listener = guard::listen(&config).await?;
        let address = listener
            .local_addr()
            .map_err(|error| ListenError::Bind(config.endpoint.clone(), error))?;
        tokio::spawn(write(from_outbox, closing.clone()));
        tokio::spawn(Arc::new(guard).serve(listener));
        let sender = RouterSender { peers, outbox, patience: limits.send };
        let _closing = closing.drop_guard();
        Ok(Self { address, inbox, sender, _closing })
    }

    /// The address that it listens on, with the port that the system chose for port 0.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A sender for this router.
    #[must_use]
    pub fn sender(&self) -> RouterSender {
        self.sender.clone()
    }

    /// Waits for the next message, or the end of a peer. Cancel safe. `None` once the socket has
    /// failed, which nothing in the network can cause.
    pub async fn recv(&mut self) -> Option<Incoming> {
        self.inbox.recv().await.map(|arrived| arrived.incoming)
    }
}

impl RouterSender {
    /// Sends `message` to `peer`, in the form that its kind of socket expects. Never waits. Success
    /// means that it is queued here; only the peer's own word says more.
    ///
    /// # Errors
    /// The peer is gone, its queue is full, or the message is too long. Other peers do not matter.
    pub fn try_send(&self, peer: PeerId, message: Bytes) -> Result<(), SendError> {
        let peer = self.peers.find(peer)?;
        peer.queue.try_take(message.len())?;
        self.outbox.try_send((peer, message)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full((peer, message)) => {
                peer.queue.give(1, message.len());
                SendError::Full
            }
            mpsc::error::TrySendError::Closed(_) => SendError::Gone,
        })
    }

    /// Like `try_send`, but waits for room in the peer's queue for as long as `Limits::send` allows.
    ///
    /// # Errors
    /// As `try_send`; `Full` after the deadline.
    pub async fn send(&self, peer: PeerId, message: Bytes) -> Result<(), SendError> {
        let peer = self.peers.find(peer)?;
        let length = message.len();
        let room = timeout(self.patience, peer.queue.take(length));
        room.await.map_err(|_| SendError::Full)??;
        let Ok(place) = timeout(self.patience, self.outbox.reserve()).await else {
            peer.queue.give(1, length);
            return Err(SendError::Full);
        };
        let place = place.map_err(|_| SendError::Gone)?;
        place.send((peer, message));
        Ok(())
    }

    /// Lets a peer stay, and send messages of full length: to be called once it has shown who it is.
    ///
    /// # Errors
    /// `Gone` where it has left; `Full` where there are as many peers as there may be.
    pub fn admit(&self, peer: PeerId) -> Result<(), SendError> {
        self.peers.admit(peer)
    }

    /// Ends a peer's connection, after what waits for it has been sent or `Limits::send` has passed.
    /// What it had sent before may still be received, then `Gone`.
    pub fn disconnect(&self, peer: PeerId) {
        if let Ok(peer) = self.peers.find(peer) {
            peer.end(Broken::Ended, Stop::Gently);
        }
    }

    /// How many peers are connected, admitted or not.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        self.peers.count()
    }
}

/// The task that writes. Never waits for a peer: no queue of the zeromq crate is ever full.
async fn write(mut outbox: mpsc::Receiver<Outgoing>, closing: CancellationToken) {
    let mut batch = Vec::with_capacity(WRITTEN_AT_ONCE);
    loop {
        tokio::select! {
            taken = outbox.recv_many(&mut batch, WRITTEN_AT_ONCE) => if taken == 0 { return },
            // What is queued already is still written.
            () = closing.cancelled(), if !outbox.is_closed() => outbox.close(),
        }
        for (peer, message) in batch.drain(..) {
            let mut frames = vec![peer.identity.clone()];
            let Some((kind, inner)) = peer.introduced.get() else { continue };
            if *kind == Kind::Req {
                frames.push(Bytes::new());
            }
            frames.push(message);
            let Ok(message) = ZmqMessage::try_from(frames) else { continue };
            if let Err(error) = inner.send_half().send(message).await {
                tracing::debug!(peer = %peer.id, %error, "a message found its peer gone");
            }
        }
    }
}
