//! What the gateway counts, in the text form that Prometheus reads.

use std::time::Duration;

use belljar_store::record::{Audit, QueueLength};
use http::Method;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The upper ends of the latency buckets in seconds. Long polls reach into the last ones.
const BUCKETS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: MethodLabel,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabels {
    class: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

/// The metrics of one gateway.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Open connections.
    pub(crate) connections: Gauge,
    /// Connections accepted since the start.
    pub(crate) accepted: Counter,
    waiters: Gauge,
    streams: Gauge,
    store_up: Gauge,
    queued: Family<ClassLabels, Gauge>,
    tasks: Family<StateLabels, Gauge>,
}

impl Metrics {
    /// All metrics at zero.
    pub(crate) fn new() -> Self {
        let buckets: fn() -> Histogram = || Histogram::new(BUCKETS);
        let mut metrics = Self {
            registry: Registry::with_prefix("belljar_gateway"),
            requests: Family::default(),
            latency: Family::new_with_constructor(buckets),
            connections: Gauge::default(),
            accepted: Counter::default(),
            waiters: Gauge::default(),
            streams: Gauge::default(),
            store_up: Gauge::default(),
            queued: Family::default(),
            tasks: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let of = &mut self.registry;
        of.register("build", "The version that runs", Info::new([("version", VERSION)]));
        of.register("requests", "Requests answered", self.requests.clone());
        let latency = self.latency.clone();
        of.register_with_unit("request_duration", "Time to answer", Unit::Seconds, latency);
        of.register("connections", "Open connections", self.connections.clone());
        of.register("connections_accepted", "Connections accepted", self.accepted.clone());
        of.register("waiters", "Tasks that long polls wait for", self.waiters.clone());
        of.register("event_streams", "Open event streams", self.streams.clone());
        of.register("store_up", "Whether the store answered this scrape", self.store_up.clone());
        of.register("queue_length", "Tasks waiting in the queue of a class", self.queued.clone());
        of.register("tasks", "Accepted tasks by where they are", self.tasks.clone());
    }

    /// Counts one answered request.
    pub(crate) fn answered(&self, route: &str, method: &Method, code: u16, took: Duration) {
        let (route, method) = (route.to_owned(), MethodLabel(method.clone()));
        self.latency
            .get_or_create(&RouteLabels { route: route.clone() })
            .observe(took.as_secs_f64());
        self.requests.get_or_create(&RequestLabels { route, method, code }).inc();
    }

    /// The text for Prometheus. `store` is the store's part, if the store answers.
    pub(crate) fn text(
        &self,
        waiters: usize,
        streams: usize,
        store: Option<(Audit, Vec<QueueLength>)>,
    ) -> Result<String, std::fmt::Error> {
        self.waiters.set(gauge(waiters as u64));
        self.streams.set(gauge(streams as u64));
        self.store_up.set(i64::from(store.is_some()));
        // Numbers that are not known now are left out, not shown as they once were.
        self.queued.clear();
        self.tasks.clear();
        if let Some((audit, queues)) = store {
            for queue in queues {
                let labels = ClassLabels { class: queue.class.to_string() };
                self.queued.get_or_create(&labels).set(gauge(queue.queued));
            }
            for (state, count) in states(&audit) {
                self.tasks.get_or_create(&StateLabels { state }).set(gauge(count));
            }
        }
        let mut text = String::with_capacity(8 * 1024);
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The version of this build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

const fn states(audit: &Audit) -> [(&'static str, u64); 7] {
    let counts = &audit.counts;
    [
        ("accepted", counts.accepted),
        ("queued", counts.queued),
        ("delayed", counts.delayed),
        ("running", counts.running),
        ("completed", counts.completed),
        ("failed", counts.failed),
        ("cancelled", counts.cancelled),
    ]
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_method_and_code() {
        let metrics = Metrics::new();
        let took = Duration::from_micros(300);
        metrics.answered("/status/{task_id}", &Method::GET, 200, took);
        metrics.answered("/status/{task_id}", &Method::GET, 200, took);
        let text = metrics.text(3, 0, None).expect("text");
        let line = r#"belljar_gateway_requests_total{route="/status/{task_id}",method="GET",code="200"} 2"#;
        assert!(text.contains(line), "{text}");
        assert!(text.contains("belljar_gateway_waiters 3"), "{text}");
        assert!(text.contains("belljar_gateway_store_up 0"), "{text}");
    }
}
