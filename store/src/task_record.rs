//! Reads and writes the bytes of a task's record; `layout` describes them.

use std::fmt::Write as _;

use belljar_core::files::{CallFile, FileEntry};
use belljar_core::id::{DispatcherId, SessionId, TaskId, WorkerId};
use belljar_core::outcome::{CallVerdict, Failure, Outcome, ResultKind};
use belljar_core::task::{Priority, TaskSpec, TaskStatus};
use belljar_core::tenant::Tenant;
use belljar_core::trace::TraceContext;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::blob::is_blob;
use crate::error::StoreError;
use crate::layout::{
    BLOB_FLAG, COUNTED_MARK, DISPATCHER_AT, FAILURE_SEPARATOR, FENCE_AT, FLAG_AT, LIVE, NO_FLAG,
    SESSION_MARK, STARTED_AT, TASK_BYTES, TENANT_BLOB_FLAG, TENANT_FLAG, TENANT_MARK,
};
use crate::record::{NewTask, Timestamp};

/// What was fixed when the task was accepted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) spec: TaskSpec,
    pub(crate) args_bytes: u64,
    pub(crate) delay_ms: u64,
    /// What its spans belong to, where it is traced. The last field: it is left out of what is written otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<Box<TraceContext>>,
}

impl Body {
    /// From when on the task may run.
    pub(crate) const fn due_at(&self, accepted_at: Timestamp) -> Timestamp {
        Timestamp(accepted_at.0 + self.delay_ms * 1000)
    }
}

/// What is kept of the attempt that ended a task, beside its pickled result.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredOutcome {
    pub(crate) worker: Option<WorkerId>,
    pub(crate) outcome: Outcome,
    /// What loading the result runs; `None` where there is no result.
    #[serde(default)]
    pub(crate) kind: Option<ResultKind>,
    /// The files that it left: their content is kept apart.
    #[serde(default)]
    pub(crate) files: Vec<FileEntry>,
}

/// A priority as a number, the first to be served first; see also [`crate::layout::RETRY_PRIORITY`].
pub(crate) const fn priority_number(priority: Priority) -> u64 {
    match priority {
        Priority::High => 1,
        Priority::Normal => 2,
        Priority::Low => 3,
    }
}

/// The part of a new task's record after its time. With `is_counted` it says how many bytes the task is counted with.
pub(crate) fn encode(task: &NewTask, tenant: &Tenant, is_counted: bool) -> Vec<u8> {
    let NewTask { spec, args, delay_ms, trace, session, .. } = task;
    let names_tenant = is_counted || session.is_some() || !tenant.is_default();
    let flag = match (names_tenant, is_blob(args)) {
        (false, false) => NO_FLAG,
        (false, true) => BLOB_FLAG,
        (true, false) => TENANT_FLAG,
        (true, true) => TENANT_BLOB_FLAG,
    };
    let mut record = format!("{flag}{} {}", spec.class, priority_number(spec.priority));
    if let Some(session) = session {
        // Writing to a string cannot fail.
        let _ = write!(record, "{SESSION_MARK}{session}");
    }
    if names_tenant {
        record.push(TENANT_MARK);
        record.push_str(tenant.mark());
    }
    if is_counted {
        // Writing to a string cannot fail.
        let _ = write!(record, "{COUNTED_MARK}{}", TASK_BYTES + args.len() as u64);
    }
    record.push('\n');
    let mut record = record.into_bytes();
    let (spec, trace) = (spec.clone(), trace.clone());
    let body = Body { spec, args_bytes: args.len() as u64, delay_ms: *delay_ms, trace };
    write(&mut record, &body);
    record
}

