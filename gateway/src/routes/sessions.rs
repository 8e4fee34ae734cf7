//! Sessions: calls that go on where the one before has ended.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use belljar_core::id::{SessionId, TaskId};
use belljar_core::task::{PythonVersion, Runtime, TaskClass, TaskSpec};
use belljar_pickle::PythonHint;
use belljar_store::record::{Page, SessionRecord, SessionSpec};
use belljar_store::session::NewSession;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::body::RequestBytes;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::extract::{InPath, Query};
use crate::fields::{parse, request_body};
use crate::problem::Problem;
use crate::reply::{self, rfc3339};
use crate::routes::functions::{AskedLimits, Widest};
use crate::routes::lists::PageView;
use crate::routes::runtime_selection::RuntimeRequest;
use crate::routes::submit_request::{Arguments, Options};
use crate::routes::tasks::LimitsView;
use crate::schema::{Invalid, QueueFull, Unavailable, UnknownId};
use crate::timing::{Phase, RequestTiming};
use crate::values::{Count, Seconds, Text};

/// The longest name of a session, in bytes.
const MAX_NAME: usize = 1_024;
/// How long a session is kept after its last call, unless it says, and at most: an hour and thirty days.
const DEFAULT_TTL_S: u32 = 3_600;
const MAX_TTL_S: u32 = 2_592_000;
/// The most calls of one submission.
const MAX_CALLS: usize = 256;

request_body! {
    /// A session to make.
    pub(crate) struct NewSessionBody<'de> {
        /// A name of your choice; names need not be unique.
        optional name: Text<'de, MAX_NAME>,
        /// The Python of its calls. Default: the deployment's.
        optional python: PythonVersion,
        /// Seconds that a call may take; a function's own limit may be less.
        optional timeout_s: Seconds,
        /// Memory that a call may have, in MiB, with what earlier ones have left; a function's own limit may be less.
        optional memory_mb: Count<1>,
        /// Seconds after its last call when it is forgotten, at most thirty days. Default: an hour.
        optional ttl_s: Count<1>,
    }
}

/// A session.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionItem {
    #[schema(value_type = uuid::Uuid)]
    session_id: SessionId,
    name: String,
    /// `sandbox`.
    runtime: String,
    #[schema(value_type = String)]
    python: PythonVersion,
    limits: LimitsView,
    ttl_s: u64,
    #[schema(format = DateTime)]
    created_at: String,
    /// When it is forgotten, if there is no further call; absent while it has calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Its call that is queued or runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    active_task: Option<TaskId>,
    /// How many calls wait behind that.
    waiting_tasks: u64,
    /// How many calls have ended.
    ended_tasks: u64,
    /// Bytes of what its last call has left, as they are kept.
    stored_bytes: u64,
    /// Fields of the request that are not known here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    ignored: Vec<String>,
}

/// A session that is gone.
#[derive(Serialize, ToSchema)]
struct Gone {
    #[schema(value_type = uuid::Uuid)]
    session_id: SessionId,
}

/// Make a session
///
/// Calls that name it (`session_id`) run in the sandbox, one after the other, and find what those before have left: the names in `__main__`, the
/// modules that were imported, and the files in `/tmp`.
#[utoipa::path(
    post, path = "/v1/sessions", tag = "Sessions", operation_id = "create_session",
    request_body(content((NewSessionBody = "application/json", example = json!({"name": "notebook", "ttl_s": 3600})))),
    responses((status = 200, body = SessionItem), Invalid, QueueFull, Unavailable)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    body: RequestBytes,
) -> Result<Response, ApiError> {
    let sent: NewSessionBody<'_> = parse(body.form, &body.bytes)?;
    let policy = caller.policy();
    let mut problems = Vec::new();
    let asked = AskedLimits {
        timeout_s: sent.timeout_s.as_ref().map(|seconds| seconds.0),
        memory_mb: sent.memory_mb.as_ref().map(|count| count.0),
        max_retries: None,
    };
    let widest = Widest::new(&app.config, policy.as_deref());
    let limits = widest.limits(asked, &app.config.default_limits, &mut problems);
    let ttl_s = sent.ttl_s.map_or(DEFAULT_TTL_S, |count| count.0);
    if ttl_s > MAX_TTL_S {
        let msg = format!("{ttl_s}: a session is kept for {MAX_TTL_S} seconds at most");
        problems.push(Problem::body("less_than_equal", "ttl_s", msg));
    }
    if !problems.is_empty() {
        return Err(ApiError::Invalid(problems));
    }
    let class = class(&app, &timing, sent.python).await?;
    caller.require_runtime(Runtime::Sandbox)?;
    policy.as_ref().map_or(Ok(()), |policy| policy.check_runtime(Runtime::Sandbox))?;
    let name = sent.name.map_or_else(String::new, |name| name.0.into_owned());
    let spec = SessionSpec { name, class, limits };
    let new = NewSession::Empty(&spec, Duration::from_secs(ttl_s.into()));
    let id = make(&app, &timing, &caller, new).await?;
    let id = id.ok_or(ApiError::Internal("the store made no session".into()))?;
    shown(&app, &timing, &caller, (id, sent.ignored)).await
}

