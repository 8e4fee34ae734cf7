//! What a dispatcher counts, and whether it is ready.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use belljar_core::task::{Attempt, TaskClass, TaskStatus};
use belljar_metrics::{ByLabel, Histograms, Part, Problem, StoreMetrics, set};
use belljar_store::record::{ClaimedTask, Completion, RequeueReason, Timestamp, WorkerRecord};
use belljar_store::{Store, StoreError, WriteRefusal};
use belljar_worker::config::PoolConfig;
use belljar_worker::metrics::PoolMetrics;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::event::{SchedulerAction, SchedulerEvent};

/// How a task can end.
const STATUSES: [TaskStatus; 3] =
    [TaskStatus::Completed, TaskStatus::Failed, TaskStatus::Cancelled];
/// How old the figures are at most that are taken from the workers.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// The metrics of a dispatcher, and whether it is ready.
pub struct Metrics {
    registry: Registry,
    store: Store,
    store_metrics: StoreMetrics,
    /// Those of the pool in local mode.
    pool: Option<Arc<PoolMetrics>>,
    attempts: ByLabel<Counter>,
    queued: Histograms<1>,
    /// The members of both families of each class, found without making labels.
    of_classes: Mutex<HashMap<TaskClass, (Counter, Histogram)>>,
    /// In the order of [`STATUSES`].
    outcomes: [Counter; STATUSES.len()],
    failures: ByLabel<Counter>,
    requeues: ByLabel<Counter>,
    held: Gauge,
    workers: Gauge,
    slots: Gauge,
    busy: Gauge,
    store_up: Gauge,
    /// Messages from workers.
    pub(crate) received: Counter,
    /// Messages to workers.
    pub(crate) sent: Counter,
    figures: Mutex<Figures>,
}

/// What was last taken from the workers.
#[derive(Default)]
struct Figures {
    taken: Option<Instant>,
    classes: Vec<TaskClass>,
}

impl Metrics {
    /// All metrics at zero. The pool of local mode counts in them.
    #[must_use]
    pub fn of(local: Option<&mut PoolConfig>, store: Store) -> Arc<Self> {
        let mut registry = Registry::default();
        let pool = local.map(|pool| pool.counted(&mut registry));
        let mut metrics = Self {
            registry,
            store,
            store_metrics: StoreMetrics::default(),
            pool,
            attempts: Family::default(),
            queued: belljar_metrics::durations(),
            of_classes: Mutex::default(),
            outcomes: Default::default(),
            failures: Family::default(),
            requeues: Family::default(),
            held: Gauge::default(),
            workers: Gauge::default(),
            slots: Gauge::default(),
            busy: Gauge::default(),
            store_up: Gauge::default(),
            received: Counter::default(),
            sent: Counter::default(),
            figures: Mutex::default(),
        };
        metrics.register();
        Arc::new(metrics)
    }

    fn register(&mut self) {
        let version = env!("CARGO_PKG_VERSION");
        let of = belljar_metrics::part(&mut self.registry, "dispatcher", version);
        of.register("attempts", "Attempts that began", self.attempts.clone());
        let help = "Time from when a task may run until its first attempt";
        of.register_with_unit("queue_duration", help, Unit::Seconds, self.queued.clone());
        let outcomes: ByLabel<Counter> = Family::default();
        self.outcomes = STATUSES
            .map(|it| outcomes.get_or_create(&[("status", it.as_str().to_owned())]).clone());
        of.register("outcomes", "Outcomes recorded, by status", outcomes);
        let help = "Outcomes recorded as failed, by kind of failure";
        of.register("failures", help, self.failures.clone());
        of.register("requeues", "Tasks queued again, by reason", self.requeues.clone());
        of.register("held_tasks", "Tasks in its hands", self.held.clone());
        of.register("workers", "Workers that are connected", self.workers.clone());
        of.register("slots", "Slots of its workers", self.slots.clone());
        of.register("busy_slots", "Slots of its workers that are busy", self.busy.clone());
        of.register("store_up", "Whether the store answers", self.store_up.clone());
        of.register("messages_received", "Messages from workers", self.received.clone());
        of.register("messages_sent", "Messages to workers", self.sent.clone());
        self.store_metrics.register(of);
    }

