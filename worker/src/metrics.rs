//! What a pool counts, by class.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use belljar_core::outcome::{CallVerdict, Outcome};
use belljar_core::task::{TaskClass, TaskStatus};
use belljar_metrics::{ByLabel, Histograms, Labels, set};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// How a call can end, in the order of [`ClassMetrics::calls`].
const STATUSES: [TaskStatus; 3] =
    [TaskStatus::Completed, TaskStatus::Failed, TaskStatus::Cancelled];
/// The phases of a call, in the order of [`ClassMetrics::phases`].
const PHASES: [&str; 4] = ["instance", "decode", "call", "encode"];

type Seconds = Counter<f64, AtomicU64>;

/// The metrics of a pool.
pub struct PoolMetrics {
    /// In the order of the pool's classes.
    classes: Vec<ClassMetrics>,
    failures: Family<Labels<2>, Counter>,
    executor_up: ByLabel<Gauge>,
    slots: Gauge,
    busy: Gauge,
    waiting: Gauge,
    /// Asks the pool, which these do not keep alive; `None` once it is gone.
    figures: OnceLock<Box<dyn Fn() -> Option<PoolFigures> + Send + Sync>>,
}

/// What a pool has at a moment.
pub(crate) struct PoolFigures {
    pub(crate) slots: usize,
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    /// The classes, and whether their executors start.
    pub(crate) classes: Vec<(TaskClass, bool)>,
}

/// What is counted with every call, found without a lookup.
#[derive(Debug)]
struct ClassMetrics {
    class: TaskClass,
    calls: [Counter; STATUSES.len()],
    duration: Histogram,
    phases: [Histogram; PHASES.len()],
    cpu: Seconds,
    memory: Histogram,
    starts: Counter,
    start_failures: Counter,
    start_duration: Histogram,
}

/// The families that [`ClassMetrics`] are members of.
struct Families {
    calls: Family<Labels<2>, Counter>,
    duration: Histograms<1>,
    phases: Histograms<2>,
    cpu: ByLabel<Seconds>,
    memory: Histograms<1>,
    starts: ByLabel<Counter>,
    start_failures: ByLabel<Counter>,
    start_duration: Histograms<1>,
}

impl PoolMetrics {
    /// All metrics at zero, registered as those of a worker.
    #[must_use]
    pub fn register(
        registry: &mut Registry,
        classes: impl Iterator<Item = TaskClass>,
    ) -> Arc<Self> {
        let of = belljar_metrics::part(registry, "worker", env!("CARGO_PKG_VERSION"));
        let families = Families::register(of);
        let metrics = Self {
            classes: classes.map(|class| families.of(class)).collect(),
            failures: Family::default(),
            executor_up: Family::default(),
            slots: Gauge::default(),
            busy: Gauge::default(),
            waiting: Gauge::default(),
            figures: OnceLock::new(),
        };
        of.register("failures", "Calls that failed, by kind of failure", metrics.failures.clone());
        let up = "Whether executors of a class start";
        of.register("executor_up", up, metrics.executor_up.clone());
        of.register("slots", "Calls that can run at once", metrics.slots.clone());
        of.register("busy_slots", "Calls that run", metrics.busy.clone());
        of.register("waiting_calls", "Calls that wait for a slot", metrics.waiting.clone());
        Arc::new(metrics)
    }

    /// The pool that is counted; the first one.
    pub(crate) fn watch(&self, figures: impl Fn() -> Option<PoolFigures> + Send + Sync + 'static) {
        let _ = self.figures.set(Box::new(figures));
    }

    /// Counts a call of the class at `index` that has ended.
    pub(crate) fn ended(&self, index: usize, outcome: &Outcome) {
        let Some(of) = self.classes.get(index) else { return };
        let status = outcome.verdict.status();
        if let Some(at) = STATUSES.iter().position(|one| *one == status) {
            of.calls[at].inc();
        }
        of.duration.observe(seconds(outcome.elapsed_us));
        let phases = &outcome.phases;
        let times = [phases.instance_us, phases.decode_us, phases.call_us, phases.encode_us];
        for (histogram, time) in of.phases.iter().zip(times).filter(|(_, time)| *time > 0) {
            histogram.observe(seconds(time));
        }
        of.cpu.inc_by(seconds(outcome.cpu_us()));
        if outcome.peak_memory_bytes > 0 {
            of.memory.observe(outcome.peak_memory_bytes as f64);
        }
        if let CallVerdict::Failed(failure) = &outcome.verdict {
            let kind = failure.kind.as_str().to_owned();
            let labels = [("class", of.class.to_string()), ("kind", kind)];
            self.failures.get_or_create(&labels).inc();
        }
    }

    /// Counts a child that has started after `took`, or did not start.
    pub(crate) fn started(&self, class: TaskClass, took: Result<Duration, ()>) {
        let Some(of) = self.classes.iter().find(|of| of.class == class) else { return };
        of.starts.inc();
        match took {
            Ok(took) => of.start_duration.observe(took.as_secs_f64()),
            Err(()) => {
                of.start_failures.inc();
            }
        }
    }

