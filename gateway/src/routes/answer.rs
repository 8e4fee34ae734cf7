//! Answers that carry results. A long result is never in memory as a whole: it goes from the store to the
//! client in parts, the next when the client has taken the one before.

use std::collections::VecDeque;
use std::fmt::Display;
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
use crate::media::{Accepted, MESSAGE_PACK, PICKLE, ReplyForm};
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
    /// COMPLETED: the pickled return value in base64, in MessagePack as bytes. FAILED: the pickled exception. Else empty.
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

/// The answer with status and result of one task, and fields of the request that are not known.
pub(super) async fn one_result(
    app: &App,
    accepted: Accepted,
    task_id: TaskId,
    (found, ignored): (TaskResult, Vec<String>),
) -> Result<Response, ApiError> {
    let (expires_at, size, store) = (found.expires_at, found.result.len(), app.store.clone());
    if accepted.pickle {
        return Ok(with_expiry(bare_result(store, task_id, &found), expires_at));
    }
    let form = accepted.form(size as u64 + found.unread_bytes);
    let write = move || {
        let mut parts = AnswerParts::with_room(form, size.min(COPIED_BYTES) + 256);
        let reply = ResultReply::new(task_id, found.status, found.kind);
        parts.push(&ResultReply { ignored, ..reply }, found.result, found.unread_bytes)?;
        Ok(parts)
    };
    let parts = offload(work(form, size), write).await?;
    Ok(with_expiry(parts.into_response(store), expires_at))
}

/// A result as it is, and in headers what the other forms say beside it.
fn bare_result(store: Store, task_id: TaskId, found: &TaskResult) -> Response {
    let mut parts = AnswerParts::with_room(ReplyForm::MessagePack, 0);
    parts.push_result(task_id, found.result.clone(), found.unread_bytes);
    let mut response = parts.into_response(store);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PICKLE));
    if let Ok(id) = HeaderValue::try_from(task_id.to_string()) {
        headers.insert(reply::TASK_ID, id);
    }
    headers.insert(reply::TASK_STATUS, HeaderValue::from_static(found.status.as_str()));
    if let Some(kind) = &found.kind {
        headers.insert(reply::RESULT_KIND, HeaderValue::from_static(kind.as_str()));
    }
    // Whatever it is, a browser only saves it.
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    response
}

/// An answer about many tasks. What is `None` is not in it.
pub(super) struct Answer {
    /// Those that were accepted.
    pub(super) task_ids: Option<Vec<TaskId>>,
    /// Those that have ended.
    pub(super) results: Option<Vec<(TaskId, TaskResult)>>,
    /// Fields of the request that are not known.
    pub(super) ignored: Vec<String>,
}

/// How long an id is in an answer.
const ID_BYTES: usize = 39;
/// What an answer says of a task beside its result.
const REPLY_BYTES: usize = 160;

/// The answer about many tasks.
pub(super) async fn many_results(
    app: &App,
    accepted: Accepted,
    answer: Answer,
) -> Result<Response, ApiError> {
    let results = answer.results.as_deref().unwrap_or_default();
    let (mut small, mut all) = (answer.task_ids.as_ref().map_or(0, Vec::len) * ID_BYTES, 0);
    for (_, found) in results {
        small += found.result.len() + REPLY_BYTES;
        all += found.result.len() as u64 + found.unread_bytes;
    }
    // Many small ones are read faster as JSON, however large they are together.
    let form = accepted.form(all / results.len().max(1) as u64);
    let parts = offload(work(form, small), move || {
        let mut parts = AnswerParts::with_room(form, work(form, small) * 3 / 2 + 256);
        match form {
            ReplyForm::Json => parts.push_json(answer)?,
            ReplyForm::MessagePack => parts.push_message_pack(answer)?,
        }
        Ok(parts)
    });
    Ok(parts.await?.into_response(app.store.clone()))
}

