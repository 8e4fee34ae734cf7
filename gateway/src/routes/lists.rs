//! Lists of tasks, functions and workers, newest first, page by page.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use belljar_core::grants::GrantRequest;
use belljar_core::id::{DispatcherId, FunctionId, TaskId, WorkerId};
use belljar_core::task::{Priority, PythonVersion, Runtime, TaskStatus};
use belljar_store::record::{FunctionRecord, Page, TaskFilter, TaskSummary, WorkerRecord};
use serde::Serialize;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{InPath, Query};
use crate::reply::{self, rfc3339};
use crate::routes::tasks::LimitsView;
use crate::timing::{Phase, Scope};
use crate::validate::Problem;

#[derive(Serialize)]
struct PageView<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl<T> PageView<T> {
    fn of<R>(page: Page<R>, view: impl FnMut(R) -> T) -> Self {
        Self { items: page.items.into_iter().map(view).collect(), next: page.next }
    }
}

#[derive(Serialize)]
struct TaskItem {
    task_id: TaskId,
    function_id: FunctionId,
    status: TaskStatus,
    runtime: Runtime,
    python: PythonVersion,
    priority: Priority,
    accepted_at: String,
}

#[derive(Serialize)]
struct FunctionItem {
    function_id: FunctionId,
    name: String,
    description: String,
    runtime: Runtime,
    python: PythonVersion,
    limits: LimitsView,
    #[serde(skip_serializing_if = "Option::is_none")]
    grants: Option<Box<GrantRequest>>,
    code_hash: String,
    code_bytes: u64,
    registered_at: String,
}

#[derive(Serialize)]
struct WorkerItem {
    worker_id: WorkerId,
    dispatcher: DispatcherId,
    mode: String,
    host: String,
    pid: u32,
    slots: u32,
    busy: u32,
    classes: Vec<String>,
    since: String,
}

/// `GET /v1/tasks`
pub(crate) async fn tasks(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
    query: Query,
) -> Result<Response, ApiError> {
    let filter = TaskFilter {
        status: query.parsed("status", "enum")?,
        function_id: query.parsed("function_id", "uuid_parsing")?,
    };
    let (cursor, limit) = query.page()?;
    let page = notes.time(Phase::Store, app.store.tasks(filter, cursor, limit)).await?;
    reply::json_with_room(&PageView::of(page, task_item), 4_096)
}

/// `GET /v1/functions`
pub(crate) async fn functions(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
    query: Query,
) -> Result<Response, ApiError> {
    let (cursor, limit) = query.page()?;
    let page = notes.time(Phase::Store, app.store.functions(cursor, limit)).await?;
    reply::json_with_room(&PageView::of(page, function_item), 4_096)
}

/// `GET /v1/functions/{function_id}`
pub(crate) async fn function(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
    InPath(id): InPath<FunctionId>,
) -> Result<Response, ApiError> {
    let record = app.function(id, &notes).await?;
    reply::json(&function_item(record.as_ref().clone()))
}

/// `GET /v1/workers`
pub(crate) async fn workers(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
    query: Query,
) -> Result<Response, ApiError> {
    let (cursor, limit) = query.page()?;
    let after = cursor.map(position).transpose()?;
    let mut workers = notes.time(Phase::Store, app.store.workers()).await?;
    workers.sort_by_key(newest_first);
    let rest =
        workers.into_iter().filter(|worker| after.is_none_or(|at| newest_first(worker) > at));
    let mut items: Vec<_> = rest.take(limit + 1).collect();
    let is_cut = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| is_cut).map(|last| format!("{}.{}", last.since.0, last.id));
    reply::json_with_room(&PageView::of(Page { items, next }, worker_item), 4_096)
}

const fn newest_first(worker: &WorkerRecord) -> (u64, WorkerId) {
    (u64::MAX - worker.since.0, worker.id)
}

/// Where a page of workers ended.
fn position(cursor: &str) -> Result<(u64, WorkerId), ApiError> {
    let parsed = cursor
        .split_once('.')
        .and_then(|(since, id)| Some((u64::MAX - since.parse::<u64>().ok()?, id.parse().ok()?)));
    parsed.ok_or_else(|| {
        let msg = "Input should be the `next` of the page before, as it was given";
        ApiError::invalid(Problem::part("value_error", ["query", "cursor"], msg))
    })
}

fn task_item(task: TaskSummary) -> TaskItem {
    TaskItem {
        task_id: task.id,
        function_id: task.function_id,
        status: task.status,
        runtime: task.class.runtime,
        python: task.class.python,
        priority: task.priority,
        accepted_at: rfc3339(task.accepted_at),
    }
}

fn function_item(function: FunctionRecord) -> FunctionItem {
    FunctionItem {
        function_id: function.id,
        name: function.name,
        description: function.description,
        runtime: function.class.runtime,
        python: function.class.python,
        limits: function.limits.into(),
        grants: function.grants,
        code_hash: function.code.to_string(),
        code_bytes: function.code_bytes,
        registered_at: rfc3339(function.registered_at),
    }
}

fn worker_item(worker: WorkerRecord) -> WorkerItem {
    WorkerItem {
        worker_id: worker.id,
        dispatcher: worker.dispatcher,
        mode: worker.mode,
        host: worker.host,
        pid: worker.pid,
        slots: worker.slots,
        busy: worker.busy,
        classes: worker.classes.iter().map(ToString::to_string).collect(),
        since: rfc3339(worker.since),
    }
}
