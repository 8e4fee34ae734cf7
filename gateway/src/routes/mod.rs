//! The routes, one file for each family.

mod activity;
mod answer;
mod batch_results;
mod blobs;
mod call_query;
mod cancel;
mod events;
mod files;
mod functions;
mod health;
mod lists;
mod new_tasks;
mod output;
mod pages;
mod referred;
mod requirements;
mod results;
mod runtime_selection;
mod session_call;
mod session_item;
mod sessions;
mod submit;
mod submit_request;
mod task_item;
mod tasks;
mod wait;
mod waiting;
mod workers;

use std::sync::{Arc, LazyLock};

use axum::extract::{MatchedPath, Request};
use axum::routing::MethodRouter;
use axum::{Extension, Router};
use belljar_core::api_key::Scope;
use tower::util::MapRequestLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::UtoipaMethodRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::error::ApiError;
use crate::guard::{Access, Guard};
use crate::openapi;
use crate::problem::shown;
use crate::timing::RequestTiming;

/// Every route: who may use it, what `/openapi.json` says of it, and its handlers.
fn table() -> Vec<(Access, UtoipaMethodRouter<Arc<App>>)> {
    const PUBLIC: Access = Access::Public;
    const SUBMIT: Access = Access::Key(Scope::Submit);
    const READ: Access = Access::Key(Scope::Read);
    const CANCEL: Access = Access::Key(Scope::Cancel);
    const REGISTER: Access = Access::Key(Scope::Register);
    const ADMIN: Access = Access::Key(Scope::Admin);
    vec![
        (PUBLIC, routes!(pages::home)),
        (PUBLIC, routes!(pages::start)),
        (PUBLIC, routes!(pages::file)),
        (REGISTER, routes!(functions::register_function)),
        (SUBMIT, routes!(submit::execute_function)),
        (READ, routes!(results::status)),
        (READ, routes!(results::result)),
        (READ, routes!(lists::tasks)),
        (SUBMIT, routes!(submit::submit_batch)),
        (READ, routes!(batch_results::results)),
        (READ, routes!(tasks::task)),
        (READ, routes!(output::output)),
        (READ, routes!(files::file)),
        (SUBMIT, routes!(blobs::upload)),
        (READ, routes!(blobs::blob)),
        (SUBMIT, routes!(blobs::remove_blob)),
        (SUBMIT, routes!(sessions::create)),
        (SUBMIT, routes!(sessions::fork)),
        (SUBMIT, routes!(sessions::remove)),
        (READ, routes!(sessions::sessions)),
        (READ, routes!(sessions::session)),
        (CANCEL, routes!(cancel::cancel)),
        (READ, routes!(lists::functions)),
        (READ, routes!(lists::function)),
        (REGISTER, routes!(functions::remove_function)),
        (ADMIN, routes!(lists::workers)),
        (ADMIN, routes!(workers::drain)),
        (READ, routes!(activity::activity)),
        (ADMIN, routes!(activity::queues)),
        (READ, routes!(events::events)),
        (ADMIN, routes!(health::audit)),
        (PUBLIC, routes!(health::healthz)),
        (PUBLIC, routes!(health::readyz)),
        (ADMIN, routes!(health::metrics)),
        (ADMIN, routes!(health::service_metrics)),
        (PUBLIC, routes!(pages::openapi)),
        (PUBLIC, routes!(pages::docs)),
    ]
}

/// The description of the routes.
static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(|| {
    openapi::document(
        table().into_iter().map(|(access, (schemas, paths, _))| (access, schemas, paths)),
    )
});

/// The text of `/openapi.json`.
static TEXT: LazyLock<String> = LazyLock::new(|| DOCUMENT.to_json().unwrap_or_default());

/// The routes with and without a trailing slash: never by redirect, which clients answer by
/// repeating a POST as a GET.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for (access, (_, paths, methods)) in table() {
        let methods = match access {
            Access::Key(scope) if app.is_guarded() || app.config.audit_log.is_some() => {
                methods.route_layer(Guard::new(Arc::clone(&app), scope))
            }
            Access::Key(_) | Access::Public => methods,
        };
        for path in paths.paths.keys() {
            router = add(router, path, methods.clone());
        }
    }
    router
        .method_not_allowed_fallback(not_allowed)
        .route_layer(MapRequestLayer::new(label))
        .fallback(unknown)
        .with_state(app)
}

fn add(router: Router<Arc<App>>, path: &str, methods: MethodRouter<Arc<App>>) -> Router<Arc<App>> {
    let router = router.route(path, methods.clone());
    if path == "/" { router } else { router.route(&format!("{path}/"), methods) }
}

/// Tells the metrics which route a request is for.
fn label(request: Request) -> Request {
    let parts = (request.extensions().get::<Arc<RequestTiming>>(), request.extensions().get());
    if let (Some(timing), Some(path)) = parts {
        timing.set_route(MatchedPath::clone(path));
    }
    request
}

async fn unknown(request: Request) -> ApiError {
    ApiError::UnknownRoute(shown(request.uri().path()))
}

async fn not_allowed(
    Extension(timing): Extension<Arc<RequestTiming>>,
    request: Request,
) -> ApiError {
    let methods = openapi::methods(&DOCUMENT, timing.route()).join(" or ");
    ApiError::Method { methods, path: shown(request.uri().path()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::Body;
    use axum::routing::get;
    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;
    use crate::metrics::VERSION;

    #[tokio::test]
    async fn a_handler_that_takes_nothing_has_its_label() {
        let router: Router = Router::new()
            .route("/x/{id}/", get(|| async {}))
            .route_layer(MapRequestLayer::new(label));
        let timing = Arc::new(RequestTiming::default());
        let mut request = Request::get("/x/1/").body(Body::empty()).expect("a request");
        request.extensions_mut().insert(Arc::clone(&timing));
        assert!(router.oneshot(request).await.is_ok_and(|reply| reply.status().is_success()));
        assert_eq!(timing.route(), "/x/{id}");
    }

    fn document() -> Value {
        serde_json::from_str(&TEXT).expect("JSON")
    }

    #[test]
    fn every_route_has_an_operation_id_of_its_own() {
        let document = document();
        assert_eq!(document["info"]["version"], VERSION);
        let mut ids = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                let id = operation["operationId"].as_str().expect("an operationId");
                assert!(ids.insert(id.to_owned()), "{method} {path}: {id} twice");
                assert!(operation["summary"].is_string() && operation["tags"].is_array(), "{path}");
            }
        }
        assert_eq!(ids.len(), 37);
        assert_eq!(openapi::methods(&DOCUMENT, "/v1/tasks"), ["GET", "POST"]);
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
