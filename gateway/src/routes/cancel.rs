//! Cancelling tasks.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use belljar_core::id::TaskId;
use belljar_core::task::TaskStatus;
use belljar_store::record::CancelOutcome;
use tokio::time::Instant;

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::extract::InPath;
use crate::reply;
use crate::routes::results::StatusReply;
use crate::routes::wait::{Asker, until_end};
use crate::schema::{Ended, Invalid, Unavailable, UnknownId};
use crate::timing::{Phase, RequestTiming};

/// Cancel a task
///
/// The answer comes once the code has stopped.
#[utoipa::path(
    post, path = "/v1/tasks/{task_id}/cancel", tag = "Tasks", operation_id = "cancel_task",
    params(("task_id" = uuid::Uuid, Path)),
    responses(
        (status = 200, body = StatusReply, description = "It never ran, or its code has stopped; or it ended first."),
        (status = 202, body = StatusReply, description = "It is still being stopped."),
        UnknownId, Ended, Invalid, Unavailable
    )
)]
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    InPath(task_id): InPath<TaskId>,
) -> Result<Response, ApiError> {
    timing.set_tasks(task_id, 1);
    // Before the cancel is published: the end may come at once.
    let guard = app.notifier.waiters.register(vec![task_id])?;
    let became = timing.time(Phase::Store, app.store.of(caller.tenant()).cancel(task_id)).await?;
    match became.ok_or(ApiError::UnknownTask(task_id))? {
        CancelOutcome::Cancelled => {
            reply::json(&StatusReply { task_id, status: TaskStatus::Cancelled })
        }
        CancelOutcome::Ended(status) => Err(ApiError::TaskEnded { id: task_id, status }),
        CancelOutcome::Stopping => {
            let deadline = Instant::now() + app.config.cancel_wait;
            let asker = Asker::new(&app, &timing, &caller);
            let found = until_end(asker, &guard, task_id, deadline).await?;
            let response = reply::json(&StatusReply { task_id, status: found.status })?;
            Ok(if found.status.is_terminal() { response } else { reply::accepted(response) })
        }
    }
}