/// Go on from a session in another one
///
/// The new session has what the last call has left that has ended, and everything else that is fixed of the first. Each goes its own way.
#[utoipa::path(
    post, path = "/v1/sessions/{session_id}/fork", tag = "Sessions", operation_id = "fork_session",
    params(("session_id" = uuid::Uuid, Path)),
    responses((status = 200, body = SessionItem), UnknownId, Invalid, QueueFull, Unavailable)
)]
pub(crate) async fn fork(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    InPath(from): InPath<SessionId>,
) -> Result<Response, ApiError> {
    let id = make(&app, &timing, &caller, NewSession::From(from)).await?;
    let id = id.ok_or_else(|| {
        timing.set_session(from);
        ApiError::UnknownSession(from)
    })?;
    shown(&app, &timing, &caller, (id, Vec::new())).await
}

/// One session
#[utoipa::path(
    get, path = "/v1/sessions/{session_id}", tag = "Sessions", operation_id = "get_session",
    params(("session_id" = uuid::Uuid, Path)),
    responses((status = 200, body = SessionItem), UnknownId, Invalid, Unavailable)
)]
pub(crate) async fn session(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    InPath(id): InPath<SessionId>,
) -> Result<Response, ApiError> {
    shown(&app, &timing, &caller, (id, Vec::new())).await
}

/// Sessions, newest first
#[utoipa::path(
    get, path = "/v1/sessions", tag = "Sessions", operation_id = "list_sessions",
    params(
        ("cursor" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 1000, description = "Default: 100."),
    ),
    responses((status = 200, body = PageView<SessionItem>), Invalid, Unavailable)
)]
pub(crate) async fn sessions(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    query: Query,
) -> Result<Response, ApiError> {
    let (cursor, limit) = query.page(|cursor| position(cursor).is_some())?;
    let after = cursor.and_then(position);
    let view = app.store_of(&caller);
    let all = timing.time(Phase::Store, view.sessions()).await?;
    let place = |session: &SessionRecord| (Reverse(session.created_at.0), session.id);
    let rest = all.into_iter().filter(|session| after.is_none_or(|at| place(session) > at));
    let mut items: Vec<_> = rest.take(limit + 1).collect();
    let is_cut = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| is_cut);
    let next = next.map(|last| format!("{}.{}", last.created_at.0, last.id));
    let page = PageView::of(Page { items, next }, |record| item(record, Vec::new()));
    reply::json_with_room(&page, 4_096)
}

/// Delete a session
///
/// Its calls that wait are cancelled; what one leaves that runs is dropped.
#[utoipa::path(
    delete, path = "/v1/sessions/{session_id}", tag = "Sessions", operation_id = "delete_session",
    params(("session_id" = uuid::Uuid, Path)),
    responses((status = 200, body = Gone), UnknownId, Invalid, Unavailable)
)]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    InPath(session_id): InPath<SessionId>,
) -> Result<Response, ApiError> {
    timing.set_session(session_id);
    let view = app.store_of(&caller);
    if !timing.time(Phase::Store, view.delete_session(session_id)).await? {
        return Err(ApiError::UnknownSession(session_id));
    }
    reply::json(&Gone { session_id })
}

