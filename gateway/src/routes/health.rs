//! Whether the service lives, is ready, and what it has counted.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use belljar_store::record::{Audit, Counts};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::ApiError;
use crate::metrics::VERSION;
use crate::reply;
use crate::schema::Unavailable;
use crate::timing::{Phase, RequestTiming};

/// The gateway lives.
#[derive(Serialize, ToSchema)]
struct Health {
    status: &'static str,
    version: &'static str,
}

/// The service takes calls and runs them.
#[derive(Default, Serialize, ToSchema)]
struct Readiness {
    status: &'static str,
    store: &'static str,
    /// What runs calls; like all below absent where keys are required.
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    busy: Option<u32>,
}

/// Accepted tasks by where they are.
#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
struct AuditView {
    /// Whether every accepted task is in exactly one place.
    consistent: bool,
    accepted: u64,
    queued: u64,
    delayed: u64,
    running: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    entries_queued: u64,
    entries_running: u64,
    entries_delayed: u64,
}

/// The gateway lives
#[utoipa::path(get, path = "/healthz", tag = "Operation", responses((status = 200, body = Health)))]
pub(crate) async fn healthz() -> Result<Response, ApiError> {
    reply::json(&Health { status: "ok", version: VERSION })
}

/// A function submitted now will run
#[utoipa::path(
    get, path = "/readyz", tag = "Operation",
    responses((status = 200, body = Readiness), Unavailable)
)]
pub(crate) async fn readyz(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
) -> Result<Response, ApiError> {
    if app.draining.is_cancelled() {
        return Err(ApiError::ShuttingDown);
    }
    let work = async { tokio::try_join!(app.store.served_classes(), app.store.workers()) };
    let (classes, workers) = timing.time(Phase::Store, work).await?;
    if classes.is_empty() {
        return Err(ApiError::NotReady(
            "no dispatcher is alive: start one with `belljar dispatcher`".to_owned(),
        ));
    }
    let slots = workers.iter().map(|worker| worker.slots).sum();
    if slots == 0 {
        return Err(ApiError::NotReady(
            "no worker is connected: start one with `belljar worker`".to_owned(),
        ));
    }
    let ready = Readiness { status: "ready", store: "ok", ..Readiness::default() };
    // Everybody may ask: how much others have running is not for everybody.
    if app.keys.is_some() {
        return reply::json(&ready);
    }
    reply::json(&Readiness {
        classes: Some(classes.iter().map(ToString::to_string).collect()),
        workers: Some(workers.len()),
        slots: Some(slots),
        busy: Some(workers.iter().map(|worker| worker.busy).sum()),
        ..ready
    })
}

/// Whether every accepted task is in exactly one place
#[utoipa::path(
    get, path = "/v1/audit", tag = "Operation",
    responses((status = 200, body = AuditView), Unavailable)
)]
pub(crate) async fn audit(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
) -> Result<Response, ApiError> {
    let audit = timing.time(Phase::Store, app.store.audit()).await?;
    let consistent = audit.is_consistent();
    let Audit { counts, entries_queued, entries_running, entries_delayed } = audit;
    let Counts { accepted, queued, delayed, running, completed, failed, cancelled } = counts;
    reply::json(&AuditView {
        consistent,
        accepted,
        queued,
        delayed,
        running,
        completed,
        failed,
        cancelled,
        entries_queued,
        entries_running,
        entries_delayed,
    })
}

/// Metrics for Prometheus
///
/// Without a store its part is left out.
#[utoipa::path(
    get, path = "/metrics", tag = "Operation",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"))
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let work = async { tokio::try_join!(app.store.audit(), app.store.queue_lengths()) };
    let store = work.await.ok();
    let text = app.metrics.text(app.notifier.waiters.len(), app.events.streams(), store);
    let text = text.map_err(|_| ApiError::Internal("cannot write the metrics".into()))?;
    Ok(reply::of("application/openmetrics-text; version=1.0.0; charset=utf-8", text))
}
