//! A unix stream for requests and answers, which wakes its owner once for each answer.
//!
//! Tokio's own asks the kernel to be told when a stream may be read and when it may be written. The kernel says the latter
//! each time that the peer has taken what was written, so that who waits for an answer is woken for nothing while the peer
//! works on it: on a machine with few processors in the peer's place. This one asks to be told of room only when
//! there was none.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::RecvFlags;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A connected stream.
#[derive(Debug)]
pub struct UnixStream {
    readable: AsyncFd<StdStream>,
    /// The same stream, while what is written has to wait for room.
    writable: Option<AsyncFd<StdStream>>,
}

impl UnixStream {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::from_std(tokio::net::UnixStream::connect(path).await?.into_std()?)
    }

    /// Takes a stream, which must not block.
    ///
    /// # Errors
    /// The kernel has no room to watch it.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn from_std(stream: StdStream) -> io::Result<Self> {
        Ok(Self { readable: watch(stream, Interest::READABLE)?, writable: None })
    }

    /// Reads what is there now.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where nothing is.
    pub fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.readable.try_io(Interest::READABLE, |mut stream| stream.read(bytes))
    }

    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&StdStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let Some(writable) = &self.writable else {
                match write(self.readable.get_ref()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let stream = self.readable.get_ref().try_clone()?;
                        self.writable = Some(watch(stream, Interest::WRITABLE)?);
                        continue;
                    }
                    result => return Poll::Ready(result),
                }
            };
            let mut room = ready!(writable.poll_write_ready(cx))?;
            if let Ok(result) = room.try_io(|stream| write(stream.get_ref())) {
                drop(room);
                self.writable = None;
                return Poll::Ready(result);
            }
        }
    }
}

#[expect(unsafe_code, reason = "the runtime must be told that a descriptor stays open")]
fn watch(stream: StdStream, interest: Interest) -> io::Result<AsyncFd<StdStream>> {
    // SAFETY: a stream names one open descriptor until it is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(stream, interest) }?)
}

/// Reads into the room of a buffer, however large it is: it is not filled with zeros before.
#[expect(unsafe_code, reason = "there is no stable way to read into a `ReadBuf`")]
fn read(stream: &StdStream, buffer: &mut ReadBuf<'_>) -> io::Result<usize> {
    // SAFETY: nothing is written to it but what the kernel reads, which is initialized.
    let room = unsafe { buffer.unfilled_mut() };
    let ((bytes, _), _) = rustix::net::recv(stream, room, RecvFlags::empty())?;
    let count = bytes.len();
    // SAFETY: so many bytes were read.
    unsafe { buffer.assume_init(count) };
    buffer.advance(count);
    Ok(count)
}

impl AsyncRead for UnixStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.readable.poll_read_ready(cx))?;
            if let Ok(count) = ready.try_io(|stream| read(stream.get_ref(), buffer)) {
                // All that there was: the kernel tells of more.
                if count? > 0 && buffer.remaining() > 0 {
                    ready.clear_ready();
                }
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for UnixStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |mut stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |mut stream| stream.write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.readable.get_ref().shutdown(Shutdown::Write))
    }
}
