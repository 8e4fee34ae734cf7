//! Submitting calls: one, or a batch of which all are accepted or none.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use belljar_core::id::TaskId;
use belljar_core::task::{CodeHash, TaskClass, TaskSpec};
use belljar_store::StoreError;
use belljar_store::record::{FunctionRecord, Idempotency, NewTask};
use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use crate::app::App;
use crate::body::{Input, offload};
use crate::error::ApiError;
use crate::extract::Query;
use crate::known::pythons;
use crate::reply;
use crate::routes::call::{Options, Sent, read_batch, read_one};
use crate::routes::functions::timeout_ms;
use crate::routes::look::{look, until_end};
use crate::routes::placement::unserved;
use crate::routes::results::{FinishedReply, fresh_ends, result_reply};
use crate::timing::{Notes, Phase, Scope};
use crate::validate::Problem;
use crate::waiters::WaitGuard;

#[derive(Serialize)]
struct Submitted {
    task_id: TaskId,
}

#[derive(Serialize)]
struct SubmittedBatch {
    task_ids: Vec<TaskId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<FinishedReply>>,
}

/// `POST /execute_function`, with `?wait=S` answered as `GET /result/{task_id}?wait=S` would be.
pub(crate) async fn execute(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
    query: Query,
    input: Input,
) -> Result<Response, ApiError> {
    let wait = query.wait()?;
    let bytes = input.bytes.clone();
    let sent = offload(input.bytes.len(), move || read_one(&bytes)).await?;
    let has_key = sent.options.key.is_some();
    let (ids, guard) = submit(&app, &notes, Sent { wait, ..sent }, Form::One).await?;
    let task_id = ids.first().copied();
    let task_id = task_id.ok_or(ApiError::Internal("the store gave no id".into()))?;
    let found = match guard {
        None => return reply::json(&Submitted { task_id }),
        // Submitted before, it may have ended long ago.
        Some(_) if has_key => look(&app, &notes, task_id, wait).await,
        Some(guard) => until_end(&app, &notes, &guard, task_id, Instant::now() + wait).await,
    };
    match found {
        Ok(found) => result_reply(task_id, found).await,
        // It is accepted: an error now would say that it is not.
        Err(_) => reply::json(&Submitted { task_id }),
    }
}

/// `POST /v1/tasks`
pub(crate) async fn batch(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
    input: Input,
) -> Result<Response, ApiError> {
    let bytes = input.bytes.clone();
    let sent = offload(input.bytes.len(), move || read_batch(&bytes)).await?;
    let wait = sent.wait;
    let (task_ids, guard) = submit(&app, &notes, sent, Form::Batch).await?;
    let results = match &guard {
        // The tasks are accepted: an error now would say that they are not.
        Some(guard) => {
            let ends = fresh_ends(&app, &notes, &task_ids, guard, wait).await;
            Some(ends.unwrap_or_default())
        }
        None => None,
    };
    let size = 32 + task_ids.len() * 39;
    reply::json_with_room(&SubmittedBatch { task_ids, results }, size)
}

/// How many tasks a submission may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    One,
    Batch,
}

/// Submits, and where the client waits registers it for the ends beforehand, so that none is missed.
async fn submit<'a>(
    app: &'a App,
    notes: &Notes,
    sent: Sent,
    form: Form,
) -> Result<(Vec<TaskId>, Option<WaitGuard<'a>>), ApiError> {
    let function = app.function(sent.function_id, notes).await?;
    let args = sent.args?;
    let spec = narrow(app, notes, &function, &sent.options).await?;
    if args.is_empty() {
        return Ok((Vec::new(), None));
    }
    let delay_ms = sent.options.delay_ms;
    let mut keyed = sent
        .options
        .key
        .as_deref()
        .map(|key| Keyed::of(key, &sent.options, &function, form, &args));
    let task = |(index, args): (usize, Bytes)| NewTask {
        id: keyed.as_ref().map_or_else(TaskId::random, |keyed| keyed.id(index)),
        spec: spec.clone(),
        idempotency: keyed.as_mut().and_then(|keyed| keyed.first.take()),
        args,
        delay_ms,
    };
    let tasks: Vec<_> = args.into_iter().enumerate().map(task).collect();
    let ids = || tasks.iter().map(|task| task.id).collect();
    let guard = (!sent.wait.is_zero()).then(|| app.hub.waiters.register(ids())).transpose()?;
    fail::fail_point!("before_enqueue");
    let submitted = notes.time(Phase::Store, app.store.submit(tasks)).await;
    fail::fail_point!("enqueued");
    let task_ids = submitted.map_err(|error| match (error, sent.options.key) {
        (StoreError::IdempotencyConflict { task_id, .. }, Some(key)) => {
            ApiError::IdempotencyConflict { key, task_id }
        }
        (error, _) => error.into(),
    })?;
    Ok((task_ids, guard))
}

/// A submission under a key. The ids of its tasks follow from everything that was asked, so that asking
/// again gives the same ids, which the store passes over; it keeps the key of the first task only, to
/// tell when something else is asked under it. A key for each task would cost as much as the task.
struct Keyed {
    first: Option<Idempotency>,
    hash: CodeHash,
}

impl Keyed {
    fn of(
        key: &str,
        options: &Options,
        function: &FunctionRecord,
        form: Form,
        args: &[Bytes],
    ) -> Self {
        let Options { runtime, timeout_s, key: _, priority, delay_ms } = options;
        let lengths: Vec<_> = args.iter().map(Bytes::len).collect();
        let asked = format!(
            "{} {form:?} {lengths:?} {runtime:?} {timeout_s:?} {priority} {delay_ms}\n",
            function.id
        );
        let parts = std::iter::once(asked.as_bytes()).chain(args.iter().map(|args| &args[..]));
        let body = CodeHash::of(&parts.collect::<Vec<_>>().concat());
        // A unit separator: no key of a single task is like that of a batch by accident.
        let key = match form {
            Form::One => key.to_owned(),
            Form::Batch => format!("{key}\u{1f}"),
        };
        let hash = CodeHash::of(&[body.as_bytes(), key.as_bytes()].concat());
        Self { first: Some(Idempotency { key, body }), hash }
    }

    /// The id of the task at `index`.
    fn id(&self, index: usize) -> TaskId {
        TaskId::derived(&[&self.hash.as_bytes()[..], &index.to_le_bytes()].concat())
    }
}

/// What the task may do: as the function was registered, or less.
async fn narrow(
    app: &App,
    notes: &Notes,
    function: &FunctionRecord,
    options: &Options,
) -> Result<TaskSpec, ApiError> {
    let mut problems = Vec::new();
    let mut limits = function.limits;
    if let Some(seconds) = options.timeout_s {
        let whose = "the function was registered with";
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
        let mut served = notes.time(Phase::Store, app.served.get(&app.store)).await?;
        if !served.contains(&TaskClass { runtime, python }) {
            // Somebody who serves it may have come within the last second.
            served = notes.time(Phase::Store, app.served.look(&app.store)).await?;
        }
        let offered = pythons(&served, runtime);
        if !served.is_empty() && !offered.contains(&python) {
            problems.push(unserved(runtime, &format!("Python {python}"), &offered));
        }
    }
    if !problems.is_empty() {
        return Err(ApiError::Invalid(problems));
    }
    Ok(TaskSpec {
        function_id: function.id,
        code: function.code,
        class: TaskClass { runtime, python: function.class.python },
        limits,
        priority: options.priority,
        grants: function.grants.clone(),
    })
}
