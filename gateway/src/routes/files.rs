//! The files that a call has left.

use std::io;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use belljar_core::id::TaskId;
use belljar_core::task::{Attempt, TaskAttempt};
use belljar_pickle::payload::PART_BYTES;
use belljar_store::Store;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::extract::InPath;
use crate::problem::shown;
use crate::reply;
use crate::schema::{Invalid, Unavailable, UnknownId};
use crate::timing::{Phase, RequestTiming};

/// A file of a task
///
/// One of the `files` in the task's record, as it is. A slash in its name is written `%2F`.
#[utoipa::path(
    get, path = "/v1/tasks/{task_id}/files/{name}", tag = "Tasks", operation_id = "get_file",
    params(("task_id" = uuid::Uuid, Path), ("name" = String, Path)),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        UnknownId, Invalid, Unavailable
    )
)]
pub(crate) async fn file(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    InPath(id): InPath<TaskId>,
    names: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
) -> Result<Response, ApiError> {
    let found = timing.time(Phase::Store, app.store.of(caller.tenant()).task(id)).await?;
    let record = found.ok_or(ApiError::UnknownTask(id))?;
    let name = names.map_or_else(|_| String::new(), |Path((_, name))| name);
    let index = record.files.iter().position(|file| file.name == name);
    let index = index.ok_or_else(|| ApiError::UnknownFile { id, name: shown(&name) })?;
    let (bytes, task) =
        (record.files[index].bytes, TaskAttempt { task_id: id, attempt: Attempt(record.attempts) });
    let left = Left { store: app.store.clone(), task, index, read: 0, bytes };
    let body = stream::try_unfold(left, next_part);
    let mut response = reply::of("application/octet-stream", Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    // Whatever it is, a browser only saves it.
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// What is still to be sent of a file.
struct Left {
    store: Store,
    task: TaskAttempt,
    index: usize,
    read: u64,
    bytes: u64,
}

/// The next piece. An error here cuts the connection, since the answer has begun: the client sees that it is
/// not whole.
async fn next_part(mut left: Left) -> io::Result<Option<(Bytes, Left)>> {
    let wanted = (PART_BYTES as u64).min(left.bytes - left.read);
    if wanted == 0 {
        return Ok(None);
    }
    let part = left.store.file_part(left.task, left.index, left.read, wanted).await;
    let part = part.map_err(io::Error::other)?.filter(|part| part.len() as u64 == wanted);
    let part = part.ok_or_else(|| io::Error::other("the file was deleted meanwhile"))?;
    left.read += wanted;
    Ok(Some((part, left)))
}
