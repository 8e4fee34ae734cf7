//! The listening guard: owns the public port, shakes hands with whoever calls, and carries the frames
//! of those that speak well to the router's unix socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::bridge::{self, Watch};
use crate::config::{Callers, Limits, ListenConfig};
use crate::error::{Broken, ListenError};
use crate::handshake;
use crate::inner::Inners;
use crate::peers::{Peer, Peers, Place};
use crate::router::{Arrived, Incoming};
use crate::tls::{self, Outer};
use crate::zmtp::Kind;

/// How many connections are introduced to the zeromq crate at once: fewer than its unix socket lets
/// wait, so that none is turned away there.
const INTRODUCED_AT_ONCE: usize = 64;

/// What to wait when the system has no descriptor left, until those sent away have left.
const OUT_OF_DESCRIPTORS_PAUSE: Duration = Duration::from_millis(20);

/// What every connection needs.
pub(crate) struct Guard {
    pub(crate) peers: Arc<Peers>,
    pub(crate) limits: Limits,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) inners: Inners,
    pub(crate) inbox: mpsc::Sender<Arrived>,
    introductions: Semaphore,
}

/// Opens the port, unless it would be open to strangers.
pub(crate) async fn listen(config: &ListenConfig) -> Result<TcpListener, ListenError> {
    let endpoint = &config.endpoint;
    let resolved = tokio::net::lookup_host((endpoint.host(), endpoint.port())).await;
    let addresses: Vec<SocketAddr> =
        resolved.map_err(|error| ListenError::Resolve(endpoint.clone(), error))?.collect();
    if config.callers == Callers::Anyone
        && let Some(exposed) = addresses.iter().find(|address| !address.ip().is_loopback())
    {
        return Err(ListenError::Exposed(*exposed));
    }
    TcpListener::bind(addresses.as_slice())
        .await
        .map_err(|error| ListenError::Bind(endpoint.clone(), error))
}

impl Guard {
    pub(crate) fn new(
        config: &ListenConfig,
        peers: Arc<Peers>,
        inners: Inners,
        inbox: mpsc::Sender<Arrived>,
    ) -> Result<Self, ListenError> {
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let introductions = Semaphore::new(INTRODUCED_AT_ONCE);
        Ok(Self { peers, limits: config.limits, tls, inners, inbox, introductions })
    }

    /// Accepts until the router is dropped.
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
                    tokio::spawn(self.clone().receive(stream, address));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "cannot accept connections; is the limit of open files too low?");
                    }
                    failing = true;
                    self.peers.send_oldest_stranger_away();
                    sleep(OUT_OF_DESCRIPTORS_PAUSE).await;
                }
            }
        }
    }

    /// One connection, from its first byte to its last.
    async fn receive(self: Arc<Self>, stream: TcpStream, address: SocketAddr) {
        let place = self.peers.enter();
        let peer = place.peer.clone();
        let opened = tokio::select! {
            opened = timeout(self.limits.handshake, self.open(stream, &peer)) => opened,
            _ = peer.stopped() => return,
        };
        let (outer, inner, kind) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(reason)) => {
                tracing::debug!(%address, %reason, "turned a connection away");
                return;
            }
            Err(_) => {
                tracing::debug!(%address, "turned a silent connection away");
                return;
            }
        };
        tracing::debug!(%address, peer = %peer.id, "connected");
        self.carry(outer, inner, kind, &place).await;
        drop(place);
        let reason = peer.reason();
        tracing::debug!(%address, peer = %peer.id, %reason, "disconnected");
        if peer.was_heard() {
            // Behind every message of this peer: the zeromq crate has ended its side before.
            let _ = self.inbox.send(Arrived::unpaid(Incoming::Gone(peer.id, reason))).await;
        }
    }

    /// Shakes hands with the peer, and only then introduces it to the zeromq crate.
    async fn open(
        &self,
        stream: TcpStream,
        peer: &Peer,
    ) -> Result<(Outer, UnixStream, Kind), Broken> {
        tls::tune(&stream)?;
        let mut outer: Outer = match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.accept(stream).await?),
        };
        let kind = handshake::accept(&mut outer).await?;
        let Ok(_introduction) = self.introductions.acquire().await else {
            return Err(Broken::Ended);
        };
        let socket = self.inners.for_a_peer().await;
        let mut inner = UnixStream::connect(socket.path()).await?;
        let _ = peer.introduced.set((kind, socket));
        handshake::connect(&mut inner, kind, &peer.identity).await?;
        Ok((outer, inner, kind))
    }

    async fn carry(&self, outer: Outer, inner: UnixStream, kind: Kind, place: &Place) {
        let peer = &*place.peer;
        let carry = bridge::carry(outer, inner, kind, peer, self.limits.send);
        tokio::pin!(carry);
        tokio::select! {
            () = &mut carry => return,
            () = sleep(self.limits.admission) => {}
        }
        if !peer.is_admitted() {
            peer.end(Broken::NotAdmitted, bridge::Stop::Now);
        }
        carry.await;
    }
}

/// Whether an error of `accept` says nothing of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
