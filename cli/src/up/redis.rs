//! The private Redis of `belljar up`: a `redis-server` on a unix socket, with its append-only file in the
//! data directory. One `up` at a time uses it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::Signal;
use rustix::system::sysinfo;
use tokio::io::{BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::service::{Backoff, Supervised, spawn, stop};
use super::sync;
use crate::args::Durability;
use crate::exit::WithHint;
use crate::redis_server;

/// What the server logs when it takes commands on its unix socket: "now ready" until 7.2, then "Ready".
const READY: &str = "eady to accept connections";
/// What it says where the disk is full.
const NO_ROOM: &str = "No space left on device";
/// How long it may take to load its data.
const LOAD_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the server of an `up` that was killed may take to save and end.
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(15);
/// The pause between two tries to lock.
const PREDECESSOR_PAUSE: Duration = Duration::from_millis(20);
/// One part in so many of the machine's memory is for its data unless it is told.
const SHARE: u64 = 2;
/// The memory that the group of this process may have, where the kernel limits it: as in a container.
const GROUP_LIMIT: &str = "/sys/fs/cgroup/memory.max";

/// The longest path that a unix socket can have, by the kernel's `sun_path`.
const MAX_SOCKET_PATH: usize = 107;

pub(super) struct Redis {
    command: Vec<OsString>,
    socket: PathBuf,
    child: Child,
    /// Carries its files to the disk until it is dropped.
    _sync: DropGuard,
    /// Of this `up`, and of its server.
    _locks: [File; 2],
    backoff: Backoff,
}

impl Redis {
    /// Starts the server with the data in `data` and waits until it takes commands.
    pub(super) async fn start(
        data: &Path,
        memory_mb: Option<u64>,
        durability: Durability,
    ) -> Result<Self> {
        let shown = data.display();
        fs::create_dir_all(data).with_context(|| format!("cannot make `{shown}`"))?;
        let data = fs::canonicalize(data).with_context(|| format!("cannot open `{shown}`"))?;
        let lock = lock(&data)?;
        let server_lock = server_lock(&data).await?;
        let socket = data.join("redis.sock");
        if socket.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(anyhow!("the path `{}` is too long for a socket", socket.display()))
                .hint("--data DIR names a directory with a shorter path");
        }
        let memory_mb = memory_mb.unwrap_or_else(|| machine_memory_mb() / SHARE);
        let command = command(&data, &socket, memory_mb, durability);
        let child = start(&command).await?;
        let stop = CancellationToken::new();
        if durability == Durability::Process {
            tokio::spawn(stop.clone().run_until_cancelled_owned(sync::every_second(data)));
        }
        let (_locks, _sync, backoff) = ([lock, server_lock], stop.drop_guard(), Backoff::new());
        Ok(Self { command, socket, child, _sync, _locks, backoff })
    }

    pub(super) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Waits for its end, warns, and returns.
    pub(super) async fn ended(&mut self) {
        if let Ok(status) = self.child.wait().await {
            tracing::warn!("redis-server ended ({status}); starting it again");
        }
    }

    pub(super) async fn stop(&mut self, timeout: Duration) {
        stop(&mut self.child, timeout).await;
    }
}

#[async_trait::async_trait]
impl Supervised for Redis {
    async fn start_again(&mut self) {
        loop {
            self.backoff.wait().await;
            match start(&self.command).await {
                Ok(child) => {
                    self.child = child;
                    return;
                }
                Err(error) => tracing::error!("{error:#}"),
            }
        }
    }
}

/// Takes the directory for this `up`: at once, or not at all.
fn lock(data: &Path) -> Result<File> {
    let file = lock_file(data, "lock")?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(anyhow!("another `belljar up` uses `{}`", data.display()))
            .hint("--data DIR names another directory"),
        Err(error) => Err(error).context("cannot lock the data directory"),
    }
}

/// Waits for the server of an `up` that was killed, which may still be saving. Each server inherits the lock.
async fn server_lock(data: &Path) -> Result<File> {
    let file = lock_file(data, "redis.lock")?;
    fcntl_setfd(file.as_fd(), FdFlags::empty()).context("cannot share the lock")?;
    let begun = Instant::now();
    while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != Errno::WOULDBLOCK || begun.elapsed() > PREDECESSOR_TIMEOUT {
            let shown = data.display();
            return Err(error).with_context(|| format!("another redis-server uses `{shown}`"));
        }
        tokio::time::sleep(PREDECESSOR_PAUSE).await;
    }
    Ok(file)
}

fn lock_file(data: &Path, name: &str) -> Result<File> {
    let path = data.join(name);
    File::create(&path).with_context(|| format!("cannot write `{}`", path.display()))
}

fn command(data: &Path, socket: &Path, memory_mb: u64, durability: Durability) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![redis_server::find()];
    let mut option = |name: &str, value: &OsString| words.extend([name.into(), value.clone()]);
    option("--port", &"0".into());
    option("--unixsocket", &socket.into());
    option("--unixsocketperm", &"700".into());
    option("--dir", &data.into());
    option("--appendonly", &"yes".into());
    // With `everysec`, a server with a slow disk answers before it writes, and loses that when it is killed.
    // So it always writes, and `sync` carries the file to the disk.
    let sync = if durability == Durability::Disk { "always" } else { "no" };
    option("--appendfsync", &sync.into());
    option("--save", &"".into());
    // Compressing every result at each rewrite of the file took a quarter of a processor.
    option("--rdbcompression", &"no".into());
    // Nothing reads the latencies of its commands, and tracking them costs time.
    option("--latency-tracking", &"no".into());
    option("--maxmemory-policy", &"noeviction".into());
    option("--maxmemory", &format!("{memory_mb}mb").into());
    option("--daemonize", &"no".into());
    words
}

/// The memory of this machine, or of this container.
fn machine_memory_mb() -> u64 {
    let info = sysinfo();
    let machine = info.totalram.saturating_mul(u64::from(info.mem_unit));
    let limit = fs::read_to_string(GROUP_LIMIT).ok().and_then(|text| text.trim().parse().ok());
    limit.map_or(machine, |limit| machine.min(limit)) >> 20
}

async fn start(command: &[OsString]) -> Result<Child> {
    let (mut child, mut stdout) = spawn(command, Signal::TERM).hint(redis_server::REMEDY)?;
    let loading = until_ready(&mut stdout);
    let said = match tokio::time::timeout(LOAD_TIMEOUT, loading).await {
        Ok(said) => said?,
        Err(_) => bail!("redis-server did not start within {LOAD_TIMEOUT:?}"),
    };
    if let Some(said) = said {
        let _ = child.wait().await;
        let failed = anyhow!("redis-server did not start: {said}");
        return if said.contains(NO_ROOM) {
            Err(failed).hint("--data DIR names a directory on another disk")
        } else {
            Err(failed)
        };
    }
    // Its log is not used further, but must not fill the pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = stdout.next_line().await {} });
    Ok(child)
}

/// `None` when it is ready; its last line if it ends before.
async fn until_ready(stdout: &mut Lines<BufReader<ChildStdout>>) -> Result<Option<String>> {
    let mut said = String::new();
    while let Some(line) = stdout.next_line().await.context("redis-server cannot be read")? {
        if line.contains(READY) {
            return Ok(None);
        }
        said = line;
    }
    // `PID:ROLE DAY MONTH YEAR TIME # TEXT`
    Ok(Some(said.split_once(" # ").map_or(said.clone(), |(_, text)| text.to_owned())))
}
