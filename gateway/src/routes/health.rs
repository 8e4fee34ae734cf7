//! Whether the service lives, is ready, and what it has counted.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use belljar_store::record::{Audit, Counts};
use serde::Serialize;

use crate::app::App;
use crate::error::ApiError;
use crate::metrics::VERSION;
use crate::reply;
use crate::timing::{Phase, Scope};

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    store: &'static str,
    classes: Vec<String>,
    workers: usize,
    slots: u32,
    busy: u32,
}

#[derive(Serialize)]
struct AuditView {
    consistent: bool,
    #[serde(flatten)]
    counts: Counts,
    entries_queued: u64,
    entries_running: u64,
    entries_delayed: u64,
}

/// `GET /healthz`: this process answers.
pub(crate) async fn healthz(_: Scope) -> Result<Response, ApiError> {
    reply::json(&Health { status: "ok", version: VERSION })
}

/// `GET /readyz`: a function submitted now will run.
pub(crate) async fn readyz(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
) -> Result<Response, ApiError> {
    if app.draining.is_cancelled() {
        return Err(ApiError::ShuttingDown);
    }
    let work = async { tokio::try_join!(app.store.served_classes(), app.store.workers()) };
    let (classes, workers) = notes.time(Phase::Store, work).await?;
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
    reply::json(&Readiness {
        status: "ready",
        store: "ok",
        classes: classes.iter().map(ToString::to_string).collect(),
        workers: workers.len(),
        slots,
        busy: workers.iter().map(|worker| worker.busy).sum(),
    })
}

/// `GET /v1/audit`: whether every accepted task is in exactly one place.
pub(crate) async fn audit(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
) -> Result<Response, ApiError> {
    let audit = notes.time(Phase::Store, app.store.audit()).await?;
    let consistent = audit.is_consistent();
    let Audit { counts, entries_queued, entries_running, entries_delayed } = audit;
    reply::json(&AuditView { consistent, counts, entries_queued, entries_running, entries_delayed })
}

/// `GET /metrics`: also without a store, whose part is then left out.
pub(crate) async fn metrics(State(app): State<Arc<App>>, _: Scope) -> Result<Response, ApiError> {
    let work = async { tokio::try_join!(app.store.audit(), app.store.queue_lengths()) };
    let store = work.await.ok();
    let text = app.metrics.text(app.hub.waiters.len(), app.feed.streams(), store);
    let text = text.map_err(|_| ApiError::Internal("cannot write the metrics".into()))?;
    Ok(reply::of("application/openmetrics-text; version=1.0.0; charset=utf-8", text))
}
