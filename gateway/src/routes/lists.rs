//! Lists of tasks, functions and workers, newest first, page by page.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use belljar_core::grants::GrantRequest;
use belljar_core::id::{DispatcherId, FunctionId, WorkerId};
use belljar_core::requirements::Wheel;
use belljar_core::task::{PythonVersion, Runtime};
use belljar_core::warm::WarmMode;
use belljar_store::record::{FunctionRecord, Page, TaskFilter, UnreadableRecord, WorkerRecord};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::body::offload;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::extract::{InPath, Query};
use crate::reply::{self, rfc3339};
use crate::routes::functions::GrantFields;
use crate::routes::task_item::{TaskItem, task_item};
use crate::routes::tasks::LimitsView;
use crate::schema::{Invalid, RuntimeName, Status, Unavailable, UnknownId, WarmName};
use crate::timing::{Phase, RequestTiming};

/// About how long an entry is.
const ITEM_BYTES: usize = 512;

/// A page of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = Page)]
pub(super) struct PageView<T> {
    items: Vec<T>,
    /// The cursor of the next page.
    next: Option<String>,
}

impl<T> PageView<T> {
    pub(super) fn of<R>(page: Page<R>, view: impl FnMut(R) -> T) -> Self {
        Self { items: page.items.into_iter().map(view).collect(), next: page.next }
    }
}

/// An entry of a list, or why its record cannot be read.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Row<T> {
    Readable(T),
    Unreadable(Unreadable),
}

/// A record that cannot be read: another version wrote it, or it was changed by hand.
#[derive(Serialize, ToSchema)]
struct Unreadable {
    /// The id of the task or function.
    #[schema(value_type = uuid::Uuid)]
    id: String,
    /// Why it cannot be read.
    unreadable: String,
}

impl<T> Row<T> {
    fn of<R>(row: Result<R, UnreadableRecord>, view: impl FnOnce(R) -> T) -> Self {
        match row {
            Ok(record) => Self::Readable(view(record)),
            Err(UnreadableRecord { id, why }) => {
                Self::Unreadable(Unreadable { id, unreadable: why })
            }
        }
    }
}

/// A registered function.
#[derive(Serialize, ToSchema)]
#[schema(as = Function)]
struct FunctionItem {
    #[schema(value_type = uuid::Uuid)]
    function_id: FunctionId,
    name: String,
    description: String,
    #[schema(value_type = RuntimeName)]
    runtime: Runtime,
    #[schema(value_type = String)]
    python: PythonVersion,
    limits: LimitsView,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<GrantFields>)]
    grants: Option<Box<GrantRequest>>,
    /// The packages that it asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    requirements: Vec<String>,
    /// The files that were chosen for these, each with its hash.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    packages: Vec<PackageItem>,
    /// Absent for `auto`.
    #[serde(skip_serializing_if = "WarmMode::is_auto")]
    #[schema(value_type = WarmName, required = false)]
    warm: WarmMode,
    /// BLAKE3 of the pickle.
    code_hash: String,
    code_bytes: u64,
    #[schema(format = DateTime)]
    registered_at: String,
    /// When it is forgotten; absent for one that is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A file of the package index.
#[derive(Serialize, ToSchema)]
#[schema(as = Package)]
struct PackageItem {
    file: String,
    sha256: String,
}

/// A connected worker.
#[derive(Serialize, ToSchema)]
#[schema(as = Worker)]
struct WorkerItem {
    #[schema(value_type = uuid::Uuid)]
    worker_id: WorkerId,
    #[schema(value_type = uuid::Uuid)]
    dispatcher: DispatcherId,
    /// `local`, `pull` or `push`.
    mode: String,
    host: String,
    pid: u32,
    /// Of belljar.
    version: String,
    /// Whether it takes no more tasks, and leaves.
    draining: bool,
    /// Tasks that it runs at once.
    slots: u32,
    /// Tasks that it runs now.
    busy: u32,
    /// Runtimes and Pythons that it serves.
    #[schema(example = json!(["native:3.11"]))]
    classes: Vec<String>,
    #[schema(format = DateTime)]
    since: String,
}