/// What a call of a session may do: no more than that allows. Boxed by the caller: other calls carry none of its state.
pub(super) async fn join(
    app: &App,
    timing: &RequestTiming,
    caller: &Caller,
    (spec, args, options): (&mut TaskSpec, &Arguments, &Options),
) -> Result<(), ApiError> {
    let Some(id) = options.session else { return Ok(()) };
    let found = timing.time(Phase::Store, app.store.of(caller.tenant()).session(id)).await?;
    let session = found.ok_or(ApiError::UnknownSession(id))?.spec;
    let mut problems = Vec::new();
    let mut refuse = |is_refused: bool, msg: String| {
        problems.extend(is_refused.then(|| Problem::body("session_mismatch", "session_id", msg)));
    };
    let msg = "calls of a session run in the sandbox: leave `runtime` out";
    refuse(spec.class.runtime != Runtime::Sandbox, msg.to_owned());
    let (python, own) = (session.class.python, spec.class.python);
    refuse(
        python != own,
        format!("the session runs Python {python}, and the function is of {own}"),
    );
    let msg = "functions with `requirements` have processes of their own: in a session they are not taken";
    refuse(spec.packages.is_some(), msg.to_owned());
    let msg = "calls of a session run one after the other: `delay_s` is not taken";
    refuse(options.delay_ms > 0, msg.to_owned());
    let msg = "arguments that refer to values (`blob:`, `task:`) are not taken in a session: send them with the call, or keep them there";
    refuse(!args.referring.is_empty(), msg.to_owned());
    let calls = args.payloads.len();
    refuse(calls > MAX_CALLS, format!("{calls} calls at once: a session takes {MAX_CALLS}"));
    if !problems.is_empty() {
        return Err(ApiError::Invalid(problems));
    }
    spec.limits.timeout_ms = spec.limits.timeout_ms.min(session.limits.timeout_ms);
    spec.limits.memory_mb = spec.limits.memory_mb.min(session.limits.memory_mb);
    Ok(())
}

/// Where the calls of a session run.
async fn class(
    app: &App,
    timing: &RequestTiming,
    python: Option<PythonVersion>,
) -> Result<TaskClass, ApiError> {
    let asked =
        RuntimeRequest { runtime: Some(Runtime::Sandbox), python, hint: PythonHint::UNKNOWN };
    let default = app.config.default_class;
    let served = timing.time(Phase::Store, app.served.get(&app.store)).await?;
    if let Ok(class) = asked.select(default, &served) {
        return Ok(class);
    }
    // A worker that serves it may have come within the last second.
    let served = timing.time(Phase::Store, app.served.read(&app.store)).await?;
    asked.select(default, &served).map_err(ApiError::invalid)
}

async fn make(
    app: &App,
    timing: &RequestTiming,
    caller: &Caller,
    new: NewSession<'_>,
) -> Result<Option<SessionId>, ApiError> {
    let view = app.store_of(caller);
    let made = timing.time(Phase::Store, view.make_session(new)).await;
    let id = made.map_err(|error| caller.told(error))?;
    timing.set_wrote();
    Ok(id)
}

async fn shown(
    app: &App,
    timing: &RequestTiming,
    caller: &Caller,
    (id, ignored): (SessionId, Vec<String>),
) -> Result<Response, ApiError> {
    timing.set_session(id);
    let found = timing.time(Phase::Store, app.store.of(caller.tenant()).session(id)).await?;
    reply::json(&item(found.ok_or(ApiError::UnknownSession(id))?, ignored))
}

fn item(record: SessionRecord, ignored: Vec<String>) -> SessionItem {
    SessionItem {
        session_id: record.id,
        name: record.spec.name,
        runtime: record.spec.class.runtime.to_string(),
        python: record.spec.class.python,
        limits: record.spec.limits.into(),
        ttl_s: record.ttl.as_secs(),
        created_at: rfc3339(record.created_at),
        expires_at: record.expires_at.map(rfc3339),
        active_task: record.active,
        waiting_tasks: record.waiting,
        ended_tasks: record.calls,
        stored_bytes: record.bytes,
        ignored,
    }
}

/// Where a page ended, by its cursor.
fn position(cursor: &str) -> Option<(Reverse<u64>, SessionId)> {
    let (created, id) = cursor.split_once('.')?;
    let created = created.bytes().all(|byte| byte.is_ascii_digit()).then_some(created)?;
    Some((Reverse(created.parse().ok()?), id.parse().ok()?))
}
