//! Taking workers out of service.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use belljar_core::id::WorkerId;
use belljar_store::record::WorkerRecord;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::InPath;
use crate::reply;
use crate::schema::{Invalid, NotRemote, Unavailable, UnknownWorker};
use crate::timing::{Phase, RequestTiming};

/// The mode of a worker that is a part of its dispatcher.
const LOCAL: &str = "local";

/// A worker that leaves.
#[derive(Serialize, ToSchema)]
struct DrainReply {
    #[schema(value_type = uuid::Uuid)]
    worker_id: WorkerId,
    /// Tasks that it still runs.
    busy: u32,
}

/// Take a worker out of service
///
/// It takes no more tasks, gives back those that wait for a slot, finishes those that run, and ends. `draining` of its entry in the
/// list of workers says that it does. What started it may start another one in its place.
#[utoipa::path(
    post, path = "/v1/workers/{worker_id}/drain", tag = "Operation", operation_id = "drain_worker",
    params(("worker_id" = uuid::Uuid, Path)),
    responses(
        (status = 202, body = DrainReply, description = "Its dispatcher tells it."),
        UnknownWorker, NotRemote, Invalid, Unavailable
    )
)]
pub(crate) async fn drain(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    InPath(worker_id): InPath<WorkerId>,
) -> Result<Response, ApiError> {
    let workers = timing.time(Phase::Store, app.store.workers()).await?;
    let worker = workers.into_iter().find(|worker| worker.id == worker_id);
    let WorkerRecord { mode, busy, .. } = worker.ok_or(ApiError::UnknownWorker(worker_id))?;
    if mode == LOCAL {
        return Err(ApiError::NotRemote(worker_id));
    }
    timing.time(Phase::Store, app.store.drain_worker(worker_id)).await?;
    Ok(reply::accepted(reply::json(&DrainReply { worker_id, busy })?))
}