    /// Brings what has no events up to now; says of which classes executors start.
    pub fn refresh(&self) -> Vec<TaskClass> {
        let Some(pool) = self.figures.get().and_then(|figures| figures()) else {
            return Vec::new();
        };
        set(&self.slots, pool.slots as u64);
        set(&self.busy, pool.running as u64);
        set(&self.waiting, pool.waiting as u64);
        for (class, is_up) in &pool.classes {
            let labels = [("class", class.to_string())];
            self.executor_up.get_or_create(&labels).set((*is_up).into());
        }
        pool.classes.into_iter().filter_map(|(class, is_up)| is_up.then_some(class)).collect()
    }
}

impl std::fmt::Debug for PoolMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolMetrics").finish_non_exhaustive()
    }
}

impl Families {
    fn register(of: &mut Registry) -> Self {
        let it = Self {
            calls: Family::default(),
            duration: belljar_metrics::durations(),
            phases: belljar_metrics::durations(),
            cpu: Family::default(),
            memory: belljar_metrics::memory(),
            starts: Family::default(),
            start_failures: Family::default(),
            start_duration: belljar_metrics::durations(),
        };
        of.register("calls", "Calls that ended, by status", it.calls.clone());
        let help = "Time of a call in its slot";
        of.register_with_unit("call_duration", help, Unit::Seconds, it.duration.clone());
        let help = "Time of a part of a call in its executor";
        of.register_with_unit("phase_duration", help, Unit::Seconds, it.phases.clone());
        of.register_with_unit("cpu", "Processor time of calls", Unit::Seconds, it.cpu.clone());
        let help = "The most memory of the executor at a call";
        of.register_with_unit("memory_peak", help, Unit::Bytes, it.memory.clone());
        of.register("child_starts", "Children that were started", it.starts.clone());
        let help = "Children that did not come up";
        of.register("child_start_failures", help, it.start_failures.clone());
        let help = "Time until a child takes calls";
        of.register_with_unit("child_start", help, Unit::Seconds, it.start_duration.clone());
        it
    }

    fn of(&self, class: TaskClass) -> ClassMetrics {
        let one = [("class", class.to_string())];
        let two = |name, value: &str| [("class", class.to_string()), (name, value.to_owned())];
        let calls =
            STATUSES.map(|it| self.calls.get_or_create(&two("status", it.as_str())).clone());
        let phases = PHASES.map(|it| self.phases.get_or_create(&two("phase", it)).clone());
        ClassMetrics {
            class,
            calls,
            duration: self.duration.get_or_create(&one).clone(),
            phases,
            cpu: self.cpu.get_or_create(&one).clone(),
            memory: self.memory.get_or_create(&one).clone(),
            starts: self.starts.get_or_create(&one).clone(),
            start_failures: self.start_failures.get_or_create(&one).clone(),
            start_duration: self.start_duration.get_or_create(&one).clone(),
        }
    }
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use belljar_core::outcome::{Failure, FailureKind, Phases};

    use super::*;

    #[test]
    fn a_call_is_counted_by_class_status_phase_and_kind() {
        let class: TaskClass = "native:3.11".parse().expect("a class");
        let mut registry = Registry::default();
        let metrics = PoolMetrics::register(&mut registry, [class].into_iter());
        let failure = Failure::by_platform(FailureKind::ExecutorDied, "gone".to_owned());
        let outcome = Outcome::bare(CallVerdict::Failed(failure), Duration::from_millis(3));
        let phases = Phases { call_us: 2_000, cpu_us: 1_000, ..Phases::default() };
        metrics.ended(0, &Outcome { phases, peak_memory_bytes: 20 << 20, ..outcome });
        metrics.started(class, Ok(Duration::from_millis(30)));
        metrics.started(class, Err(()));
        let text = belljar_metrics::text(&registry);
        for line in [
            r#"belljar_worker_calls_total{class="native:3.11",status="FAILED"} 1"#,
            r#"belljar_worker_calls_total{class="native:3.11",status="COMPLETED"} 0"#,
            r#"belljar_worker_failures_total{class="native:3.11",kind="executor_died"} 1"#,
            r#"belljar_worker_call_duration_seconds_bucket{le="0.0025",class="native:3.11"} 0"#,
            r#"belljar_worker_call_duration_seconds_bucket{le="0.005",class="native:3.11"} 1"#,
            r#"belljar_worker_phase_duration_seconds_sum{class="native:3.11",phase="call"} 0.002"#,
            r#"belljar_worker_phase_duration_seconds_count{class="native:3.11",phase="encode"} 0"#,
            r#"belljar_worker_cpu_seconds_total{class="native:3.11"} 0.001"#,
            r#"belljar_worker_memory_peak_bytes_count{class="native:3.11"} 1"#,
            r#"belljar_worker_child_starts_total{class="native:3.11"} 2"#,
            r#"belljar_worker_child_start_failures_total{class="native:3.11"} 1"#,
            r#"belljar_worker_child_start_seconds_count{class="native:3.11"} 1"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
