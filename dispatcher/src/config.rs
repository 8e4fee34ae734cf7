//! What a dispatcher is told at its start.

use std::net::SocketAddr;
use std::time::Duration;

use belljar_core::message::{DeliveryMode, Secret};
use belljar_wire::ListenConfig;
use belljar_worker::config::PoolConfig;
use tokio::sync::oneshot;

/// After how much silence each side says that it lives, unless told otherwise.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// A dispatcher's configuration.
#[derive(Debug)]
pub struct Config {
    /// Where the work is done.
    pub workers: Workers,
    /// The name of this machine, for the list of workers.
    pub host: String,
    /// How long running calls may go on after shutdown was asked for.
    pub drain_timeout: Duration,
}

/// Where the work is done.
#[derive(Debug)]
pub enum Workers {
    /// In a pool of slots inside the dispatcher (local mode).
    Local(PoolConfig),
    /// In worker processes that connect to it.
    Remote(Box<RemoteConfig>),
}

/// How worker processes are served.
#[derive(Debug)]
pub struct RemoteConfig {
    /// The port. Who gets in follows from `secret`, whatever `authentication` says.
    pub listen: ListenConfig,
    /// Which workers are welcome.
    pub mode: DeliveryMode,
    /// What a worker must hold, and is shown to be held here. Without one only loopback is served.
    pub secret: Option<Secret>,
    /// After how much silence each side says that it lives; after three times as much a worker is
    /// lost.
    pub heartbeat: Duration,
    /// Is told the address once the port is open.
    pub listening: Option<oneshot::Sender<SocketAddr>>,
}

impl RemoteConfig {
    /// With the usual heartbeat, telling nobody.
    #[must_use]
    pub const fn new(listen: ListenConfig, mode: DeliveryMode, secret: Option<Secret>) -> Self {
        Self { listen, mode, secret, heartbeat: HEARTBEAT, listening: None }
    }
}
