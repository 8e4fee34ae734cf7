//! A process that `up` starts and, should it die, starts again.

use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use clap::ValueEnum as _;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::args::LogArgs;
use crate::install;

/// The longest pause before a process that died is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The pauses before a process that keeps dying is started again.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(LONGEST_PAUSE)
    .without_max_times();
/// The death of a process that lived this long counts as the first one.
const HEALTHY: Duration = Duration::from_secs(30);

/// A process that can be started again.
#[async_trait::async_trait]
pub(super) trait Supervised {
    /// Starts it again, after a pause that grows while it keeps dying.
    async fn start_again(&mut self);
}

/// One subcommand of this program, running.
pub(super) struct Service {
    name: &'static str,
    command: Vec<OsString>,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    backoff: Backoff,
}

impl Service {
    /// Starts `belljar` with these arguments; it logs at `log`, else what needs attention.
    pub(super) fn start(
        name: &'static str,
        arguments: Vec<OsString>,
        log: &LogArgs,
    ) -> Result<Self> {
        let mut command = vec![install::own_binary()?.into_os_string()];
        command.extend(arguments);
        command.push(format!("--log={}", log.filter.as_deref().unwrap_or("warn")).into());
        let format = log.format.to_possible_value();
        command.extend(format.map(|it| format!("--log-format={}", it.get_name()).into()));
        let (child, stdout) = spawn(&command, Signal::KILL)?;
        Ok(Self { name, command, child, stdout, backoff: Backoff::new() })
    }

    /// The process id, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The address in its first line, which starts with `prefix`.
    pub(super) async fn announced(&mut self, prefix: &str, timeout: Duration) -> Result<String> {
        let name = self.name;
        let Ok(line) = tokio::time::timeout(timeout, self.stdout.next_line()).await else {
            bail!("the {name} did not start within {timeout:?}");
        };
        match line {
            Ok(Some(line)) => match line.strip_prefix(prefix) {
                Some(address) => Ok(address.to_owned()),
                None => bail!("the {name} printed `{line}` instead of its address"),
            },
            _ => bail!("the {name} {}", self.ended().await),
        }
    }

    /// Changes an option of the command line for the next start.
    pub(super) fn replace_option(&mut self, name: &str, value: &str) {
        let prefix = format!("{name}=");
        let is_option = |word: &&mut OsString| word.to_string_lossy().starts_with(&prefix);
        if let Some(word) = self.command.iter_mut().find(is_option) {
            *word = format!("{prefix}{value}").into();
        }
    }

    /// Waits for its end and describes it. Cancel safe.
    pub(super) async fn ended(&mut self) -> String {
        describe(self.child.wait().await)
    }

    /// Logs that it ended.
    pub(super) fn warn(&self, ended: &str) {
        tracing::warn!("the {} {ended}; starting it again", self.name);
    }

    /// Asks it to drain and waits; kills it after `timeout`.
    pub(super) async fn stop(&mut self, timeout: Duration) {
        stop(&mut self.child, timeout).await;
    }
}

#[async_trait::async_trait]
impl Supervised for Service {
    async fn start_again(&mut self) {
        loop {
            self.backoff.wait().await;
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

/// The growing pauses of a process that keeps dying.
pub(super) struct Backoff {
    pauses: ExponentialBackoff,
    started: Instant,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { pauses: BACKOFF.build(), started: Instant::now() }
    }

    pub(super) async fn wait(&mut self) {
        if self.started.elapsed() >= HEALTHY {
            self.pauses = BACKOFF.build();
        }
        tokio::time::sleep(self.pauses.next().unwrap_or(LONGEST_PAUSE)).await;
        self.started = Instant::now();
    }
}

/// Starts a command whose process gets `at_our_death` when this one ends, however it ends. It has its own
/// process group, so that Ctrl-C in a terminal reaches this process alone.
pub(super) fn spawn(
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
            // The parent may have died before this request.
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

pub(super) async fn stop(child: &mut Child, timeout: Duration) {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        // It may have ended already.
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
