//! Owns the public port: accepts connections, does the handshake with each peer, and forwards the
//! checked frames to the router's unix socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::config::{Authentication, ListenConfig, PeerLimits};
use crate::error::{ConnectionError, ListenError};
use crate::handshake;
use crate::incoming::{Incoming, Received};
use crate::peers::{Peer, PeerGuard, Peers};
use crate::proxy::{self, ProxyOwner};
use crate::tls::{self, NetStream};
use crate::zmq_socket::ZmqSockets;
use crate::zmtp::SocketType;

/// How many connections are registered with the zeromq crate at once: fewer than the backlog of its
/// unix socket, so that it refuses none.
const CONCURRENT_REGISTRATIONS: usize = 64;

/// The pause when the system has no descriptor left: a peer that is disconnected frees one meanwhile.
const OUT_OF_DESCRIPTORS_PAUSE: Duration = Duration::from_millis(20);

/// What every connection of the port shares.
pub(crate) struct Listener {
    pub(crate) peers: Arc<Peers>,
    pub(crate) limits: PeerLimits,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) zmq_sockets: ZmqSockets,
    pub(crate) inbox: mpsc::Sender<Received>,
    registrations: Semaphore,
    /// The tasks that serve peers.
    pub(crate) connections: TaskTracker,
}

/// Opens the port, unless other machines could reach it without authentication.
pub(crate) async fn listen(config: &ListenConfig) -> Result<TcpListener, ListenError> {
    let endpoint = &config.endpoint;
    let resolved = tokio::net::lookup_host((endpoint.host(), endpoint.port())).await;
    let addresses: Vec<SocketAddr> =
        resolved.map_err(|error| ListenError::Resolve(endpoint.clone(), error))?.collect();
    if config.authentication == Authentication::None
        && let Some(exposed) = addresses.iter().find(|address| !address.ip().is_loopback())
    {
        return Err(ListenError::Exposed(*exposed));
    }
    TcpListener::bind(addresses.as_slice())
        .await
        .map_err(|error| ListenError::Bind(endpoint.clone(), error))
}

impl Listener {
    pub(crate) fn new(
        config: &ListenConfig,
        peers: Arc<Peers>,
        zmq_sockets: ZmqSockets,
        inbox: mpsc::Sender<Received>,
    ) -> Result<Self, ListenError> {
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let registrations = Semaphore::new(CONCURRENT_REGISTRATIONS);
        let (limits, connections) = (config.limits, TaskTracker::new());
        Ok(Self { peers, limits, tls, zmq_sockets, inbox, registrations, connections })
    }

    /// Accepts connections until the router is dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let closing = self.peers.closing.clone();
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closing.cancelled() => return,
            };
            match accepted {
                Ok((stream, address)) => {
                    failing = false;
                    self.connections.spawn(self.clone().serve_peer(stream, address));
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "cannot accept connections; is the limit of open files too low?");
                    }
                    failing = true;
                    self.peers.disconnect_oldest_pending();
                    sleep(OUT_OF_DESCRIPTORS_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection, from its first byte to its last.
    async fn serve_peer(self: Arc<Self>, stream: TcpStream, address: SocketAddr) {
        let guard = self.peers.add();
        let peer = guard.peer.clone();
        let opened = tokio::select! {
            opened = timeout(self.limits.handshake, self.open(stream, &peer)) => opened,
            _ = peer.shutdown_requested() => return,
        };
        let (net, zmq, socket_type) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(reason)) => {
                tracing::debug!(%address, %reason, "refused a connection");
                return;
            }
            Err(_) => {
                tracing::debug!(%address, "refused a connection whose handshake took too long");
                return;
            }
        };
        tracing::debug!(%address, peer = %peer.id, "connected");
        self.forward(net, zmq, socket_type, &guard).await;
        drop(guard);
        let reason = peer.reason();
        tracing::debug!(%address, peer = %peer.id, %reason, "disconnected");
        if peer.has_sent() {
            // Follows every message of this peer: the zeromq crate has closed its side already.
            let disconnected = Incoming::Disconnected(peer.id, reason);
            let _ = self.inbox.send(Received::without_permit(disconnected)).await;
        }
    }

    /// Does the handshake with the peer, and only then registers it with the zeromq crate.
    async fn open(
        &self,
        stream: TcpStream,
        peer: &Peer,
    ) -> Result<(NetStream, UnixStream, SocketType), ConnectionError> {
        tls::tune(&stream)?;
        let mut net: NetStream = match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.accept(stream).await?),
        };
        let socket_type = handshake::accept(&mut net).await?;
        let Ok(_registration) = self.registrations.acquire().await else {
            return Err(ConnectionError::ClosedLocally);
        };
        let socket = self.zmq_sockets.for_new_peer().await;
        let mut zmq = UnixStream::connect(socket.path()).await?;
        let _ = peer.registered.set((socket_type, socket));
        handshake::connect(&mut zmq, socket_type, &peer.identity).await?;
        Ok((net, zmq, socket_type))
    }

    async fn forward(
        &self,
        net: NetStream,
        zmq: UnixStream,
        socket_type: SocketType,
        guard: &PeerGuard,
    ) {
        let peer = &*guard.peer;
        let forward = proxy::forward(net, zmq, socket_type, peer, self.limits.send);
        tokio::pin!(forward);
        tokio::select! {
            () = &mut forward => return,
            () = sleep(self.limits.admission) => {}
        }
        if !peer.is_admitted() {
            peer.disconnect(ConnectionError::NotAdmitted, proxy::Shutdown::Immediate);
        }
        forward.await;
    }
}

/// Whether an error of `accept` concerns one connection, and not the listener.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
