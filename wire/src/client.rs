//! The worker's sockets. Each is one connection and is dropped when it fails; the caller connects
//! again.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use zeromq::{
    DealerRecvHalf, DealerSendHalf, DealerSocket, ReqSocket, Socket, SocketRecv, SocketSend,
    ZmqMessage,
};

use crate::config::ConnectConfig;
use crate::connection::{Connection, ConnectionState};
use crate::error::{ConnectError, ConnectionError, SendError};
use crate::zmtp::SocketType;

/// A DEALER connected to a [`Router`](crate::Router).
pub struct Dealer {
    send_half: DealerSendHalf,
    recv_half: DealerRecvHalf,
    connection: Connection,
}

impl std::fmt::Debug for Dealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dealer").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Dealer {
    /// Connects, within the deadline for handshakes.
    ///
    /// # Errors
    /// See [`ConnectError`]: most may be tried again.
    pub async fn connect(config: &ConnectConfig) -> Result<Self, ConnectError> {
        let mut socket = DealerSocket::new();
        let connection = Connection::connect(config, SocketType::Dealer, &mut socket).await?;
        let (send_half, recv_half) = socket.split();
        Ok(Self { send_half, recv_half, connection })
    }

    /// Sends `message`; waits only while too much is queued. Success means that the message is queued;
    /// only an answer of the peer shows that it arrived. If cancelled, the message is queued as a whole
    /// or not at all.
    ///
    /// # Errors
    /// The connection has ended, or the queue stayed full for `PeerLimits::send`. After `TooLong` it is
    /// still usable.
    pub async fn send(&mut self, message: Bytes) -> Result<(), ConnectionError> {
        let state = &*self.connection.state;
        reserve(state, message.len()).await?;
        let sent = self.send_half.send(ZmqMessage::from(message)).await;
        sent.map_err(|_| state.error().unwrap_or(ConnectionError::ClosedLocally))
    }

    /// Waits for the next message. Cancel safe.
    ///
    /// # Errors
    /// The connection has ended, and all that had arrived before was received.
    pub async fn recv(&mut self) -> Result<Bytes, ConnectionError> {
        let state = &*self.connection.state;
        tokio::select! {
            biased;
            received = self.recv_half.recv() => match received {
                Ok(message) => payload(message),
                Err(_) => Err(state.error().unwrap_or(ConnectionError::ClosedLocally)),
            },
            error = state.until_closed() => Err(error),
        }
    }

    /// Closes the connection once its queue is sent, or `PeerLimits::send` has passed. Dropping the
    /// socket does the same without waiting.
    pub async fn close(self) {
        let Self { send_half, recv_half, connection } = self;
        drop((send_half, recv_half));
        connection.close().await;
    }
}

/// A REQ connected to a [`Router`](crate::Router): one request, one reply, in turn.
pub struct Req {
    socket: ReqSocket,
    /// An exchange has begun and not succeeded: the next reply may belong to an earlier request.
    out_of_step: bool,
    connection: Connection,
}

impl std::fmt::Debug for Req {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Req").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Req {
    /// Connects, within the deadline for handshakes.
    ///
    /// # Errors
    /// See [`ConnectError`]: most may be tried again.
    pub async fn connect(config: &ConnectConfig) -> Result<Self, ConnectError> {
        let mut socket = ReqSocket::new();
        let connection = Connection::connect(config, SocketType::Req, &mut socket).await?;
        Ok(Self { socket, out_of_step: false, connection })
    }

    /// Sends a request and waits up to `deadline` for its reply. Not cancel safe: after an error other
    /// than `TooLong`, or when the future is dropped, the socket is not usable any more.
    ///
    /// # Errors
    /// The connection has ended, or no reply came in time.
    pub async fn exchange(
        &mut self,
        request: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, ConnectionError> {
        let state = &*self.connection.state;
        if self.out_of_step {
            return Err(state.error().unwrap_or(ConnectionError::ClosedLocally));
        }
        reserve(state, request.len()).await?;
        self.out_of_step = true;
        let exchange = async {
            self.socket.send(ZmqMessage::from(request)).await?;
            self.socket.recv().await
        };
        let reply = match timeout(deadline, exchange).await {
            Ok(Ok(reply)) => payload(reply)?,
            Err(_) => return Err(state.error().unwrap_or(ConnectionError::TimedOut)),
            // The socket has noticed the end; the connection knows the reason.
            Ok(Err(_)) => {
                let error = timeout(state.limits.send, state.until_net_closed());
                return Err(error.await.unwrap_or(ConnectionError::ClosedLocally));
            }
        };
        self.out_of_step = false;
        Ok(reply)
    }

    /// Closes the connection.
    pub async fn close(self) {
        let Self { socket, connection, .. } = self;
        drop(socket);
        connection.close().await;
    }
}

/// Waits for room in the queue, for as long as a send may take.
async fn reserve(state: &ConnectionState, length: usize) -> Result<(), ConnectionError> {
    if let Some(error) = state.error() {
        return Err(error);
    }
    match timeout(state.limits.send, state.quota.reserve(length)).await {
        Err(_) => Err(ConnectionError::TimedOut),
        Ok(Ok(())) => Ok(()),
        Ok(Err(SendError::TooLong { bytes, limit })) => {
            Err(ConnectionError::TooLong { bytes: bytes as u64, limit })
        }
        Ok(Err(SendError::Disconnected | SendError::Full)) => {
            Err(state.error().unwrap_or(ConnectionError::ClosedLocally))
        }
    }
}

/// The last frame. The proxy passes no other form.
fn payload(message: ZmqMessage) -> Result<Bytes, ConnectionError> {
    message.into_vecdeque().pop_back().ok_or(ConnectionError::Protocol("a message without a frame"))
}