/// An outcome as it is kept: the letter of its status, its bytes, and its pickled result, which is of `kind`.
pub(crate) fn encode_outcome(
    worker: Option<WorkerId>,
    outcome: &Outcome,
    kind: Option<ResultKind>,
) -> (&'static str, Vec<u8>, Bytes) {
    let (letter, verdict) = match &outcome.verdict {
        CallVerdict::Completed(_) | CallVerdict::CompletedInFile(_) => {
            ("C", CallVerdict::Completed(Bytes::new()))
        }
        CallVerdict::Failed(failure) => {
            ("F", CallVerdict::Failed(Failure { exception: Bytes::new(), ..failure.clone() }))
        }
        CallVerdict::Cancelled => ("X", CallVerdict::Cancelled),
    };
    let entry = |file: &CallFile| {
        let bytes = file.bytes.len() as u64;
        FileEntry { name: file.name.clone(), bytes }
    };
    let files = outcome.files.iter().map(entry).collect();
    let outcome_alone = Outcome { verdict, files: Vec::new(), ..outcome.clone() };
    let stored = StoredOutcome { worker, outcome: outcome_alone, kind, files };
    let mut bytes = Vec::new();
    write(&mut bytes, &stored);
    (letter, bytes, outcome.verdict.pickle())
}

fn write<T: Serialize>(bytes: &mut Vec<u8>, value: &T) {
    #[expect(clippy::expect_used, reason = "our own types into memory")]
    rmp_serde::encode::write(bytes, value).expect("records are serializable");
}

/// A failure as it may stand in an attempt state: its separator replaced, its end cut.
pub(crate) fn evidence(text: &str) -> String {
    const KEPT_BYTES: usize = 4096;
    let text = text.replace(FAILURE_SEPARATOR, " ");
    let end = text.floor_char_boundary(KEPT_BYTES);
    text[..end].to_owned()
}

/// A record, taken apart.
pub(crate) struct StoredTask {
    bytes: Bytes,
    /// Where the live record begins and ends.
    live: (usize, usize),
    pub(crate) end: Option<End>,
}

/// The front of an ended task's record.
pub(crate) struct End {
    pub(crate) status: TaskStatus,
    pub(crate) finished_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    state: usize,
    outcome: usize,
    result: usize,
    /// The length of a result that is a blob.
    blob: Option<u64>,
}

impl StoredTask {
    /// Takes apart a record or at least its beginning.
    pub(crate) fn read(id: TaskId, bytes: Bytes) -> Result<Self, StoreError> {
        let whole = (0, bytes.len());
        if bytes.first() == Some(&LIVE) {
            return Ok(Self { bytes, live: whole, end: None });
        }
        match read_end(&bytes) {
            Some((start, end)) => Ok(Self { bytes, live: (start, end.state), end: Some(end) }),
            None => Err(corrupt(id, "its record has no known form")),
        }
    }

    /// When it was accepted, and what was fixed then.
    pub(crate) fn accepted(&self, id: TaskId) -> Result<(Timestamp, Body), StoreError> {
        let live = self.bytes.get(self.live.0..self.live.1.min(self.bytes.len()));
        let live =
            live.filter(|live| live.len() > FLAG_AT).ok_or_else(|| corrupt(id, "it is cut"))?;
        let line = live.iter().position(|&byte| byte == b'\n').unwrap_or(0);
        let accepted =
            number(&live[1..FLAG_AT]).ok_or_else(|| corrupt(id, "its time is no number"))?;
        let body = rmp_serde::from_slice(&live[line + 1..])
            .map_err(|error| corrupt(id, &error.to_string()))?;
        Ok((Timestamp(accepted), body))
    }

    fn flag(&self) -> Option<char> {
        self.bytes.get(self.live.0 + FLAG_AT).copied().map(char::from)
    }

    /// The name of its tenant, empty for the default one: see [`Tenant::mark`].
    pub(crate) fn tenant_mark(&self) -> &[u8] {
        if !self.flag().is_some_and(|flag| [TENANT_FLAG, TENANT_BLOB_FLAG].contains(&flag)) {
            return &[];
        }
        let live = self.bytes.get(self.live.0..).unwrap_or_default();
        let line = live.iter().position(|&byte| byte == b'\n').unwrap_or(0);
        let at = live[..line].iter().rposition(|&byte| byte == TENANT_MARK as u8);
        let mark = at.map_or(&[][..], |at| &live[at + 1..line]);
        let end = mark.iter().position(|&byte| byte == COUNTED_MARK as u8);
        &mark[..end.unwrap_or(mark.len())]
    }

