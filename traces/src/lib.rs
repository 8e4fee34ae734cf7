//! Spans of gateway, dispatcher and worker, and their way to an OpenTelemetry collector: OTLP over HTTP.
//!
//! Which tasks are traced is decided once, by the gateway; the others know it from the task. Spans are handed over when they
//! have ended, with their times: most parts know these anyway. A process that does not export has no [`Traces`].
//!
//! # Layout
//!
//! * here: what a process exports, and which submissions are sampled.
//! * [`span`]: a span that has ended.
//! * `export`: sends spans to the collector. `client`: the HTTP for it.

mod client;
mod export;
pub mod span;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use belljar_core::trace::{SpanId, TraceContext, TraceId};
use http::HeaderMap;
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TraceState;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, IdGenerator as _, RandomIdGenerator, SpanProcessor as _,
};

pub use export::{Endpoint, InvalidEndpoint, TracesError};
pub use span::{Attribute, Kind, Span};

/// How long the spans that are left may take on their way, when a process ends.
const FAREWELL: Duration = Duration::from_secs(2);
/// The header that names the span which a request belongs to.
const TRACEPARENT: &str = "traceparent";
/// The header in which other systems pass something on.
const TRACESTATE: &str = "tracestate";
/// The longest state that is passed on; the standard asks for as much.
const MAX_STATE_BYTES: usize = 512;

/// Which submissions are sampled. A client that sends a `traceparent` has decided: the flag there counts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Sampling {
    /// Those whose client says so.
    #[default]
    Parent,
    /// Of those that come without a `traceparent` this part too, from 0 to 1.
    Ratio(f64),
}

impl FromStr for Sampling {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "parent" {
            return Ok(Self::Parent);
        }
        let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.map(Self::Ratio).ok_or("it is `parent` or a number from 0 to 1")
    }
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parent => f.write_str("parent"),
            Self::Ratio(ratio) => ratio.fmt(f),
        }
    }
}

/// What a process exports, and where to.
#[derive(Debug, Clone)]
pub struct TraceConfig {
    /// The collector.
    pub endpoint: Endpoint,
    /// Which submissions are sampled; a gateway asks.
    pub sampling: Sampling,
    /// The name of the service, such as `belljar-gateway`.
    pub service: &'static str,
    /// The version of belljar.
    pub version: &'static str,
    /// The name of this machine.
    pub host: String,
}

/// Exports the spans of a process; a cheap clone.
#[derive(Debug, Clone)]
pub struct Traces(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sampling: Sampling,
    scope: InstrumentationScope,
    processor: BatchSpanProcessor,
}

/// A sampled submission: the span of its request, which the tasks belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampled {
    /// The span of the request.
    pub context: TraceContext,
    /// The client's span, if there is one.
    pub parent: Option<SpanId>,
}

impl Traces {
    /// Begins to export. The collector need not be there yet.
    ///
    /// # Errors
    /// The variables `OTEL_*` of the environment do not fit, or the system has no more descriptors.
    pub fn start(config: &TraceConfig) -> Result<Self, TracesError> {
        let version = config.version;
        let scope = InstrumentationScope::builder("belljar").with_version(version).build();
        let processor = export::processor(config)?;
        Ok(Self(Arc::new(Inner { sampling: config.sampling, scope, processor })))
    }

    /// Whether a submission with these headers is sampled.
    #[must_use]
    pub fn sample(&self, headers: &HeaderMap) -> Option<Sampled> {
        let ids = RandomIdGenerator::default();
        let new_span = || SpanId(ids.new_span_id().to_bytes());
        let Some((parent, is_sampled)) = parent(headers) else {
            let Sampling::Ratio(ratio) = self.0.sampling else { return None };
            let trace_id = TraceId(ids.new_trace_id().to_bytes());
            return is_within(ratio, trace_id).then(|| Sampled {
                context: TraceContext { trace_id, span_id: new_span(), state: String::new() },
                parent: None,
            });
        };
        is_sampled.then(|| Sampled {
            parent: Some(parent.span_id),
            context: TraceContext { span_id: new_span(), ..parent },
        })
    }

