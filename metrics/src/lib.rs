//! What gateway, dispatcher and worker share of their metrics: buckets, text, and the HTTP server of those that have no
//! other.
//!
//! # Layout
//!
//! * here: labels, buckets, text.
//! * `server`: `/metrics`, `/healthz` and `/readyz` of a part.

mod server;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use server::{CONNECTIONS, Part, Problem, serve};

/// The upper ends of the buckets of durations, in seconds: from a tenth of a millisecond to five minutes.
pub const DURATION_BUCKETS: [f64; 20] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

/// The upper ends of the buckets of memory, in bytes: from 8 MiB to 16 GiB.
pub const MEMORY_BUCKETS: [f64; 12] = {
    let mut buckets = [(8 << 20) as f64; 12];
    let mut at = 1;
    while at < buckets.len() {
        buckets[at] = buckets[at - 1] * 2.0;
        at += 1;
    }
    buckets
};

/// The content type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `N` labels: names and values.
pub type Labels<const N: usize> = [(&'static str, String); N];

/// Metrics that differ in one label.
pub type ByLabel<M> = Family<Labels<1>, M>;

/// Histograms that differ in labels.
pub type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// Histograms of durations.
#[must_use]
pub fn durations<const N: usize>() -> Histograms<N> {
    Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS))
}

/// Histograms of memory.
#[must_use]
pub fn memory<const N: usize>() -> Histograms<N> {
    Family::new_with_constructor(|| Histogram::new(MEMORY_BUCKETS))
}

/// The metrics of a part, whose names begin with `belljar_<part>`, among those of a process. It tells the version.
pub fn part<'a>(registry: &'a mut Registry, part: &str, version: &'static str) -> &'a mut Registry {
    let registry = registry.sub_registry_with_prefix(format!("belljar_{part}"));
    registry.register("build", "The version that runs", Info::new([("version", version)]));
    registry
}

/// The text for Prometheus.
#[must_use]
pub fn text(registry: &Registry) -> String {
    let mut text = String::with_capacity(16 * 1024);
    // Writing to a string cannot fail.
    let _ = encode(&mut text, registry);
    text
}

/// Sets a gauge to a number that may be larger than it holds.
pub fn set(gauge: &Gauge, number: u64) {
    gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
}

/// Sets a counter to a total that is counted elsewhere.
pub fn set_total(counter: &Counter, total: u64) {
    counter.inner().store(total, std::sync::atomic::Ordering::Relaxed);
}

/// The metrics of one's requests to the store.
#[derive(Debug, Default, Clone)]
pub struct StoreMetrics {
    requests: Counter,
    failures: Counter,
    seconds: Counter<f64, std::sync::atomic::AtomicU64>,
}

impl StoreMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("store_requests", "Requests to the store", self.requests.clone());
        let failures = "Requests that the store did not answer, or refused";
        registry.register("store_failures", failures, self.failures.clone());
        let seconds = "Time that requests to the store took";
        let unit = prometheus_client::registry::Unit::Seconds;
        registry.register_with_unit("store_request_time", seconds, unit, self.seconds.clone());
    }

    /// Sets the totals: requests, failures, and the time of all in microseconds.
    pub fn set(&self, requests: u64, failures: u64, microseconds: u64) {
        set_total(&self.requests, requests);
        set_total(&self.failures, failures);
        let seconds = (microseconds as f64 / 1e6).to_bits();
        self.seconds.inner().store(seconds, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_rise_from_a_tenth_of_a_millisecond_and_from_8_mib() {
        assert!(DURATION_BUCKETS.is_sorted() && MEMORY_BUCKETS.is_sorted());
        assert_eq!((DURATION_BUCKETS[0], DURATION_BUCKETS[19]), (0.000_1, 300.0));
        assert_eq!((MEMORY_BUCKETS[0], MEMORY_BUCKETS[11]), (8_388_608.0, 17_179_869_184.0));
    }

    #[test]
    fn totals_from_elsewhere_are_shown() {
        let (mut registry, store) = (Registry::default(), StoreMetrics::default());
        store.register(part(&mut registry, "part", "1.2"));
        store.set(3, 1, 1_500_000);
        let text = text(&registry);
        for line in [
            r#"belljar_part_build_info{version="1.2"} 1"#,
            "belljar_part_store_requests_total 3",
            "belljar_part_store_failures_total 1",
            "belljar_part_store_request_time_seconds_total 1.5",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
