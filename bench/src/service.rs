//! The measured service: `belljar up` on a free port with its own Redis, or a running one.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tempfile::TempDir;

use crate::api::Client;
use crate::http::address_of;

/// How long a service may take to be ready, with sixteen workers on a slow machine.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
/// How long it may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// What the ready line begins with.
const READY: &str = "belljar is ready at ";
/// How often to look whether all workers have joined, or a process has ended: nothing tells.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How tasks reach workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServiceMode {
    /// A pool of slots inside the dispatcher.
    Local,
    /// Workers ask for tasks.
    Pull,
    /// The dispatcher sends tasks.
    Push,
}

impl ServiceMode {
    /// In the order in which they are shown.
    pub(crate) const ALL: [Self; 3] = [Self::Local, Self::Pull, Self::Push];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) mode: ServiceMode,
    /// Worker processes, where the mode has any.
    pub(crate) workers: usize,
    /// Tasks that each worker runs at once.
    pub(crate) slots: usize,
}

impl Setup {
    /// One worker with so many slots.
    pub(crate) const fn slots(mode: ServiceMode, slots: usize) -> Self {
        Self { mode, workers: 1, slots }
    }

    /// So many workers with one slot each; in local mode, so many slots.
    pub(crate) const fn workers(mode: ServiceMode, workers: usize) -> Self {
        match mode {
            ServiceMode::Local => Self { mode, workers: 1, slots: workers },
            ServiceMode::Pull | ServiceMode::Push => Self { mode, workers, slots: 1 },
        }
    }
}

/// How services are started.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    /// The `belljar` binary.
    pub(crate) belljar: PathBuf,
    /// The packages of its native interpreter, where `belljar` is not to find them itself.
    pub(crate) site: Option<PathBuf>,
    /// Where its standard error goes.
    pub(crate) log: PathBuf,
}

/// A running service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    /// `None` for a service that was not started here.
    started: Option<Started>,
}

#[derive(Debug)]
struct Started {
    child: Child,
    /// From the start of the process to its ready line.
    cold_start: Duration,
    data: TempDir,
}

impl Launcher {
    /// Starts a service and waits until all its workers have joined.
    pub(crate) async fn start(&self, setup: &Setup) -> Result<Service> {
        let service = self.start_with(setup, &[]).await?;
        service.joined(setup.workers * setup.slots).await?;
        Ok(service)
    }

    /// Starts a service with further options and waits until it is ready.
    pub(crate) async fn start_with(&self, setup: &Setup, options: &[&str]) -> Result<Service> {
        let data = tempfile::tempdir()?;
        let begun = Instant::now();
        let child = self.spawn(setup, data.path(), options)?;
        // From here on the child ends whatever happens.
        let mut started = Started { child, cold_start: Duration::ZERO, data };
        let stdout = started.child.stdout.take().context("no standard output")?;
        let Ok(line) = lines(stdout).recv_timeout(READY_TIMEOUT) else {
            bail!("`belljar up` was not ready\n  hint: see `{}`", self.log.display());
        };
        started.cold_start = begun.elapsed();
        let url = line.strip_prefix(READY).with_context(|| format!("`{line}`, not ready"))?;
        Ok(Service { address: address_of(url)?, started: Some(started) })
    }

    fn spawn(&self, setup: &Setup, data: &Path, options: &[&str]) -> Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.belljar);
        command.args(["up", "--listen", "127.0.0.1:0", "--mode", setup.mode.as_str()]);
        command.args(["--slots", &setup.slots.to_string()]);
        command.args(["--workers", &setup.workers.to_string()]).arg("--data").arg(data);
        command.args(options);
        if let Some(site) = &self.site {
            command.arg("--site").arg(site);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).process_group(0);
        let parent = rustix::process::getpid();
        #[expect(unsafe_code, reason = "runs between fork and exec: two system calls")]
        unsafe {
            command.pre_exec(move || {
                set_parent_process_death_signal(Some(Signal::TERM))?;
                match rustix::process::getppid() == Some(parent) {
                    true => Ok(()),
                    false => Err(std::io::ErrorKind::BrokenPipe.into()),
                }
            });
        }
        command.spawn().with_context(|| format!("cannot start `{}`", self.belljar.display()))
    }
}

impl Service {
    /// A service that runs already.
    pub(crate) const fn running(address: SocketAddr) -> Self {
        Self { address, started: None }
    }

    /// Its data directory; `None` for a service that was not started here.
    pub(crate) fn data(&self) -> Option<&Path> {
        self.started.as_ref().map(|started| started.data.path())
    }

    /// The process above all of its processes; `None` for a service that was not started here.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.started.as_ref().map(|started| started.child.id())
    }

    /// From the start of its process to its ready line.
    pub(crate) fn cold_start(&self) -> Option<Duration> {
        self.started.as_ref().map(|started| started.cold_start)
    }

    pub(crate) async fn client(&self) -> Result<Client> {
        Client::connect(self.address).await
    }

    /// Waits until so many slots have joined.
    async fn joined(&self, slots: usize) -> Result<()> {
        let mut client = self.client().await?;
        let begun = Instant::now();
        loop {
            let found = client.slots().await.unwrap_or(0);
            if found >= slots {
                return Ok(());
            }
            if begun.elapsed() > READY_TIMEOUT {
                bail!("{found} of {slots} slots have joined after {READY_TIMEOUT:?}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) else { return };
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < STOP_TIMEOUT {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a pipe, which is read to its end so that nobody waits for room in it.
fn lines(pipe: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Only the first line is waited for.
            let _ = sender.send(line);
        }
    });
    receiver
}
