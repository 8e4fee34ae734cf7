//! The figures of the whole service, which all gateways share: scraped from one address only.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use belljar_core::task::TaskClass;
use belljar_metrics::{ByLabel, Labels, set, set_total};
use belljar_store::record::{Audit, QueueLength, TenantCounts, Timestamp, WorkerRecord};
use belljar_store::{Store, StoreError};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Of so many tenants there are figures: more would be too much for Prometheus.
const MOST_TENANTS: u64 = 100;

type Decimal = Gauge<f64, AtomicU64>;

/// What the store tells of the service.
pub(crate) struct ServiceFigures {
    audit: Audit,
    queues: Vec<QueueLength>,
    /// How many seconds what waits longest has waited; in the order of the queues.
    oldest: Vec<f64>,
    tenants: Vec<TenantCounts>,
    workers: Vec<WorkerRecord>,
    served: Vec<TaskClass>,
}

impl ServiceFigures {
    /// As it is now.
    pub(crate) async fn read(store: &Store) -> Result<Self, StoreError> {
        // One after the other: nobody waits for them.
        let (audit, queues) = (store.audit().await?, store.queue_lengths().await?);
        let Timestamp(now) = Timestamp::before_now(Duration::ZERO);
        let mut oldest = Vec::with_capacity(queues.len());
        for queue in &queues {
            let since = store.oldest_queued(queue.class).await?;
            let waited = since.map_or(0, |Timestamp(since)| now.saturating_sub(since));
            oldest.push(waited as f64 / 1e6);
        }
        let tenants = store.tenant_counts(MOST_TENANTS).await?;
        let (workers, served) = (store.workers().await?, store.served_classes().await?);
        Ok(Self { audit, queues, oldest, tenants, workers, served })
    }

    /// The text for Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut registry = Registry::default();
        let of = registry.sub_registry_with_prefix("belljar_service");
        self.tasks(of);
        self.queues(of);
        self.tenants(of);
        self.workers(of);
        belljar_metrics::text(&registry)
    }

    fn tasks(&self, of: &mut Registry) {
        let counts = &self.audit.counts;
        let accepted = Counter::default();
        set_total(&accepted, counts.accepted);
        of.register("tasks_accepted", "Tasks that were accepted", accepted);
        let ended: ByLabel<Counter> = ByLabel::default();
        for (status, count) in [
            ("COMPLETED", counts.completed),
            ("FAILED", counts.failed),
            ("CANCELLED", counts.cancelled),
        ] {
            set_total(&ended.get_or_create(&[("status", status.to_owned())]), count);
        }
        of.register("tasks_ended", "Tasks that ended, by status", ended);
        let tasks: ByLabel<Gauge> = ByLabel::default();
        for (state, count) in
            [("queued", counts.queued), ("delayed", counts.delayed), ("running", counts.running)]
        {
            set(&tasks.get_or_create(&[("state", state.to_owned())]), count);
        }
        of.register("tasks", "Tasks that have not ended, by where they are", tasks);
        let consistent: Gauge = Gauge::default();
        consistent.set(self.audit.is_consistent().into());
        let help = "Whether every accepted task is in exactly one place";
        of.register("audit_consistent", help, consistent);
    }

    fn queues(&self, of: &mut Registry) {
        let (length, oldest) = (ByLabel::<Gauge>::default(), ByLabel::<Decimal>::default());
        for (queue, waited) in self.queues.iter().zip(&self.oldest) {
            let class = [("class", queue.class.to_string())];
            set(&length.get_or_create(&class), queue.queued);
            oldest.get_or_create(&class).set(*waited);
        }
        of.register("queue_length", "Tasks that wait", length);
        let help = "How long the task has waited that waits longest";
        of.register_with_unit("queue_oldest", help, Unit::Seconds, oldest);
    }

    fn tenants(&self, of: &mut Registry) {
        let accepted = ByLabel::<Counter>::default();
        let tasks = Family::<Labels<2>, Gauge>::default();
        for counts in &self.tenants {
            let tenant = ("tenant", counts.tenant.to_string());
            set_total(&accepted.get_or_create(std::array::from_ref(&tenant)), counts.accepted);
            for (state, count) in [("queued", counts.queued), ("running", counts.running)] {
                set(&tasks.get_or_create(&[tenant.clone(), ("state", state.to_owned())]), count);
            }
        }
        of.register("tenant_tasks_accepted", "Tasks of a tenant that were accepted", accepted);
        let help = "Tasks of a tenant that have not ended, by where they are";
        of.register("tenant_tasks", help, tasks);
    }

    fn workers(&self, of: &mut Registry) {
        let known = self.queues.iter().map(|queue| queue.class).chain(self.served.iter().copied());
        let own = self.workers.iter().flat_map(|worker| worker.classes.iter().copied());
        let classes: BTreeSet<TaskClass> = known.chain(own).collect();
        let runs =
            |class, worker: &WorkerRecord| worker.classes.iter().any(|own| own.serves(class));
        let by_class = classes.iter().map(|class| {
            (class, self.workers.iter().filter(|worker| runs(class, worker)).count() as u64)
        });
        let workers: ByLabel<Gauge> = ByLabel::default();
        for (class, count) in by_class {
            set(&workers.get_or_create(&[("class", class.to_string())]), count);
        }
        of.register("workers", "Workers whose executors run a class", workers);
        let sum = |of: fn(&WorkerRecord) -> u32| self.workers.iter().map(of).map(u64::from).sum();
        let (slots, busy): (Gauge, Gauge) = (Gauge::default(), Gauge::default());
        set(&slots, sum(|worker| worker.slots));
        set(&busy, sum(|worker| worker.busy));
        of.register("slots", "Slots of all workers", slots);
        of.register("busy_slots", "Slots of all workers that are busy", busy);
    }
}
