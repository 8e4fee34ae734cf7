//! Status and result of one task, at once or as soon as it ends.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use belljar_core::id::TaskId;
use belljar_core::task::TaskStatus;
use belljar_pickle::payload;
use belljar_store::record::{TaskResult, Timestamp};
use http::HeaderValue;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::body::offload;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::extract::{InPath, Query};
use crate::reply;
use crate::routes::wait::wait_for;
use crate::schema::{Invalid, Status, Unavailable, UnknownId};
use crate::timing::RequestTiming;

/// Where a task stands.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusReply {
    #[schema(value_type = uuid::Uuid)]
    pub(super) task_id: TaskId,
    #[schema(value_type = Status)]
    pub(super) status: TaskStatus,
}

/// Where a task stands, and its result.
#[derive(Serialize, ToSchema)]
pub(super) struct ResultReply {
    #[schema(value_type = uuid::Uuid)]
    task_id: TaskId,
    #[schema(value_type = Status)]
    status: TaskStatus,
    /// COMPLETED: the pickled return value in base64. FAILED: the pickled exception. Else empty.
    result: String,
    /// Fields of the request that are not known here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    ignored: Vec<String>,
}

/// Status of a task
///
/// With `wait` the answer comes the moment the task ends, or after so many seconds.
#[utoipa::path(
    get, path = "/status/{task_id}", tag = "Classic",
    params(
        ("task_id" = uuid::Uuid, Path),
        ("wait" = Option<f64>, Query, minimum = 0, maximum = 60, description = "Seconds."),
    ),
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
    let found = wait_for(&app, &timing, &caller, task_id, query.wait()?).await?;
    let response = reply::json(&StatusReply { task_id, status: found.status })?;
    Ok(with_expiry(response, found.expires_at))
}

/// Result of a task
///
/// An unfinished task is 200 with its status and an empty result. With `wait` the answer comes the moment
/// the task ends, or after so many seconds.
#[utoipa::path(
    get, path = "/result/{task_id}", tag = "Classic",
    params(
        ("task_id" = uuid::Uuid, Path),
        ("wait" = Option<f64>, Query, minimum = 0, maximum = 60, description = "Seconds."),
    ),
    responses(
        (status = 200, body = ResultReply, headers(
            ("x-result-expires" = String, description = "When the record of an ended task is deleted."))),
        UnknownId, Invalid, Unavailable
    )
)]
pub(crate) async fn result(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    InPath(task_id): InPath<TaskId>,
    query: Query,
) -> Result<Response, ApiError> {
    let found = wait_for(&app, &timing, &caller, task_id, query.wait()?).await?;
    result_reply(task_id, found, Vec::new()).await
}

/// Writes status and result of one task.
pub(super) async fn result_reply(
    task_id: TaskId,
    found: TaskResult,
    ignored: Vec<String>,
) -> Result<Response, ApiError> {
    let (status, pickle, expires_at) = (found.status, found.result, found.expires_at);
    let size = pickle.len();
    let write = move || {
        let result = payload::encode(&pickle);
        let room = result.len() + result.len() / 64 + 128;
        reply::json_with_room(&ResultReply { task_id, status, result, ignored }, room)
    };
    Ok(with_expiry(offload(size, write).await?, expires_at))
}

fn with_expiry(mut response: Response, expires_at: Option<Timestamp>) -> Response {
    let value = expires_at.and_then(|time| HeaderValue::try_from(reply::rfc3339(time)).ok());
    if let Some(value) = value {
        response.headers_mut().insert(reply::RESULT_EXPIRES, value);
    }
    response
}
