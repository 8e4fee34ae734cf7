//! What a page that watches a service asks for: what ended lately, and what waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use belljar_core::task::TaskClass;
use belljar_store::record::Timestamp;
use futures_util::future::try_join_all;
use serde::Serialize;
use utoipa::ToSchema;

use crate::activity::Recent;
use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::extract::Query;
use crate::reply::{self, rfc3339};
use crate::routes::task_item::{TaskItem, task_item};
use crate::schema::{Invalid, Unavailable};
use crate::timing::{Phase, RequestTiming};

/// What ended lately.
#[derive(Serialize, ToSchema)]
#[schema(as = Activity)]
struct ActivityView {
    /// Since when this gateway counts ends: since the first such request, or the first after a pause of 15 s.
    #[schema(format = DateTime)]
    since: String,
    ended: EndedView,
    /// `after` of the next request: it brings what ended since this one.
    next: String,
    /// Ended tasks, the last one to end at the end. All, or a sample where more than 128 end between two requests.
    items: Vec<TaskItem>,
}

/// How many tasks ended since then.
#[derive(Serialize, ToSchema)]
#[schema(as = EndCounts)]
struct EndedView {
    completed: u64,
    failed: u64,
    cancelled: u64,
}

/// The queue of a class, and who serves it.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = Queue)]
struct QueueItem {
    /// A runtime and a Python.
    #[schema(example = "native:3.11")]
    class: String,
    /// Tasks that wait for a slot, of all tenants.
    queued: u64,
    /// Since when the task waits that waits longest.
    #[schema(format = DateTime)]
    oldest_at: Option<String>,
    /// Connected workers that serve the class.
    workers: u32,
    /// Their slots; a worker may serve several classes.
    slots: u32,
    /// Those that are busy.
    busy: u32,
}

/// Every queue.
#[derive(Serialize, ToSchema)]
struct Queues {
    items: Vec<QueueItem>,
}

/// What ended lately
///
/// For pages that ask again and again: all ends are counted, and a sample of them is listed. The first request lists those
/// among the newest tasks that have ended.
#[utoipa::path(
    get, path = "/v1/activity", tag = "Lists",
    params(("after" = Option<String>, Query, description = "`next` of the answer before.")),
    responses((status = 200, body = ActivityView), Invalid, Unavailable)
)]
pub(crate) async fn activity(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    query: Query,
) -> Result<Response, ApiError> {
    let after = match query.get("after") {
        None | Some("") => (Timestamp::default(), 0),
        Some(text) => position(text).ok_or_else(|| Query::invalid_cursor("after", text))?,
    };
    let tenant = caller.tenant();
    let recent = app.notifier.activity.since(tenant, app.store.of(tenant), after);
    let Recent { begun_at, counts, next, tasks } = timing.time(Phase::Store, recent).await?;
    let size = 512 * (1 + tasks.len());
    let view = ActivityView {
        since: rfc3339(begun_at),
        ended: EndedView {
            completed: counts.completed,
            failed: counts.failed,
            cancelled: counts.cancelled,
        },
        next: format!("{}.{next}", begun_at.0),
        items: tasks.into_iter().map(task_item).collect(),
    };
    reply::json_with_room(&view, size)
}

fn position(cursor: &str) -> Option<(Timestamp, u64)> {
    let (begun, next) = cursor.split_once('.')?;
    Some((Timestamp(begun.parse().ok()?), next.parse().ok()?))
}

/// What waits in each class
#[utoipa::path(
    get, path = "/v1/queues", tag = "Operation", operation_id = "list_queues",
    responses((status = 200, body = Queues), Unavailable)
)]
pub(crate) async fn queues(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
) -> Result<Response, ApiError> {
    let work = Box::pin(async { tokio::try_join!(app.store.queue_lengths(), app.store.workers()) });
    let (lengths, workers) = timing.time(Phase::Store, work).await?;
    let mut queues: BTreeMap<TaskClass, QueueItem> = BTreeMap::new();
    for worker in workers {
        for class in worker.classes {
            let queue = queues.entry(class).or_default();
            queue.workers += 1;
            queue.slots += worker.slots;
            queue.busy += worker.busy.min(worker.slots);
        }
    }
    let lengths = lengths.into_iter().filter(|length| length.queued > 0).map(async |length| {
        let oldest = app.store.oldest_queued(length.class).await?;
        Ok::<_, ApiError>((length, oldest))
    });
    for (length, oldest) in timing.time(Phase::Store, try_join_all(lengths)).await? {
        let queue = queues.entry(length.class).or_default();
        queue.queued = length.queued;
        queue.oldest_at = oldest.map(rfc3339);
    }
    let items =
        queues.into_iter().map(|(class, queue)| QueueItem { class: class.to_string(), ..queue });
    reply::json(&Queues { items: items.collect() })
}
