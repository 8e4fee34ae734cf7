//! The span of a request that submits calls, where it is sampled: all its tasks belong to it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::FromRequestParts;
use belljar_traces::{Attribute, Kind, Span};
use http::Method;
use http::request::Parts;

use crate::app::App;
use crate::timing::RequestTiming;

/// Extracted by the routes that submit calls: decides whether the request is sampled.
pub(crate) struct Traced;

impl FromRequestParts<Arc<App>> for Traced {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        if let Some(traces) = &app.config.traces
            && let Some(sampled) = traces.sample(&parts.headers)
            && let Some(timing) = parts.extensions.get::<Arc<RequestTiming>>()
        {
            timing.set_sampled(sampled);
        }
        Ok(Self)
    }
}

/// Exports the span of a request that was answered with `code` after so long, if it is sampled.
pub(crate) fn answered(
    app: &App,
    timing: &RequestTiming,
    (method, code): (&Method, u16),
    took: Duration,
) {
    let (Some(traces), Some(sampled)) = (&app.config.traces, timing.sampled()) else { return };
    let now = SystemTime::now();
    let mut attributes = vec![
        Attribute::new("http.request.method", method.to_string()),
        Attribute::new("http.route", timing.route().to_owned()),
        Attribute::new("http.response.status_code", i64::from(code)),
    ];
    let function =
        timing.function().map(|id| Attribute::new("belljar.function_id", id.to_string()));
    attributes.extend(function);
    if let Some((first, count)) = timing.tasks() {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        attributes.push(Attribute::new("belljar.tasks", count));
        attributes.push(Attribute::new("belljar.task_id", first.to_string()));
    }
    traces.export(Span {
        trace: &sampled.context,
        id: sampled.context.span_id,
        parent: sampled.parent,
        name: format!("{method} {}", timing.route()).into(),
        kind: Kind::Server,
        times: (now.checked_sub(took).unwrap_or(now), now),
        attributes,
        follows: None,
        // As OpenTelemetry wants it: what is the client's fault is no failure of the service.
        failure: (code >= 500).then(|| format!("answered with {code}")),
    });
}
