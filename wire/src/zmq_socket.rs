//! The ROUTER of the zeromq crate, and its successors.
//!
//! The crate keeps about 200 bytes for every peer that ever connected, for as long as a socket lives.
//! So a socket is replaced after a number of peers: new peers use the next one, and the old one is
//! dropped with its last peer.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use zeromq::{RouterRecvHalf, RouterSendHalf, RouterSocket, Socket, SocketRecv, ZmqResult};

use crate::config::PeerLimits;
use crate::error::ListenError;
use crate::incoming::{Incoming, PeerId, Received};
use crate::local_socket;

/// After how many peers a socket is replaced. By then it keeps some 2 MB.
const PEERS_PER_SOCKET: usize = 10_000;

/// One socket. It is dropped once it is not the newest and no peer uses it.
#[derive(Debug)]
pub(crate) struct ZmqSocket {
    path: PathBuf,
    send_half: SendHalf,
    registered: AtomicUsize,
    _directory: TempDir,
    _closing: DropGuard,
}

/// The crate's type does not implement `Debug`.
struct SendHalf(RouterSendHalf);

impl std::fmt::Debug for SendHalf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SendHalf")
    }
}

impl ZmqSocket {
    /// The unix socket on which it listens.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The half that sends, for one task.
    pub(crate) fn send_half(&self) -> RouterSendHalf {
        self.send_half.0.clone()
    }
}

/// Creates the sockets.
#[derive(Debug)]
pub(crate) struct ZmqSockets {
    newest: Mutex<Arc<ZmqSocket>>,
    reader: Reader,
}

/// What the tasks that read the sockets share.
#[derive(Debug, Clone)]
struct Reader {
    inbox: mpsc::Sender<Received>,
    free_bytes: Arc<Semaphore>,
    max_bytes: u32,
    closing: CancellationToken,
}

impl ZmqSockets {
    /// Starts the first socket.
    pub(crate) async fn start(
        limits: &PeerLimits,
        inbox: mpsc::Sender<Received>,
        closing: CancellationToken,
    ) -> Result<Self, ListenError> {
        let free_bytes = Arc::new(Semaphore::new(limits.inbox_bytes.min(Semaphore::MAX_PERMITS)));
        let max_bytes = u32::try_from(limits.inbox_bytes).unwrap_or(u32::MAX);
        let reader = Reader { inbox, free_bytes, max_bytes, closing };
        let newest = Mutex::new(Arc::new(reader.bind().await?));
        Ok(Self { newest, reader })
    }

    /// The socket for one more peer.
    pub(crate) async fn for_new_peer(&self) -> Arc<ZmqSocket> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Exactly one caller gets this number; the others use the old socket meanwhile.
        if newest.registered.fetch_add(1, Ordering::Relaxed) % PEERS_PER_SOCKET
            != PEERS_PER_SOCKET - 1
        {
            return newest;
        }
        match self.reader.bind().await {
            Ok(next) => {
                let next = Arc::new(next);
                *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = next.clone();
                next
            }
            Err(error) => {
                tracing::warn!(%error, "cannot replace the ZeroMQ socket; keeping the old one");
                newest
            }
        }
    }
}

impl Reader {
    async fn bind(&self) -> Result<ZmqSocket, ListenError> {
        let (directory, path, listener) =
            local_socket::listen().map_err(ListenError::LocalSocket)?;
        let mut socket = RouterSocket::new();
        socket.bind_listener(listener).await.map_err(ListenError::Zeromq)?;
        let (send_half, recv_half) = socket.split();
        let closing = self.closing.child_token();
        tokio::spawn(self.clone().read(recv_half, closing.clone()));
        Ok(ZmqSocket {
            path,
            send_half: SendHalf(send_half),
            registered: AtomicUsize::new(0),
            _directory: directory,
            _closing: closing.drop_guard(),
        })
    }

    /// The task that reads. Waits while the inbox is full; the peers then wait as well.
    async fn read(self, mut socket: RouterRecvHalf, closing: CancellationToken) {
        let read = async {
            loop {
                match self.received(socket.recv().await).await {
                    Ok(None) => {}
                    Ok(Some(received)) => {
                        if self.inbox.send(received).await.is_err() {
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
            () = closing.cancelled() => {}
        }
    }

    async fn received(
        &self,
        message: ZmqResult<zeromq::ZmqMessage>,
    ) -> ZmqResult<Option<Received>> {
        let mut frames = message?.into_vecdeque();
        // The proxy passes only this form: the identity we assigned, maybe a delimiter, the payload.
        let (Some(identity), Some(message)) = (frames.pop_front(), frames.pop_back()) else {
            return Ok(None);
        };
        let Ok(id) = <[u8; 8]>::try_from(&*identity) else { return Ok(None) };
        let cost = u32::try_from(message.len()).unwrap_or(u32::MAX).min(self.max_bytes);
        let permit = self.free_bytes.clone().acquire_many_owned(cost).await;
        let Ok(permit) = permit else { return Ok(None) };
        let incoming = Incoming::Message(PeerId(u64::from_be_bytes(id)), message);
        Ok(Some(Received::with_permit(incoming, permit)))
    }
}