    /// Counts what an event tells.
    pub(crate) fn event(&self, event: &SchedulerEvent) {
        if let SchedulerEvent::Claimed(tasks) | SchedulerEvent::Delivered { tasks, .. } = event
            && !tasks.is_empty()
        {
            self.began(tasks);
        }
    }

    fn began(&self, tasks: &[ClaimedTask]) {
        let Timestamp(now) = Timestamp::before_now(Duration::ZERO);
        let mut of_classes = self.of_classes.lock().unwrap_or_else(PoisonError::into_inner);
        for task in tasks {
            let class = task.invocation.spec.class;
            let (attempts, queued) = of_classes.entry(class).or_insert_with(|| {
                let labels = [("class", class.to_string())];
                let attempts = self.attempts.get_or_create(&labels).clone();
                (attempts, self.queued.get_or_create(&labels).clone())
            });
            attempts.inc();
            if task.task().attempt == Attempt(1) {
                // The store's clock may be ahead of this one.
                queued.observe(now.saturating_sub(task.due_at.0) as f64 / 1e6);
            }
        }
    }

    /// Counts what an action tells.
    pub(crate) fn action(&self, action: &SchedulerAction) {
        match action {
            SchedulerAction::Complete(Completion { report, .. }) => {
                let verdict = &report.outcome.verdict;
                let at = STATUSES.iter().position(|status| *status == verdict.status());
                at.map(|at| self.outcomes[at].inc());
                if let Some(failure) = verdict.failure() {
                    let kind = [("kind", failure.kind.as_str().to_owned())];
                    self.failures.get_or_create(&kind).inc();
                }
            }
            SchedulerAction::Requeue(requeued) => {
                let reason = match requeued.reason {
                    RequeueReason::Died(_) => "died",
                    RequeueReason::Unstarted => "unstarted",
                };
                self.requeues.get_or_create(&[("reason", reason.to_owned())]).inc();
            }
            _ => {}
        }
    }

    /// Takes the figures of the workers, where the last ones are old.
    pub(crate) fn refresh(
        &self,
        now: Instant,
        held: usize,
        workers: impl FnOnce() -> Vec<WorkerRecord>,
    ) {
        set(&self.held, held as u64);
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        if figures.taken.is_some_and(|taken| now - taken < REFRESH_INTERVAL) {
            return;
        }
        let workers = workers();
        let sum = |of: fn(&WorkerRecord) -> u32| workers.iter().map(|one| u64::from(of(one))).sum();
        set(&self.workers, workers.len() as u64);
        set(&self.slots, sum(|worker| worker.slots));
        set(&self.busy, sum(|worker| worker.busy));
        figures.taken = Some(now);
        figures.classes = workers.into_iter().flat_map(|worker| worker.classes).collect();
    }
}

#[async_trait]
impl Part for Metrics {
    async fn registry(&self) -> &Registry {
        self.store_up.set(self.store.ping().await.is_ok().into());
        let traffic = self.store.traffic();
        self.store_metrics.set(traffic.requests, traffic.failures, traffic.microseconds);
        if let Some(pool) = &self.pool {
            pool.refresh();
        }
        &self.registry
    }

    async fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        match self.store.probe_writes().await {
            // What was accepted still runs while memory is full.
            Ok(()) | Err(StoreError::RefusesWrites(WriteRefusal::Memory, _)) => {}
            Err(error) => problems.push(Problem { code: error.code(), detail: error.to_string() }),
        }
        if self.figures.lock().unwrap_or_else(PoisonError::into_inner).classes.is_empty() {
            let detail = match self.pool {
                Some(_) => "no executor has started: `belljar doctor` shows what is missing",
                None => "no worker is connected: start one with `belljar worker`",
            };
            problems.push(Problem { code: "no_worker", detail: detail.to_owned() });
        }
        problems
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
