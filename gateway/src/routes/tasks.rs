//! The whole record of a task.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use belljar_core::access::{Denied, DeniedKind};
use belljar_core::files::FileEntry;
use belljar_core::grants::GrantRequest;
use belljar_core::http::{HttpLog, HttpNote};
use belljar_core::id::{DispatcherId, FunctionId, SessionId, TaskId, WorkerId};
use belljar_core::live::Progress;
use belljar_core::outcome::{Failure, FailureKind, OutputTail};
use belljar_core::task::{Priority, PythonVersion, Runtime, TaskLimits, TaskStatus};
use belljar_core::warm::WarmStart;
use belljar_store::record::{TaskRecord, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::extract::InPath;
use crate::reply::{self, number, rfc3339};
use crate::routes::answer::kind_fields;
use crate::routes::functions::GrantFields;
use crate::routes::task_item::DurationsView;
use crate::routes::waiting::{self, WaitingView};
use crate::schema::{Invalid, PriorityName, RuntimeName, Status, Unavailable, UnknownId};
use crate::timing::{Phase, RequestTiming};

/// The whole record of a task.
#[derive(Serialize, ToSchema)]
#[schema(as = Task)]
struct TaskView {
    #[schema(value_type = uuid::Uuid)]
    task_id: TaskId,
    #[schema(value_type = uuid::Uuid)]
    function_id: FunctionId,
    #[schema(value_type = Status)]
    status: TaskStatus,
    #[schema(value_type = RuntimeName)]
    runtime: Runtime,
    #[schema(value_type = String)]
    python: PythonVersion,
    #[schema(value_type = PriorityName)]
    priority: Priority,
    limits: LimitsView,
    /// The session that it goes on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    session_id: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<GrantFields>)]
    grants: Option<Box<GrantRequest>>,
    /// Attempts opened.
    attempts: u32,
    /// Attempts whose executor or worker died.
    deaths: u32,
    /// What became of lost attempts, oldest first.
    losses: Vec<String>,
    #[schema(format = DateTime)]
    accepted_at: String,
    #[schema(format = DateTime)]
    due_at: Option<String>,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    durations_ms: DurationsView,
    /// Whether the call started with the modules of its function imported, in the sandbox; absent where that is no question.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<StartView>,
    /// Why it waits, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<WaitingView>,
    #[schema(value_type = Option<uuid::Uuid>)]
    dispatcher: Option<DispatcherId>,
    #[schema(value_type = Option<uuid::Uuid>)]
    worker: Option<WorkerId>,
    failure: Option<FailureView>,
    /// The trace that it belongs to, where it is traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "4bf92f3577b34da6a3ce929d0e0e4736")]
    trace_id: Option<String>,
    /// How far it has come, where the function tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressView>,
    peak_memory_bytes: Option<u64>,
    stdout: Option<OutputView>,
    stderr: Option<OutputView>,
    /// The HTTP requests that it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<HttpView>,
    /// The files that it left, of those that `outputs` asked for: see `/v1/tasks/{task_id}/files/{name}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    files: Vec<FileView>,
    /// What it was refused; the first 20, each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    denied: Vec<DeniedView>,
    args_bytes: u64,
    result_bytes: u64,
    /// `data`: loading the result runs nothing but constructors of plain values and builtin exceptions.
    /// `objects`: it may run anything. `null` where there is no result.
    #[schema(example = "data")]
    result_kind: Option<&'static str>,
    /// What `objects` names beside those, as `module.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_globals: Option<Vec<String>>,
    /// Why `objects` may name more than that.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_unreadable: Option<String>,
}

/// Limits of a call.
#[derive(Serialize, ToSchema)]
#[schema(as = Limits)]
pub(super) struct LimitsView {
    timeout_s: f64,
    memory_mb: u32,
    max_retries: u32,
    /// Of the pickled result or exception, where the call's tenant has such a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_result_mb: Option<u32>,
}

/// Why a task failed.
#[derive(Serialize, ToSchema)]
#[schema(as = Failure)]
struct FailureView {
    /// exception, decode, encode, timeout, memory, recursion, limit, denied, executor_died, worker_lost.
    #[schema(value_type = String)]
    kind: FailureKind,
    message: String,
    traceback: String,
    /// A way out, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// How far a call has come, in its own words.
#[derive(Serialize, ToSchema)]
#[schema(as = Progress)]
struct ProgressView {
    #[schema(value_type = f64)]
    done: serde_json::Number,
    /// Of how much; `null` where the function does not say.
    #[schema(value_type = Option<f64>)]
    total: Option<serde_json::Number>,
    note: String,
}

/// A file that a call left.
#[derive(Serialize, ToSchema)]
#[schema(as = File)]
struct FileView {
    /// Its path in the working directory of the call.
    name: String,
    /// Its length.
    bytes: u64,
}

/// What a call wrote.
#[derive(Serialize, ToSchema)]
#[schema(as = Output)]
struct OutputView {
    /// The end of it; bytes that are not UTF-8 are shown as replacement characters.
    text: String,
    /// Bytes written in all.
    total_bytes: u64,
}

/// Something that a call was refused.
#[derive(Serialize, ToSchema)]
#[schema(as = Denied)]
struct DeniedView {
    /// read, write, env, http, network, thread, process, module.
    #[schema(value_type = String)]
    kind: DeniedKind,
    /// A path, which ends with a slash where it was opened as a directory; a variable, a request, a host and port, a
    /// module.
    name: String,
}

/// HTTP requests of a call.
#[derive(Serialize, ToSchema)]
#[schema(as = HttpRequests)]
struct HttpView {
    /// How many there were, also those that were refused.
    total: u32,
    /// The first 20 of them.
    requests: Vec<HttpNoteView>,
}

/// One HTTP request; nothing of its query, headers and body.
#[derive(Serialize, ToSchema)]
#[schema(as = HttpRequest)]
struct HttpNoteView {
    method: String,
    /// Without the query.
    url: String,
    /// What the server answered.
    status: Option<u16>,
    /// Why there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    request_bytes: u64,
    response_bytes: u64,
    duration_ms: u64,
}

impl From<HttpNote> for HttpNoteView {
    fn from(note: HttpNote) -> Self {
        let HttpNote { method, url, status, error, request_bytes, response_bytes, elapsed_ms } =
            note;
        let duration_ms = elapsed_ms;
        Self { method, url, status, error, request_bytes, response_bytes, duration_ms }
    }
}

impl From<HttpLog> for HttpView {
    fn from(log: HttpLog) -> Self {
        let requests = log.requests.into_iter().map(HttpNoteView::from).collect();
        Self { total: log.total, requests }
    }
}

impl From<TaskLimits> for LimitsView {
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 milliseconds")]
    fn from(limits: TaskLimits) -> Self {
        let TaskLimits { timeout_ms, memory_mb, max_retries, max_result_mb } = limits;
        Self { timeout_s: timeout_ms as f64 / 1_000.0, memory_mb, max_retries, max_result_mb }
    }
}

impl From<Progress> for ProgressView {
    fn from(Progress { done, total, note }: Progress) -> Self {
        Self { done: number(done), total: total.map(number), note }
    }
}

impl From<FileEntry> for FileView {
    fn from(FileEntry { name, bytes }: FileEntry) -> Self {
        Self { name, bytes }
    }
}

impl From<OutputTail> for OutputView {
    fn from(tail: OutputTail) -> Self {
        Self {
            text: String::from_utf8_lossy(&tail.bytes).into_owned(),
            total_bytes: tail.total_bytes,
        }
    }
}

/// Whole record of a task
#[utoipa::path(
    get, path = "/v1/tasks/{task_id}", tag = "Tasks", operation_id = "get_task",
    params(("task_id" = uuid::Uuid, Path)),
    responses((status = 200, body = TaskView), UnknownId, Invalid, Unavailable)
)]
pub(crate) async fn task(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    InPath(id): InPath<TaskId>,
) -> Result<Response, ApiError> {
    let found = timing.time(Phase::Store, app.store.of(caller.tenant()).task(id)).await?;
    let record = found.ok_or(ApiError::UnknownTask(id))?;
    let running_tasks = caller.policy().and_then(|policy| policy.quotas.running_tasks);
    let waiting =
        timing.time(Phase::Store, waiting::reason(&app.store, &record, running_tasks)).await?;
    reply::json_with_room(&view(record, waiting), 2_048)
}

