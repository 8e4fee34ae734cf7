//! What people read: the dashboard, the first steps, the description of the API, and its page.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Uri, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::ApiError;
use crate::metrics::VERSION;
use crate::problem::shown;
use crate::routes::TEXT;
use crate::schema::UnknownPath;
use crate::{pages, reply};

/// What this is.
#[derive(Serialize, ToSchema)]
struct Welcome {
    message: &'static str,
    version: &'static str,
    docs: &'static str,
    python: String,
}

/// What this is
///
/// JSON; the dashboard for clients that prefer text/html.
#[utoipa::path(get, path = "/", tag = "Operation", responses((status = 200, body = Welcome)))]
pub(crate) async fn home(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let accepts = headers.get_all(header::ACCEPT).iter();
    let mut response = if accepts.filter_map(|value| value.to_str().ok()).any(prefers_html) {
        html(pages::DASHBOARD, &uri)
    } else {
        reply::json(&Welcome {
            message: "belljar runs Python functions, natively or in a sandbox",
            version: VERSION,
            docs: "/docs",
            python: app.config.default_class.python.to_string(),
        })?
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

fn prefers_html(accept: &str) -> bool {
    let position = |kind| accept.find(kind).unwrap_or(usize::MAX);
    position("text/html") < position("application/json")
}

/// First steps as a page
#[utoipa::path(get, path = "/start", tag = "Operation",
    responses((status = 200, body = String, content_type = "text/html")))]
pub(crate) async fn start(uri: Uri) -> Response {
    html(pages::START, &uri)
}

/// Part of a page
#[utoipa::path(get, path = "/assets/{file}", tag = "Operation", operation_id = "page_file",
    params(("file" = String, Path)),
    responses((status = 200, body = String, content_type = "text/javascript"), UnknownPath))]
pub(crate) async fn file(Path(name): Path<String>) -> Result<Response, ApiError> {
    let (kind, bytes) = pages::file(&name)
        .ok_or_else(|| ApiError::UnknownRoute(shown(&format!("/assets/{name}"))))?;
    let mut response = reply::of(kind, bytes);
    // It belongs to this version of the page: one of the next version must not run with it.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "Operation",
    responses((status = 200, body = Object, content_type = "application/json")))]
pub(crate) async fn openapi(State(app): State<Arc<App>>) -> Response {
    match &app.config.public_url {
        None => reply::of("application/json", TEXT.as_str()),
        Some(url) => {
            let servers = format!(r#""servers":[{{"url":"{}"}}]"#, url.text());
            reply::of("application/json", TEXT.replacen(r#""servers":[{"url":"/"}]"#, &servers, 1))
        }
    }
}

/// This document as a page
#[utoipa::path(get, path = "/docs", tag = "Operation",
    responses((status = 200, body = String, content_type = "text/html")))]
pub(crate) async fn docs(uri: Uri) -> Response {
    html(pages::DOCS, &uri)
}

/// Files are named from the place of the page, as the service may be reached under a path of another server.
fn html(page: &'static str, uri: &Uri) -> Response {
    let is_below = uri.path().len() > 1 && uri.path().ends_with('/');
    let page = if is_below { page.replace("\"assets/", "\"../assets/") } else { page.to_owned() };
    let mut response = reply::of("text/html; charset=utf-8", page);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(pages::POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
