//! The worker's sockets: one connection each, thrown away when it breaks. A new one, after a pause
//! that [`Backoff`](crate::Backoff) measures, is the caller's to make.

use std::time::Duration;

use bytes::Bytes;

use crate::config::ConnectConfig;
use crate::error::{Broken, ConnectError};

/// A DEALER connected to a [`Router`](crate::Router).
#[derive(Debug)]
pub struct Dealer {}

impl Dealer {
    /// Connects, within the deadline for handshakes.
    ///
    /// # Errors
    /// See [`ConnectError`]: most may be tried again.
    pub async fn connect(_config: &ConnectConfig) -> Result<Self, ConnectError> {
        todo!()
    }

    /// Sends `message`; waits only while too much is queued. Success means queued: only the peer's
    /// answer says more. Cancel safe in that the message is then queued or not, never in part.
    ///
    /// # Errors
    /// The connection has ended, or took nothing for `Limits::send`; `TooLong` leaves it usable.
    pub async fn send(&mut self, _message: Bytes) -> Result<(), Broken> {
        todo!()
    }

    /// Waits for the next message. Cancel safe.
    ///
    /// # Errors
    /// The connection has ended, once all that had arrived before was received.
    pub async fn recv(&mut self) -> Result<Bytes, Broken> {
        todo!()
    }

    /// Ends the connection once all that is queued has left, or `Limits::send` has passed. Dropping
    /// does the same without waiting for it.
    pub async fn close(self) {
        todo!()
    }
}

/// A REQ connected to a [`Router`](crate::Router): one request, one reply, in turn.
#[derive(Debug)]
pub struct Req {}

impl Req {
    /// Connects, within the deadline for handshakes.
    ///
    /// # Errors
    /// See [`ConnectError`]: most may be tried again.
    pub async fn connect(_config: &ConnectConfig) -> Result<Self, ConnectError> {
        todo!()
    }

    /// Sends a request and waits for its reply, at most for `deadline`. Not cancel safe: after an
    /// error, or when the future is dropped, the socket is of no use and says so.
    ///
    /// # Errors
    /// The connection has ended, or no reply came in time (`Stalled`).
    pub async fn exchange(
        &mut self,
        _request: Bytes,
        _deadline: Duration,
    ) -> Result<Bytes, Broken> {
        todo!()
    }

    /// Ends the connection.
    pub async fn close(self) {
        todo!()
    }
}
