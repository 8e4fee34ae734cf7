//! What clients saw and what tasks did, one JSON object a line. Times are microseconds of the monotonic
//! clock, which all processes of a machine share.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// An event and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it had happened.
    pub at_us: u64,
    /// What it was.
    #[serde(flatten)]
    pub event: Event,
}

/// What a client saw, or what was done to the service. A `key` is the idempotency key of a task: each task
/// has one, however often its submission is repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A submission was accepted.
    Accepted {
        /// The client's name for the task.
        key: u64,
        /// The service's.
        task: String,
    },
    /// A task was read.
    Read {
        /// The task.
        task: String,
        /// Its status.
        status: String,
        /// Its result, as in the reply.
        result: String,
        /// When the request was sent.
        asked_us: u64,
    },
    /// How many attempts the service counts.
    Attempts {
        /// Of which task.
        task: String,
        /// Their number.
        attempts: u32,
    },
    /// A fault began.
    Fault {
        /// What was done.
        what: String,
        /// How soon after its end every open task must have ended.
        bound_ms: u64,
    },
    /// The last fault ended. A fault without this event ended when it began.
    FaultEnded,
    /// All processes stood still, as on a machine that is stopped. It has just ended.
    Stopped {
        /// For how long.
        for_us: u64,
    },
    /// The service's own audit, when no task is left.
    Audit {
        /// Whether its counts agree with its queues.
        consistent: bool,
        /// How many tasks it accepted.
        accepted: u64,
        /// How many have ended.
        ended: u64,
    },
}

/// The start or end of an execution, written by the task itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// The client's name for the task.
    pub key: u64,
    /// The execution; each has its own name.
    pub run: String,
    /// The process.
    pub pid: u32,
    /// Whether it started or ended.
    pub phase: Phase,
    /// When.
    pub at_us: u64,
}

/// A moment of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It started.
    Start,
    /// It ended.
    End,
}

/// Everything that is known about a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// What clients saw.
    pub lines: Vec<Line>,
    /// What tasks wrote; `None` for sandboxed ones, which cannot write.
    pub executions: Option<Vec<Execution>>,
}

impl History {
    /// Reads what a [`Recorder`] wrote, and what the tasks wrote if they could.
    ///
    /// # Errors
    /// A file cannot be read or parsed.
    pub fn read(lines: &Path, executions: Option<&Path>) -> Result<Self> {
        let executions = executions.map(Self::read_executions).transpose()?;
        Ok(Self { lines: read_lines(lines)?, executions })
    }

    /// For how long all processes stood still between two times.
    pub(crate) fn stopped_us(&self, from_us: u64, to_us: u64) -> u64 {
        let stopped = self.lines.iter().filter_map(|line| match line.event {
            Event::Stopped { for_us } => {
                let begun_us = line.at_us.saturating_sub(for_us).max(from_us);
                Some(line.at_us.min(to_us).saturating_sub(begun_us))
            }
            _ => None,
        });
        stopped.sum()
    }

    /// Reads what the tasks wrote.
    ///
    /// # Errors
    /// It cannot be read or parsed.
    pub fn read_executions(path: &Path) -> Result<Vec<Execution>> {
        read_lines(path)
    }
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot open `{shown}`"))?;
    let lines = BufReader::new(file).lines().enumerate().map(|(number, line)| {
        let line = line.with_context(|| format!("cannot read `{shown}`"))?;
        serde_json::from_str(&line).with_context(|| format!("`{shown}`, line {}", number + 1))
    });
    lines.collect()
}

/// Writes a history, from several threads.
#[derive(Debug)]
pub struct Recorder {
    file: Mutex<BufWriter<File>>,
}

impl Recorder {
    /// A new file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(Self { file: Mutex::new(BufWriter::new(file)) })
    }

    /// Adds a line with the time of now.
    ///
    /// # Errors
    /// The disk is full.
    pub fn record(&self, event: Event) -> Result<()> {
        let line = serde_json::to_string(&Line { at_us: now_us(), event })?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").context("cannot write the history")
    }

    /// Writes all lines to the file.
    ///
    /// # Errors
    /// The disk is full.
    pub fn flush(&self) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.flush().context("cannot write the history")
    }
}

/// The monotonic clock.
#[must_use]
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).unwrap_or(0)
}
