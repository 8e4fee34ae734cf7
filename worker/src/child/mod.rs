//! A child process that answers calls over a framed socket. One thread starts it, its slot watches it, and
//! it outlives neither.
//!
//! # Layout
//!
//! * [`pipe`]: what passes between a slot and its child. [`call_frame`]: a call as it is sent. [`long_result`]: a result on its
//!   way to a file or the bucket.
//! * [`command`]: how a child is started.
//! * [`spawn`]: the thread that starts and reaps.
//! * [`output`]: what a child writes, kept to its tail.
//! * [`death`]: how a child ended, and the words for it.
//! * [`descendants`]: what a child started, found and killed from here.

pub(crate) mod call_frame;
mod command;
pub(crate) mod death;
mod descendants;
pub(crate) mod long_result;
pub(crate) mod output;
pub(crate) mod pipe;
pub(crate) mod spawn;

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Waker};
use std::time::Duration;

use belljar_core::frame::{ChildReply, FrameError, Ready};
use belljar_stream::UnixStream;
use rustix::process::{Pid, Signal};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::StartError;
pub use command::ChildCommand;
use death::{Death, Ending};
use output::{Output, Streams};
use pipe::{FramedPipe, Received};

/// How long a child that closed its socket may take to end by itself, which tells why it did.
const OWN_END: Duration = Duration::from_millis(200);
/// How long a child may take to end once it is asked to: a supervisor kills all its descendants first.
const ASKED_END: Duration = Duration::from_secs(6);
/// How often it is helped to meanwhile: its function may have stopped it, and stop it again.
const HELP_INTERVAL: Duration = Duration::from_millis(200);
/// How long the kernel may take to end a child that it was told to kill.
const KILLED_END: Duration = Duration::from_secs(2);

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
    /// The result cannot be written to its file: the child still sends it.
    #[error("a result of {0} bytes cannot be written to its file")]
    Unwritten(u64, #[source] io::Error),
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
            Self::Closed
            | Self::Protocol(_)
            | Self::Foreign
            | Self::Arguments(_)
            | Self::Unwritten(..) => false,
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

impl Child {
    /// Starts a child and waits until it is ready.
    pub(crate) async fn start(command: &ChildCommand) -> Result<(Self, Ready), StartError> {
        let deadline = Instant::now() + command.start_timeout;
        let failed = |source| StartError::Spawn { program: command.program.clone(), source };
        let spawned = spawn::spawn(command).await.map_err(failed)?;
        let mut child = Self::adopt(spawned, command.max_result_bytes).map_err(failed)?;
        let reply = {
            let (pipe, streams) = child.parts();
            timeout_at(deadline, streams.while_pumping(pipe.receive(None))).await
        };
        match reply {
            Ok(Ok(Received::Reply(ChildReply::Ready(ready)))) => {
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
            pipe: FramedPipe::new(UnixStream::from_std(socket)?, max_result_bytes),
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
        ended.is_ready() || self.pipe.has_something()
    }

    /// Ends the child and all that it started, and says how it ended.
    pub(crate) async fn end(&mut self) -> Death {
        self.process.ask_to_end();
        // The end of the socket also asks a child to leave.
        self.pipe.shutdown().await;
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
