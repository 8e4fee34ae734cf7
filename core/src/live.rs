//! What a running call shows of itself before it ends: its output for who watches it, and how far it has come.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::task::TaskAttempt;

/// The most bytes of a stream that one update carries. Of a call that writes faster than updates go out, the last ones.
pub const LIVE_BYTES: usize = 16 << 10;

/// A call shows itself at most this often.
pub const LIVE_INTERVAL: Duration = Duration::from_millis(100);

/// How long a call is watched after somebody asked for it. Who watches longer asks again.
pub const WATCH_TTL: Duration = Duration::from_secs(10);

/// How far a call has come, in its own words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// How much is done.
    pub done: f64,
    /// Of how much, where the call knows.
    pub total: Option<f64>,
    /// What it does now.
    pub note: String,
}

// No progress that was made by `new` has a number that does not equal itself.
impl Eq for Progress {}

impl Progress {
    /// The longest note that is kept.
    pub const MAX_NOTE_BYTES: usize = 200;

    /// A progress with a note of bounded length; `None` where a number is infinite or none.
    #[must_use]
    pub fn new(done: f64, total: Option<f64>, mut note: String) -> Option<Self> {
        note.truncate(note.floor_char_boundary(Self::MAX_NOTE_BYTES));
        (done.is_finite() && total.is_none_or(f64::is_finite)).then_some(Self { done, total, note })
    }
}

/// A part of what a call wrote to a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveChunk {
    /// How many bytes were written before it.
    pub start: u64,
    /// What was written then, at most [`LIVE_BYTES`].
    pub bytes: Bytes,
}

impl LiveChunk {
    /// How many bytes were written up to its end.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// The part of it from byte `from` of the stream on; `None` where it ends before.
    #[must_use]
    pub fn after(&self, from: u64) -> Option<Self> {
        let start = self.start.max(from);
        let skipped = usize::try_from(start - self.start).ok()?;
        (skipped < self.bytes.len()).then(|| Self { start, bytes: self.bytes.slice(skipped..) })
    }

    fn bounded(self) -> Self {
        let surplus = self.bytes.len().saturating_sub(LIVE_BYTES);
        Self { start: self.start + surplus as u64, bytes: self.bytes.slice(surplus..) }
    }
}

/// What a running attempt shows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveUpdate {
    /// Which attempt.
    pub task: TaskAttempt,
    /// What it wrote to standard output.
    pub stdout: LiveChunk,
    /// What it wrote to standard error.
    pub stderr: LiveChunk,
    /// How far it has come, where it said so since the last update.
    pub progress: Option<Progress>,
}

impl LiveUpdate {
    /// The same within the bounds: the other side may be hostile.
    #[must_use]
    pub fn bounded(self) -> Self {
        let progress = self.progress.and_then(|it| Progress::new(it.done, it.total, it.note));
        Self {
            task: self.task,
            stdout: self.stdout.bounded(),
            stderr: self.stderr.bounded(),
            progress,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TaskId;
    use crate::task::Attempt;

    #[test]
    fn a_chunk_is_cut_where_a_reader_has_come_to() {
        let chunk = LiveChunk { start: 10, bytes: Bytes::from_static(b"abcd") };
        assert_eq!(chunk.end(), 14);
        assert_eq!(chunk.after(3), Some(chunk.clone()));
        let rest = LiveChunk { start: 12, bytes: Bytes::from_static(b"cd") };
        assert_eq!((chunk.after(12), chunk.after(14), chunk.after(99)), (Some(rest), None, None));
    }

    #[test]
    fn an_update_of_a_hostile_side_is_cut_to_the_bounds() {
        let task = TaskAttempt { task_id: TaskId::random(), attempt: Attempt(1) };
        let stdout = LiveChunk { start: 5, bytes: vec![b'x'; LIVE_BYTES + 3].into() };
        let progress = Some(Progress { done: 1.0, total: None, note: "é".repeat(1000) });
        let update = LiveUpdate { task, stdout, stderr: LiveChunk::default(), progress }.bounded();
        assert_eq!((update.stdout.start, update.stdout.bytes.len()), (8, LIVE_BYTES));
        let progress = update.progress.expect("finite");
        assert_eq!(progress.note.len(), Progress::MAX_NOTE_BYTES);
        assert_eq!(Progress::new(f64::NAN, None, String::new()), None);
        assert_eq!(Progress::new(1.0, Some(f64::INFINITY), String::new()), None);
    }
}
