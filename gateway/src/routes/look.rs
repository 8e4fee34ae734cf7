//! Where one task stands, at once or as soon as it has ended.

use std::time::Duration;

use belljar_core::id::TaskId;
use belljar_store::record::TaskResult;
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::error::ApiError;
use crate::timing::{Notes, Phase};
use crate::waiters::{Heard, WaitGuard};

/// Where a task stands, once it has ended or `wait` is over.
pub(super) async fn look(
    app: &App,
    notes: &Notes,
    id: TaskId,
    wait: Duration,
) -> Result<TaskResult, ApiError> {
    if wait.is_zero() {
        return read_one(app, notes, id).await;
    }
    let guard = app.hub.waiters.register(vec![id])?;
    let found = read_one(app, notes, id).await?;
    if found.status.is_terminal() {
        return Ok(found);
    }
    until_end(app, notes, &guard, id, Instant::now() + wait).await
}

/// Waits for the end of one task; after the deadline, or at shutdown, tells how it stands then.
pub(super) async fn until_end(
    app: &App,
    notes: &Notes,
    guard: &WaitGuard<'_>,
    id: TaskId,
    deadline: Instant,
) -> Result<TaskResult, ApiError> {
    loop {
        match notes.time(Phase::Wait, hear(app, guard, deadline)).await {
            Some(Heard::Ended(ended)) => {
                if let Some((_, result)) = ended.into_iter().next() {
                    return Ok(result);
                }
            }
            Some(Heard::Reread) => {
                let found = read_one(app, notes, id).await?;
                if found.status.is_terminal() {
                    return Ok(found);
                }
            }
            None => return read_one(app, notes, id).await,
        }
    }
}

/// The next thing heard; `None` after the deadline and at shutdown.
pub(super) async fn hear(app: &App, guard: &WaitGuard<'_>, deadline: Instant) -> Option<Heard> {
    tokio::select! {
        biased;
        heard = timeout_at(deadline, guard.heard()) => heard.ok(),
        () = app.draining.cancelled() => None,
    }
}

async fn read_one(app: &App, notes: &Notes, id: TaskId) -> Result<TaskResult, ApiError> {
    let results = notes.time(Phase::Store, app.store.results(&[id])).await?;
    results.into_iter().next().flatten().ok_or(ApiError::UnknownTask(id))
}
