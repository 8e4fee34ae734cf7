//! What a pool is made of.

use std::sync::Arc;

use belljar_traces::Traces;
use prometheus_client::registry::Registry;

use crate::executor::Executor;
use crate::metrics::PoolMetrics;

/// A pool of slots.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// How many calls run at once.
    pub slots: usize,
    /// What can run, one for each class. Every slot takes an instance of the first at once, of the others
    /// when it is first asked to. Those of another Python than the first's come up after it.
    pub executors: Vec<Arc<dyn Executor>>,
    /// Counts what happens; `None` where nobody asks.
    pub metrics: Option<Arc<PoolMetrics>>,
    /// Exports the spans of calls that are traced; `None` where nobody asks.
    pub traces: Option<Traces>,
}

impl PoolConfig {
    /// A pool that counts nothing.
    #[must_use]
    pub fn new(slots: usize, executors: Vec<Arc<dyn Executor>>) -> Self {
        Self { slots, executors, metrics: None, traces: None }
    }

    /// Lets the pool count what happens, in `registry`.
    pub fn counted(&mut self, registry: &mut Registry) -> Arc<PoolMetrics> {
        let classes = self.executors.iter().map(|executor| executor.class());
        let metrics = PoolMetrics::register(registry, classes);
        self.metrics = Some(Arc::clone(&metrics));
        metrics
    }
}
