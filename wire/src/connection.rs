//! One connection to a router: forwards between the network and a zeromq socket of this process, which
//! needs no TLS and reads no unchecked byte.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use zeromq::Socket;

use crate::config::{ConnectConfig, PeerLimits};
use crate::error::{ConnectError, ConnectionError};
use crate::proxy::{self, ProxyOwner, Shutdown};
use crate::send_quota::SendQuota;
use crate::tls::NetStream;
use crate::zmtp::SocketType;
use crate::{handshake, local_socket, tls};

/// A connection. A task of its own forwards it for as long as the zeromq socket exists.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) state: Arc<ConnectionState>,
    forwarder: JoinHandle<()>,
}

/// The state of a connection, shared with the task that forwards it.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    pub(crate) limits: PeerLimits,
    pub(crate) quota: SendQuota,
    error: OnceLock<ConnectionError>,
    /// Nothing can be sent any more.
    net_closed: CancellationToken,
    /// Nothing can be received any more either.
    closed: CancellationToken,
    close_requested: CancellationToken,
}

impl ConnectionState {
    /// Why nothing can be sent any more, if so.
    pub(crate) fn error(&self) -> Option<ConnectionError> {
        self.error.get().cloned()
    }

    /// Resolves once nothing can be sent any more.
    pub(crate) async fn until_net_closed(&self) -> ConnectionError {
        self.net_closed.cancelled().await;
        self.error().unwrap_or(ConnectionError::ClosedLocally)
    }

    /// Resolves once nothing can be received any more either: the zeromq socket has seen the end.
    pub(crate) async fn until_closed(&self) -> ConnectionError {
        self.closed.cancelled().await;
        self.error().unwrap_or(ConnectionError::ClosedLocally)
    }
}

impl ProxyOwner for ConnectionState {
    fn inbound_limit(&self) -> usize {
        self.limits.message_bytes
    }

    fn outbound_limit(&self) -> usize {
        self.limits.message_bytes
    }

    fn on_received(&self) {}

    fn quota(&self) -> &SendQuota {
        &self.quota
    }

    fn on_net_closed(&self, reason: ConnectionError) {
        let _ = self.error.set(reason);
        self.quota.close();
        self.net_closed.cancel();
    }

    async fn shutdown_requested(&self) -> Shutdown {
        self.close_requested.cancelled().await;
        Shutdown::Graceful
    }

    async fn reader_dropped(&self) {
        // The zeromq socket closes its side when it is dropped.
        std::future::pending().await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.state.close_requested.cancel();
    }
}

impl Connection {
    /// Connects `socket`, which is of this type, to the router.
    pub(crate) async fn connect(
        config: &ConnectConfig,
        socket_type: SocketType,
        socket: &mut impl Socket,
    ) -> Result<Self, ConnectError> {
        let (endpoint, deadline) = (&config.endpoint, config.limits.handshake);
        let connect = async {
            let net = open(config, socket_type).await?;
            let zmq = connect_socket(socket_type, socket).await?;
            Ok::<_, ConnectError>((net, zmq))
        };
        let (net, zmq) = timeout(deadline, connect)
            .await
            .map_err(|_| ConnectError::Timeout(endpoint.clone(), deadline))??;
        let state = Arc::new(ConnectionState {
            limits: config.limits,
            quota: SendQuota::new(&config.limits),
            error: OnceLock::new(),
            net_closed: CancellationToken::new(),
            closed: CancellationToken::new(),
            close_requested: CancellationToken::new(),
        });
        let forwarder = tokio::spawn({
            let state = state.clone();
            async move {
                proxy::forward(net, zmq, socket_type, &*state, state.limits.send).await;
                state.closed.cancel();
            }
        });
        Ok(Self { state, forwarder })
    }

    /// Sends what is queued and closes the connection. The zeromq socket must be dropped before.
    pub(crate) async fn close(mut self) {
        self.state.close_requested.cancel();
        // The deadlines of the forwarder bound it.
        let _ = (&mut self.forwarder).await;
    }
}

/// Connects over the network and does the handshake with the router.
async fn open(config: &ConnectConfig, socket_type: SocketType) -> Result<NetStream, ConnectError> {
    let endpoint = &config.endpoint;
    let unreachable = |error: io::Error| ConnectError::Unreachable(endpoint.clone(), error);
    let tls =
        config.tls.as_ref().map(|files| tls::connector(files, endpoint.host())).transpose()?;
    let stream =
        TcpStream::connect((endpoint.host(), endpoint.port())).await.map_err(unreachable)?;
    tls::tune(&stream).map_err(unreachable)?;
    let mut net: NetStream = match tls {
        None => Box::new(stream),
        Some((tls, name)) => Box::new(tls.connect(name, stream).await.map_err(unreachable)?),
    };
    handshake::connect(&mut net, socket_type, b"")
        .await
        .map_err(|error| ConnectError::Protocol(endpoint.clone(), error))?;
    Ok(net)
}

/// Connects the zeromq socket to the proxy, over a unix socket that is removed at once.
async fn connect_socket(
    socket_type: SocketType,
    socket: &mut impl Socket,
) -> Result<tokio::net::UnixStream, ConnectError> {
    let (directory, path, listener) = local_socket::listen().map_err(ConnectError::LocalSocket)?;
    let listener = UnixListener::from_std(listener).map_err(ConnectError::LocalSocket)?;
    let accept = async {
        let (mut zmq, _) = listener.accept().await.map_err(ConnectError::LocalSocket)?;
        let accepted = handshake::accept(&mut zmq).await;
        if accepted != Ok(socket_type) {
            return Err(ConnectError::LocalSocket(io::ErrorKind::InvalidData.into()));
        }
        Ok(zmq)
    };
    let address = format!("ipc://{}", path.display());
    let connect = async { socket.connect(&address).await.map_err(ConnectError::Zeromq) };
    let (zmq, ()) = tokio::try_join!(accept, connect)?;
    drop(directory);
    Ok(zmq)
}
