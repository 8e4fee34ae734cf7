//! What a pool is made of.

use std::sync::Arc;

use crate::executor::Executor;

/// A pool of slots.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// How many calls run at once.
    pub slots: usize,
    /// What can run, one for each class. Every slot takes an instance of the first at once, of the others
    /// when it is first asked to. Those of another Python than the first's come up after it.
    pub executors: Vec<Arc<dyn Executor>>,
}
