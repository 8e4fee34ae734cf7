//! A whole service: `belljar up` on a free port, over a Redis of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{self, Process};
use crate::{Client, Python, python};

/// How long a service may take to be ready; CI machines are slow.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// What the ready line begins with.
const READY: &str = "belljar is ready at ";

/// A running service. Dropping it kills it.
#[derive(Debug)]
pub struct Service {
    child: Child,
    /// What `up` printed after the ready line, until the pasteable snippet's end.
    lines: mpsc::Receiver<String>,
    /// A client of it.
    pub client: Client,
    /// A Python that serializes for it.
    pub python: Python,
    /// Its data directory, kept when it is killed.
    pub data: PathBuf,
    _dir: Option<TempDir>,
}

/// A binary of this build: beside this program, or above the directory of tests that it is in.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    // Beside a program of this crate; a test lies one directory deeper.
    let dirs = own.ancestors().skip(1).take(2);
    dirs.map(|dir| dir.join(name)).find(|path| path.exists()).unwrap_or_else(|| name.into())
}

impl Service {
    /// Starts `belljar up` with further options.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn start(options: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("data");
        let mut service = Self::start_over(data, options)?;
        service._dir = Some(dir);
        Ok(service)
    }

    /// Starts over a data directory that may hold what an earlier service left.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn start_over(data: PathBuf, options: &[&str]) -> Result<Self> {
        let program = binary("belljar");
        let mut command = Command::new(&program);
        command.args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(&data).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).env("BELLJAR_LOG", "info");
        command.env("BELLJAR_SITE", python::site());
        let mut child = command.spawn().with_context(|| {
            format!("cannot start `{}`: `cargo build` first", program.display())
        })?;
        let lines = lines(&mut child)?;
        let Ok(first) = lines.recv_timeout(READY_TIMEOUT) else {
            let _ = child.kill();
            bail!("no ready line: {:?}", child.wait());
        };
        let base = first.strip_prefix(READY).with_context(|| first.clone())?;
        let client = Client::new(base);
        Ok(Self { child, lines, client, python: Python::start()?, data, _dir: None })
    }

    /// The process id of `belljar up`.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What `up` printed after the ready line.
    #[must_use]
    pub fn welcome(&self) -> String {
        let mut text = String::new();
        while let Ok(line) = self.lines.recv_timeout(READY_TIMEOUT) {
            text.push_str(&line);
            text.push('\n');
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
        text
    }

    /// Everything that it started and that is alive.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        process::descendants(self.pid())
    }

    /// The process whose command line holds `part`.
    ///
    /// # Errors
    /// There is none within a second: it may be just being started again.
    pub fn process(&self, part: &str) -> Result<Process> {
        let mut found = None;
        let named = |process: &Process| process.command.contains(part);
        let _ = process::eventually(Duration::from_secs(5), || {
            found = self.processes().into_iter().find(named);
            found.is_some()
        });
        found.with_context(|| format!("no process `{part}` among {:?}", self.processes()))
    }

    /// Sends a signal to `belljar up`.
    pub fn signal(&self, signal: Signal) {
        process::kill(self.pid(), signal);
    }

    /// Waits for its end: the exit code, `None` after a signal.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn ended(&mut self, timeout: Duration) -> Result<Option<i32>> {
        let mut code = None;
        let ended = process::eventually(timeout, || match self.child.try_wait() {
            Ok(Some(status)) => {
                code = status.code();
                true
            }
            _ => false,
        });
        if ended { Ok(code) } else { bail!("still running after {timeout:?}") }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(child: &mut Child) -> Result<mpsc::Receiver<String>> {
    let stdout = child.stdout.take().context("no standard output")?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
