//! Answers that carry results. A long result is never in memory as a whole: it goes from the store to the
//! client in parts, the next when the client has taken the one before.

use std::collections::VecDeque;
use std::io;

use axum::body::Body;
use axum::response::Response;
use belljar_core::id::TaskId;
use belljar_core::outcome::{FailureKind, ResultKind};
use belljar_core::task::TaskStatus;
use belljar_pickle::payload::{self, PART_BYTES};
use belljar_store::Store;
use belljar_store::record::TaskResult;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::body::offload;
use crate::error::ApiError;
use crate::reply;
use crate::routes::results::with_expiry;
use crate::schema::Status;

/// Where a task stands, and its result.
#[derive(Serialize, ToSchema)]
pub(super) struct ResultReply {
    #[schema(value_type = uuid::Uuid)]
    task_id: TaskId,
    #[schema(value_type = Status)]
    status: TaskStatus,
    /// Why a FAILED task failed, as in its record: `exception` where the function raised it. Only in answers
    /// for many tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    failure: Option<FailureKind>,
    /// When its record is deleted. Only in answers for many tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// `data`: loading the result runs nothing but constructors of plain values and builtin exceptions.
    /// `objects`: it may run anything. Absent where there is no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "data")]
    result_kind: Option<&'static str>,
    /// What `objects` names beside those, as `module.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_globals: Option<Vec<String>>,
    /// Why `objects` may name more than that.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_unreadable: Option<String>,
    /// Fields of the request that are not known here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    ignored: Vec<String>,
    /// COMPLETED: the pickled return value in base64. FAILED: the pickled exception. Else empty.
    // Last, and empty when it is serialized: `AnswerParts` puts the result between the quotes.
    result: &'static str,
}

impl ResultReply {
    fn new(task_id: TaskId, status: TaskStatus, kind: Option<ResultKind>) -> Self {
        let (result_kind, result_globals, result_unreadable) = kind_fields(kind);
        Self {
            task_id,
            status,
            failure: None,
            expires_at: None,
            result_kind,
            result_globals,
            result_unreadable,
            ignored: Vec::new(),
            result: "",
        }
    }
}

/// The fields that say what loading a result runs.
pub(super) fn kind_fields(
    kind: Option<ResultKind>,
) -> (Option<&'static str>, Option<Vec<String>>, Option<String>) {
    let word = kind.as_ref().map(ResultKind::as_str);
    match kind {
        Some(ResultKind::Objects { globals, unreadable }) => (word, Some(globals), unreadable),
        Some(ResultKind::Data) | None => (word, None, None),
    }
}

/// The answer with status and result of one task.
pub(super) async fn one_result(
    app: &App,
    task_id: TaskId,
    found: TaskResult,
    ignored: Vec<String>,
) -> Result<Response, ApiError> {
    let (expires_at, size, store) = (found.expires_at, found.result.len(), app.store.clone());
    let write = move || {
        let mut parts = AnswerParts::default();
        let reply = ResultReply::new(task_id, found.status, found.kind);
        parts.push(&ResultReply { ignored, ..reply }, &found.result, found.unread_bytes)?;
        Ok(parts)
    };
    let parts = offload(size, write).await?;
    Ok(with_expiry(parts.into_response(store), expires_at))
}

/// The results of many tasks, `[...]`, between `before` and `after`.
pub(super) async fn many_results(
    app: &App,
    before: String,
    results: Vec<(TaskId, TaskResult)>,
    after: String,
) -> Result<Response, ApiError> {
    let store = app.store.clone();
    let size = results.iter().map(|(_, found)| found.result.len() + 160).sum();
    let parts = offload(size, move || {
        let mut parts = AnswerParts::with_room(before, size * 3 / 2 + 256);
        parts.text.push(b'[');
        for (index, (task_id, found)) in results.into_iter().enumerate() {
            if index > 0 {
                parts.text.push(b',');
            }
            let failure = found.failure;
            let expires_at = found.expires_at.map(reply::rfc3339);
            let reply = ResultReply::new(task_id, found.status, found.kind);
            let reply = ResultReply { failure, expires_at, ..reply };
            parts.push(&reply, &found.result, found.unread_bytes)?;
        }
        parts.text.push(b']');
        parts.text.extend_from_slice(after.as_bytes());
        Ok(parts)
    });
    Ok(parts.await?.into_response(store))
}

