//! The ROUTER of the zeromq crate, and the one that follows it.
//!
//! The crate keeps about 200 bytes for every peer that ever connected, for as long as a socket lives.
//! So a socket is replaced once it has seen enough of them: new peers go to the next, and the old one
//! goes with its last peer.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use zeromq::{RouterRecvHalf, RouterSendHalf, RouterSocket, Socket, SocketRecv, ZmqResult};

use crate::config::Limits;
use crate::error::ListenError;
use crate::private;
use crate::router::{Arrived, Incoming, PeerId};

/// After how many peers a socket is replaced: some 2 MB of what it keeps.
const PEERS_PER_SOCKET: usize = 10_000;

/// One socket. It ends when it is neither the newest nor any peer's.
#[derive(Debug)]
pub(crate) struct Inner {
    path: PathBuf,
    send_half: SendHalf,
    introduced: AtomicUsize,
    _directory: TempDir,
    _ended: DropGuard,
}

/// Without this the crate's type could not stand in ours, which can be printed.
struct SendHalf(RouterSendHalf);

impl std::fmt::Debug for SendHalf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SendHalf")
    }
}

impl Inner {
    /// The unix socket on which it waits for peers.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The half that sends, to be used by one task.
    pub(crate) fn send_half(&self) -> RouterSendHalf {
        self.send_half.0.clone()
    }
}

/// Makes the sockets.
#[derive(Debug)]
pub(crate) struct Inners {
    newest: Mutex<Arc<Inner>>,
    source: Source,
}

/// What the tasks that read need.
#[derive(Debug, Clone)]
struct Source {
    inbox: mpsc::Sender<Arrived>,
    room: Arc<Semaphore>,
    most_bytes: u32,
    closing: CancellationToken,
}

impl Inners {
    /// With the first socket.
    pub(crate) async fn start(
        limits: &Limits,
        inbox: mpsc::Sender<Arrived>,
        closing: CancellationToken,
    ) -> Result<Self, ListenError> {
        let room = Arc::new(Semaphore::new(limits.inbox_bytes.min(Semaphore::MAX_PERMITS)));
        let most_bytes = u32::try_from(limits.inbox_bytes).unwrap_or(u32::MAX);
        let source = Source { inbox, room, most_bytes, closing };
        let newest = Mutex::new(Arc::new(source.bind().await?));
        Ok(Self { newest, source })
    }

    /// The socket for one more peer.
    pub(crate) async fn for_a_peer(&self) -> Arc<Inner> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Only one caller meets this number: the others take the old socket for that moment.
        if newest.introduced.fetch_add(1, Ordering::Relaxed) % PEERS_PER_SOCKET
            != PEERS_PER_SOCKET - 1
        {
            return newest;
        }
        match self.source.bind().await {
            Ok(next) => {
                let next = Arc::new(next);
                *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = next.clone();
                next
            }
            Err(error) => {
                tracing::warn!(%error, "the old ZeroMQ socket is kept");
                newest
            }
        }
    }
}

impl Source {
    async fn bind(&self) -> Result<Inner, ListenError> {
        let (directory, path, listener) = private::listen().map_err(ListenError::Private)?;
        let mut socket = RouterSocket::new();
        socket.bind_listener(listener).await.map_err(ListenError::Zeromq)?;
        let (send_half, recv_half) = socket.split();
        let ended = self.closing.child_token();
        tokio::spawn(self.clone().read(recv_half, ended.clone()));
        let introduced = AtomicUsize::new(0);
        let send_half = SendHalf(send_half);
        Ok(Inner { path, send_half, introduced, _directory: directory, _ended: ended.drop_guard() })
    }

    /// The task that reads. Waits while too much is not received: the peers then wait too.
    async fn read(self, mut socket: RouterRecvHalf, ended: CancellationToken) {
        let read = async {
            loop {
                match self.arrived(socket.recv().await).await {
                    Ok(None) => {}
                    Ok(Some(arrived)) => {
                        if self.inbox.send(arrived).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "the ZeroMQ socket has failed");
                        return;
                    }
                }
            }
        };
        tokio::select! {
            () = read => {}
            () = ended.cancelled() => {}
        }
    }

    async fn arrived(&self, received: ZmqResult<zeromq::ZmqMessage>) -> ZmqResult<Option<Arrived>> {
        let mut frames = received?.into_vecdeque();
        // The guard lets no other form pass: the name it gave, perhaps a delimiter, the payload.
        let (Some(identity), Some(message)) = (frames.pop_front(), frames.pop_back()) else {
            return Ok(None);
        };
        let Ok(id) = <[u8; 8]>::try_from(&*identity) else { return Ok(None) };
        let cost = u32::try_from(message.len()).unwrap_or(u32::MAX).min(self.most_bytes);
        let Ok(room) = self.room.clone().acquire_many_owned(cost).await else { return Ok(None) };
        let incoming = Incoming::Message(PeerId(u64::from_be_bytes(id)), message);
        Ok(Some(Arrived::paid(incoming, room)))
    }
}
