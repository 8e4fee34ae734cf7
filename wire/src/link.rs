//! The connecting guard: one connection to a router, between the network and a zeromq socket of this
//! process, which need not speak TLS and meets no byte that was not checked.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use zeromq::Socket;

use crate::bridge::{self, Stop, Watch};
use crate::config::{ConnectConfig, Limits};
use crate::error::{Broken, ConnectError};
use crate::queue::Queue;
use crate::tls::Outer;
use crate::zmtp::Kind;
use crate::{handshake, private, tls};

/// A connection that is carried by a task of its own, for as long as there is a zeromq socket at its
/// inner end.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) state: Arc<State>,
    carrier: JoinHandle<()>,
}

/// What is known of a link.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) limits: Limits,
    pub(crate) queue: Queue,
    reason: OnceLock<Broken>,
    broken: CancellationToken,
    ended: CancellationToken,
    left: CancellationToken,
}

impl State {
    /// Why nothing can be sent any more, once that is so.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.reason.get().cloned()
    }

    /// Resolves once nothing can be sent any more.
    pub(crate) async fn until_broken(&self) -> Broken {
        self.broken.cancelled().await;
        self.broken().unwrap_or(Broken::Ended)
    }

    /// Resolves once nothing more can be received either: the zeromq socket has seen the end.
    pub(crate) async fn until_ended(&self) -> Broken {
        self.ended.cancelled().await;
        self.broken().unwrap_or(Broken::Ended)
    }
}

impl Watch for State {
    fn inward_limit(&self) -> usize {
        self.limits.message_bytes
    }

    fn outward_limit(&self) -> usize {
        self.limits.message_bytes
    }

    fn heard(&self) {}

    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn outer_ended(&self, reason: Broken) {
        let _ = self.reason.set(reason);
        self.queue.close();
        self.broken.cancel();
    }

    async fn stopped(&self) -> Stop {
        self.left.cancelled().await;
        Stop::Gently
    }

    async fn abandoned(&self) {
        // What is left of the zeromq socket ends by itself.
        std::future::pending().await
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.left.cancel();
    }
}

impl Link {
    /// Connects `socket`, which is of this `kind`, to the router.
    pub(crate) async fn connect(
        config: &ConnectConfig,
        kind: Kind,
        socket: &mut impl Socket,
    ) -> Result<Self, ConnectError> {
        let (endpoint, deadline) = (&config.endpoint, config.limits.handshake);
        let connect = async {
            let outer = open(config, kind).await?;
            let inner = introduce(kind, socket).await?;
            Ok::<_, ConnectError>((outer, inner))
        };
        let (outer, inner) = timeout(deadline, connect)
            .await
            .map_err(|_| ConnectError::TooSlow(endpoint.clone(), deadline))??;
        let state = Arc::new(State {
            limits: config.limits,
            queue: Queue::new(&config.limits),
            reason: OnceLock::new(),
            broken: CancellationToken::new(),
            ended: CancellationToken::new(),
            left: CancellationToken::new(),
        });
        let carrier = tokio::spawn({
            let state = state.clone();
            async move {
                bridge::carry(outer, inner, kind, &*state, state.limits.send).await;
                state.ended.cancel();
            }
        });
        Ok(Self { state, carrier })
    }

    /// Waits until all is sent and the connection has ended. The zeromq socket must be dropped.
    pub(crate) async fn closed(mut self) {
        self.state.left.cancel();
        // Bounded by the deadlines of the carrier itself.
        let _ = (&mut self.carrier).await;
    }
}

/// Connects over the network and shakes hands with the router.
async fn open(config: &ConnectConfig, kind: Kind) -> Result<Outer, ConnectError> {
    let endpoint = &config.endpoint;
    let unreachable = |error: io::Error| ConnectError::Unreachable(endpoint.clone(), error);
    let tls =
        config.tls.as_ref().map(|files| tls::connector(files, endpoint.host())).transpose()?;
    let stream =
        TcpStream::connect((endpoint.host(), endpoint.port())).await.map_err(unreachable)?;
    tls::tune(&stream).map_err(unreachable)?;
    let mut outer: Outer = match tls {
        None => Box::new(stream),
        Some((tls, name)) => Box::new(tls.connect(name, stream).await.map_err(unreachable)?),
    };
    handshake::connect(&mut outer, kind, b"")
        .await
        .map_err(|broken| ConnectError::NotOurs(endpoint.clone(), broken))?;
    Ok(outer)
}

/// Connects the zeromq socket to us, by a unix socket that exists for as long as that takes.
async fn introduce(
    kind: Kind,
    socket: &mut impl Socket,
) -> Result<tokio::net::UnixStream, ConnectError> {
    let (directory, path, listener) = private::listen().map_err(ConnectError::Private)?;
    let listener = UnixListener::from_std(listener).map_err(ConnectError::Private)?;
    let accept = async {
        let (mut inner, _) = listener.accept().await.map_err(ConnectError::Private)?;
        let accepted = handshake::accept(&mut inner).await;
        if accepted != Ok(kind) {
            return Err(ConnectError::Private(io::ErrorKind::InvalidData.into()));
        }
        Ok(inner)
    };
    let address = format!("ipc://{}", path.display());
    let connect = async { socket.connect(&address).await.map_err(ConnectError::Zeromq) };
    let (inner, ()) = tokio::try_join!(accept, connect)?;
    drop(directory);
    Ok(inner)
}
