//! Sessions: calls that go on where the one before has ended.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use belljar_core::id::SessionId;
use belljar_core::task::{PythonVersion, Runtime, TaskClass};
use belljar_pickle::PythonHint;
use belljar_store::record::SessionSpec;
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
use crate::reply;
use crate::routes::functions::{AskedLimits, Widest};
use crate::routes::lists::{PageView, is_number};
use crate::routes::runtime_selection::RuntimeRequest;
use crate::routes::session_item::{SessionItem, session_item};
use crate::schema::{Invalid, QueueFull, Unavailable, UnknownId};
use crate::timing::{Phase, RequestTiming};
use crate::values::{Count, Seconds, Text};

/// The longest name of a session, in bytes.
const MAX_NAME: usize = 1_024;
/// How long a session is kept after its last call, unless it says, and at most: an hour and thirty days.
const DEFAULT_TTL_S: u32 = 3_600;
const MAX_TTL_S: u32 = 2_592_000;

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
    caller.require_runtime(Runtime::Sandbox)?;
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
///
/// A page may have fewer than `limit` though `next` leads to more: so many that have expired are looked at for one.
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
    let (cursor, limit) = query.page(is_number)?;
    let view = app.store.of(caller.tenant());
    let page = timing.time(Phase::Store, view.sessions(cursor, limit)).await?;
    let page = PageView::of(page, |record| session_item(record, Vec::new()));
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
    reply::json(&session_item(found.ok_or(ApiError::UnknownSession(id))?, ignored))
}
