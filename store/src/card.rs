//! The bytes of a task's record; `scripts/shared.lua` describes their layout.

use belljar_core::id::{DispatcherId, TaskId, WorkerId};
use belljar_core::outcome::{CallVerdict, Failure, Outcome};
use belljar_core::task::{Priority, TaskSpec, TaskStatus};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::large::is_large;
use crate::record::{NewTask, Timestamp};

/// Separates losses in a state.
const LOSS_SEPARATOR: char = '\x1e';

/// Where a live card says that the arguments are a key of their own, and how.
const LARGE_AT: usize = 17;
const LARGE: char = '+';

/// What was fixed when the task was accepted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) spec: TaskSpec,
    pub(crate) args_bytes: u64,
    pub(crate) delay_ms: u64,
}

/// What is kept of the attempt that ended a task, beside its pickled result.
#[derive(Debug, Serialize, Deserialize)]
struct StoredEnding {
    worker: Option<WorkerId>,
    outcome: Outcome,
}

/// Which tasks of a class come first. Requeued tasks have lane 0, which no submission has.
pub(crate) const fn lane(priority: Priority) -> u64 {
    match priority {
        Priority::High => 1,
        Priority::Normal => 2,
        Priority::Low => 3,
    }
}

/// The part of a new task's card after its time.
pub(crate) fn body(task: &NewTask) -> Vec<u8> {
    let NewTask { spec, args, delay_ms, .. } = task;
    let args_place = if is_large(args) { LARGE } else { ' ' };
    let mut card = format!("{args_place}{} {}\n", spec.class, lane(spec.priority)).into_bytes();
    let body = Body { spec: spec.clone(), args_bytes: args.len() as u64, delay_ms: *delay_ms };
    write(&mut card, &body);
    card
}

/// How an outcome is kept: the letter of its status, its ending, and its pickled result.
pub(crate) fn ending(
    worker: Option<WorkerId>,
    outcome: &Outcome,
) -> (&'static str, Vec<u8>, Bytes) {
    let (letter, verdict) = match &outcome.verdict {
        CallVerdict::Completed(_) => ("C", CallVerdict::Completed(Bytes::new())),
        CallVerdict::Failed(failure) => {
            ("F", CallVerdict::Failed(Failure { exception: Bytes::new(), ..failure.clone() }))
        }
        CallVerdict::Cancelled => ("X", CallVerdict::Cancelled),
    };
    let stored = StoredEnding { worker, outcome: Outcome { verdict, ..outcome.clone() } };
    let mut bytes = Vec::new();
    write(&mut bytes, &stored);
    (letter, bytes, outcome.verdict.pickle())
}

fn write<T: Serialize>(bytes: &mut Vec<u8>, value: &T) {
    #[expect(clippy::expect_used, reason = "our own types into memory")]
    rmp_serde::encode::write(bytes, value).expect("records are serializable");
}

/// A loss as it may stand in a state: its separator replaced, its end cut.
pub(crate) fn evidence(text: &str) -> String {
    const KEPT_BYTES: usize = 4096;
    let text = text.replace(LOSS_SEPARATOR, " ");
    let end = text.floor_char_boundary(KEPT_BYTES);
    text[..end].to_owned()
}

/// A card, taken apart.
pub(crate) struct Card {
    bytes: Bytes,
    /// Where the live card begins and ends.
    live: (usize, usize),
    pub(crate) end: Option<End>,
}

/// The front of an ended task's card.
pub(crate) struct End {
    pub(crate) status: TaskStatus,
    pub(crate) finished_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    state: usize,
    ending: usize,
    result: usize,
    /// The length of a result that is a key of its own.
    large: Option<u64>,
}

impl Card {
    /// Takes apart a card or at least its beginning.
    pub(crate) fn read(id: TaskId, bytes: Bytes) -> Result<Self, StoreError> {
        let whole = (0, bytes.len());
        if bytes.first() == Some(&b'L') {
            return Ok(Self { bytes, live: whole, end: None });
        }
        match read_end(&bytes) {
            Some((start, end)) => Ok(Self { bytes, live: (start, end.state), end: Some(end) }),
            None => Err(corrupt(id, "its card has no known form")),
        }
    }

    /// When it was accepted, and what was fixed then.
    pub(crate) fn accepted(&self, id: TaskId) -> Result<(Timestamp, Body), StoreError> {
        let live = self.bytes.get(self.live.0..self.live.1.min(self.bytes.len()));
        let live = live.filter(|live| live.len() > 17).ok_or_else(|| corrupt(id, "it is cut"))?;
        let line = live.iter().position(|&byte| byte == b'\n').unwrap_or(0);
        let accepted = number(&live[1..17]).ok_or_else(|| corrupt(id, "its time is no number"))?;
        let body = rmp_serde::from_slice(&live[line + 1..])
            .map_err(|error| corrupt(id, &error.to_string()))?;
        Ok((Timestamp(accepted), body))
    }

