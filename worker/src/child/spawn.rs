//! The one thread that starts children, and buries those that nobody waits for.
//!
//! One thread that lives as long as the process, because the kernel sends the parent-death signal
//! when the *thread* that forked ends, and because a fork must not hold up the runtime.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use belljar_core::frame::CHILD_FD;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::sync::oneshot;

use super::death;
use crate::config::ExecutorConfig;

/// How often the dead are looked for, while any are due.
const BURIAL_TURN: Duration = Duration::from_millis(20);
/// How long one that was asked to end may take before it is killed.
const PATIENCE: Duration = Duration::from_secs(8);

/// A child that was just started, not yet known to the runtime.
pub(crate) struct Spawned {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(crate) socket: UnixStream,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

enum Job {
    Spawn(Box<ExecutorConfig>, oneshot::Sender<io::Result<Spawned>>),
    Bury(Pid),
}

/// Requests are bounded by the slots: each waits for its answer.
static THREAD: LazyLock<io::Result<Sender<Job>>> = LazyLock::new(|| {
    let (sender, jobs) = channel();
    std::thread::Builder::new().name("spawner".to_owned()).spawn(move || serve(&jobs))?;
    Ok(sender)
});

/// Starts a child.
pub(crate) async fn spawn(config: &ExecutorConfig) -> io::Result<Spawned> {
    let gone = || io::Error::other("the thread that starts children is gone");
    let (answer, answered) = oneshot::channel();
    let thread = THREAD.as_ref().map_err(|error| io::Error::from(error.kind()))?;
    thread.send(Job::Spawn(Box::new(config.clone()), answer)).map_err(|_| gone())?;
    answered.await.map_err(|_| gone())?
}

/// Collects a child that was asked to end, once it has.
pub(crate) fn bury(pid: Pid) {
    if let Ok(thread) = THREAD.as_ref() {
        let _ = thread.send(Job::Bury(pid));
    }
}

fn serve(jobs: &Receiver<Job>) {
    let mut dying: Vec<(Pid, Instant)> = Vec::new();
    loop {
        let job = match dying.is_empty() {
            true => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => jobs.recv_timeout(BURIAL_TURN),
        };
        match job {
            Ok(Job::Spawn(config, answer)) => {
                // Nobody waits any more: what was started goes as the descriptors close.
                if let Err(Ok(unwanted)) = answer.send(start(&config)) {
                    let _ = kill_process_group(unwanted.pid, Signal::TERM);
                    dying.push((unwanted.pid, Instant::now()));
                }
            }
            Ok(Job::Bury(pid)) => dying.push((pid, Instant::now())),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        dying.retain(|&(pid, since)| {
            if since.elapsed() > PATIENCE {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            death::collect(pid).is_none()
        });
    }
}

fn start(config: &ExecutorConfig) -> io::Result<Spawned> {
    let (socket, theirs) = UnixStream::pair()?;
    let mut command = Command::new(&config.program);
    command
        .args(&config.args)
        .env_clear()
        .envs(config.env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    prepare(&mut command, &theirs);
    let mut child = command.spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("a process id out of range"))?;
    let pipe = |pipe: Option<OwnedFd>| pipe.ok_or_else(|| io::Error::other("a pipe is missing"));
    let stdout = pipe(child.stdout.take().map(OwnedFd::from))?;
    let stderr = pipe(child.stderr.take().map(OwnedFd::from))?;
    for fd in [&stdout, &stderr] {
        rustix::io::ioctl_fionbio(fd, true)?;
    }
    socket.set_nonblocking(true)?;
    let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    Ok(Spawned { pid, pidfd, socket, stdout, stderr })
}

/// What happens between fork and exec: a session of its own, so that no terminal's Ctrl-C and no
/// signal to a group reaches it; the socket at its place; nothing else open; the word to end when
/// the worker dies. SIGTERM and not SIGKILL, because a guardian has a family to kill first.
#[expect(unsafe_code, reason = "code between fork and exec")]
fn prepare(command: &mut Command, theirs: &UnixStream) {
    let socket = theirs.as_raw_fd();
    let check = |result: i32| match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    };
    let in_child = move || {
        // SAFETY: only async-signal-safe calls, with integers as arguments.
        unsafe {
            check(libc::setsid())?;
            libc::signal(libc::SIGTERM, libc::SIG_DFL);
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM, 0, 0, 0))?;
            if socket == CHILD_FD {
                check(libc::fcntl(socket, libc::F_SETFD, 0))?;
            } else {
                // Where std's own pipe for reporting a failed exec has that number it is lost: such
                // a failure then shows as a child that ends without a word.
                check(libc::dup2(socket, CHILD_FD))?;
            }
            // Everything opens close-on-exec here; this is for what a library may have forgotten.
            let (first, last) = (CHILD_FD as u32 + 1, u32::MAX);
            libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC);
        }
        Ok(())
    };
    // SAFETY: the closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(in_child) };
}
