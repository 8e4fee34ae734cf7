//! What people read: the front page, the description of the API, and its page.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;

use crate::app::App;
use crate::error::ApiError;
use crate::metrics::VERSION;
use crate::timing::Scope;
use crate::{openapi, pages, reply};

#[derive(Serialize)]
struct Welcome {
    message: &'static str,
    version: &'static str,
    docs: &'static str,
    python: String,
}

/// `GET /`: a page for browsers, which ask for HTML by name; JSON for everybody else.
pub(crate) async fn home(
    State(app): State<Arc<App>>,
    _: Scope,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let accepts = headers.get_all(header::ACCEPT).iter();
    let mut response = if accepts.filter_map(|value| value.to_str().ok()).any(prefers_html) {
        html(pages::HOME)
    } else {
        reply::json(&Welcome {
            message: "belljar: functions of Python, run natively or in the sandbox",
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

/// `GET /openapi.json`
pub(crate) async fn openapi(_: Scope) -> Response {
    reply::of("application/json", openapi::TEXT)
}

/// `GET /docs`
pub(crate) async fn docs(_: Scope) -> Response {
    html(pages::DOCS)
}

fn html(page: &'static str) -> Response {
    let mut response = reply::of("text/html; charset=utf-8", page);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(pages::POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
