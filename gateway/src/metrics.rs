//! What the gateway counts, in the text form that Prometheus reads.

use std::time::Duration;

use belljar_metrics::{Histograms, StoreMetrics, set};
use belljar_store::Traffic;
use http::Method;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: MethodLabel,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct MethodLabel(Method);

impl EncodeLabelValue for MethodLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        // A client may invent methods; the set of labels must stay small.
        let known = [Method::GET, Method::POST, Method::HEAD, Method::PUT, Method::DELETE];
        let text = if known.contains(&self.0) { self.0.as_str() } else { "other" };
        EncodeLabelValue::encode(&text, encoder)
    }
}

/// The metrics of one gateway.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Histograms<1>,
    /// Open connections.
    pub(crate) connections: Gauge,
    /// Connections accepted since the start.
    pub(crate) accepted: Counter,
    waiters: Gauge,
    streams: Gauge,
    store_up: Gauge,
    store: StoreMetrics,
}

impl Metrics {
    /// All metrics at zero.
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            latency: belljar_metrics::durations(),
            connections: Gauge::default(),
            accepted: Counter::default(),
            waiters: Gauge::default(),
            streams: Gauge::default(),
            store_up: Gauge::default(),
            store: StoreMetrics::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let of = belljar_metrics::part(&mut self.registry, "gateway", VERSION);
        of.register("requests", "Requests answered", self.requests.clone());
        let latency = self.latency.clone();
        of.register_with_unit("request_duration", "Time to answer", Unit::Seconds, latency);
        of.register("connections", "Open connections", self.connections.clone());
        of.register("connections_accepted", "Connections accepted", self.accepted.clone());
        of.register("waiters", "Tasks that long polls wait for", self.waiters.clone());
        of.register("event_streams", "Open event streams", self.streams.clone());
        of.register("store_up", "Whether the store answered this scrape", self.store_up.clone());
        self.store.register(of);
    }

    /// Counts one answered request.
    pub(crate) fn answered(&self, route: &str, method: &Method, code: u16, took: Duration) {
        let (route, method) = (route.to_owned(), MethodLabel(method.clone()));
        self.latency.get_or_create(&[("route", route.clone())]).observe(took.as_secs_f64());
        self.requests.get_or_create(&RequestLabels { route, method, code }).inc();
    }

    /// The text for Prometheus.
    pub(crate) fn text(
        &self,
        waiters: usize,
        streams: usize,
        is_store_up: bool,
        traffic: Traffic,
    ) -> String {
        set(&self.waiters, waiters as u64);
        set(&self.streams, streams as u64);
        self.store_up.set(is_store_up.into());
        self.store.set(traffic.requests, traffic.failures, traffic.microseconds);
        belljar_metrics::text(&self.registry)
    }
}

/// The version of this build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_method_and_code() {
        let metrics = Metrics::new();
        let took = Duration::from_micros(300);
        metrics.answered("/status/{task_id}", &Method::GET, 200, took);
        metrics.answered("/status/{task_id}", &Method::GET, 200, took);
        let text = metrics.text(3, 0, false, Traffic::default());
        let line = r#"belljar_gateway_requests_total{route="/status/{task_id}",method="GET",code="200"} 2"#;
        assert!(text.contains(line), "{text}");
        assert!(text.contains("belljar_gateway_waiters 3"), "{text}");
        assert!(text.contains("belljar_gateway_store_up 0"), "{text}");
    }
}