/// A body of JSON in the making.
#[derive(Default)]
struct AnswerParts {
    parts: VecDeque<AnswerPart>,
    /// What follows the parts.
    text: Vec<u8>,
    length: u64,
}

enum AnswerPart {
    Text(Vec<u8>),
    Stored(StoredPart),
}

/// A result that is read as the client takes it, or what is left of it.
struct StoredPart {
    id: TaskId,
    read_bytes: u64,
    bytes: u64,
}

impl AnswerParts {
    fn with_room(text: String, bytes: usize) -> Self {
        let mut text = text.into_bytes();
        text.reserve(bytes);
        Self { text, ..Self::default() }
    }

    /// Appends a reply, with a result that was read, or left unread.
    fn push(&mut self, reply: &ResultReply, result: &[u8], unread: u64) -> Result<(), ApiError> {
        /// What ends a serialized reply, behind its result.
        const END: &[u8] = b"\"}";
        serde_json::to_writer(&mut self.text, reply)
            .map_err(|error| ApiError::Internal(format!("cannot write: {error}").into()))?;
        self.text.truncate(self.text.len() - END.len());
        payload::encode_in_json(result, &mut self.text);
        if unread > 0 {
            self.end_text();
            let length = usize::try_from(unread).unwrap_or(usize::MAX);
            self.length += payload::length_in_json(length) as u64;
            let stored = StoredPart { id: reply.task_id, read_bytes: 0, bytes: unread };
            self.parts.push_back(AnswerPart::Stored(stored));
        }
        self.text.extend_from_slice(END);
        Ok(())
    }

    fn end_text(&mut self) {
        self.length += self.text.len() as u64;
        self.parts.push_back(AnswerPart::Text(std::mem::take(&mut self.text)));
    }

    fn into_response(mut self, store: Store) -> Response {
        const JSON: &str = "application/json";
        if self.parts.is_empty() {
            return reply::of(JSON, self.text);
        }
        self.end_text();
        let body = stream::try_unfold((store, self.parts), next_part);
        let mut response = reply::of(JSON, Body::from_stream(body));
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(self.length));
        response
    }
}

type Left = (Store, VecDeque<AnswerPart>);

/// The next bytes of an answer and what is left of it. An error here cuts the connection, since the answer
/// has begun: the client sees that it is not whole.
async fn next_part((store, mut parts): Left) -> io::Result<Option<(Bytes, Left)>> {
    let bytes = match parts.pop_front() {
        None => return Ok(None),
        Some(AnswerPart::Text(text)) => text,
        Some(AnswerPart::Stored(mut stored)) => {
            let text = stored.read(&store).await?;
            if stored.read_bytes < stored.bytes {
                parts.push_front(AnswerPart::Stored(stored));
            }
            text
        }
    };
    Ok(Some((bytes.into(), (store, parts))))
}

impl StoredPart {
    /// Reads on, and gives it as it stands in JSON.
    async fn read(&mut self, store: &Store) -> io::Result<Vec<u8>> {
        let wanted = (PART_BYTES as u64).min(self.bytes - self.read_bytes);
        let part = store.result_part(self.id, self.read_bytes, wanted).await;
        let part = part.map_err(io::Error::other)?.filter(|part| part.len() as u64 == wanted);
        let part = part.ok_or_else(|| io::Error::other("the result was deleted meanwhile"))?;
        self.read_bytes += wanted;
        let mut text = Vec::new();
        payload::encode_in_json(&part, &mut text);
        Ok(text)
    }
}
