//! Whether the service lives, is ready, and what it has counted.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use belljar_core::task::TaskClass;
use belljar_metrics::CONTENT_TYPE;
use belljar_store::record::{Audit, Counts, WorkerRecord};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::ApiError;
use crate::metrics::VERSION;
use crate::reply;
use crate::schema::Unavailable;
use crate::service_metrics::ServiceFigures;
use crate::timing::{Phase, RequestTiming};

/// How long the bucket may take: who asks has little time.
const BUCKET_TIMEOUT: Duration = Duration::from_millis(500);

/// The gateway lives.
#[derive(Serialize, ToSchema)]
struct Health {
    status: &'static str,
    version: &'static str,
}

/// The gateway takes submissions.
#[derive(Default, Serialize, ToSchema)]
struct Readiness {
    status: &'static str,
    store: &'static str,
    /// Why tasks wait in the queue, or some are refused; absent where nothing is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Hindrance>,
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

/// Why tasks wait, or are refused.
#[derive(Serialize, ToSchema)]
struct Hindrance {
    /// `no_dispatcher`, or `no_worker` for each class; `bucket_unreachable`.
    code: &'static str,
    /// What is missing, and the way out.
    detail: String,
}

impl Hindrance {
    /// That the bucket for large values is away, if it is.
    async fn of_bucket(app: &App) -> Option<Self> {
        let checked = tokio::time::timeout(BUCKET_TIMEOUT, app.store.check_blobs()).await;
        if matches!(checked, Ok(Ok(()))) {
            return None;
        }
        if let Ok(Err(error)) = checked {
            tracing::debug!(%error, "asked for readiness");
        }
        let detail = "the bucket for large values does not answer or refuses: large arguments and uploads are refused, and large values \
                      cannot be read; everything else goes on"
            .to_owned();
        Some(Self { code: "bucket_unreachable", detail })
    }

    /// Everything that is missing; classes are named where anybody may know them.
    fn all(served: &[TaskClass], workers: &[WorkerRecord], names_classes: bool) -> Vec<Self> {
        if served.is_empty() {
            let detail = "no dispatcher is alive: start one with `belljar dispatcher`".to_owned();
            return vec![Self { code: "no_dispatcher", detail }];
        }
        let runs = |class: &TaskClass| workers.iter().any(|worker| worker.classes.contains(class));
        let missing: Vec<_> = served.iter().filter(|class| !runs(class)).collect();
        let hint = "start one with `belljar worker`";
        let details: Vec<_> = match names_classes {
            true => {
                missing.iter().map(|class| format!("no worker runs `{class}`: {hint}")).collect()
            }
            false if missing.is_empty() => Vec::new(),
            false => vec![format!("no worker runs one of the classes: {hint}")],
        };
        details.into_iter().map(|detail| Self { code: "no_worker", detail }).collect()
    }
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

/// The gateway takes submissions
///
/// It does while the store takes writes: tasks that nobody can run yet wait in the queue, and `problems` says why. It also says when the
/// bucket for large values is away.
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
    if app.config.audit_log.as_ref().is_some_and(|log| !log.is_ready()) {
        return Err(ApiError::AuditUnwritable);
    }
    timing.time(Phase::Store, app.store.probe_writes()).await.map_err(ApiError::NotWritable)?;
    timing.set_wrote();
    let work =
        Box::pin(async { tokio::try_join!(app.store.served_classes(), app.store.workers()) });
    let (classes, workers) = timing.time(Phase::Store, work).await?;
    let is_public = app.keys.is_none();
    let mut problems = Hindrance::all(&classes, &workers, is_public);
    problems.extend(Hindrance::of_bucket(&app).await);
    let ready = Readiness { status: "ready", store: "ok", problems, ..Readiness::default() };
    // Everybody may ask: how much others have running is not for everybody.
    if !is_public {
        return reply::json(&ready);
    }
    reply::json(&Readiness {
        classes: Some(classes.iter().map(ToString::to_string).collect()),
        workers: Some(workers.len()),
        slots: Some(workers.iter().map(|worker| worker.slots).sum()),
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

/// Metrics of this gateway, for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "Operation",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"))
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let is_store_up = app.store.ping().await.is_ok();
    let (waiters, streams) = (app.notifier.waiters.len(), app.events.streams());
    let text = app.metrics.text(waiters, streams, is_store_up, app.store.traffic());
    reply::of(CONTENT_TYPE, text)
}

/// Metrics of the whole service, for Prometheus
///
/// They are the same at each gateway: scrape them at one address.
#[utoipa::path(
    get, path = "/metrics/service", tag = "Operation",
    responses(
        (status = 200, body = String, content_type = "application/openmetrics-text"),
        Unavailable
    )
)]
pub(crate) async fn service_metrics(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
) -> Result<Response, ApiError> {
    let figures = timing.time(Phase::Store, ServiceFigures::read(&app.store)).await?;
    Ok(reply::of(CONTENT_TYPE, figures.text()))
}