fn view(record: TaskRecord, waiting: Option<WaitingView>) -> TaskView {
    let ready_at = record.due_at.unwrap_or(record.accepted_at);
    let durations_ms = DurationsView::new(ready_at, record.started_at, record.end().as_ref());
    let mut outcome = record.outcome;
    let access = outcome.as_mut().and_then(|outcome| outcome.access.take()).unwrap_or_default();
    let denied = access.denied.into_iter().map(|Denied { kind, name }| DeniedView { kind, name });
    let failure = outcome.as_ref().and_then(|outcome| outcome.verdict.failure().cloned());
    let failure = failure.map(|Failure { kind, message, traceback, .. }| {
        let (traceback, hint) = split_hint(traceback);
        FailureView { kind, message, traceback, hint }
    });
    let peak_memory_bytes =
        outcome.as_ref().map(|outcome| outcome.peak_memory_bytes).filter(|&bytes| bytes > 0);
    let start = outcome.as_ref().and_then(|outcome| outcome.phases.start).map(StartView::from);
    let (stdout, stderr) = outcome.map(|outcome| (outcome.stdout, outcome.stderr)).unzip();
    let time = |time: Option<Timestamp>| time.map(rfc3339);
    let (result_kind, result_globals, result_unreadable) = kind_fields(record.kind);
    TaskView {
        task_id: record.id,
        function_id: record.spec.function_id,
        status: record.status,
        runtime: record.spec.class.runtime,
        python: record.spec.class.python,
        priority: record.spec.priority,
        limits: record.spec.limits.into(),
        session_id: record.session,
        grants: record.spec.grants,
        attempts: record.attempts,
        deaths: record.deaths,
        losses: record.failures,
        accepted_at: rfc3339(record.accepted_at),
        due_at: time(record.due_at),
        started_at: time(record.started_at),
        finished_at: time(record.finished_at),
        expires_at: time(record.expires_at),
        durations_ms,
        start,
        waiting,
        dispatcher: record.dispatcher,
        worker: record.worker,
        failure,
        trace_id: record.trace_id.map(|id| id.to_string()),
        progress: record.progress.map(ProgressView::from),
        peak_memory_bytes,
        stdout: stdout.map(OutputView::from),
        stderr: stderr.map(OutputView::from),
        files: record.files.into_iter().map(FileView::from).collect(),
        http: access.http.map(HttpView::from),
        denied: denied.collect(),
        args_bytes: record.args_bytes,
        result_bytes: record.result_bytes,
        result_kind,
        result_globals,
        result_unreadable,
    }
}

