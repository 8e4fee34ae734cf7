//! What people read: the front page, the description of the API, and its page.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::ApiError;
use crate::metrics::VERSION;
use crate::routes::TEXT;
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
/// JSON; a page for clients that prefer text/html.
#[utoipa::path(get, path = "/", tag = "Operation", responses((status = 200, body = Welcome)))]
pub(crate) async fn home(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let accepts = headers.get_all(header::ACCEPT).iter();
    let mut response = if accepts.filter_map(|value| value.to_str().ok()).any(prefers_html) {
        html(pages::HOME)
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

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "Operation",
    responses((status = 200, body = Object, content_type = "application/json")))]
pub(crate) async fn openapi() -> Response {
    reply::of("application/json", TEXT.as_str())
}

/// This document as a page
#[utoipa::path(get, path = "/docs", tag = "Operation",
    responses((status = 200, body = String, content_type = "text/html")))]
pub(crate) async fn docs() -> Response {
    html(pages::DOCS)
}

fn html(page: &'static str) -> Response {
    let mut response = reply::of("text/html; charset=utf-8", page);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(pages::POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
