//! One connection: its bytes are watched, so that a peer that stalls is cut wherever it stalls:
//! before its first byte, within its headers, between requests, or taking the answer. (Within a
//! body it is `body.rs` that waits.) One clock serves for all of these, at no cost per request.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::Config;
use crate::socket::Socket;

/// What is known of a connection's progress. Times are milliseconds since it was taken.
pub(crate) struct Progress {
    /// The address at its other end; none of a unix socket.
    peer: Option<IpAddr>,
    start: Instant,
    /// Requests being answered.
    open: AtomicU32,
    /// And those of all connections.
    all: Arc<AtomicUsize>,
    /// Since when no request is open.
    idle_since: AtomicU64,
    /// Since when there are bytes of a request that has not begun; [`NEVER`] when there are none.
    reading_since: AtomicU64,
    /// Since when the peer takes no bytes; [`NEVER`] when it does.
    blocked_since: AtomicU64,
}

const NEVER: u64 = u64::MAX;

/// Counts a request as open until it is dropped.
pub(crate) struct OpenRequest(Arc<Progress>);

impl Progress {
    /// A connection that was just taken: its first request is due at once. `all` counts the requests of all
    /// connections.
    pub(crate) fn new(all: Arc<AtomicUsize>, peer: Option<IpAddr>) -> Arc<Self> {
        Arc::new(Self {
            peer,
            start: Instant::now(),
            open: AtomicU32::new(0),
            all,
            idle_since: AtomicU64::new(0),
            reading_since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(NEVER),
        })
    }

    /// The address at its other end.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NEVER - 1)
    }

    /// A request's headers are complete.
    pub(crate) fn request(self: &Arc<Self>) -> OpenRequest {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.all.fetch_add(1, Ordering::Relaxed);
        self.reading_since.store(NEVER, Ordering::Relaxed);
        OpenRequest(Arc::clone(self))
    }

    /// Why the connection should be cut now, if it should.
    pub(crate) fn stall(&self, config: &Config) -> Option<&'static str> {
        let now = self.now();
        let is_over = |since: &AtomicU64, limit: Duration| {
            let since = since.load(Ordering::Relaxed);
            since != NEVER && Duration::from_millis(now.saturating_sub(since)) >= limit
        };
        if is_over(&self.blocked_since, config.write_timeout) {
            return Some("the peer takes no bytes");
        }
        if self.open.load(Ordering::Relaxed) > 0 {
            return None;
        }
        if is_over(&self.reading_since, config.header_timeout) {
            return Some("no whole request came");
        }
        is_over(&self.idle_since, config.idle_timeout).then_some("idle")
    }

    fn read(&self) {
        if self.open.load(Ordering::Relaxed) == 0
            && self.reading_since.load(Ordering::Relaxed) == NEVER
        {
            self.reading_since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn wrote<T>(&self, result: &Poll<T>) {
        if result.is_ready() {
            if self.blocked_since.load(Ordering::Relaxed) != NEVER {
                self.blocked_since.store(NEVER, Ordering::Relaxed);
            }
        } else if self.blocked_since.load(Ordering::Relaxed) == NEVER {
            self.blocked_since.store(self.now(), Ordering::Relaxed);
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is read and thrown away at the end at most, and for how long.
const LINGER_BYTES: usize = 4 << 20;
const LINGER_TIME: Duration = Duration::from_millis(500);

/// A stream that notes its progress. It is shared, so that it can be ended in order when the HTTP
/// machinery is done with it.
pub(crate) struct Watched {
    socket: Arc<Socket>,
    progress: Arc<Progress>,
}

impl Watched {
    /// Watches `socket`.
    pub(crate) const fn new(socket: Arc<Socket>, progress: Arc<Progress>) -> Self {
        Self { socket, progress }
    }

    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let result = loop {
            match self.socket.poll_write_ready(cx) {
                Poll::Pending => break Poll::Pending,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {}
            }
            match write(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => break Poll::Ready(result),
            }
        };
        self.progress.wrote(&result);
        result
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    if count > 0 {
                        self.progress.read();
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |socket| socket.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |socket| socket.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The end is [`hang_up`]'s.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Ends a connection. Where the peer is still sending, what it sends is read for a while: a socket
/// that is closed over unread bytes takes from the peer the last answer, which says why.
pub(crate) async fn hang_up(mut socket: Socket) {
    if socket.shutdown().await.is_err() {
        return;
    }
    let mut scratch = vec![0; 16 * 1024];
    let mut thrown = 0;
    let reading = async {
        while thrown < LINGER_BYTES {
            match socket.try_read(&mut scratch) {
                Ok(0) => return,
                Ok(count) => thrown += count,
                // A peer that was not sending is not waited for.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && thrown > 0 => {
                    if socket.readable().await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    };
    // Either way the peer has had its chance.
    let _ = tokio::time::timeout(LINGER_TIME, reading).await;
}

#[cfg(test)]
mod tests {
    use belljar_core::task::{PythonVersion, Runtime, TaskClass};

    use super::*;

    fn config() -> Config {
        let python = PythonVersion { major: 3, minor: 11 };
        Config {
            header_timeout: Duration::ZERO,
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::ZERO,
            ..Config::new(TaskClass::new(Runtime::Native, python))
        }
    }

    #[test]
    fn a_peer_is_cut_where_it_stalls() {
        let (config, progress) = (config(), Progress::new(Arc::default(), None));
        assert_eq!(progress.stall(&config), Some("no whole request came"), "no first byte");
        let request = progress.request();
        assert_eq!(progress.stall(&config), None);
        progress.wrote(&Poll::<()>::Pending);
        assert_eq!(progress.stall(&config), Some("the peer takes no bytes"));
        progress.wrote(&Poll::Ready(()));
        drop(request);
        assert_eq!(progress.stall(&config), None, "idle, not yet for long");
        let impatient = Config { idle_timeout: Duration::ZERO, ..config.clone() };
        assert_eq!(progress.stall(&impatient), Some("idle"));
        progress.read();
        assert_eq!(progress.stall(&config), Some("no whole request came"));
    }
}
