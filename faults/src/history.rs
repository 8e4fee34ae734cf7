//! What clients saw and what tasks did, one JSON object on a line. Times are microseconds of the
//! system's monotonic clock, the same in all processes of a machine.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Something that a client saw, or that was done to the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it was over.
    pub at_us: u64,
    /// What it was.
    #[serde(flatten)]
    pub event: Event,
}

/// What a line is about. A `key` is the idempotency key of a task: one for each task that a client
/// wants, however often it has to ask.
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
    /// A task was looked at.
    Seen {
        /// Which.
        task: String,
        /// Its status.
        status: String,
        /// Its result as it stands in the reply.
        result: String,
        /// When the question was sent.
        asked_us: u64,
    },
    /// How many attempts the service says that it made.
    Attempts {
        /// At which task.
        task: String,
        /// How many.
        attempts: u32,
    },
    /// A fault began.
    Fault {
        /// What was done.
        what: String,
        /// How soon after its end everything must be as before.
        bound_ms: u64,
    },
    /// The last fault is over; where that is not said, it was over as it began.
    Healed,
    /// The service's own books, with nothing left to do.
    Books {
        /// Whether they agree with its queues.
        consistent: bool,
        /// How many tasks it says that it took.
        accepted: u64,
        /// How many it says have ended.
        ended: u64,
    },
}

/// What a task noted of one execution of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The client's name for the task.
    pub key: u64,
    /// Names the execution: no two have the same.
    pub run: String,
    /// The process.
    pub pid: u32,
    /// Whether it began or ended.
    pub phase: Phase,
    /// When.
    pub at_us: u64,
}

/// Of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It began.
    Start,
    /// It came to its end.
    End,
}

/// Everything that is known of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// What clients saw.
    pub lines: Vec<Line>,
    /// What tasks noted; `None` where they cannot write.
    pub notes: Option<Vec<Note>>,
}

impl History {
    /// Reads what a [`Recorder`] wrote, and the side file of the tasks where there is one.
    ///
    /// # Errors
    /// A file cannot be read, or is no history.
    pub fn read(lines: &Path, notes: Option<&Path>) -> Result<Self> {
        Ok(Self { lines: read_lines(lines)?, notes: notes.map(Self::read_notes).transpose()? })
    }

    /// Reads the side file of the tasks.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read_notes(path: &Path) -> Result<Vec<Note>> {
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
    /// It cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(Self { file: Mutex::new(BufWriter::new(file)) })
    }

    /// Adds a line, as of now.
    ///
    /// # Errors
    /// The disk is full.
    pub fn note(&self, event: Event) -> Result<()> {
        let line = serde_json::to_string(&Line { at_us: now_us(), event })?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").context("cannot write the history")
    }

    /// Brings all lines to the file.
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