    /// Whether the arguments are a key of their own.
    pub(crate) fn has_large_args(&self) -> bool {
        self.bytes.get(self.live.0 + LARGE_AT) == Some(&(LARGE as u8))
    }

    /// The length of the pickled result of an ended task.
    pub(crate) fn result_bytes(&self) -> u64 {
        self.large_result().unwrap_or_else(|| self.result().len() as u64)
    }

    /// The length of a result that is a key of its own.
    pub(crate) fn large_result(&self) -> Option<u64> {
        self.end.as_ref().and_then(|end| end.large)
    }

    /// The pickled result of an ended task, empty where it is a key of its own.
    pub(crate) fn result(&self) -> Bytes {
        self.end.as_ref().map_or_else(Bytes::new, |end| self.part(end.result, self.bytes.len()))
    }

    /// The state of an ended task.
    pub(crate) fn state(&self) -> Bytes {
        self.end.as_ref().map_or_else(Bytes::new, |end| self.part(end.state, end.ending))
    }

    /// How an ended task ended, and where.
    pub(crate) fn ending(
        &self,
        id: TaskId,
    ) -> Result<Option<(Option<WorkerId>, Outcome)>, StoreError> {
        let Some(end) = &self.end else { return Ok(None) };
        let stored: StoredEnding = rmp_serde::from_slice(&self.part(end.ending, end.result))
            .map_err(|error| corrupt(id, &error.to_string()))?;
        Ok(Some((stored.worker, stored.outcome)))
    }

    fn part(&self, from: usize, to: usize) -> Bytes {
        if from <= to && to <= self.bytes.len() { self.bytes.slice(from..to) } else { Bytes::new() }
    }
}

fn read_end(bytes: &[u8]) -> Option<(usize, End)> {
    let status = status_of(*bytes.first()?)?;
    let start = bytes.iter().position(|&byte| byte == b'\n')? + 1;
    let mut numbers = bytes[1..start - 1].split(|&byte| byte == b' ').map(number);
    let mut next = || numbers.next().flatten();
    let (finished, expires_ms) = (next()?, next()?);
    let mut length = || next().and_then(|length| usize::try_from(length).ok());
    let state = start.checked_add(length()?)?;
    let ending = state.checked_add(length()?)?;
    let result = ending.checked_add(length()?)?;
    let large = next();
    let (finished_at, expires_at) = (Timestamp(finished), Timestamp(expires_ms * 1000));
    Some((start, End { status, finished_at, expires_at, state, ending, result, large }))
}

/// A task's attempts, from its state.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    pub(crate) open: bool,
    pub(crate) dispatcher: Option<DispatcherId>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) opened: u32,
    pub(crate) deaths: u32,
    pub(crate) losses: Vec<String>,
}

impl Attempts {
    /// Takes a state apart; an empty one is of a task that was never attempted.
    pub(crate) fn read(id: TaskId, state: &[u8]) -> Result<Self, StoreError> {
        if state.is_empty() {
            return Ok(Self::default());
        }
        let text = String::from_utf8_lossy(state);
        Self::parse(&text).ok_or_else(|| corrupt(id, "its state has no known form"))
    }

    fn parse(text: &str) -> Option<Self> {
        let (dispatcher, started) = (text.get(1..37)?, text.get(37..53)?);
        let mut parts = text.get(54..)?.split(LOSS_SEPARATOR);
        let mut numbers = parts.next()?.split(' ').map(|number| number.parse().ok());
        let (opened, _uncounted) = (numbers.next()??, numbers.next()??);
        Some(Self {
            open: matches!(text.get(..1)?, "R" | "X"),
            dispatcher: Some(dispatcher.parse().ok()?),
            started_at: Some(Timestamp(started.parse().ok()?)),
            opened,
            deaths: numbers.next()??,
            losses: parts.map(str::to_owned).collect(),
        })
    }
}

/// The terminal status that a letter stands for.
pub(crate) const fn status_of(letter: u8) -> Option<TaskStatus> {
    match letter {
        b'C' => Some(TaskStatus::Completed),
        b'F' => Some(TaskStatus::Failed),
        b'X' => Some(TaskStatus::Cancelled),
        _ => None,
    }
}

pub(crate) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

pub(crate) fn corrupt(id: TaskId, why: &str) -> StoreError {
    StoreError::Corrupt { what: format!("task {id}"), why: why.to_owned() }
}
