//! What a worker process is made of.

use std::sync::Arc;
use std::time::Duration;

use belljar_core::message::{DeliveryMode, Secret};
use belljar_core::shared_blobs::SharedBlobs;
use belljar_wire::ConnectConfig;

use super::metrics::WorkerMetrics;
use crate::config::PoolConfig;

/// A worker process.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Where the dispatcher is.
    pub endpoint: ConnectConfig,
    /// How tasks get here.
    pub mode: DeliveryMode,
    /// What both sides must hold. Without one the dispatcher need not prove anything.
    pub secret: Option<Secret>,
    /// The directory or bucket of blobs that this worker shares with its dispatcher.
    pub blobs: Option<SharedBlobs>,
    /// What runs them.
    pub pool: PoolConfig,
    /// The name of this machine, for people.
    pub host: String,
    /// The version of this program, for people.
    pub version: String,
    /// How long running calls may go on after shutdown was asked for.
    pub drain_timeout: Duration,
    /// Counts what happens; `None` where nobody asks.
    pub metrics: Option<Arc<WorkerMetrics>>,
}
