//! The routes, one file for each family.

mod call;
mod cancel;
mod events;
mod functions;
mod health;
mod lists;
mod look;
mod pages;
mod placement;
mod results;
mod submit;
mod tasks;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::routing::{MethodRouter, get, post};

use crate::app::App;
use crate::error::ApiError;
use crate::timing::Scope;

/// Every route: its path and what is done there.
pub(crate) fn table() -> Vec<(&'static str, MethodRouter<Arc<App>>)> {
    vec![
        ("/register_function", post(functions::register)),
        ("/execute_function", post(submit::execute)),
        ("/status/{task_id}", get(results::status)),
        ("/result/{task_id}", get(results::result)),
        ("/v1/tasks", get(lists::tasks).post(submit::batch)),
        ("/v1/results", post(results::results)),
        ("/v1/tasks/{task_id}", get(tasks::task)),
        ("/v1/tasks/{task_id}/cancel", post(cancel::cancel)),
        ("/v1/functions", get(lists::functions)),
        ("/v1/functions/{function_id}", get(lists::function)),
        ("/v1/workers", get(lists::workers)),
        ("/v1/events", get(events::events)),
        ("/v1/audit", get(health::audit)),
        ("/healthz", get(health::healthz)),
        ("/readyz", get(health::readyz)),
        ("/metrics", get(health::metrics)),
        ("/openapi.json", get(pages::openapi)),
        ("/docs", get(pages::docs)),
    ]
}

/// The routes with and without a trailing slash: never by redirect, which clients answer by
/// repeating a POST as a GET.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new().route("/", get(pages::home));
    for (path, methods) in table() {
        router = router.route(path, methods.clone()).route(&format!("{path}/"), methods);
    }
    router.fallback(unknown).method_not_allowed_fallback(not_allowed).with_state(app)
}

async fn unknown(_: Scope, request: Request) -> ApiError {
    ApiError::UnknownRoute(shown(request.uri().path()))
}

async fn not_allowed(_: Scope, request: Request) -> ApiError {
    let (method, path) = (request.method().as_str(), request.uri().path());
    ApiError::Method { method: shown(method), path: shown(path) }
}

/// As much of a client's text as an error repeats.
fn shown(text: &str) -> String {
    text.chars().take(128).collect()
}
