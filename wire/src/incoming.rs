//! What a router receives.

use std::fmt;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::ConnectionError;

/// Names one connection of one peer. Never reused: a peer that connects again gets a new one.
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
    /// The connection has ended: nothing more comes from this peer. Only for peers that sent something.
    Disconnected(PeerId, ConnectionError),
}

/// Something in the inbox, and its share of the inbox's bytes.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) incoming: Incoming,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Received {
    pub(crate) const fn with_permit(incoming: Incoming, permit: OwnedSemaphorePermit) -> Self {
        Self { incoming, _permit: Some(permit) }
    }

    pub(crate) const fn without_permit(incoming: Incoming) -> Self {
        Self { incoming, _permit: None }
    }
}
