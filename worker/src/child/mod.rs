//! A child process that answers calls over a framed socket. One thread starts it, its slot watches it, and
//! it outlives neither.
//!
//! # Layout
//!
//! * [`call_frame`]: a call as it is sent.
//! * [`command`]: how a child is started.
//! * [`spawn`]: the thread that starts and reaps.
//! * [`output`]: what a child writes, kept to its tail.
//! * [`death`]: how a child ended, and the words for it.
//! * [`descendants`]: what a child started, found and killed from here.

pub(crate) mod call_frame;
mod command;
pub(crate) mod death;
mod descendants;
pub(crate) mod output;
pub(crate) mod spawn;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::task::{Context, Waker};
use std::time::Duration;

use belljar_core::args::ArgsPiece;
use belljar_core::frame::{self, ChildReply, Done, FrameError, Ready};
use belljar_core::limits::REPLY_MARGIN_BYTES;
use belljar_core::live::Progress;
use belljar_stream::UnixStream;
use bytes::{Buf as _, BytesMut};
use rustix::process::{Pid, Signal};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::StartError;
use crate::http_proxy::CallProxy;
use call_frame::CallFrame;
pub use command::ChildCommand;
use death::{Death, Ending};
use output::{Output, Streams};

/// How long a child that closed its socket may take to end by itself, which tells why it did.
const OWN_END: Duration = Duration::from_millis(200);
/// How long a child may take to end once it is asked to: a supervisor kills all its descendants first.
const ASKED_END: Duration = Duration::from_secs(6);
/// How often it is helped to meanwhile: its function may have stopped it, and stop it again.
const HELP_INTERVAL: Duration = Duration::from_millis(200);
/// How long the kernel may take to end a child that it was told to kill.
const KILLED_END: Duration = Duration::from_secs(2);
/// So much of a file is sent at once.
const PIECE_BYTES: usize = 512 << 10;
/// A reply's first buffer. Bigger replies grow it as they arrive.
const BUFFER_BYTES: usize = 16 << 10;
/// An buffer that grew beyond this is not kept for the next reply.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

