//! Results of many tasks, at once or as soon as some end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use belljar_core::id::TaskId;
use belljar_core::task::TaskStatus;
use belljar_store::BLOB_BYTES;
use belljar_store::record::TaskResult;
use bytes::Bytes;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::app::App;
use crate::body::{INLINE_BYTES, RequestBytes, offload};
use crate::caller::Caller;
use crate::config::WHOLE_BYTES;
use crate::error::ApiError;
use crate::extract::Query;
use crate::fields::{parse, request_body};
use crate::media::Accepted;
use crate::routes::answer::{Answer, ResultReply, many_results};
use crate::routes::wait::{Asker, next_event};
use crate::schema::{Invalid, TooLarge, Unavailable, UnknownId};
use crate::share::LARGE;
use crate::timing::{Phase, RequestTiming};
use crate::values::{List, Wait};
use crate::waiters::{Event, WaitGuard};

/// The most tasks that one request may ask for.
const MAX_IDS: usize = 10_000;
/// How many results one read of the store takes; results may be large.
const CHUNK: usize = 256;
/// An answer with results is not made longer than this; the client asks again for the others.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// A request for many tasks is answered this much after the first end for each of them: with all that
/// end meanwhile, where an answer for each would cost more than the tasks.
const LINGER_PER_ID: Duration = Duration::from_micros(20);
/// Beginning with so many tasks.
const LINGER_FROM: usize = 16;
/// New tasks without a notification for so long may not be new.
const REPEATED_AFTER: Duration = Duration::from_millis(50);

request_body! {
    /// Tasks whose results are asked for.
    pub(crate) struct ResultsRequest<'de> {
        /// The tasks.
        required task_ids: List<TaskId, MAX_IDS>,
        /// Seconds to wait until at least one has ended.
        optional wait: Wait,
    }
}

/// Tasks that have ended; ask again for the others.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written part by part")]
struct ResultsReply {
    results: Vec<ResultReply>,
    /// Fields of the request that are not known here.
    #[schema(required = false)]
    ignored: Vec<String>,
}

/// Results of many tasks
///
/// Waits until at least one of them has ended and gives all that have. With `keep=true` what calls have returned is left out: other
/// calls can refer to it.
#[utoipa::path(
    post, path = "/v1/results", tag = "Tasks",
    params(("keep" = Option<bool>, Query)),
    request_body(content(
        (ResultsRequest = "application/json", example = json!({
            "task_ids": ["0f8fad5b-d9cb-469f-a165-70867728950e"], "wait": 1
        })),
        (ResultsRequest = "application/msgpack")
    )),
    responses((status = 200, content(
        (ResultsReply = "application/json"), (ResultsReply = "application/msgpack")
    )), UnknownId, TooLarge, Invalid, Unavailable)
)]
pub(crate) async fn results(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    (accepted, query): (Accepted, Query),
    body: RequestBytes,
) -> Result<Response, ApiError> {
    let RequestBytes { bytes, form, room, .. } = body;
    let turn = if bytes.len() > INLINE_BYTES { caller.turn(LARGE).await } else { None };
    let (ids, ignored, wait) = offload(bytes.len(), move || {
        let request: ResultsRequest<'_> = parse(form, &bytes)?;
        let wait = request.wait.map_or(Duration::ZERO, |wait| wait.0);
        Ok((request.task_ids.0, request.ignored, wait))
    })
    .await?;
    drop((room, turn));
    let asker = Asker::new(&app, &timing, &caller);
    let mut finished = if wait.is_zero() || ids.is_empty() {
        Finished::of(asker, &ids).await?
    } else {
        first_ends(asker, &ids, wait).await?
    };
    if query.get("keep") == Some("true") {
        finished.leave_values();
    }
    let answer = Answer { task_ids: None, results: Some(finished.results), ignored };
    many_results(&app, accepted, answer).await
}

