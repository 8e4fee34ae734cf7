//! The dispatcher's socket: one ROUTER for REQ and DEALER peers alike.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::config::ListenConfig;
use crate::error::{Broken, ListenError, SendError};

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

/// A ROUTER behind its guard. When it is dropped, the port is closed and all peers are cut.
#[derive(Debug)]
pub struct Router {}

/// Sends to the peers of a [`Router`]; clones are cheap.
#[derive(Debug, Clone)]
pub struct RouterSender {}

impl Router {
    /// Opens the port.
    ///
    /// # Errors
    /// The port cannot be had, must not be opened without a secret, or TLS cannot be set up.
    pub async fn bind(_config: ListenConfig) -> Result<Self, ListenError> {
        todo!()
    }

    /// The address that it listens on, with the port that the system chose for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        todo!()
    }

    /// A sender for this router.
    #[must_use]
    pub fn sender(&self) -> RouterSender {
        todo!()
    }

    /// Waits for the next message, or the end of a peer. Cancel safe. `None` once the socket has
    /// failed, which nothing in the network can cause.
    pub async fn recv(&mut self) -> Option<Incoming> {
        todo!()
    }
}

impl RouterSender {
    /// Sends `message` to `peer`, in the form that its kind of socket expects. Never waits. Success
    /// means that it is queued here; only the peer's own word says more.
    ///
    /// # Errors
    /// The peer is gone, its queue is full, or the message is too long. Other peers do not matter.
    pub fn try_send(&self, _peer: PeerId, _message: Bytes) -> Result<(), SendError> {
        todo!()
    }

    /// Like `try_send`, but waits for room in the peer's queue for as long as `Limits::send` allows.
    ///
    /// # Errors
    /// As `try_send`; `Full` after the deadline.
    pub async fn send(&self, _peer: PeerId, _message: Bytes) -> Result<(), SendError> {
        todo!()
    }

    /// Lets a peer stay, and send messages of full length: to be called once it has shown who it is.
    ///
    /// # Errors
    /// `Gone` where it has left; `Full` where there are as many peers as there may be.
    pub fn admit(&self, _peer: PeerId) -> Result<(), SendError> {
        todo!()
    }

    /// Ends a peer's connection, after what waits for it has been sent or `Limits::send` has passed.
    /// Nothing more is received from it but `Gone`.
    pub fn disconnect(&self, _peer: PeerId) {
        todo!()
    }

    /// How many peers are connected, admitted or not.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        todo!()
    }
}