    /// The session that it goes on with.
    pub(crate) fn session(&self) -> Option<SessionId> {
        if !self.flag().is_some_and(|flag| [TENANT_FLAG, TENANT_BLOB_FLAG].contains(&flag)) {
            return None;
        }
        let live = self.bytes.get(self.live.0..).unwrap_or_default();
        let line = std::str::from_utf8(live.split(|&byte| byte == b'\n').next()?).ok()?;
        let (front, _) = line.rsplit_once(TENANT_MARK)?;
        front.rsplit_once(SESSION_MARK)?.1.parse().ok()
    }

    /// Whose it is.
    pub(crate) fn tenant(&self, id: TaskId) -> Result<Tenant, StoreError> {
        let mark = std::str::from_utf8(self.tenant_mark()).ok();
        mark.and_then(Tenant::of_mark).ok_or_else(|| corrupt(id, "its tenant is no name"))
    }

    /// Whether the arguments are a blob.
    pub(crate) fn has_args_blob(&self) -> bool {
        self.flag().is_some_and(|flag| [BLOB_FLAG, TENANT_BLOB_FLAG].contains(&flag))
    }

    /// The length of the pickled result of an ended task.
    pub(crate) fn result_bytes(&self) -> u64 {
        self.result_blob().unwrap_or_else(|| self.result().len() as u64)
    }

    /// The length of a result that is a blob.
    pub(crate) fn result_blob(&self) -> Option<u64> {
        self.end.as_ref().and_then(|end| end.blob)
    }

    /// The pickled result of an ended task, empty where it is a blob.
    pub(crate) fn result(&self) -> Bytes {
        self.end.as_ref().map_or_else(Bytes::new, |end| self.part(end.result, self.bytes.len()))
    }

    /// The state of an ended task.
    pub(crate) fn state(&self) -> Bytes {
        self.end.as_ref().map_or_else(Bytes::new, |end| self.part(end.state, end.outcome))
    }

    /// How an ended task ended, and where.
    pub(crate) fn outcome(&self, id: TaskId) -> Result<Option<StoredOutcome>, StoreError> {
        let Some(end) = &self.end else { return Ok(None) };
        rmp_serde::from_slice(&self.part(end.outcome, end.result))
            .map(Some)
            .map_err(|error| corrupt(id, &error.to_string()))
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
    let outcome = state.checked_add(length()?)?;
    let result = outcome.checked_add(length()?)?;
    let blob = next();
    let (finished_at, expires_at) = (Timestamp(finished), Timestamp(expires_ms * 1000));
    Some((start, End { status, finished_at, expires_at, state, outcome, result, blob }))
}

/// A task's attempts, from its state.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    pub(crate) open: bool,
    pub(crate) dispatcher: Option<DispatcherId>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) opened: u32,
    pub(crate) deaths: u32,
    pub(crate) failures: Vec<String>,
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
        let (dispatcher, started) =
            (text.get(DISPATCHER_AT..STARTED_AT)?, text.get(STARTED_AT..FENCE_AT)?);
        let mut parts = text.get(FENCE_AT..)?.strip_prefix(' ')?.split(FAILURE_SEPARATOR);
        let mut numbers = parts.next()?.split(' ').map(|number| number.parse().ok());
        let (opened, _unstarted) = (numbers.next()??, numbers.next()??);
        Some(Self {
            open: matches!(text.get(..1)?, "R" | "X"),
            dispatcher: Some(dispatcher.parse().ok()?),
            started_at: Some(Timestamp(started.parse().ok()?)),
            opened,
            deaths: numbers.next()??,
            failures: parts.map(str::to_owned).collect(),
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
