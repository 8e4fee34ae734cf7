//! A span that has ended.

use std::borrow::Cow;
use std::str::FromStr as _;
use std::time::SystemTime;

use belljar_core::trace::{SpanId, TraceContext};
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{
    Link, SpanContext, SpanId as OtelSpanId, Status, TraceFlags, TraceId as OtelTraceId, TraceState,
};
use opentelemetry_sdk::trace::{
    IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks,
};

pub use opentelemetry::KeyValue as Attribute;
pub use opentelemetry::trace::SpanKind as Kind;

/// A span that has ended.
#[derive(Debug, Clone)]
pub struct Span<'a> {
    /// The trace, and a span in it.
    pub trace: &'a TraceContext,
    /// Its id.
    pub id: SpanId,
    /// The span that it is a part of.
    pub parent: Option<SpanId>,
    /// What happened, in few different words.
    pub name: Cow<'static, str>,
    /// Its part in what goes on between processes.
    pub kind: Kind,
    /// From when to when.
    pub times: (SystemTime, SystemTime),
    /// What else is known.
    pub attributes: Vec<Attribute>,
    /// The span of the same trace that it follows, without being a part of it.
    pub follows: Option<SpanId>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

impl<'a> Span<'a> {
    /// A part of `parent` that nothing refers to, which belongs to `trace`.
    #[must_use]
    pub fn part(
        trace: &'a TraceContext,
        parent: SpanId,
        name: &'static str,
        times: (SystemTime, SystemTime),
    ) -> Self {
        let id = SpanId(RandomIdGenerator::default().new_span_id().to_bytes());
        let (parent, name, kind) = (Some(parent), Cow::Borrowed(name), Kind::Internal);
        let (attributes, follows, failure) = (Vec::new(), None, None);
        Self { trace, id, parent, name, kind, times, attributes, follows, failure }
    }

    pub(crate) fn into_data(self, instrumentation_scope: InstrumentationScope) -> SpanData {
        let state = TraceState::from_str(&self.trace.state).unwrap_or_default();
        let trace_id = OtelTraceId::from_bytes(self.trace.trace_id.0);
        let otel_id = |id: SpanId| OtelSpanId::from_bytes(id.0);
        let context =
            |id| SpanContext::new(trace_id, otel_id(id), TraceFlags::SAMPLED, false, state.clone());
        let mut links = SpanLinks::default();
        links.links.extend(self.follows.map(|id| Link::with_context(context(id))));
        // Clocks of two machines differ: none ends before it began.
        let (start_time, end_time) = (self.times.0, self.times.1.max(self.times.0));
        SpanData {
            span_context: context(self.id),
            parent_span_id: self.parent.map_or(OtelSpanId::INVALID, otel_id),
            parent_span_is_remote: matches!(self.kind, Kind::Server | Kind::Consumer),
            span_kind: self.kind,
            name: self.name,
            start_time,
            end_time,
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links,
            status: self.failure.map_or(Status::Unset, Status::error),
            instrumentation_scope,
        }
    }
}
