//! Submitting calls: one, or a batch of which all are accepted or none.

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use belljar_core::api_key::Scope;
use belljar_core::id::{SessionId, TaskId};
use belljar_core::task::{TaskClass, TaskSpec};
use belljar_store::StoreError;
use belljar_store::record::{FunctionRecord, NewTask};
use serde::Serialize;
use tokio::task::JoinError;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::app::App;
use crate::body::{INLINE_BYTES, RequestBytes, offload, on_a_thread};
use crate::cache::pythons;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::extract::Query;
use crate::media::{Accepted, BodyForm};
use crate::problem::Problem;
use crate::refusal::Refusal;
use crate::reply;
use crate::routes::answer::{Answer, ResultReply, many_results, one_result};
use crate::routes::batch_results::fresh_ends;
use crate::routes::call_query::CallQuery;
use crate::routes::functions::timeout_ms;
use crate::routes::new_tasks::{Form, IdempotentBatch, new_tasks};
use crate::routes::referred::place_or_find;
use crate::routes::results::WaitQuery;
use crate::routes::runtime_selection::{unmet_labels, unserved};
use crate::routes::session_call;
use crate::routes::submit_request::{
    Arguments, Batch, Execute, Options, SubmitRequest, read_bare, read_batch, read_one,
};
use crate::routes::wait::{Asker, until_end, wait_for};
use crate::schema::{BadPayload, Conflict, Invalid, QueueFull, TooLarge, Unavailable, UnknownId};
use crate::share::{LARGE, Turn};
use crate::timing::{Phase, RequestTiming};
use crate::traces::Traced;
use crate::waiters::WaitGuard;

/// A call that is accepted.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Submitted {
    #[schema(value_type = uuid::Uuid)]
    task_id: TaskId,
    /// Fields of the request that are not known here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    ignored: Vec<String>,
}

/// The answer to a submission: with `wait` a result.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes that there are two answers")]
enum ExecuteReply {
    Accepted(Submitted),
    Waited(ResultReply),
}

/// Calls that are accepted.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written part by part")]
struct SubmittedBatch {
    /// In the order of the payloads.
    #[schema(value_type = Vec<uuid::Uuid>)]
    task_ids: Vec<TaskId>,
    /// Tasks that ended within `wait`; absent without it.
    results: Option<Vec<ResultReply>>,
    /// Fields of the request that are not known here.
    #[schema(required = false)]
    ignored: Vec<String>,
}

/// Submit one call
///
/// Once this answers 200 the call ends in exactly one of COMPLETED, FAILED or CANCELLED. With `wait` the
/// answer is that of the result route: it comes the moment the task ends, or after so many seconds.
///
/// A body of `application/msgpack` has the same fields, with bytes where JSON has base64. A body of
/// `application/octet-stream` is the pickled pair `((args...), {kwargs})` alone; the fields stand in the query then.
#[utoipa::path(
    post, path = "/execute_function", tag = "Classic",
    params(WaitQuery, CallQuery),
    request_body(content(
        (Execute = "application/json", example = json!({
            "function_id": "0f8fad5b-d9cb-469f-a165-70867728950e", "payload": "gASVCQAAAAAAAABLAoWUfZSGlC4=\n"
        })),
        (Execute = "application/msgpack"),
        (Vec<u8> = "application/octet-stream")
    )),
    responses(
        (status = 200, content(
            (ExecuteReply = "application/json"), (ExecuteReply = "application/msgpack"),
            (Vec<u8> = "application/octet-stream")
        )),
        BadPayload, UnknownId, Conflict, TooLarge, Invalid, QueueFull, Unavailable
    )
)]
pub(crate) async fn execute_function(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    (accepted, query, Traced): (Accepted, Query, Traced),
    body: RequestBytes,
) -> Result<Response, ApiError> {
    let wait = query.wait()?;
    require_read(&caller, wait)?;
    let RequestBytes { bytes, form, idempotency_key, room } = body;
    let size = bytes.len();
    let read = move || match form {
        BodyForm::Pickle => read_bare(&query, bytes, idempotency_key.as_ref()),
        form => read_one((form, &bytes), idempotency_key.as_ref()),
    };
    let mut request = offload(size, read).await?;
    let (has_key, ignored) = (request.options.key.is_some(), std::mem::take(&mut request.ignored));
    let (ids, guard) =
        submit(&app, &timing, &caller, SubmitRequest { wait, ..request }, (Form::One, None))
            .await?;
    drop(room);
    let task_id = ids.first().copied();
    let task_id = task_id.ok_or(ApiError::Internal("the store gave no id".into()))?;
    let asker = Asker::new(&app, &timing, &caller);
    let found = match guard {
        None => return reply::in_form(accepted, &Submitted { task_id, ignored }),
        // Submitted before, it may have ended long ago.
        Some(_) if has_key => wait_for(asker, task_id, wait).await,
        Some(guard) => until_end(asker, &guard, task_id, Instant::now() + wait).await,
    };
    match found {
        Ok(found) => one_result(&app, accepted, task_id, (found, ignored)).await,
        // It is accepted: an error now would say that it is not.
        Err(_) => reply::in_form(accepted, &Submitted { task_id, ignored }),
    }
}

