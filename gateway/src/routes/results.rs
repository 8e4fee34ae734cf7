//! Status and result of tasks, at once or as soon as they end.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use belljar_core::id::TaskId;
use belljar_core::outcome::FailureKind;
use belljar_pickle::payload;
use belljar_core::task::TaskStatus;
use belljar_store::record::{TaskResult, Timestamp};
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::app::App;
use crate::body::{Input, offload, parse};
use crate::error::ApiError;
use crate::extract::{InPath, Query, not_a_uuid, wait};
use crate::reply;
use crate::routes::look::{hear, look};
use crate::timing::{Notes, Phase, Scope};
use crate::validate::{Field, Kind, Problem};
use crate::waiters::{Heard, WaitGuard};

/// The most tasks that one request may ask for.
const MAX_IDS: usize = 10_000;
/// How many results one read of the store takes; results may be large.
const CHUNK: usize = 256;
/// An answer with results is not made longer than this; the client asks again for the others.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Who waits for many tasks is answered this much after the first end for each of them: with all that
/// end meanwhile, where an answer for each would cost more than the tasks.
const LINGER_PER_ID: Duration = Duration::from_micros(20);
/// Beginning with so many tasks.
const LINGER_FROM: usize = 16;
/// Fresh tasks of which nothing is heard for so long may not be fresh.
const REPEATED_AFTER: Duration = Duration::from_millis(50);

const FIELDS: &[Field] =
    &[Field::required("task_ids", Kind::Ids), Field::optional("wait", Kind::Number)];

#[derive(Serialize)]
struct StatusReply {
    task_id: TaskId,
    status: TaskStatus,
}

#[derive(Serialize)]
struct ResultReply {
    task_id: TaskId,
    status: TaskStatus,
    result: String,
}

#[derive(Deserialize)]
struct Ask<'a> {
    #[serde(borrow)]
    task_ids: Vec<Cow<'a, str>>,
    wait: Option<f64>,
}

#[derive(Serialize)]
struct ResultsReply {
    results: Vec<FinishedReply>,
}

/// A task that has ended.
#[derive(Serialize)]
pub(super) struct FinishedReply {
    task_id: TaskId,
    status: TaskStatus,
    result: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

/// `GET /status/{task_id}`
pub(crate) async fn status(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
    InPath(task_id): InPath<TaskId>,
    query: Query,
) -> Result<Response, ApiError> {
    let found = look(&app, &notes, task_id, query.wait()?).await?;
    let response = reply::json(&StatusReply { task_id, status: found.status })?;
    Ok(with_expiry(response, found.expires_at))
}

/// `GET /result/{task_id}`
pub(crate) async fn result(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
    InPath(task_id): InPath<TaskId>,
    query: Query,
) -> Result<Response, ApiError> {
    let found = look(&app, &notes, task_id, query.wait()?).await?;
    result_reply(task_id, found).await
}

/// Status and result of one task.
pub(super) async fn result_reply(task_id: TaskId, found: TaskResult) -> Result<Response, ApiError> {
    let (status, pickle, expires_at) = (found.status, found.result, found.expires_at);
    let size = pickle.len();
    let write = move || {
        let result = payload::encode(&pickle);
        let room = result.len() + result.len() / 64 + 128;
        reply::json_with_room(&ResultReply { task_id, status, result }, room)
    };
    Ok(with_expiry(offload(size, write).await?, expires_at))
}

/// `POST /v1/results`
pub(crate) async fn results(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
    input: Input,
) -> Result<Response, ApiError> {
    let (ids, wait) = read(&input.bytes)?;
    drop(input);
    let finished = if wait.is_zero() || ids.is_empty() {
        Finished::of(&app, &notes, &ids).await?
    } else {
        first_ends(&app, &notes, &ids, wait).await?
    };
    let size = finished.bytes;
    offload(size, move || {
        let results = finished.results.into_iter().map(finished_reply).collect();
        reply::json_with_room(&ResultsReply { results }, size * 3 / 2 + 256)
    })
    .await
}

fn read(bytes: &[u8]) -> Result<(Vec<TaskId>, Duration), ApiError> {
    let body: Ask<'_> = parse(bytes, FIELDS)?;
    let mut problems = Vec::new();
    if body.task_ids.len() > MAX_IDS {
        let msg = format!(
            "Input should have at most {MAX_IDS} elements, not {}: ask in several requests",
            body.task_ids.len()
        );
        problems.push(Problem::body("too_long", "task_ids", msg));
    }
    let wait = wait(body.wait.unwrap_or_default()).unwrap_or_else(|(kind, msg)| {
        problems.push(Problem::body(kind, "wait", msg));
        Duration::ZERO
    });
    let mut ids = Vec::with_capacity(body.task_ids.len().min(MAX_IDS));
    for (index, text) in body.task_ids.iter().take(MAX_IDS).enumerate() {
        match text.parse() {
            Ok(id) => ids.push(id),
            Err(_) => {
                let problem = Problem::body("uuid_parsing", "task_ids", not_a_uuid(text));
                problems.push(problem.at(index));
                break;
            }
        }
    }
    if problems.is_empty() { Ok((ids, wait)) } else { Err(ApiError::Invalid(problems)) }
}

/// Ended tasks, as many as fit into one answer.
#[derive(Default)]
struct Finished {
    results: Vec<(TaskId, TaskResult)>,
    seen: HashSet<TaskId>,
    bytes: usize,
}

impl Finished {
    fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    fn is_full(&self) -> bool {
        self.bytes >= MAX_ANSWER_BYTES
    }