/// Why a child sent no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// The child has closed it, or died.
    #[error("it closed its socket")]
    Closed,
    /// The socket failed.
    #[error("its socket failed")]
    Socket(#[from] io::Error),
    /// A part of the call's arguments cannot be read: the child has a part of the call.
    #[error("the arguments cannot be read")]
    Arguments(#[source] io::Error),
    /// The child does not speak the protocol.
    #[error("it sent what is no reply")]
    Protocol(#[from] FrameError),
    /// The child answered something else than the call.
    #[error("it sent what is no reply to this call")]
    Foreign,
    /// The call did not begin: the one before left something behind.
    #[error("the call before left {0} behind")]
    LeftBehind(String),
}

impl Lost {
    /// Whether a child that had answered before has not begun the call: it said so, or it has ended with the call in its
    /// socket, which it reads once it has put back what the call before changed.
    pub(crate) fn has_not_begun(&self) -> bool {
        match self {
            Self::LeftBehind(_) => true,
            Self::Socket(error) => {
                matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
            }
            Self::Closed | Self::Protocol(_) | Self::Foreign | Self::Arguments(_) => false,
        }
    }
}

/// A running child.
#[derive(Debug)]
pub(crate) struct Child {
    process: spawn::Process,
    pidfd: AsyncFd<OwnedFd>,
    pipe: FramedPipe,
    streams: Streams,
}

/// The socket to a child, apart from its output so that both can be waited for at once.
#[derive(Debug)]
pub(crate) struct FramedPipe {
    socket: UnixStream,
    buffer: BytesMut,
    /// A longer reply is refused by its header alone, so that a child cannot fill this process.
    max_frame_bytes: usize,
}

impl Child {
    /// Starts a child and waits until it is ready.
    pub(crate) async fn start(command: &ChildCommand) -> Result<(Self, Ready), StartError> {
        let deadline = Instant::now() + command.start_timeout;
        let failed = |source| StartError::Spawn { program: command.program.clone(), source };
        let spawned = spawn::spawn(command).await.map_err(failed)?;
        let mut child = Self::adopt(spawned, command.max_result_bytes).map_err(failed)?;
        let reply = {
            let (pipe, streams) = child.parts();
            timeout_at(deadline, streams.while_pumping(pipe.receive())).await
        };
        match reply {
            Ok(Ok(ChildReply::Ready(ready))) => {
                child.take_output();
                Ok((child, ready))
            }
            Ok(answer) => {
                let death = child.end_by_itself().await;
                let output = child.take_output();
                let evidence = death.describe(&output);
                let problem = match answer {
                    Err(Lost::Closed | Lost::Socket(_)) => String::new(),
                    Err(lost) => format!("{lost}; "),
                    Ok(_) => "it did not say that it is ready; ".to_owned(),
                };
                Err(StartError::Died { evidence: format!("{problem}{evidence}") })
            }
            Err(_) => {
                child.end().await;
                let evidence = child.take_output().stderr_tail();
                Err(StartError::Slow { limit: command.start_timeout, evidence })
            }
        }
    }

    #[expect(unsafe_code, reason = "the runtime must be told that a descriptor stays open")]
    fn adopt(spawned: spawn::Spawned, max_result_bytes: usize) -> io::Result<Self> {
        let spawn::Spawned { process, pidfd, socket, stdout, stderr } = spawned;
        // SAFETY: an `OwnedFd` names one open descriptor until it is dropped.
        let pidfd = unsafe { AsyncFd::register(pidfd) }?;
        Ok(Self {
            process,
            pidfd,
            pipe: FramedPipe {
                socket: UnixStream::from_std(socket)?,
                buffer: BytesMut::with_capacity(BUFFER_BYTES),
                max_frame_bytes: max_result_bytes + REPLY_MARGIN_BYTES,
            },
            streams: Streams::new(stdout, stderr)?,
        })
    }

    /// The socket and the output, to be waited for together.
    pub(crate) fn parts(&mut self) -> (&mut FramedPipe, &mut Streams) {
        (&mut self.pipe, &mut self.streams)
    }

    /// Its process, which it leads.
    pub(crate) const fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Everything written since the last time, complete up to now.
    pub(crate) fn take_output(&mut self) -> Output {
        self.streams.take()
    }

    /// Whether the child or its supervisor has died, or it sent something while idle. One system call; what
    /// it does not show yet, the call finds out.
    pub(crate) fn is_stale(&self) -> bool {
        let ended = self.pidfd.poll_read_ready(&mut Context::from_waker(Waker::noop()));
        ended.is_ready()
            || !self.pipe.buffer.is_empty()
            || !matches!(
                self.pipe.socket.try_read(&mut [0]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock
            )
    }

    /// Ends the child and all that it started, and says how it ended.
    pub(crate) async fn end(&mut self) -> Death {
        self.process.ask_to_end();
        // The end of the socket also asks a child to leave.
        let _ = self.pipe.socket.shutdown().await;
        let started = Instant::now();
        while timeout(HELP_INTERVAL, self.streams.while_pumping(self.pidfd.readable()))
            .await
            .is_err()
            && started.elapsed() < ASKED_END
        {
            let pid = self.process.pid();
            // It reads the whole process table.
            let _ = tokio::task::spawn_blocking(move || descendants::help_to_end(pid)).await;
        }
        self.await_end(Duration::ZERO).await
    }

    /// Like [`Child::end`], for a child that seems to have ended by itself.
    pub(crate) async fn end_by_itself(&mut self) -> Death {
        if timeout(OWN_END, self.pidfd.readable()).await.is_err() {
            return self.end().await;
        }
        self.await_end(KILLED_END).await
    }

    async fn await_end(&mut self, patience: Duration) -> Death {
        if timeout(patience, self.streams.while_pumping(self.pidfd.readable())).await.is_err() {
            self.process.signal(Signal::KILL);
            let _ = timeout(KILLED_END, self.pidfd.readable()).await;
        }
        // Stuck in the kernel: then the spawner's thread reaps it.
        let unknown = Death { ending: Ending::Unknown, peak_memory_bytes: 0 };
        self.process.collect().unwrap_or(unknown)
    }
}

impl FramedPipe {
    /// Sends the frame of the call with this nonce and waits for the reply to it. `http` makes the requests of the
    /// call meanwhile, and `on_progress` takes what it says of its progress.
    pub(crate) async fn exchange(
        &mut self,
        frame: &CallFrame,
        nonce: u64,
        mut http: Option<&mut CallProxy>,
        on_progress: impl Fn(Progress),
    ) -> Result<Done, Lost> {
        self.send(frame).await?;
        fail::fail_point!("running");
        loop {
            match (self.receive().await?, &mut http) {
                (ChildReply::Done(done), _) if done.nonce == nonce => return Ok(done),
                (ChildReply::LeftBehind(what), _) => return Err(Lost::LeftBehind(what)),
                (ChildReply::Progress(of, progress), _) if of == nonce => on_progress(progress),
                // In a box: calls without requests carry none of its state.
                (ChildReply::Http(message), Some(http)) => {
                    let answer = Box::pin(http.answer(message)).await;
                    self.socket.write_all(&frame::encode(&answer)?).await?;
                }
                _ => return Err(Lost::Foreign),
            }
        }
    }

    /// Sends a call. What is in files goes from there, piece by piece.
    async fn send(&mut self, frame: &CallFrame) -> Result<(), Lost> {
        self.socket.write_all(&frame.before).await?;
        for piece in &frame.args {
            match piece {
                ArgsPiece::Here(bytes) => self.socket.write_all(bytes).await?,
                ArgsPiece::File(path, bytes) => {
                    // In a box: other calls carry none of its state.
                    Box::pin(self.send_file(path, *bytes)).await?;
                }
                ArgsPiece::Held(..) => {
                    return Err(Lost::Arguments(io::Error::other("it has no name here")));
                }
            }
        }
        Ok(self.socket.write_all(&frame.after).await?)
    }

    async fn send_file(&mut self, path: &Path, bytes: u64) -> Result<(), Lost> {
        let mut file = tokio::fs::File::open(path).await.map_err(Lost::Arguments)?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut left = bytes;
        while left > 0 {
            let most = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = file.read(&mut piece[..most]).await.map_err(Lost::Arguments)?;
            if read == 0 {
                return Err(Lost::Arguments(io::ErrorKind::UnexpectedEof.into()));
            }
            self.socket.write_all(&piece[..read]).await?;
            left -= read as u64;
        }
        Ok(())
    }

    /// Waits for a reply.
    async fn receive(&mut self) -> Result<ChildReply, Lost> {
        loop {
            let mut ahead = BUFFER_BYTES;
            if let Some(prefix) = self.buffer.first_chunk::<4>() {
                let length = frame::length(*prefix, self.max_frame_bytes)?;
                if let Some(body) = self.buffer.get(4..4 + length) {
                    let reply = frame::decode(body)?;
                    self.buffer.advance(4 + length);
                    self.reset_buffer();
                    return Ok(reply);
                }
                ahead = (4 + length - self.buffer.len()).clamp(BUFFER_BYTES, frame::AHEAD_BYTES);
            }
            // What is set aside and not written to costs no memory.
            self.buffer.reserve(ahead);
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err(Lost::Closed);
            }
        }
    }

    fn reset_buffer(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BUFFER_BYTES {
            self.buffer = BytesMut::with_capacity(BUFFER_BYTES);
        }
    }
}
