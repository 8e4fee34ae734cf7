//! A collector: takes spans by OTLP over HTTP and keeps them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use belljar_testkit::process::eventually;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{self, status::StatusCode as SpanStatus};
use prost::Message as _;

/// How long spans may take to arrive: they are sent once a second.
const ARRIVAL: Duration = Duration::from_secs(30);

/// A span, as tests look at it; ids are hexadecimal, and empty where there is none.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    /// The name of the service that sent it.
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    /// The spans that it is linked to.
    pub(crate) links: Vec<String>,
    pub(crate) state: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) times: (u64, u64),
    /// What went wrong.
    pub(crate) error: Option<String>,
}

/// A running collector.
pub(crate) struct Receiver {
    pub(crate) url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Receiver {
    /// Listens on a free port, until the test ends.
    pub(crate) fn start() -> Result<Self> {
        let spans = Arc::new(Mutex::new(Vec::new()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let app = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, app).await
            })
        });
        Ok(Self { url, spans })
    }

    /// All spans that have come.
    pub(crate) fn all(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The spans of a trace, once those with these names are among them.
    pub(crate) fn trace(&self, trace: &str, names: &[&str]) -> Result<Trace> {
        let mut found = Trace(Vec::new());
        let is_whole = eventually(ARRIVAL, || {
            found.0 = self.all().into_iter().filter(|span| span.trace == trace).collect();
            names.iter().all(|name| found.0.iter().any(|span| span.name == *name))
        });
        ensure!(is_whole, "{trace} has not {names:?}: {:#?}", found.0);
        Ok(found)
    }
}

/// The spans of one trace.
pub(crate) struct Trace(pub(crate) Vec<Span>);

impl Trace {
    /// The spans of this name, in the order of their starts.
    pub(crate) fn named(&self, name: &str) -> Vec<&Span> {
        let mut named: Vec<_> = self.0.iter().filter(|span| span.name == name).collect();
        named.sort_by_key(|span| span.times);
        named
    }

    /// The only span of this name.
    pub(crate) fn one(&self, name: &str) -> Result<&Span> {
        let named = self.named(name);
        ensure!(named.len() == 1, "{name}: {:#?}", self.0);
        named.first().copied().context("none")
    }
}

async fn take(State(spans): State<Arc<Mutex<Vec<Span>>>>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST;
    };
    let mut taken = spans.lock().unwrap_or_else(PoisonError::into_inner);
    for of_service in request.resource_spans {
        let resource = of_service.resource.unwrap_or_default();
        let service = attributes(resource.attributes).remove("service.name").unwrap_or_default();
        let spans = of_service.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
        taken.extend(spans.map(|span| read(span, service.clone())));
    }
    StatusCode::OK
}

fn read(span: v1::Span, service: String) -> Span {
    let links = span.links.iter().map(|link| hexadecimal(&link.span_id)).collect();
    let status = span.status.unwrap_or_default();
    Span {
        service,
        name: span.name,
        trace: hexadecimal(&span.trace_id),
        id: hexadecimal(&span.span_id),
        parent: hexadecimal(&span.parent_span_id),
        links,
        state: span.trace_state,
        attributes: attributes(span.attributes),
        times: (span.start_time_unix_nano, span.end_time_unix_nano),
        error: (status.code == SpanStatus::Error as i32).then_some(status.message),
    }
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = pairs.into_iter();
    pairs.map(|pair| (pair.key, text(pair.value.and_then(|value| value.value)))).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
