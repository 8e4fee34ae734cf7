//! The options of every service about traces.

use belljar_traces::{Endpoint, Sampling, TraceConfig};
use clap::Args;

/// The variable by which OpenTelemetry names a collector to all programs of a machine.
const OTEL_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Whether and where spans are exported, and of which submissions.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TraceArgs {
    /// The OpenTelemetry collector that spans are sent to, by OTLP over HTTP, as http://HOST:PORT or https://HOST:PORT
    /// [default: what OTEL_EXPORTER_OTLP_ENDPOINT says, else nowhere].
    #[arg(long, env = "BELLJAR_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) otlp_endpoint: Option<Endpoint>,
    /// Which submissions are traced: `parent` takes those whose client sends a sampled `traceparent`, a number from 0 to 1
    /// also that part of those that come without one. The gateway decides.
    #[arg(long, env = "BELLJAR_TRACE_SAMPLE", value_name = "parent|RATIO", default_value_t = Sampling::Parent)]
    pub(crate) trace_sample: Sampling,
}

impl TraceArgs {
    /// What a service exports, if it does.
    pub(crate) fn config(
        &self,
        service: &'static str,
        host: String,
    ) -> Result<Option<TraceConfig>, String> {
        let endpoint = match (&self.otlp_endpoint, std::env::var(OTEL_ENDPOINT)) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Ok(text)) if !text.is_empty() => {
                text.parse().map_err(|why| format!("{OTEL_ENDPOINT} is `{text}`: {why}"))?
            }
            _ => return Ok(None),
        };
        let (sampling, version) = (self.trace_sample, env!("CARGO_PKG_VERSION"));
        Ok(Some(TraceConfig { endpoint, sampling, service, version, host }))
    }
}
