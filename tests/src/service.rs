//! A whole service: `belljar up` on a free port, over a Redis of its own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use belljar_testkit::process::{self, Process, eventually};
use belljar_testkit::{Program, Python};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::Client;

/// What the ready line begins with.
const READY: &str = "belljar is ready at ";

/// A running service. Dropping it kills it.
#[derive(Debug)]
pub struct Service {
    program: Program,
    /// A client of it.
    pub client: Client,
    /// A Python that serializes for it.
    pub python: Python,
    /// Its data directory, kept when it is killed.
    pub data: PathBuf,
    _dir: Option<TempDir>,
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
        Self::start_over_in(data, options, Vec::new())
    }

    /// Starts with further options and variables.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn start_in(
        env: impl IntoIterator<Item = (&'static str, String)>,
        options: &[&str],
    ) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let env = env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut service = Self::start_over_in(dir.path().join("data"), options, env)?;
        service._dir = Some(dir);
        Ok(service)
    }

    fn start_over_in(
        data: PathBuf,
        options: &[&str],
        env: Vec<(OsString, OsString)>,
    ) -> Result<Self> {
        let dir = data.to_str().context("the data directory's path is not UTF-8")?;
        let args = [&["up", "--listen", "127.0.0.1:0", "--data", dir], options].concat();
        // Its log is the test's own: a failed test shows all of it.
        let program = Program::belljar(&args, env, None)?;
        let client = Client::new(&program.line_after(READY)?);
        Ok(Self { program, client, python: Python::start()?, data, _dir: None })
    }

    /// The process id of `belljar up`.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.program.pid().cast_signed()
    }

    /// What `up` prints after the ready line.
    #[must_use]
    pub fn welcome(&self) -> String {
        let mut text = String::new();
        while let Some(line) = self.program.next_line() {
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
    /// There is none within five seconds; `up` may be restarting it.
    pub fn process(&self, part: &str) -> Result<Process> {
        let mut found = None;
        let named = |process: &Process| process.command.contains(part);
        let _ = eventually(Duration::from_secs(5), || {
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
        let mut status = None;
        let _ = eventually(timeout, || {
            status = self.program.exit_status().ok().flatten();
            status.is_some()
        });
        let Some(status) = status else { bail!("still running after {timeout:?}") };
        Ok(status.code())
    }
}
