//! The thread that starts children, and reaps those that nobody waits for.
//!
//! One thread that lives as long as the process, because the kernel sends the parent-death signal
//! when the *thread* that forked ends, and because a fork must not hold up the runtime.

use std::collections::HashSet;
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

use super::command::ChildCommand;
use super::death::{self, Death};
use super::descendants;

/// How often ended processes are looked for, while any remain to be reaped.
const REAP_INTERVAL: Duration = Duration::from_millis(20);
/// How long a process that was asked to end may take before it is helped to, and before it is killed.
const ALONE: Duration = Duration::from_millis(200);
const GRACE: Duration = Duration::from_secs(8);

/// A child's process: ended and collected in any case, at the latest after this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    /// Not collected as long as this lives, so the number stays its own.
    pid: Pid,
    collected: bool,
    has_supervisor: bool,
}

impl Process {
    /// Its number.
    pub(crate) const fn pid(&self) -> Pid {
        self.pid
    }

    /// Signals the group that the process leads. A supervisor is the only member of its own.
    pub(crate) fn signal(&self, signal: Signal) {
        if !self.collected {
            let _ = kill_process_group(self.pid, signal);
        }
    }

    /// Ends the process. A supervisor is asked to, and to kill its descendants first; also one that is stopped.
    pub(crate) fn ask_to_end(&self) {
        if self.has_supervisor {
            self.signal(Signal::TERM);
            self.signal(Signal::CONT);
        } else {
            self.signal(Signal::KILL);
        }
    }

    /// Asks the process to end; the caller reaps it.
    fn release(mut self) -> Pid {
        self.ask_to_end();
        self.collected = true;
        self.pid
    }

    /// Collects the process if it has ended; `None` while it runs.
    pub(crate) fn collect(&mut self) -> Option<Death> {
        let death = death::collect(self.pid);
        if death.is_some() {
            self.collected = true;
            tell(SpawnerJob::Collected { pid: self.pid, had_supervisor: self.has_supervisor });
        }
        death
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.collected {
            self.ask_to_end();
            tell(SpawnerJob::Reap(self.pid));
        }
    }
}

/// A child that was just started, not yet known to the runtime.
pub(crate) struct Spawned {
    pub(crate) process: Process,
    pub(crate) pidfd: OwnedFd,
    pub(crate) socket: UnixStream,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

enum SpawnerJob {
    Spawn(Box<ChildCommand>, oneshot::Sender<io::Result<Spawned>>),
    Reap(Pid),
    Collected { pid: Pid, had_supervisor: bool },
    Settle(oneshot::Sender<()>),
}

/// Requests are bounded by the slots: each waits for its reply.
static THREAD: LazyLock<io::Result<Sender<SpawnerJob>>> = LazyLock::new(|| {
    let (sender, jobs) = channel();
    // What a child started becomes this process's where the child cannot see to it.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    std::thread::Builder::new().name("spawner".to_owned()).spawn(move || serve(&jobs))?;
    Ok(sender)
});

fn tell(job: SpawnerJob) {
    if let Ok(thread) = THREAD.as_ref() {
        let _ = thread.send(job);
    }
}

/// Starts a child.
pub(crate) async fn spawn(config: &ChildCommand) -> io::Result<Spawned> {
    let gone = || io::Error::other("the thread that starts children is gone");
    let (answer, answered) = oneshot::channel();
    let thread = THREAD.as_ref().map_err(|error| io::Error::from(error.kind()))?;
    thread.send(SpawnerJob::Spawn(Box::new(config.clone()), answer)).map_err(|_| gone())?;
    answered.await.map_err(|_| gone())?
}

/// Returns once every child that nobody waits for has been reaped.
pub(crate) async fn all_reaped() {
    let (answer, answered) = oneshot::channel();
    if let Ok(thread) = THREAD.as_ref()
        && thread.send(SpawnerJob::Settle(answer)).is_ok()
    {
        let _ = answered.await;
    }
}

/// What the thread has to look after.
#[derive(Default)]
struct Children {
    /// Started and not collected.
    alive: HashSet<Pid>,
    /// Asked to end, with nobody else who waits; since when.
    dying: Vec<(Pid, Instant)>,
    /// Whether the last look found processes that had lost their supervisor.
    orphans: bool,
}

fn serve(jobs: &Receiver<SpawnerJob>) {
    let mut children = Children::default();
    let mut waiters: Vec<oneshot::Sender<()>> = Vec::new();
    loop {
        let job = match children.are_settled() {
            true => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => jobs.recv_timeout(REAP_INTERVAL),
        };
        match job {
            Ok(SpawnerJob::Spawn(config, answer)) => {
                let started = start(&config);
                children.alive.extend(started.as_ref().ok().map(|spawned| spawned.process.pid));
                // The caller has gone. Noted at once, before a `Settle` that may follow.
                if let Err(Ok(unwanted)) = answer.send(started) {
                    children.dying.push((unwanted.process.release(), Instant::now()));
                }
            }
            Ok(SpawnerJob::Reap(pid)) => children.dying.push((pid, Instant::now())),
            Ok(SpawnerJob::Collected { pid, had_supervisor }) => {
                children.alive.remove(&pid);
                // What can start nothing leaves nobody behind, and a look costs a millisecond.
                children.orphans |= had_supervisor;
            }
            Ok(SpawnerJob::Settle(answer)) => waiters.push(answer),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        children.reap();
        if children.are_settled() {
            for waiter in waiters.drain(..) {
                let _ = waiter.send(());
            }
        }
    }
}

impl Children {
    /// Whether nothing is left to be reaped.
    fn are_settled(&self) -> bool {
        self.dying.is_empty() && !self.orphans
    }

    fn reap(&mut self) {
        let Self { alive, dying, orphans } = self;
        dying.retain(|&(pid, since)| {
            if since.elapsed() > ALONE {
                descendants::help_to_end(pid);
            }
            if since.elapsed() > GRACE {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            let collected = death::collect(pid).is_some();
            if collected {
                alive.remove(&pid);
                *orphans = true;
            }
            !collected
        });
        if *orphans {
            *orphans = descendants::kill_orphans(alive);
        }
    }
}

fn start(config: &ChildCommand) -> io::Result<Spawned> {
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
    let process = Process { pid, collected: false, has_supervisor: config.has_supervisor };
    let pipe = |pipe: Option<OwnedFd>| pipe.ok_or_else(|| io::Error::other("a pipe is missing"));
    let stdout = pipe(child.stdout.take().map(OwnedFd::from))?;
    let stderr = pipe(child.stderr.take().map(OwnedFd::from))?;
    for fd in [&stdout, &stderr] {
        rustix::io::ioctl_fionbio(fd, true)?;
    }
    socket.set_nonblocking(true)?;
    let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    Ok(Spawned { process, pidfd, socket, stdout, stderr })
}

/// What happens between fork and exec. The child gets a session of its own, so that no terminal's Ctrl-C
/// and no signal to a group reaches it; the socket at its place and no other descriptor; and SIGKILL
/// when the worker dies. A supervisor asks for another signal: it kills its descendants first.
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
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
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
