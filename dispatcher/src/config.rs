//! The configuration of a dispatcher.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use belljar_core::message::{DeliveryMode, Secret};
use belljar_store::NamedArgs;
use belljar_traces::Traces;
use belljar_wire::ListenConfig;
use belljar_worker::config::PoolConfig;
use tokio::sync::oneshot;

use crate::metrics::Metrics;

/// The default interval of heartbeats between dispatcher and worker.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// A dispatcher's configuration.
#[derive(Debug)]
pub struct Config {
    /// Where tasks run.
    pub workers: Workers,
    /// The name of this machine, for the list of workers.
    pub host: String,
    /// How many idle slots, among workers that serve the same classes, only go to tenants none of whose tasks of the
    /// class runs: so that long calls of others cannot take them all.
    pub reserved_slots: usize,
    /// How long running calls may go on after shutdown is requested.
    pub drain_timeout: Duration,
    /// Counts what happens; `None` where nobody asks.
    pub metrics: Option<Arc<Metrics>>,
    /// Exports the spans of tasks that are traced; `None` where nobody asks.
    pub traces: Option<Traces>,
}

/// Where tasks run.
#[derive(Debug)]
pub enum Workers {
    /// In a pool of slots inside the dispatcher (local mode).
    Local(PoolConfig),
    /// In worker processes that connect to it.
    Remote(Box<RemoteConfig>),
}

/// How a dispatcher serves worker processes.
#[derive(Debug)]
pub struct RemoteConfig {
    /// The port. Its `authentication` follows from `secret`.
    pub listen: ListenConfig,
    /// How tasks get to the workers.
    pub mode: DeliveryMode,
    /// The secret that both sides must hold. Without one the port is opened on loopback only.
    pub secret: Option<Secret>,
    /// Each side sends a heartbeat after so much silence. After three times as much a worker is lost.
    pub heartbeat: Duration,
    /// Whose the directory of blobs is that workers may share; `None` without one.
    pub blobs: Option<String>,
    /// From how many bytes on the store names arguments in files, which follows from what workers share; `None` where it stays.
    pub named_args: Option<NamedArgs>,
    /// Gets the address once the port is open.
    pub listening: Option<oneshot::Sender<SocketAddr>>,
}

impl RemoteConfig {
    /// With the default heartbeat, without blobs, and without a receiver of the address.
    #[must_use]
    pub const fn new(listen: ListenConfig, mode: DeliveryMode, secret: Option<Secret>) -> Self {
        let (heartbeat, blobs, named_args, listening) = (HEARTBEAT, None, None, None);
        Self { listen, mode, secret, heartbeat, blobs, named_args, listening }
    }
}
