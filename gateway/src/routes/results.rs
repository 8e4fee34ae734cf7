//! Status and result of one task, at once or as soon as it ends.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use belljar_core::id::TaskId;
use belljar_core::task::TaskStatus;
use belljar_store::record::Timestamp;
use http::HeaderValue;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::extract::{InPath, Query};
use crate::media::Accepted;
use crate::reply;
use crate::routes::answer::{ResultReply, one_result};
use crate::routes::wait::{Asker, wait_for};
use crate::schema::{Invalid, Status, Unavailable, UnknownId};
use crate::timing::RequestTiming;

/// How long to wait for the end of a task.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `Query` reads")]
pub(super) struct WaitQuery {
    /// Seconds.
    #[param(minimum = 0, maximum = 60)]
    wait: Option<f64>,
}

/// Where a task stands.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusReply {
    #[schema(value_type = uuid::Uuid)]
    pub(super) task_id: TaskId,
    #[schema(value_type = Status)]
    pub(super) status: TaskStatus,
}

/// Status of a task
///
/// With `wait` the answer comes the moment the task ends, or after so many seconds.
#[utoipa::path(
    get, path = "/status/{task_id}", tag = "Classic",
    params(("task_id" = uuid::Uuid, Path), WaitQuery),
    responses(
        (status = 200, body = StatusReply, headers(
            ("x-result-expires" = String, description = "When the record of an ended task is deleted."))),
        UnknownId, Invalid, Unavailable
    )
)]
pub(crate) async fn status(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    InPath(task_id): InPath<TaskId>,
    query: Query,
) -> Result<Response, ApiError> {
    let found = wait_for(Asker::new(&app, &timing, &caller), task_id, query.wait()?).await?;
    let response = reply::json(&StatusReply { task_id, status: found.status })?;
    Ok(with_expiry(response, found.expires_at))
}

/// Result of a task
///
/// An unfinished task is 200 with its status and an empty result. With `Accept: application/octet-stream` the body is the
/// pickle alone, and the rest stands in headers; with `application/msgpack` the result is bytes. With `wait` the answer comes the moment
/// the task ends, or after so many seconds.
#[utoipa::path(
    get, path = "/result/{task_id}", tag = "Classic",
    params(("task_id" = uuid::Uuid, Path), WaitQuery),
    responses(
        (status = 200, content(
            (ResultReply = "application/json"), (ResultReply = "application/msgpack"),
            (Vec<u8> = "application/octet-stream")
        ), headers(
            ("x-result-expires" = String, description = "When the record of an ended task is deleted."),
            ("x-task-id" = String, description = "With `application/octet-stream`: the task."),
            ("x-task-status" = String, description = "The same: where it stands; the body is empty until it has ended."),
            ("x-result-kind" = String, description = "The same: `data` or `objects`."))),
        UnknownId, Invalid, Unavailable
    )
)]
pub(crate) async fn result(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    InPath(task_id): InPath<TaskId>,
    (accepted, query): (Accepted, Query),
) -> Result<Response, ApiError> {
    let found = wait_for(Asker::new(&app, &timing, &caller), task_id, query.wait()?).await?;
    one_result(&app, accepted, task_id, (found, Vec::new())).await
}

pub(super) fn with_expiry(mut response: Response, expires_at: Option<Timestamp>) -> Response {
    let value = expires_at.and_then(|time| HeaderValue::try_from(reply::rfc3339(time)).ok());
    if let Some(value) = value {
        response.headers_mut().insert(reply::RESULT_EXPIRES, value);
    }
    response
}
