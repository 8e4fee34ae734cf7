//! The private Redis of `belljar up`: a real `redis-server` on a unix socket, its append-only file
//! below the data directory, used by nobody else and by one `up` at a time.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use tokio::io::{BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::service::{Pace, Supervised, spawn, stop};
use super::sync;

/// What `redis-server` says when it takes commands on its unix socket.
const READY: &str = "ready to accept connections";
/// How long it may take to load what it kept.
const LOAD_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the server of an `up` that was killed may take to save and leave.
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest path that a unix socket can have, by the kernel's `sun_path`.
const MAX_SOCKET_PATH: usize = 107;

pub(crate) struct Redis {
    command: Vec<OsString>,
    socket: PathBuf,
    child: Child,
    /// Carries its files to the disk until it is dropped.
    _sync: DropGuard,
    /// Held by this process and, inherited, by the server: free only when both are gone.
    _lock: File,
    pace: Pace,
}

impl Redis {
    /// Starts the server over what it kept in `data` and waits until it takes commands.
    pub(crate) async fn start(data: &Path) -> Result<Self> {
        let shown = data.display();
        fs::create_dir_all(data).with_context(|| format!("cannot make `{shown}`"))?;
        let data = fs::canonicalize(data).with_context(|| format!("cannot open `{shown}`"))?;
        let lock = lock(&data).await?;
        let socket = data.join("redis.sock");
        if socket.as_os_str().len() > MAX_SOCKET_PATH {
            bail!(
                "`{}` is too long a path for a socket\n  hint: --data DIR with a shorter one",
                socket.display()
            );
        }
        let command = command(&data, &socket);
        let child = start(&command).await?;
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(sync::every_second(data)));
        let (_lock, _sync, pace) = (lock, stop.drop_guard(), Pace::new());
        Ok(Self { command, socket, child, _sync, _lock, pace })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Waits for its end, warns, and returns.
    pub(crate) async fn ended(&mut self) {
        if let Ok(status) = self.child.wait().await {
            tracing::warn!("redis-server ended ({status}); starting it again");
        }
    }

    pub(crate) async fn stop(&mut self, timeout: Duration) {
        stop(&mut self.child, timeout).await;
    }
}

#[async_trait::async_trait]
impl Supervised for Redis {
    async fn start_again(&mut self) {
        loop {
            self.pace.wait().await;
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

async fn lock(data: &Path) -> Result<File> {
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
    // The server inherits it: a new `up` waits for the server of one that was killed.
    fcntl_setfd(file.as_fd(), FdFlags::empty()).context("cannot share the lock")?;
    let waiting = tokio::task::spawn_blocking(move || {
        flock(&file, FlockOperation::LockExclusive).map(|()| file)
    });
    match tokio::time::timeout(PREDECESSOR_TIMEOUT, waiting).await {
        Ok(locked) => locked.context("the lock was not awaited")?.context("cannot lock"),
        Err(_) => Err(anyhow!(
            "another `belljar up` uses `{}`\n  hint: --data DIR names another directory",
            data.display()
        )),
    }
}

fn command(data: &Path, socket: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["redis-server".into()];
    let mut option = |name: &str, value: &OsString| words.extend([name.into(), value.clone()]);
    option("--port", &"0".into());
    option("--unixsocket", &socket.into());
    option("--unixsocketperm", &"700".into());
    option("--dir", &data.into());
    option("--appendonly", &"yes".into());
    // With `everysec` a server whose disk is slow answers before it writes, and forgets what it answered
    // when it is killed. So it writes always, and `sync` sees to the disk.
    option("--appendfsync", &"no".into());
    option("--save", &"".into());
    // Compressing every result again at each rewrite of the file took a quarter of a processor.
    option("--rdbcompression", &"no".into());
    // Nobody reads how long its commands take, and to note it is work for each of them.
    option("--latency-tracking", &"no".into());
    option("--maxmemory-policy", &"noeviction".into());
    option("--daemonize", &"no".into());
    words
}

async fn start(command: &[OsString]) -> Result<Child> {
    let (mut child, mut stdout) = spawn(command, Signal::TERM).map_err(|error| {
        error.context(
            "a private Redis is needed\n  hint: apt-get install redis-server, or --redis URL",
        )
    })?;
    let loading = until_ready(&mut stdout);
    let said = match tokio::time::timeout(LOAD_TIMEOUT, loading).await {
        Ok(said) => said?,
        Err(_) => bail!("redis-server did not start within {LOAD_TIMEOUT:?}"),
    };
    if let Some(said) = said {
        let _ = child.wait().await;
        bail!("redis-server did not start: {said}");
    }
    // Its log is not read further, but must not fill the pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = stdout.next_line().await {} });
    Ok(child)
}

/// `None` once it is ready; the last lines it said where it ended before.
async fn until_ready(stdout: &mut Lines<BufReader<ChildStdout>>) -> Result<Option<String>> {
    let mut said = Vec::new();
    while let Some(line) = stdout.next_line().await.context("redis-server cannot be read")? {
        if line.contains(READY) {
            return Ok(None);
        }
        said.push(line);
    }
    Ok(Some(said.split_off(said.len().saturating_sub(3)).join(" / ")))
}