/// How a sandboxed call started.
#[derive(Serialize, ToSchema)]
#[schema(as = Start)]
struct StartView {
    /// Whether the modules of its function were imported.
    warm: bool,
    /// Why they were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    why: Option<&'static str>,
}

impl From<WarmStart> for StartView {
    fn from(start: WarmStart) -> Self {
        let why = start.why_cold();
        Self { warm: why.is_none(), why }
    }
}

/// The way out, where the place of the failure knows one, is the last line of the traceback.
fn split_hint(mut traceback: String) -> (String, Option<String>) {
    const MARK: &str = "\nhint: ";
    let Some(at) =
        traceback.rfind(MARK).filter(|at| !traceback[at + 1..].trim_end().contains('\n'))
    else {
        return (traceback, None);
    };
    let hint = traceback.split_off(at + 1)[MARK.len() - 1..].trim_end().to_owned();
    (traceback, Some(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_traceback_may_be_the_hint() {
        let raised = "Traceback ...\nNameError: name 'math' is not defined\n";
        let split = |text: &str| split_hint(text.to_owned());
        let hinted = format!("{raised}hint: serialize it\n");
        assert_eq!(split(&hinted), (raised.to_owned(), Some("serialize it".to_owned())));
        for text in [raised, "ValueError\nhint: one\nmore\n", ""] {
            assert_eq!(split(text), (text.to_owned(), None));
        }
    }
}