    /// Takes a span that has ended. Never waits: where the collector is slow or away, spans are dropped.
    pub fn export(&self, span: Span<'_>) {
        self.0.processor.on_end(span.into_data(self.0.scope.clone()));
    }

    /// Sends what is left, as far as the collector takes it in time. Blocks.
    pub fn close(&self) {
        // Who listens has been told that the collector is away.
        let _ = self.0.processor.shutdown_with_timeout(FAREWELL);
    }
}

/// The client's span, and whether it is sampled; `None` where the header is missing or malformed.
fn parent(headers: &HeaderMap) -> Option<(TraceContext, bool)> {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let (context, is_sampled) = TraceContext::parse(given.next()?.as_bytes())?;
    if given.next().is_some() {
        return None;
    }
    let state: Vec<_> = headers.get_all(TRACESTATE).iter().map(|one| one.to_str()).collect();
    let state = state.into_iter().collect::<Result<Vec<_>, _>>().unwrap_or_default().join(",");
    let is_valid = state.len() <= MAX_STATE_BYTES && TraceState::from_str(&state).is_ok();
    let state = if is_valid { state } else { String::new() };
    Some((TraceContext { state, ..context }, is_sampled))
}

/// Whether a trace is among this part of all: decided by its id, as OpenTelemetry does, so that all who ask for the same
/// part take the same.
fn is_within(ratio: f64, TraceId([.., a, b, c, d, e, f, g, h]): TraceId) -> bool {
    let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
    (number as f64) < ratio * (1u64 << 63) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

    fn traces(sampling: &str) -> Traces {
        let config = TraceConfig {
            endpoint: "http://127.0.0.1:1".parse().expect("a URL"),
            sampling: sampling.parse().expect("a sampling"),
            service: "belljar-test",
            version: "1",
            host: "h".to_owned(),
        };
        Traces::start(&config).expect("started")
    }

    fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn the_client_decides_where_it_says_something() {
        let (yes, no) = (format!("{PARENT}-01"), format!("{PARENT}-00"));
        for sampling in ["parent", "0", "1"] {
            let traces = traces(sampling);
            let sampled = traces.sample(&headers(&[(TRACEPARENT, &yes), (TRACESTATE, "v=1")]));
            let Sampled { context, parent } = sampled.expect("sampled");
            assert_eq!(parent.expect("a parent").to_string(), "00f067aa0ba902b7");
            assert_eq!(context.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_ne!(Some(context.span_id), parent);
            assert_eq!(context.state, "v=1");
            assert_eq!(traces.sample(&headers(&[(TRACEPARENT, &no)])), None, "{sampling}");
        }
    }

    #[test]
    fn without_a_client_the_ratio_decides() {
        let none = HeaderMap::new();
        for (sampling, least, most) in
            [("parent", 0, 0), ("0", 0, 0), ("0.5", 400, 600), ("1", 1000, 1000)]
        {
            let traces = traces(sampling);
            let sampled = (0..1000).filter(|_| traces.sample(&none).is_some()).count();
            assert!((least..=most).contains(&sampled), "{sampling}: {sampled}");
        }
    }

    #[test]
    fn a_malformed_header_is_as_none() {
        let (yes, long) = (format!("{PARENT}-01"), format!("v={}", "x".repeat(MAX_STATE_BYTES)));
        let traces = traces("parent");
        for wrong in
            [&[(TRACEPARENT, "00-1-2-01")][..], &[(TRACEPARENT, &yes), (TRACEPARENT, &yes)]]
        {
            assert_eq!(traces.sample(&headers(wrong)), None);
        }
        for state in ["no value", &long] {
            let sampled = traces.sample(&headers(&[(TRACEPARENT, &yes), (TRACESTATE, state)]));
            assert_eq!(sampled.expect("sampled").context.state, "", "{state}");
        }
    }

    #[test]
    fn a_sampling_is_a_word_or_a_ratio() {
        for text in ["parent", "0.01", "1"] {
            assert_eq!(text.parse::<Sampling>().expect("valid").to_string(), text);
        }
        for wrong in ["", "always", "1.1", "-0.1", "NaN", "1%"] {
            assert!(wrong.parse::<Sampling>().is_err(), "{wrong}");
        }
    }
}
