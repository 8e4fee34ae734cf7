//! A process that `up` starts and, should it die, starts again.

use std::ffi::{OsStr, OsString};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// The pause before a process that died is started again; it doubles while it keeps dying.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A process that lived for this long is in good health: its next death counts as the first.
const HEALTHY: Duration = Duration::from_secs(30);

/// What can be started again.
#[async_trait::async_trait]
pub(crate) trait Supervised {
    /// Starts it again, after a pause that grows while it keeps dying.
    async fn start_again(&mut self);
}

/// One subcommand of this program, running.
pub(crate) struct Service {
    name: &'static str,
    command: Vec<OsString>,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    pace: Pace,
}

impl Service {
    pub(crate) async fn start(name: &'static str, command: Vec<OsString>) -> Result<Self> {
        let (child, stdout) = spawn(&command, Signal::KILL)?;
        Ok(Self { name, command, child, stdout, pace: Pace::new() })
    }

    /// The first line that it prints.
    pub(crate) async fn first_line(&mut self, timeout: Duration) -> Result<String> {
        let line = tokio::time::timeout(timeout, self.stdout.next_line()).await;
        match line {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(_) => {
                let ended = self.ended().await;
                Err(anyhow!("the {} {ended}", self.name))
            }
            Err(_) => Err(anyhow!("the {} did not start within {timeout:?}", self.name)),
        }
    }

    /// Changes an option of the command line for the next start.
    pub(crate) fn replace_option(&mut self, name: &str, value: &str) {
        let at = self.command.iter().position(|word| word == OsStr::new(name));
        if let Some(word) = at.and_then(|at| self.command.get_mut(at + 1)) {
            *word = value.into();
        }
    }

    /// Waits for its end and says how that was. Cancel safe.
    pub(crate) async fn ended(&mut self) -> String {
        describe(self.child.wait().await)
    }

    pub(crate) fn tell(&self, ended: &str) {
        tracing::warn!("the {} {ended}; starting it again", self.name);
    }

    /// Asks it to drain and waits; kills it after `timeout`.
    pub(crate) async fn stop(&mut self, timeout: Duration) {
        stop(&mut self.child, timeout).await;
    }
}

#[async_trait::async_trait]
impl Supervised for Service {
    async fn start_again(&mut self) {
        loop {
            self.pace.wait().await;
            match spawn(&self.command, Signal::KILL) {
                Ok((child, stdout)) => {
                    (self.child, self.stdout) = (child, stdout);
                    return;
                }
                Err(error) => tracing::error!("the {} cannot be started: {error:#}", self.name),
            }
        }
    }
}

/// How fast something that keeps dying is started again.
pub(crate) struct Pace {
    pause: Duration,
    started: Instant,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { pause: FIRST_PAUSE, started: Instant::now() }
    }

    pub(crate) async fn wait(&mut self) {
        if self.started.elapsed() >= HEALTHY {
            self.pause = FIRST_PAUSE;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.started = Instant::now();
    }
}

/// Starts a command whose process gets `at_our_death` when this one ends, however it ends. In a
/// process group of its own, so that a terminal's Ctrl-C reaches this process alone.
pub(crate) fn spawn(
    command: &[OsString],
    at_our_death: Signal,
) -> Result<(Child, Lines<BufReader<ChildStdout>>)> {
    let (program, args) = command.split_first().context("an empty command")?;
    let mut builder = Command::new(program);
    builder.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    builder.kill_on_drop(true);
    let parent = rustix::process::getpid();
    #[expect(unsafe_code, reason = "runs between fork and exec: two system calls, no allocation")]
    unsafe {
        builder.pre_exec(move || {
            set_parent_process_death_signal(Some(at_our_death))?;
            // Had the parent died before, the kernel would have nothing to tell.
            match rustix::process::getppid() == Some(parent) {
                true => Ok(()),
                false => Err(std::io::ErrorKind::BrokenPipe.into()),
            }
        });
    }
    let shown = program.to_string_lossy();
    let mut child = builder.spawn().with_context(|| format!("cannot start `{shown}`"))?;
    let stdout = child.stdout.take().context("no standard output")?;
    Ok((child, BufReader::new(stdout).lines()))
}

pub(crate) async fn stop(child: &mut Child, timeout: Duration) {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(timeout, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

fn describe(ended: std::io::Result<ExitStatus>) -> String {
    match ended {
        Ok(status) => format!("ended ({status})"),
        Err(error) => format!("cannot be waited for: {error}"),
    }
}
