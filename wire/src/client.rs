//! The worker's sockets: one connection each, thrown away when it breaks. A new one, after a pause
//! that [`Backoff`](crate::Backoff) measures, is the caller's to make.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use zeromq::{
    DealerRecvHalf, DealerSendHalf, DealerSocket, ReqSocket, Socket, SocketRecv, SocketSend,
    ZmqMessage,
};

use crate::config::ConnectConfig;
use crate::error::{Broken, ConnectError, SendError};
use crate::link::{Link, State};
use crate::zmtp::Kind;

/// A DEALER connected to a [`Router`](crate::Router).
pub struct Dealer {
    send_half: DealerSendHalf,
    recv_half: DealerRecvHalf,
    link: Link,
}

impl std::fmt::Debug for Dealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dealer").field("link", &self.link).finish_non_exhaustive()
    }
}

impl Dealer {
    /// Connects, within the deadline for handshakes.
    ///
    /// # Errors
    /// See [`ConnectError`]: most may be tried again.
    pub async fn connect(config: &ConnectConfig) -> Result<Self, ConnectError> {
        let mut socket = DealerSocket::new();
        let link = Link::connect(config, Kind::Dealer, &mut socket).await?;
        let (send_half, recv_half) = socket.split();
        Ok(Self { send_half, recv_half, link })
    }

    /// Sends `message`; waits only while too much is queued. Success means queued: only the peer's
    /// answer says more. Cancel safe in that the message is then queued or not, never in part.
    ///
    /// # Errors
    /// The connection has ended, or took nothing for `Limits::send`; `TooLong` leaves it usable.
    pub async fn send(&mut self, message: Bytes) -> Result<(), Broken> {
        let state = &*self.link.state;
        take_room(state, message.len()).await?;
        let sent = self.send_half.send(ZmqMessage::from(message)).await;
        sent.map_err(|_| state.broken().unwrap_or(Broken::Ended))
    }

    /// Waits for the next message. Cancel safe.
    ///
    /// # Errors
    /// The connection has ended, once all that had arrived before was received.
    pub async fn recv(&mut self) -> Result<Bytes, Broken> {
        let state = &*self.link.state;
        tokio::select! {
            biased;
            received = self.recv_half.recv() => match received {
                Ok(message) => payload(message),
                Err(_) => Err(state.broken().unwrap_or(Broken::Ended)),
            },
            reason = state.until_ended() => Err(reason),
        }
    }

    /// Ends the connection once all that is queued has left, or `Limits::send` has passed. Dropping
    /// does the same without waiting for it.
    pub async fn close(self) {
        let Self { send_half, recv_half, link } = self;
        drop((send_half, recv_half));
        link.closed().await;
    }
}

/// A REQ connected to a [`Router`](crate::Router): one request, one reply, in turn.
pub struct Req {
    socket: ReqSocket,
    /// An exchange has begun and not succeeded: request and reply may no longer belong together.
    spent: bool,
    link: Link,
}

impl std::fmt::Debug for Req {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Req").field("link", &self.link).finish_non_exhaustive()
    }
}

impl Req {
    /// Connects, within the deadline for handshakes.
    ///
    /// # Errors
    /// See [`ConnectError`]: most may be tried again.
    pub async fn connect(config: &ConnectConfig) -> Result<Self, ConnectError> {
        let mut socket = ReqSocket::new();
        let link = Link::connect(config, Kind::Req, &mut socket).await?;
        Ok(Self { socket, spent: false, link })
    }

    /// Sends a request and waits for its reply, at most for `deadline`. Not cancel safe: after an
    /// error other than `TooLong`, or when the future is dropped, the socket is of no use.
    ///
    /// # Errors
    /// The connection has ended, or no reply came in time (`Stalled`).
    pub async fn exchange(&mut self, request: Bytes, deadline: Duration) -> Result<Bytes, Broken> {
        if self.spent {
            return Err(self.link.state.broken().unwrap_or(Broken::Ended));
        }
        take_room(&self.link.state, request.len()).await?;
        self.spent = true;
        let exchange = async {
            self.socket.send(ZmqMessage::from(request)).await?;
            self.socket.recv().await
        };
        let reply = match timeout(deadline, exchange).await {
            Ok(Ok(reply)) => payload(reply)?,
            Err(_) => return Err(self.link.state.broken().unwrap_or(Broken::Stalled)),
            // The socket sees the end by itself; why it ended is known to the link.
            Ok(Err(_)) => {
                let reason = timeout(self.link.state.limits.send, self.link.state.until_broken());
                return Err(reason.await.unwrap_or(Broken::Ended));
            }
        };
        self.spent = false;
        Ok(reply)
    }

    /// Ends the connection.
    pub async fn close(self) {
        let Self { socket, link, .. } = self;
        drop(socket);
        link.closed().await;
    }
}

/// Waits for room in the queue, at most for as long as a send may take.
async fn take_room(state: &State, length: usize) -> Result<(), Broken> {
    if let Some(reason) = state.broken() {
        return Err(reason);
    }
    match timeout(state.limits.send, state.queue.take(length)).await {
        Err(_) => Err(Broken::Stalled),
        Ok(Ok(())) => Ok(()),
        Ok(Err(SendError::TooLong { bytes, limit })) => {
            Err(Broken::TooLong { bytes: bytes as u64, limit })
        }
        Ok(Err(SendError::Gone | SendError::Full)) => Err(state.broken().unwrap_or(Broken::Ended)),
    }
}

/// What stands in the last frame: the guard lets no other form pass.
fn payload(message: ZmqMessage) -> Result<Bytes, Broken> {
    message.into_vecdeque().pop_back().ok_or(Broken::Protocol("a message without a frame"))
}
