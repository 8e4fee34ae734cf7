//! Sends spans to the collector.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter as OtlpExporter, WithExportConfig as _,
    WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanProcessor as _};

use crate::TraceConfig;
use crate::client::Client;

/// What OTLP puts behind the URL of a collector.
const PATH: &str = "/v1/traces";
/// How many spans wait; further ones are dropped.
const MAX_QUEUED: usize = 8192;
/// After how long they are sent, unless there are many before.
const DELAY: Duration = Duration::from_secs(1);

/// The URL of a collector that takes OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

/// A text that is no URL of a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it reads http://HOST:PORT or https://HOST:PORT; 4318 is the usual port")]
pub struct InvalidEndpoint;

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let uri: Uri = text.parse().map_err(|_| InvalidEndpoint)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        // What is secret goes into a header: this one is logged.
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if !is_http || has_user || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
            return Err(InvalidEndpoint);
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Endpoint {
    /// Where spans go.
    fn spans(&self) -> String {
        let base = self.0.strip_suffix(PATH).unwrap_or(&self.0);
        format!("{base}{PATH}")
    }
}

/// Why a process cannot export.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// There are no means to send.
    #[error("spans cannot be sent")]
    Client(#[from] io::Error),
    /// The SDK refuses what it is told.
    #[error("spans cannot be exported as the variables `OTEL_*` say")]
    Exporter(#[from] ExporterBuildError),
}

/// What collects spans and sends them, from a thread of its own.
pub(crate) fn processor(config: &TraceConfig) -> Result<BatchSpanProcessor, TracesError> {
    let spans = config.endpoint.spans();
    let exporter = OtlpExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(Client::new(spans.starts_with("https:"))?)
        .with_endpoint(spans)
        .build()?;
    let batches =
        BatchConfigBuilder::default().with_max_queue_size(MAX_QUEUED).with_scheduled_delay(DELAY);
    let mut processor =
        BatchSpanProcessor::builder(exporter).with_batch_config(batches.build()).build();
    processor.set_resource(&resource(config));
    Ok(processor)
}

/// Who exports. What `OTEL_RESOURCE_ATTRIBUTES` says comes along.
fn resource(config: &TraceConfig) -> Resource {
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_attributes([
            KeyValue::new("service.name", config.service),
            KeyValue::new("service.version", config.version),
            KeyValue::new("host.name", config.host.clone()),
            KeyValue::new("process.pid", i64::from(std::process::id())),
        ])
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_otlp_is_put_behind_the_url() {
        for (given, spans) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("https://c.example/otlp/", "https://c.example/otlp/v1/traces"),
            ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(given.parse::<Endpoint>().expect("valid").spans(), spans);
        }
        for wrong in [
            "",
            "localhost:4318",
            "grpc://c:4317",
            "http://",
            "http://c?x=1",
            "http://u:p@c:4318",
            "/v1/traces",
        ] {
            assert_eq!(wrong.parse::<Endpoint>(), Err(InvalidEndpoint), "{wrong}");
        }
    }
}
