//! Cancelling tasks.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use belljar_core::id::TaskId;
use belljar_core::task::TaskStatus;
use belljar_store::record::CancelOutcome;
use serde::Serialize;
use tokio::time::Instant;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::InPath;
use crate::reply;
use crate::routes::look::until_end;
use crate::timing::{Phase, Scope};

#[derive(Serialize)]
struct Cancelled {
    task_id: TaskId,
    status: TaskStatus,
}

/// `POST /v1/tasks/{task_id}/cancel`: answers once the code has stopped, or 202 if that takes long.
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
    InPath(task_id): InPath<TaskId>,
) -> Result<Response, ApiError> {
    // Before the wish is uttered: the end may come at once.
    let guard = app.hub.waiters.register(vec![task_id])?;
    let became = notes.time(Phase::Store, app.store.cancel(task_id)).await?;
    match became.ok_or(ApiError::UnknownTask(task_id))? {
        CancelOutcome::Cancelled => reply::json(&Cancelled { task_id, status: TaskStatus::Cancelled }),
        CancelOutcome::Ended(status) => Err(ApiError::TaskEnded { id: task_id, status }),
        CancelOutcome::Stopping => {
            let deadline = Instant::now() + app.config.cancel_wait;
            let found = until_end(&app, &notes, &guard, task_id, deadline).await?;
            let response = reply::json(&Cancelled { task_id, status: found.status })?;
            Ok(if found.status.is_terminal() { response } else { reply::accepted(response) })
        }
    }
}