/// How much work it is to write an answer of so many bytes: large ones are not copied into MessagePack.
fn work(form: ReplyForm, bytes: usize) -> usize {
    match form {
        ReplyForm::Json => bytes,
        ReplyForm::MessagePack => bytes.min(COPIED_BYTES),
    }
}

/// Results of up to so many bytes are copied into MessagePack; what is longer goes out as it is.
const COPIED_BYTES: usize = 16 * 1024;

/// A body in the making.
struct AnswerParts {
    form: ReplyForm,
    parts: VecDeque<AnswerPart>,
    /// What follows the parts.
    text: Vec<u8>,
    length: u64,
}

enum AnswerPart {
    Bytes(Bytes),
    Stored(StoredPart),
}

/// A result that is read as the client takes it, or what is left of it.
struct StoredPart {
    id: TaskId,
    form: ReplyForm,
    read_bytes: u64,
    bytes: u64,
}

impl AnswerParts {
    fn with_room(form: ReplyForm, bytes: usize) -> Self {
        Self { form, parts: VecDeque::new(), text: Vec::with_capacity(bytes), length: 0 }
    }

    fn push_json(&mut self, answer: Answer) -> Result<(), ApiError> {
        let mut before = b'{';
        if let Some(ids) = answer.task_ids {
            self.text.extend_from_slice(br#"{"task_ids":"#);
            serde_json::to_writer(&mut self.text, &ids).map_err(unwritten)?;
            before = b',';
        }
        if let Some(results) = answer.results {
            self.text.push(before);
            self.text.extend_from_slice(br#""results":["#);
            for (index, result) in results.into_iter().enumerate() {
                if index > 0 {
                    self.text.push(b',');
                }
                self.push_one_of_many(result)?;
            }
            self.text.push(b']');
        }
        if !answer.ignored.is_empty() {
            self.text.extend_from_slice(br#","ignored":"#);
            serde_json::to_writer(&mut self.text, &answer.ignored).map_err(unwritten)?;
        }
        self.text.push(b'}');
        Ok(())
    }

    fn push_message_pack(&mut self, answer: Answer) -> Result<(), ApiError> {
        let Answer { task_ids, results, ignored } = answer;
        let fields = [task_ids.is_some(), results.is_some(), !ignored.is_empty()];
        let count = fields.into_iter().map(u32::from).sum();
        rmp::encode::write_map_len(&mut self.text, count).map_err(unwritten)?;
        if let Some(ids) = task_ids {
            self.push_packed(&"task_ids")?;
            self.push_packed(&ids)?;
        }
        if let Some(results) = results {
            self.push_packed(&"results")?;
            let count = u32::try_from(results.len()).unwrap_or(u32::MAX);
            rmp::encode::write_array_len(&mut self.text, count).map_err(unwritten)?;
            for result in results {
                self.push_one_of_many(result)?;
            }
        }
        if !ignored.is_empty() {
            self.push_packed(&"ignored")?;
            self.push_packed(&ignored)?;
        }
        Ok(())
    }

    fn push_one_of_many(&mut self, (task_id, found): (TaskId, TaskResult)) -> Result<(), ApiError> {
        let failure = found.failure;
        let expires_at = found.expires_at.map(reply::rfc3339);
        let reply = ResultReply::new(task_id, found.status, found.kind);
        let reply = ResultReply { failure, expires_at, ..reply };
        self.push(&reply, found.result, found.unread_bytes)
    }

    fn push_packed(&mut self, value: &impl Serialize) -> Result<(), ApiError> {
        reply::pack(&mut self.text, value)
    }

    /// Appends a reply, with a result that was read, or left unread.
    fn push(&mut self, reply: &ResultReply, result: Bytes, unread: u64) -> Result<(), ApiError> {
        /// What ends a serialized reply, behind its result.
        const END: &[u8] = b"\"}";
        match self.form {
            ReplyForm::Json => {
                serde_json::to_writer(&mut self.text, reply).map_err(unwritten)?;
                self.text.truncate(self.text.len() - END.len());
                self.push_result(reply.task_id, result, unread);
                self.text.extend_from_slice(END);
            }
            ReplyForm::MessagePack => {
                self.push_packed(reply)?;
                // The empty text is one byte, in place of which the result stands.
                self.text.pop();
                let length = u32::try_from(result.len() as u64 + unread).map_err(unwritten)?;
                rmp::encode::write_bin_len(&mut self.text, length).map_err(unwritten)?;
                self.push_result(reply.task_id, result, unread);
            }
        }
        Ok(())
    }

    /// Appends a result that was read, or left unread.
    fn push_result(&mut self, id: TaskId, result: Bytes, unread: u64) {
        match self.form {
            ReplyForm::Json => payload::encode_in_json(&result, &mut self.text),
            ReplyForm::MessagePack if result.len() <= COPIED_BYTES => {
                self.text.extend_from_slice(&result);
            }
            ReplyForm::MessagePack => {
                self.end_text();
                self.length += result.len() as u64;
                self.parts.push_back(AnswerPart::Bytes(result));
            }
        }
        if unread > 0 {
            self.end_text();
            let form = self.form;
            self.length += match form {
                ReplyForm::Json => {
                    payload::length_in_json(usize::try_from(unread).unwrap_or(usize::MAX)) as u64
                }
                ReplyForm::MessagePack => unread,
            };
            let stored = StoredPart { id, form, read_bytes: 0, bytes: unread };
            self.parts.push_back(AnswerPart::Stored(stored));
        }
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.length += self.text.len() as u64;
            self.parts.push_back(AnswerPart::Bytes(std::mem::take(&mut self.text).into()));
        }
    }

    fn into_response(mut self, store: Store) -> Response {
        let content_type = match self.form {
            ReplyForm::Json => "application/json",
            ReplyForm::MessagePack => MESSAGE_PACK,
        };
        if self.parts.is_empty() {
            return reply::of(content_type, self.text);
        }
        self.end_text();
        let body = stream::try_unfold((store, self.parts), next_part);
        let mut response = reply::of(content_type, Body::from_stream(body));
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(self.length));
        response
    }
}

fn unwritten(error: impl Display) -> ApiError {
    ApiError::Internal(format!("cannot write an answer: {error}").into())
}

type Left = (Store, VecDeque<AnswerPart>);

/// The next bytes of an answer and what is left of it. An error here cuts the connection, since the answer
/// has begun: the client sees that it is not whole.
async fn next_part((store, mut parts): Left) -> io::Result<Option<(Bytes, Left)>> {
    let bytes = match parts.pop_front() {
        None => return Ok(None),
        Some(AnswerPart::Bytes(bytes)) => bytes,
        Some(AnswerPart::Stored(mut stored)) => {
            let text = stored.read(&store).await?;
            if stored.read_bytes < stored.bytes {
                parts.push_front(AnswerPart::Stored(stored));
            }
            text
        }
    };
    Ok(Some((bytes, (store, parts))))
}

impl StoredPart {
    /// Reads on, and gives it as it stands in the answer.
    async fn read(&mut self, store: &Store) -> io::Result<Bytes> {
        let wanted = (PART_BYTES as u64).min(self.bytes - self.read_bytes);
        let part = store.result_part(self.id, self.read_bytes, wanted).await;
        let part = part.map_err(io::Error::other)?.filter(|part| part.len() as u64 == wanted);
        let part = part.ok_or_else(|| io::Error::other("the result was deleted meanwhile"))?;
        self.read_bytes += wanted;
        Ok(match self.form {
            ReplyForm::MessagePack => part,
            ReplyForm::Json => {
                let mut text = Vec::new();
                payload::encode_in_json(&part, &mut text);
                text.into()
            }
        })
    }
}