    fn push(&mut self, id: TaskId, result: TaskResult) {
        if self.seen.insert(id) {
            self.bytes += result.result.len() + 160;
            self.results.push((id, result));
        }
    }

    /// Those of `ids` that have ended.
    async fn of(app: &App, notes: &Notes, ids: &[TaskId]) -> Result<Self, ApiError> {
        let mut finished = Self::default();
        finished.read(app, notes, ids).await?;
        Ok(finished)
    }

    /// Adds those of `ids` that have ended.
    async fn read(&mut self, app: &App, notes: &Notes, ids: &[TaskId]) -> Result<(), ApiError> {
        for chunk in ids.chunks(CHUNK) {
            if self.is_full() {
                break;
            }
            let room = MAX_ANSWER_BYTES - self.bytes;
            let results = app.store.results_within(chunk, room);
            let results = notes.time(Phase::Store, results).await?;
            for (&id, result) in chunk.iter().zip(results) {
                let result = result.ok_or(ApiError::UnknownTask(id))?;
                if result.status.is_terminal() && !result.is_unread && !self.is_full() {
                    self.push(id, result);
                }
            }
        }
        Ok(())
    }
}

/// Waits until at least one of `ids` has ended, and with many ids a moment longer: each answer costs
/// the client another request with all that are left.
async fn first_ends(
    app: &App,
    notes: &Notes,
    ids: &[TaskId],
    wait: Duration,
) -> Result<Finished, ApiError> {
    let patience = Patience::new(Instant::now(), wait, ids.len());
    if ids.len() < LINGER_FROM {
        let finished = Finished::of(app, notes, ids).await?;
        if !finished.is_empty() {
            return Ok(finished);
        }
    }
    // Registered before the look, so that an end between the two is not missed.
    let guard = app.hub.waiters.register(ids.to_vec())?;
    let finished = Finished::of(app, notes, ids).await?;
    Ends { app, notes, ids, guard: &guard }.hear(patience, finished).await
}

/// Those of `ids`, just submitted, that end within `wait`, or soon after the first. The guard is from
/// before the submission, so that nobody need look at the store; unless nothing is heard for a while,
/// as when a submission under a key was repeated and its tasks have long ended.
pub(super) async fn fresh_ends(
    app: &App,
    notes: &Notes,
    ids: &[TaskId],
    guard: &WaitGuard<'_>,
    wait: Duration,
) -> Result<Vec<FinishedReply>, ApiError> {
    let ends = Ends { app, notes, ids, guard };
    let patience = |wait| Patience::new(Instant::now(), wait, ids.len());
    let soon = wait.min(REPEATED_AFTER);
    let mut finished = ends.hear(patience(soon), Finished::default()).await?;
    if finished.is_empty() && wait > soon {
        finished = Finished::of(app, notes, ids).await?;
        if finished.is_empty() {
            finished = ends.hear(patience(wait - soon), finished).await?;
        }
    }
    Ok(finished.results.into_iter().map(finished_reply).collect())
}

/// The ends of some tasks, as they are heard.
struct Ends<'a> {
    app: &'a App,
    notes: &'a Notes,
    ids: &'a [TaskId],
    guard: &'a WaitGuard<'a>,
}