/// Submit many calls
///
/// All are accepted or none; an error names the index of the payload. The ids come in the order of the
/// payloads.
#[utoipa::path(
    post, path = "/v1/tasks", tag = "Tasks",
    request_body(content(
        (Batch = "application/json", example = json!({
            "function_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
            "payloads": ["gASVCQAAAAAAAABLAoWUfZSGlC4=\n"]
        })),
        (Batch = "application/msgpack")
    )),
    responses(
        (status = 200, content(
            (SubmittedBatch = "application/json"), (SubmittedBatch = "application/msgpack")
        )),
        BadPayload, UnknownId, Conflict, TooLarge, Invalid, QueueFull, Unavailable
    )
)]
pub(crate) async fn submit_batch(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    (accepted, Traced): (Accepted, Traced),
    body: RequestBytes,
) -> Result<Response, ApiError> {
    let RequestBytes { bytes, form, idempotency_key, room } = body;
    let size = bytes.len();
    // Of large bodies too a tenant has one read at a time: threads take the processors from others.
    let turn = if size > INLINE_BYTES { caller.turn(LARGE).await } else { None };
    let read = move || read_batch((form, &bytes), idempotency_key.as_ref());
    let mut request = offload(size, read).await?;
    let (wait, ignored) = (request.wait, std::mem::take(&mut request.ignored));
    require_read(&caller, wait)?;
    let (task_ids, guard) = submit(&app, &timing, &caller, request, (Form::Batch, turn)).await?;
    drop(room);
    let results = match &guard {
        None => None,
        Some(guard) => {
            let asker = Asker::new(&app, &timing, &caller);
            // The tasks are accepted: an error now would say that they are not.
            Some(fresh_ends(asker, &task_ids, guard, wait).await.unwrap_or_default())
        }
    };
    let task_ids = Some(task_ids);
    many_results(&app, accepted, Answer { task_ids, results, ignored }).await
}

/// An answer with a result is for those who may read.
fn require_read(caller: &Caller, wait: Duration) -> Result<(), Refusal> {
    if wait.is_zero() { Ok(()) } else { caller.require(Scope::Read) }
}