/// Tasks, newest first
///
/// Those among the newest 100,000. A page may have fewer than `limit`, even none, though `next` leads to more: so many are looked
/// at for one.
#[utoipa::path(
    get, path = "/v1/tasks", tag = "Lists", operation_id = "list_tasks",
    params(
        ("status" = Option<Status>, Query, description = "Only tasks with this status."),
        ("function_id" = Option<uuid::Uuid>, Query, description = "Only calls of this function."),
        ("runtime" = Option<RuntimeName>, Query, description = "Only tasks of this runtime."),
        ("worker" = Option<uuid::Uuid>, Query, description = "Only tasks that ended on this worker."),
        ("failure" = Option<String>, Query, description = "Only tasks that failed for this reason, a `kind` of `Failure`."),
        ("from" = Option<String>, Query, description = "Only tasks accepted at this time or later, as `2026-01-02T03:04:05Z`."),
        ("before" = Option<String>, Query, description = "Only tasks accepted before this time."),
        ("cursor" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 1000, description = "Default: 100."),
    ),
    responses((status = 200, body = PageView<Row<TaskItem>>), Invalid, Unavailable)
)]
pub(crate) async fn tasks(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    query: Query,
) -> Result<Response, ApiError> {
    let filter = TaskFilter {
        status: query.word("status")?,
        function_id: query.id("function_id")?,
        runtime: query.word("runtime")?,
        worker: query.id("worker")?,
        failure: query.word("failure")?,
        accepted_from: query.time("from")?,
        accepted_before: query.time("before")?,
    };
    let (cursor, limit) = query.page(is_number)?;
    let _turn = caller.turn(limit).await;
    let page = timing
        .time(Phase::Store, app.store.of(caller.tenant()).tasks(filter, cursor, limit))
        .await?;
    let write = || {
        let size = page.items.len() * ITEM_BYTES;
        reply::json_with_room(&PageView::of(page, |row| Row::of(row, task_item)), size + 64)
    };
    offload(limit * ITEM_BYTES, write).await
}

/// Functions, newest first
#[utoipa::path(
    get, path = "/v1/functions", tag = "Lists", operation_id = "list_functions",
    params(
        ("name" = Option<String>, Query, description = "Only functions of this name. A page may then have fewer than `limit`."),
        ("cursor" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 1000, description = "Default: 100."),
    ),
    responses((status = 200, body = PageView<Row<FunctionItem>>), Invalid, Unavailable)
)]
pub(crate) async fn functions(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    query: Query,
) -> Result<Response, ApiError> {
    let (cursor, limit) = query.page(is_number)?;
    let _turn = caller.turn(limit).await;
    let view = app.store.of(caller.tenant());
    let page = timing.time(Phase::Store, view.functions(query.get("name"), cursor, limit)).await?;
    let write =
        || reply::json_with_room(&PageView::of(page, |row| Row::of(row, function_item)), 4_096);
    offload(limit * ITEM_BYTES, write).await
}

/// One function
#[utoipa::path(
    get, path = "/v1/functions/{function_id}", tag = "Lists", operation_id = "get_function",
    params(("function_id" = uuid::Uuid, Path)),
    responses((status = 200, body = FunctionItem), UnknownId, Invalid, Unavailable)
)]
pub(crate) async fn function(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    InPath(id): InPath<FunctionId>,
) -> Result<Response, ApiError> {
    let record = app.function(id, &caller, &timing).await?;
    reply::json(&function_item(record.as_ref().clone()))
}

/// Workers, newest first
#[utoipa::path(
    get, path = "/v1/workers", tag = "Lists", operation_id = "list_workers",
    params(
        ("cursor" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 1000, description = "Default: 100."),
    ),
    responses((status = 200, body = PageView<WorkerItem>), Invalid, Unavailable)
)]
pub(crate) async fn workers(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    query: Query,
) -> Result<Response, ApiError> {
    let (cursor, limit) = query.page(|cursor| position(cursor).is_some())?;
    let after = cursor.and_then(position);
    let mut workers = timing.time(Phase::Store, app.store.workers()).await?;
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

/// Whether a cursor is the number that lists of tasks, functions and sessions give out.
pub(super) fn is_number(cursor: &str) -> bool {
    cursor.bytes().all(|byte| byte.is_ascii_digit()) && cursor.parse::<u64>().is_ok()
}

/// Where a page of workers ended, by its cursor.
fn position(cursor: &str) -> Option<(u64, WorkerId)> {
    let (since, id) = cursor.split_once('.').filter(|(since, _)| is_number(since))?;
    Some((u64::MAX - since.parse::<u64>().ok()?, id.parse().ok()?))
}

fn function_item(function: FunctionRecord) -> FunctionItem {
    FunctionItem {
        expires_at: function.expires_at().map(rfc3339),
        function_id: function.id,
        name: function.name,
        description: function.description,
        runtime: function.class.runtime,
        python: function.class.python,
        limits: function.limits.into(),
        grants: function.grants,
        requirements: function.requirements,
        packages: function
            .packages
            .iter()
            .flat_map(|lock| lock.wheels())
            .map(package_item)
            .collect(),
        warm: function.warm,
        code_hash: function.code.to_string(),
        code_bytes: function.code_bytes,
        registered_at: rfc3339(function.registered_at),
    }
}

fn package_item(wheel: &Wheel) -> PackageItem {
    PackageItem { file: wheel.file().to_owned(), sha256: wheel.sha256() }
}

fn worker_item(worker: WorkerRecord) -> WorkerItem {
    WorkerItem {
        worker_id: worker.id,
        dispatcher: worker.dispatcher,
        mode: worker.mode,
        host: worker.host,
        pid: worker.pid,
        version: worker.version,
        draining: worker.draining,
        slots: worker.slots,
        busy: worker.busy,
        classes: worker.classes.iter().map(ToString::to_string).collect(),
        since: rfc3339(worker.since),
    }
}
