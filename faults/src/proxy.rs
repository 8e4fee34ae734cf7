//! A proxy between two processes that can do to their connections what networks do.

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
/// How many pieces may be on their way on a slow line.
const PIECES: usize = 64;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// It carries everything.
    Fair,
    /// It ends all connections, and every new one at once.
    Cut,
    /// It takes everything and delivers nothing, without a word; connections that saw this are reset
    /// once it is over.
    Silent,
    /// It takes this long, and up to as much again.
    Slow(Duration),
    /// It delivers half of the next piece on each connection and resets it.
    Torn,
}

/// Where connections go.
#[derive(Debug, Clone)]
pub enum Target {
    /// A port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A running proxy. Dropping it ends its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
}

impl Proxy {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// There is none.
    pub fn start(runtime: &Handle, target: Target) -> Result<Self> {
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .context("cannot listen")?;
        let address = listener.local_addr().context("no address")?;
        let (weather, watched) = watch::channel(Weather::Fair);
        runtime.spawn(accept(listener, target, watched));
        Ok(Self { address, weather })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens to connections, those that are open too.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn accept(listener: TcpListener, target: Target, mut weather: watch::Receiver<Weather>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            changed = weather.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok((stream, _)) = accepted else { continue };
        let (target, weather) = (target.clone(), weather.clone());
        tokio::spawn(carry(stream, target, weather));
    }
}

/// Carries one connection until either side, or the weather, ends it.
async fn carry(mut near: TcpStream, target: Target, mut weather: watch::Receiver<Weather>) {
    let now = *weather.borrow_and_update();
    if now == Weather::Cut {
        return;
    }
    if now == Weather::Silent {
        // Even the far side does not hear of it.
        let _ = weather.changed().await;
        return reset(&near);
    }
    // A far side that is not there is a connection that ends at once.
    let _ = near.set_nodelay(true);
    let broken = match target {
        Target::Tcp(address) => {
            let Ok(mut far) = TcpStream::connect(address).await else { return };
            let _ = far.set_nodelay(true);
            let (near_in, near_out) = near.split();
            let (far_in, far_out) = far.split();
            both((near_in, far_out), (far_in, near_out), &weather).await
        }
        Target::Unix(path) => {
            let Ok(mut far) = UnixStream::connect(path).await else { return };
            let (near_in, near_out) = near.split();
            let (far_in, far_out) = far.split();
            both((near_in, far_out), (far_in, near_out), &weather).await
        }
    };
    if broken == Over::Reset {
        reset(&near);
    }
}

/// Has the near side see a reset instead of an end.
fn reset(near: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(near, Some(Duration::ZERO));
}

/// How a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Ended,
    Reset,
}

async fn both<A, B, C, D>(there: (A, B), back: (C, D), weather: &watch::Receiver<Weather>) -> Over
where
    A: AsyncRead + Unpin,
    B: AsyncWrite + Unpin,
    C: AsyncRead + Unpin,
    D: AsyncWrite + Unpin,
{
    tokio::select! {
        over = one_way(there.0, there.1, weather.clone()) => over,
        over = one_way(back.0, back.1, weather.clone()) => over,
    }
}

async fn one_way(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    weather: watch::Receiver<Weather>,
) -> Over {
    let (sender, receiver) = mpsc::channel(PIECES);
    let taking = async {
        take(from, sender, weather.clone()).await;
        // What is on its way arrives before the end does.
        std::future::pending().await
    };
    tokio::select! {
        over = deliver(to, receiver, weather.clone()) => over,
        over = taking => over,
    }
}

/// A piece of the stream, and when it is due.
type Piece = (Instant, Vec<u8>);

async fn take(
    mut from: impl AsyncRead + Unpin,
    pieces: mpsc::Sender<Piece>,
    weather: watch::Receiver<Weather>,
) {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut due = Instant::now();
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        let delay = match *weather.borrow() {
            Weather::Slow(least) => least + jitter(least),
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
    mut weather: watch::Receiver<Weather>,
) -> Over {
    loop {
        let now = *weather.borrow_and_update();
        match now {
            Weather::Cut => return Over::Ended,
            Weather::Silent => {
                let _ = weather.changed().await;
                return Over::Reset;
            }
            Weather::Fair | Weather::Slow(_) | Weather::Torn => {}
        }
        let piece = tokio::select! {
            piece = pieces.recv() => piece,
            _ = weather.changed() => continue,
        };
        let Some((due, bytes)) = piece else { return Over::Ended };
        sleep_until(due).await;
        let torn = *weather.borrow() == Weather::Torn;
        let part = if torn { &bytes[..bytes.len() / 2] } else { &bytes[..] };
        if to.write_all(part).await.is_err() || torn {
            return Over::Reset;
        }
    }
}

/// Up to `most`, another each time; it need not be good.
fn jitter(most: Duration) -> Duration {
    let millis = u64::try_from(most.as_millis()).unwrap_or(1).max(1);
    Duration::from_millis(crate::history::now_us() % millis)
}