/// Submits, and where the client waits registers it for the ends beforehand, so that none is missed.
async fn submit<'a>(
    app: &'a Arc<App>,
    timing: &RequestTiming,
    caller: &Caller,
    request: SubmitRequest,
    (form, turn): (Form, Turn),
) -> Result<(Vec<TaskId>, Option<WaitGuard<'a>>), ApiError> {
    timing.set_function(request.function_id);
    let function = app.function(request.function_id, caller, timing).await?;
    let mut args = request.args?;
    let mut spec = narrow(app, timing, &function, &request.options).await?;
    caller.require_runtime(spec.class.runtime)?;
    if request.options.session.is_some() {
        let call = (&mut spec, &args, &request.options);
        Box::pin(session_call::join(app, timing, caller, call)).await?;
    }
    if let Some(policy) = caller.policy() {
        policy.check_call(&spec)?;
        spec.limits.max_result_mb = policy.max_result_mb();
        args.payloads.iter().try_for_each(|args| policy.check_payload(args.len()))?;
    }
    if args.payloads.is_empty() {
        return Ok((Vec::new(), None));
    }
    let (mut holds, mut asked) = (Vec::new(), None);
    if !args.referring.is_empty() {
        // What is asked is what is referred to, whatever that is by now.
        asked = as_asked(&request.options, &function, form, &args);
        // In a box: other calls carry none of its state.
        let store = app.store_of(caller);
        let placed = Box::pin(place_or_find(&store, spec.class.runtime, &mut args, asked.as_ref()));
        match (timing.time(Phase::Store, placed).await?, asked.as_ref()) {
            (None, Some(known)) => {
                return known_before(app, caller, (known, args.payloads.len()), request.wait);
            }
            (placed, _) => holds = placed.unwrap_or_default(),
        }
    }
    let args = args.payloads;
    let turn = match turn {
        None => caller.turn(args.len()).await,
        turn => turn,
    };
    let (wait, options, is_large) = (request.wait, request.options, args.len() >= LARGE);
    let (key, session) = (options.key.clone(), options.session);
    let make = move || Ok(new_tasks(&function, &spec, &options, (form, asked), args));
    let mut tasks = if is_large { on_a_thread(make).await } else { make() }?;
    let trace = timing.sampled().map(|sampled| &sampled.context);
    if let Some(trace) = trace {
        tasks.iter_mut().for_each(|task| task.trace = Some(Box::new(trace.clone())));
    }
    let ids = || tasks.iter().map(|task| task.id).collect();
    let guard = (!wait.is_zero()).then(|| app.wait_for(caller, ids())).transpose()?;
    if !holds.is_empty() {
        let holds = holds.into_iter().map(|(index, held)| (tasks[index].id, held)).collect();
        timing.time(Phase::Store, app.store.hold(holds)).await?;
    }
    fail::fail_point!("before_enqueue");
    let submitted = timing.time(Phase::Store, store(app, caller, tasks, turn)).await;
    fail::fail_point!("enqueued");
    let task_ids = submitted.map_err(|error| refused(error, caller, (key, session)))?;
    note_accepted(timing, &task_ids);
    Ok((task_ids, guard))
}

/// Notes for logs and metrics what was accepted.
fn note_accepted(timing: &RequestTiming, task_ids: &[TaskId]) {
    timing.set_wrote();
    task_ids.first().iter().for_each(|first| timing.set_tasks(**first, task_ids.len()));
    let trace_id =
        timing.sampled().map(|sampled| tracing::field::display(sampled.context.trace_id));
    for task_id in task_ids {
        tracing::debug!(request_id = timing.request_id(), %task_id, trace_id, "accepted");
    }
}

/// The identity of a submission under a key whose arguments refer to values.
fn as_asked(
    options: &Options,
    function: &FunctionRecord,
    form: Form,
    args: &Arguments,
) -> Option<IdempotentBatch> {
    let files = args.files().envelope_head(0);
    let payloads = args.payloads.iter().map(|payload| &payload[..]);
    IdempotentBatch::of(options, function, form, payloads.chain([&files[..]]))
}

/// The answer to a submission that was accepted before.
fn known_before<'a>(
    app: &'a Arc<App>,
    caller: &Caller,
    (known, count): (&IdempotentBatch, usize),
    wait: Duration,
) -> Result<(Vec<TaskId>, Option<WaitGuard<'a>>), ApiError> {
    let ids: Vec<_> = (0..count).map(|index| known.id(index)).collect();
    let guard = (!wait.is_zero()).then(|| app.wait_for(caller, ids.clone())).transpose()?;
    Ok((ids, guard))
}

/// Why a submission under this key, to this session, was not accepted.
fn refused(
    error: StoreError,
    caller: &Caller,
    (key, session): (Option<String>, Option<SessionId>),
) -> ApiError {
    match (error, key) {
        (StoreError::IdempotencyConflict { task_id, .. }, Some(key)) => {
            ApiError::IdempotencyConflict { key, task_id }
        }
        (error @ StoreError::UnknownSession, _) => {
            session.map_or_else(|| error.into(), ApiError::UnknownSession)
        }
        (error, _) => caller.told(error),
    }
}

