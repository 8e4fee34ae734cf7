//! A proxy between two processes that breaks their connections as networks do.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// The longest piece that is carried at once.
const PIECE_BYTES: usize = 64 << 10;
/// How many pieces may be delayed on a slow connection.
const PIECES: usize = 64;

/// How much later than usual a slow connection delivers, at least; at most twice that.
const DELAY: Duration = Duration::from_millis(500);

/// What is wrong with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkFault {
    /// It is cut, and so is every new one at once.
    Cut,
    /// It is half open: it takes everything and delivers nothing. It is reset when the fault ends.
    HalfOpen,
    /// It delivers half a second late, up to a whole one.
    Slow,
    /// It delivers half of the next piece and is reset.
    Reset,
}

/// Where connections go.
#[derive(Debug, Clone)]
pub enum Target {
    /// A port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// The fault of the moment, and its changes.
type Watched = watch::Receiver<Option<NetworkFault>>;

/// A running proxy. Dropping it ends its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Option<NetworkFault>>,
}

impl Proxy {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(runtime: &Handle, target: Target) -> Result<Self> {
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .context("cannot listen")?;
        let address = listener.local_addr().context("no address")?;
        let (fault, watched) = watch::channel(None);
        runtime.spawn(accept(listener, target, watched));
        Ok(Self { address, fault })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins a fault of all connections, open and new; `None` ends it.
    pub fn set(&self, fault: Option<NetworkFault>) {
        self.fault.send_replace(fault);
    }
}

async fn accept(listener: TcpListener, target: Target, mut fault: Watched) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            changed = fault.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok((stream, _)) = accepted else { continue };
        let (target, fault) = (target.clone(), fault.clone());
        tokio::spawn(carry(stream, target, fault));
    }
}

/// Carries one connection until one side or a fault ends it.
async fn carry(mut near: TcpStream, target: Target, mut fault: Watched) {
    let now = *fault.borrow_and_update();
    if now == Some(NetworkFault::Cut) {
        return;
    }
    if now == Some(NetworkFault::HalfOpen) {
        // The far side does not learn of it.
        let _ = fault.changed().await;
        return reset(&near);
    }
    // If nothing listens at the far side, the connection ends at once.
    let _ = near.set_nodelay(true);
    let end = match target {
        Target::Tcp(address) => {
            let Ok(mut far) = TcpStream::connect(address).await else { return };
            let _ = far.set_nodelay(true);
            let (near_in, near_out) = near.split();
            let (far_in, far_out) = far.split();
            both((near_in, far_out), (far_in, near_out), &fault).await
        }
        Target::Unix(path) => {
            let Ok(mut far) = UnixStream::connect(path).await else { return };
            let (near_in, near_out) = near.split();
            let (far_in, far_out) = far.split();
            both((near_in, far_out), (far_in, near_out), &fault).await
        }
    };
    if end == End::Reset {
        reset(&near);
    }
}

/// Makes the near side see a reset instead of an end.
fn reset(near: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(near, Some(Duration::ZERO));
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Ended,
    Reset,
}

async fn both<A, B, C, D>(there: (A, B), back: (C, D), fault: &Watched) -> End
where
    A: AsyncRead + Unpin,
    B: AsyncWrite + Unpin,
    C: AsyncRead + Unpin,
    D: AsyncWrite + Unpin,
{
    tokio::select! {
        end = one_way(there.0, there.1, fault.clone()) => end,
        end = one_way(back.0, back.1, fault.clone()) => end,
    }
}

async fn one_way(from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin, fault: Watched) -> End {
    let (sender, receiver) = mpsc::channel(PIECES);
    let taking = async {
        take(from, sender, fault.clone()).await;
        // What was taken is delivered before the end.
        std::future::pending().await
    };
    tokio::select! {
        end = deliver(to, receiver, fault.clone()) => end,
        end = taking => end,
    }
}

/// A piece of the stream, and when it is due.
type Piece = (Instant, Vec<u8>);

async fn take(mut from: impl AsyncRead + Unpin, pieces: mpsc::Sender<Piece>, fault: Watched) {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut due = Instant::now();
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        let delay = match *fault.borrow() {
            Some(NetworkFault::Slow) => DELAY + jitter(DELAY),
            _ => Duration::ZERO,
        };
        due = due.max(Instant::now() + delay);
        if pieces.send((due, buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
}

async fn deliver(
    mut to: impl AsyncWrite + Unpin,
    mut pieces: mpsc::Receiver<Piece>,
    mut fault: Watched,
) -> End {
    loop {
        let now = *fault.borrow_and_update();
        match now {
            Some(NetworkFault::Cut) => return End::Ended,
            Some(NetworkFault::HalfOpen) => {
                let _ = fault.changed().await;
                return End::Reset;
            }
            None | Some(NetworkFault::Slow | NetworkFault::Reset) => {}
        }
        let piece = tokio::select! {
            piece = pieces.recv() => piece,
            _ = fault.changed() => continue,
        };
        let Some((due, bytes)) = piece else { return End::Ended };
        sleep_until(due).await;
        let is_reset = *fault.borrow() == Some(NetworkFault::Reset);
        let part = if is_reset { &bytes[..bytes.len() / 2] } else { &bytes[..] };
        if to.write_all(part).await.is_err() || is_reset {
            return End::Reset;
        }
    }
}

/// A different time at each call, up to `most`; no good randomness is needed.
fn jitter(most: Duration) -> Duration {
    let millis = u64::try_from(most.as_millis()).unwrap_or(1).max(1);
    Duration::from_millis(crate::history::now_us() % millis)
}
