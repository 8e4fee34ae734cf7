//! The dispatcher's socket: one ROUTER for both REQ and DEALER peers. One task reads it, one writes
//! it, and all other tasks use a bounded channel.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use zeromq::{SocketSend, ZmqMessage};

use crate::config::ListenConfig;
use crate::error::{ConnectionError, ListenError, SendError};
use crate::incoming::{Incoming, PeerId, Received};
use crate::listener::{self, Listener};
use crate::peers::{Peer, Peers};
use crate::proxy::Shutdown;
use crate::zmq_socket::ZmqSockets;
use crate::zmtp::SocketType;

/// The capacity of the inbox; the bytes in it have a limit of their own.
const INBOX_MESSAGES: usize = 1024;
/// The capacity of the channel to the task that writes.
const OUTBOX_MESSAGES: usize = 4096;
/// How many messages that task takes at once.
const WRITE_BATCH: usize = 128;

/// A message for the task that writes.
type Outgoing = (Arc<Peer>, Bytes);

/// A ROUTER behind a listener. Dropping it closes the port, and disconnects each peer once it has read
/// what was sent to it.
#[derive(Debug)]
pub struct Router {
    address: SocketAddr,
    inbox: mpsc::Receiver<Received>,
    sender: RouterSender,
    connections: TaskTracker,
    closing: DropGuard,
}

/// Sends to the peers of a [`Router`]; clones are cheap.
#[derive(Debug, Clone)]
pub struct RouterSender {
    peers: Arc<Peers>,
    outbox: mpsc::Sender<Outgoing>,
    send_timeout: Duration,
}

impl Router {
    /// Opens the port.
    ///
    /// # Errors
    /// The port cannot be opened, is exposed without a secret, or TLS cannot be set up.
    pub async fn bind(config: ListenConfig) -> Result<Self, ListenError> {
        let limits = config.limits;
        let closing = CancellationToken::new();
        let peers = Arc::new(Peers::new(limits, closing.clone()));
        let (to_inbox, inbox) = mpsc::channel(INBOX_MESSAGES);
        let (outbox, from_outbox) = mpsc::channel(OUTBOX_MESSAGES);

        let zmq_sockets = ZmqSockets::start(&limits, to_inbox.clone(), closing.clone()).await?;
        let listener = Listener::new(&config, peers.clone(), zmq_sockets, to_inbox)?;
        let connections = listener.connections.clone();
        let tcp = listener::listen(&config).await?;
        let address =
            tcp.local_addr().map_err(|error| ListenError::Bind(config.endpoint.clone(), error))?;
        tokio::spawn(write(from_outbox, closing.clone()));
        tokio::spawn(Arc::new(listener).serve(tcp));
        let sender = RouterSender { peers, outbox, send_timeout: limits.send };
        Ok(Self { address, inbox, sender, connections, closing: closing.drop_guard() })
    }

    /// The address that it listens on, with the real port instead of port 0.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A sender for this router.
    #[must_use]
    pub fn sender(&self) -> RouterSender {
        self.sender.clone()
    }

    /// Waits for the next message, or the disconnect of a peer. Cancel safe. Returns `None` once the
    /// socket has failed, which no peer can cause.
    pub async fn recv(&mut self) -> Option<Incoming> {
        self.inbox.recv().await.map(|received| received.incoming)
    }

    /// Closes the port and waits until each peer is disconnected: once what is queued for it is sent
    /// and the peer has closed its side, or `PeerLimits::send` has passed. Dropping the router does the
    /// same without waiting.
    pub async fn close(self) {
        let Self { inbox, connections, closing, .. } = self;
        // Nobody reads it any more, and a full one would block the connections.
        drop(inbox);
        drop(closing);
        connections.close();
        connections.wait().await;
    }
}

impl RouterSender {
    /// Sends `message` to `peer`, in the form that its socket type expects. Never waits. Success means
    /// that the message is queued; only an answer of the peer shows that it arrived.
    ///
    /// # Errors
    /// The peer is disconnected, its queue is full, or the message is too long. Other peers have no
    /// influence.
    pub fn try_send(&self, peer: PeerId, message: Bytes) -> Result<(), SendError> {
        let peer = self.peers.find(peer)?;
        peer.quota.try_reserve(message.len())?;
        self.outbox.try_send((peer, message)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full((peer, message)) => {
                peer.quota.release(1, message.len());
                SendError::Full
            }
            mpsc::error::TrySendError::Closed(_) => SendError::Disconnected,
        })
    }

    /// Like `try_send`, but waits up to `PeerLimits::send` for room in the peer's queue.
    ///
    /// # Errors
    /// Like `try_send`; `Full` after the deadline.
    pub async fn send(&self, peer: PeerId, message: Bytes) -> Result<(), SendError> {
        let peer = self.peers.find(peer)?;
        let length = message.len();
        let reserved = timeout(self.send_timeout, peer.quota.reserve(length));
        reserved.await.map_err(|_| SendError::Full)??;
        let Ok(permit) = timeout(self.send_timeout, self.outbox.reserve()).await else {
            peer.quota.release(1, length);
            return Err(SendError::Full);
        };
        let permit = permit.map_err(|_| SendError::Disconnected)?;
        permit.send((peer, message));
        Ok(())
    }

    /// Lets a peer stay and send messages of full length. Call it once the peer is authenticated.
    ///
    /// # Errors
    /// `Disconnected` if it has left; `Full` if the maximum number of peers is admitted.
    pub fn admit(&self, peer: PeerId) -> Result<(), SendError> {
        self.peers.admit(peer)
    }

    /// Closes a peer's connection, once its queue is sent or `PeerLimits::send` has passed. What it had
    /// sent before may still be received, then `Disconnected`.
    pub fn disconnect(&self, peer: PeerId) {
        if let Ok(peer) = self.peers.find(peer) {
            peer.disconnect(ConnectionError::ClosedLocally, Shutdown::Graceful);
        }
    }

    /// How many peers are connected, admitted or not.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        self.peers.count()
    }
}

/// The task that writes. It never waits for a peer: no queue of the zeromq crate is ever full.
async fn write(mut outbox: mpsc::Receiver<Outgoing>, closing: CancellationToken) {
    let mut batch = Vec::with_capacity(WRITE_BATCH);
    loop {
        tokio::select! {
            taken = outbox.recv_many(&mut batch, WRITE_BATCH) => if taken == 0 { return },
            // What is in the channel already is still written.
            () = closing.cancelled(), if !outbox.is_closed() => outbox.close(),
        }
        for (peer, message) in batch.drain(..) {
            let mut frames = vec![peer.identity.clone()];
            let Some((socket_type, socket)) = peer.registered.get() else { continue };
            if *socket_type == SocketType::Req {
                frames.push(Bytes::new());
            }
            frames.push(message);
            let Ok(message) = ZmqMessage::try_from(frames) else { continue };
            if let Err(error) = socket.send_half().send(message).await {
                tracing::debug!(peer = %peer.id, %error, "cannot send: the peer is disconnected");
            }
        }
    }
}