/// Puts tasks into the store. Where they take a turn they go there also if the client leaves: nobody floods the store with what it
/// does not wait for.
async fn store(
    app: &Arc<App>,
    caller: &Caller,
    tasks: Vec<NewTask>,
    turn: Turn,
) -> Result<Vec<TaskId>, StoreError> {
    if turn.is_none() {
        let _place = caller.place_in_store().await;
        return app.store_of(caller).submit(tasks).await;
    }
    let (app, caller) = (Arc::clone(app), caller.clone());
    let submitting = tokio::spawn(async move {
        let _turn = turn;
        app.store_of(&caller).submit(tasks).await
    });
    match submitting.await.map_err(JoinError::try_into_panic) {
        Ok(answer) => answer,
        Err(Ok(panic)) => resume_unwind(panic),
        // It ends with the runtime only.
        Err(Err(_)) => pending().await,
    }
}

/// What the task may do: as the function was registered, or less.
async fn narrow(
    app: &App,
    timing: &RequestTiming,
    function: &FunctionRecord,
    options: &Options,
) -> Result<TaskSpec, ApiError> {
    let mut problems = Vec::new();
    let mut limits = function.limits;
    if let Some(seconds) = options.timeout_s {
        let whose = "the function allows";
        if let Some(ms) = timeout_ms(seconds, limits.timeout_ms, whose, &mut problems) {
            limits.timeout_ms = ms;
        }
    }
    let registered = function.class.runtime;
    let runtime = options.runtime.unwrap_or(registered);
    if !registered.may_narrow_to(runtime) {
        let msg = format!(
            "Input should be `{registered}`, as the function was registered: a call may be more \
             isolated than its function, never less. Register the function again for `{runtime}`"
        );
        problems.push(Problem::body("runtime_widened", "runtime", msg));
    } else if runtime != registered {
        let python = function.class.python;
        let mut served = timing.time(Phase::Store, app.served.get(&app.store)).await?;
        if !pythons(&served, runtime).contains(&python) {
            // A worker that serves it may have come within the last second.
            served = timing.time(Phase::Store, app.served.read(&app.store)).await?;
        }
        let offered = pythons(&served, runtime);
        if !served.is_empty() && !offered.contains(&python) {
            problems.push(unserved(runtime, &format!("Python {python}"), &offered));
        }
    }
    if runtime != registered && function.packages.is_some() {
        let msg = format!(
            "the packages of the function were chosen for `{registered}`: register it for `{runtime}` with its requirements"
        );
        problems.push(Problem::body("packages_differ", "runtime", msg));
    }
    let class = TaskClass { runtime, ..function.class };
    if !class.labels.is_empty() {
        problems.extend(labels_problem(app, timing, class, "function_id").await?);
    }
    if !problems.is_empty() {
        return Err(ApiError::Invalid(problems));
    }
    Ok(TaskSpec {
        function_id: function.id,
        code: function.code,
        class,
        limits,
        priority: options.priority,
        grants: function.grants.clone(),
        packages: function.packages.clone(),
        warm: function.warm,
    })
}

/// What is wrong with the labels that tasks of this class ask for, if some dispatcher is there to say which workers there are.
pub(super) async fn labels_problem(
    app: &App,
    timing: &RequestTiming,
    class: TaskClass,
    field: &'static str,
) -> Result<Option<Problem>, ApiError> {
    let live = timing.time(Phase::Store, app.live.get(&app.store)).await?;
    if unmet_labels(class, &live, field).is_none() {
        return Ok(None);
    }
    if timing.time(Phase::Store, app.served.get(&app.store)).await?.is_empty() {
        return Ok(None);
    }
    // A worker that has them may have come within the last second.
    let live = timing.time(Phase::Store, app.live.read(&app.store)).await?;
    Ok(unmet_labels(class, &live, field))
}
