//! What a worker process shows of itself.

use std::sync::Arc;

use async_trait::async_trait;
use belljar_metrics::{Part, Problem};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::config::PoolConfig;
use crate::metrics::PoolMetrics;

/// The metrics of a worker process, and whether it is ready.
#[derive(Debug)]
pub struct WorkerMetrics {
    registry: Registry,
    pub(crate) pool: Arc<PoolMetrics>,
    /// 1 while it is registered at its dispatcher.
    pub(crate) connected: Gauge,
    /// Messages from the dispatcher.
    pub(crate) received: Counter,
    /// Messages to the dispatcher.
    pub(crate) sent: Counter,
}

impl WorkerMetrics {
    /// All metrics at zero; the pool of `config` counts in them.
    #[must_use]
    pub fn of(config: &mut PoolConfig) -> Arc<Self> {
        let mut registry = Registry::default();
        let pool = config.counted(&mut registry);
        let of = registry.sub_registry_with_prefix("belljar_worker");
        let (connected, received, sent) =
            (Gauge::default(), Counter::default(), Counter::default());
        of.register("connected", "Whether it is registered at its dispatcher", connected.clone());
        of.register("messages_received", "Messages from the dispatcher", received.clone());
        of.register("messages_sent", "Messages to the dispatcher", sent.clone());
        Arc::new(Self { registry, pool, connected, received, sent })
    }
}

#[async_trait]
impl Part for WorkerMetrics {
    async fn registry(&self) -> &Registry {
        self.pool.refresh();
        &self.registry
    }

    async fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.connected.get() == 0 {
            let detail = "it is not registered at its dispatcher: its log says why".to_owned();
            problems.push(Problem { code: "no_dispatcher", detail });
        }
        if self.pool.refresh().is_empty() {
            let detail = "no executor has started: `belljar doctor` shows what is missing";
            problems.push(Problem { code: "no_executor", detail: detail.to_owned() });
        }
        problems
    }
}
