//! Where one task stands, at once or as soon as it has ended.

use std::time::Duration;

use belljar_core::id::TaskId;
use belljar_store::record::TaskResult;
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::caller::Caller;
use crate::config::WHOLE_BYTES;
use crate::error::ApiError;
use crate::timing::{Phase, RequestTiming};
use crate::waiters::{Event, WaitGuard};

/// Where a task stands, once it has ended or `wait` is over.
pub(super) async fn wait_for(
    asker: Asker<'_>,
    id: TaskId,
    wait: Duration,
) -> Result<TaskResult, ApiError> {
    if wait.is_zero() {
        return read_one(asker, id).await;
    }
    let guard = asker.app.wait_for(asker.caller, vec![id])?;
    let found = read_one(asker, id).await?;
    if found.status.is_terminal() {
        return Ok(found);
    }
    until_end(asker, &guard, id, Instant::now() + wait).await
}

/// Whose request waits, and what it waits with.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) app: &'a App,
    pub(super) timing: &'a RequestTiming,
    pub(super) caller: &'a Caller,
}

impl<'a> Asker<'a> {
    /// A request for which `timing` is kept.
    pub(super) const fn new(app: &'a App, timing: &'a RequestTiming, caller: &'a Caller) -> Self {
        Self { app, timing, caller }
    }

    /// Where each of `ids` stands, with at most `room` bytes of blobs.
    pub(super) async fn results(
        self,
        ids: &[TaskId],
        room: u64,
    ) -> Result<Vec<Option<TaskResult>>, ApiError> {
        let view = self.app.store.of(self.caller.tenant());
        Ok(self.timing.time(Phase::Store, view.results_within(ids, room)).await?)
    }
}

/// Waits for the end of one task; after the deadline, or at shutdown, tells how it stands then.
pub(super) async fn until_end(
    asker: Asker<'_>,
    guard: &WaitGuard<'_>,
    id: TaskId,
    deadline: Instant,
) -> Result<TaskResult, ApiError> {
    loop {
        match asker.timing.time(Phase::Wait, next_event(asker.app, guard, deadline)).await {
            Some(Event::Ended(ended)) => {
                if let Some((_, result)) = ended.into_iter().next() {
                    return Ok(result);
                }
            }
            Some(Event::Reread) => {
                let found = read_one(asker, id).await?;
                if found.status.is_terminal() {
                    return Ok(found);
                }
            }
            None => return read_one(asker, id).await,
        }
    }
}

/// The next event; `None` after the deadline and at shutdown.
pub(super) async fn next_event(
    app: &App,
    guard: &WaitGuard<'_>,
    deadline: Instant,
) -> Option<Event> {
    tokio::select! {
        biased;
        event = timeout_at(deadline, guard.next_event()) => event.ok(),
        () = app.draining.cancelled() => None,
    }
}

async fn read_one(asker: Asker<'_>, id: TaskId) -> Result<TaskResult, ApiError> {
    let results = asker.results(&[id], WHOLE_BYTES).await?;
    results.into_iter().next().flatten().ok_or(ApiError::UnknownTask(id))
}