/// Ended tasks, as many as fit into one answer.
#[derive(Default)]
struct Finished {
    results: Vec<(TaskId, TaskResult)>,
    seen: HashSet<TaskId>,
    /// About how long the answer is.
    bytes: u64,
    /// The bytes of blobs in it that were read.
    blob_bytes: u64,
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
            let bytes = result.result.len() as u64;
            self.bytes += bytes + result.unread_bytes + 160;
            if bytes > BLOB_BYTES as u64 {
                self.blob_bytes += bytes;
            }
            self.results.push((id, result));
        }
    }

    /// Leaves out what calls have returned.
    fn leave_values(&mut self) {
        for (_, result) in &mut self.results {
            if result.status == TaskStatus::Completed {
                (result.result, result.unread_bytes) = (Bytes::new(), 0);
            }
        }
    }

    /// Those of `ids` that have ended.
    async fn of(asker: Asker<'_>, ids: &[TaskId]) -> Result<Self, ApiError> {
        let (mut finished, mut away) = (Self::default(), None);
        let _turn = asker.caller.turn(ids.len()).await;
        for chunk in ids.chunks(CHUNK) {
            if finished.is_full() {
                break;
            }
            let room = WHOLE_BYTES.saturating_sub(finished.blob_bytes);
            for (&id, result) in chunk.iter().zip(asker.results(chunk, room).await?) {
                let result = result.ok_or(ApiError::UnknownTask(id))?;
                if result.is_away {
                    away = Some(id);
                    continue;
                }
                if result.status.is_terminal() && !finished.is_full() {
                    finished.push(id, result);
                }
            }
        }
        // The others are answered without it. Asked for alone, it says what is wrong.
        if let Some(id) = away.filter(|_| finished.is_empty()) {
            let result = asker.results(&[id], WHOLE_BYTES).await?.pop().flatten();
            finished.push(id, result.ok_or(ApiError::UnknownTask(id))?);
        }
        Ok(finished)
    }
}

/// Waits until at least one of `ids` has ended, and with many ids a moment longer: each answer costs
/// the client another request with all that are left.
async fn first_ends(
    asker: Asker<'_>,
    ids: &[TaskId],
    wait: Duration,
) -> Result<Finished, ApiError> {
    let patience = Patience::new(Instant::now(), wait, ids.len());
    if ids.len() < LINGER_FROM {
        let finished = Finished::of(asker, ids).await?;
        if !finished.is_empty() {
            return Ok(finished);
        }
    }
    // Registered before the read, so that an end between the two is not missed.
    let guard = asker.app.wait_for(asker.caller, ids.to_vec())?;
    let finished = Finished::of(asker, ids).await?;
    Ends { asker, ids, guard: &guard }.collect(patience, finished).await
}

/// Those of `ids`, just submitted, that end within `wait`, or soon after the first. The guard is from
/// before the submission, so that no read of the store is needed; unless nothing is notified for a while,
/// as when a submission under a key was repeated and its tasks have long ended.
pub(super) async fn fresh_ends(
    asker: Asker<'_>,
    ids: &[TaskId],
    guard: &WaitGuard<'_>,
    wait: Duration,
) -> Result<Vec<(TaskId, TaskResult)>, ApiError> {
    let ends = Ends { asker, ids, guard };
    let patience = |wait| Patience::new(Instant::now(), wait, ids.len());
    let soon = wait.min(REPEATED_AFTER);
    let mut finished = ends.collect(patience(soon), Finished::default()).await?;
    if finished.is_empty() && wait > soon {
        finished = Finished::of(asker, ids).await?;
        if finished.is_empty() {
            finished = ends.collect(patience(wait - soon), finished).await?;
        }
    }
    Ok(finished.results)
}

/// The ends of some tasks, as they are notified.
struct Ends<'a> {
    asker: Asker<'a>,
    ids: &'a [TaskId],
    guard: &'a WaitGuard<'a>,
}

impl Ends<'_> {
    /// Adds the ends that are notified to those found, for as long as patience lasts.
    async fn collect(
        &self,
        mut patience: Patience,
        mut finished: Finished,
    ) -> Result<Finished, ApiError> {
        let Self { asker, ids, guard } = *self;
        loop {
            if finished.is_full() || finished.results.len() == guard.awaited() {
                return Ok(finished);
            }
            let deadline = patience.deadline(Instant::now(), !finished.is_empty());
            match asker.timing.time(Phase::Wait, next_event(asker.app, guard, deadline)).await {
                None => return Ok(finished),
                Some(Event::Reread) => finished = Finished::of(asker, ids).await?,
                Some(Event::Ended(ended)) => {
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