impl Ends<'_> {
    /// Adds what is heard to what is known, for as long as patience lasts.
    async fn hear(
        &self,
        mut patience: Patience,
        mut finished: Finished,
    ) -> Result<Finished, ApiError> {
        let Self { app, notes, ids, guard } = *self;
        loop {
            if finished.is_full() || finished.results.len() == guard.awaited() {
                return Ok(finished);
            }
            let deadline = patience.deadline(Instant::now(), !finished.is_empty());
            match notes.time(Phase::Wait, hear(app, guard, deadline)).await {
                None => return Ok(finished),
                Some(Heard::Reread) => finished = Finished::of(app, notes, ids).await?,
                Some(Heard::Ended(ended)) => {
                    for (id, result) in ended {
                        finished.push(id, result);
                    }
                }
            }
        }
    }
}

/// How long a request waits: for the first end as long as the client said, from then on for the time
/// that the number of its ids makes worth while.
struct Patience {
    deadline: Instant,
    linger: Duration,
    has_found: bool,
}

impl Patience {
    fn new(now: Instant, wait: Duration, ids: usize) -> Self {
        let linger = match u32::try_from(ids) {
            Ok(ids) if ids as usize >= LINGER_FROM => LINGER_PER_ID * ids,
            _ => Duration::ZERO,
        };
        Self { deadline: now + wait, linger, has_found: false }
    }

    fn deadline(&mut self, now: Instant, has_found: bool) -> Instant {
        if has_found && !self.has_found {
            self.has_found = true;
            self.deadline = self.deadline.min(now + self.linger);
        }
        self.deadline
    }
}

fn finished_reply((task_id, found): (TaskId, TaskResult)) -> FinishedReply {
    FinishedReply {
        task_id,
        status: found.status,
        result: payload::encode(&found.result),
        failure: found.failure,
        expires_at: found.expires_at.map(reply::rfc3339),
    }
}

fn with_expiry(mut response: Response, expires_at: Option<Timestamp>) -> Response {
    let value = expires_at.and_then(|time| HeaderValue::try_from(reply::rfc3339(time)).ok());
    if let Some(value) = value {
        response.headers_mut().insert(reply::RESULT_EXPIRES, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn what_the_first_look_found_shortens_the_wait() {
        let now = Instant::now();
        let mut patience = Patience::new(now, WAIT, 5_000);
        let deadline = patience.deadline(now, true);
        assert_eq!(deadline, now + LINGER_PER_ID * 5_000);
        let later = now + Duration::from_millis(1);
        assert_eq!(patience.deadline(later, true), deadline, "not prolonged by what comes then");
    }

    #[tokio::test]
    async fn few_ids_are_answered_at_once_and_none_found_waits_to_the_end() {
        let now = Instant::now();
        let mut patience = Patience::new(now, WAIT, LINGER_FROM - 1);
        assert_eq!(patience.deadline(now, false), now + WAIT);
        assert_eq!(patience.deadline(now, true), now);
    }
}
