//! What a dispatcher is told at its start.

use std::time::Duration;

use belljar_worker::config::PoolConfig;

/// A dispatcher's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The pool of slots inside the dispatcher (local mode).
    pub pool: PoolConfig,
    /// The name of this machine, for the list of workers.
    pub host: String,
    /// How long running calls may go on after shutdown was asked for.
    pub drain_timeout: Duration,
}
