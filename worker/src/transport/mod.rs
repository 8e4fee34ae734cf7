//! A worker process: a pool that serves a remote dispatcher, by push or by pull. It connects again
//! whenever the connection breaks. What runs goes on meanwhile, and results are sent until the dispatcher
//! acknowledges them.
//!
//! # Layout
//!
//! * `config`: what a worker process is made of.
//! * `metrics`: what a worker process shows of itself.
//! * `client`: the pool, driven by a session.
//! * `session`: what passes between pool and dispatcher; pure.
//! * `assignments`: what the dispatcher assigned, and its code.
//! * `announced`: what the dispatcher knows of this worker.
//! * `outbox`: what is not acknowledged.
//! * `code_cache`: the functions' code.
//! * `handshake`: how the two sides of a new connection get to know each other.
//! * `push`, `pull`: the two ways to exchange messages.

mod announced;
mod assignments;
mod client;
mod code_cache;
mod config;
mod error;
mod handshake;
mod metrics;
mod outbox;
mod pull;
mod push;
mod session;

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use belljar_core::id::WorkerId;
use belljar_core::message::DeliveryMode;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use client::WorkerClient;
pub use config::WorkerConfig;
pub use error::WorkerError;
use handshake::{Connection, Ended};
pub use metrics::WorkerMetrics;
use pull::PullConnection;
use push::PushConnection;

/// How long the last results may take to arrive, after the drain.
const FAREWELL: Duration = Duration::from_secs(5);

/// The longest pause between two connections, without its random part.
const MAX_RECONNECT_DELAY: Duration = Duration::from_millis(500);
/// The pauses between connections. The random part is up to the pause itself, so that the workers of
/// one dispatcher do not return all at once. Even the longest is shorter than the time after which the
/// dispatcher gives the worker's tasks to others.
const RECONNECT_BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(25))
    .with_max_delay(MAX_RECONNECT_DELAY)
    .with_jitter()
    .without_max_times();

/// A connection that lasted this long makes up for those that failed before it.
const LASTING: Duration = Duration::from_secs(1);

/// Serves the dispatcher until `shutdown`, or until the dispatcher takes this worker out of service. Then
/// gives back what waits, lets running calls end, and reports them.
///
/// # Errors
/// The dispatcher refuses this worker for good, or cannot prove who it is. Everything else is tried again.
pub async fn run(config: WorkerConfig, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let mut client = WorkerClient::start(WorkerId::random(), &config, shutdown.clone());
    let drain_timeout = config.drain_timeout;
    let too_late = async {
        shutdown.cancelled().await;
        sleep(drain_timeout + FAREWELL).await;
    };
    tokio::select! {
        served = serve(&mut client, &config) => served,
        () = too_late => {
            tracing::warn!("left although the dispatcher has not acknowledged everything");
            Ok(())
        }
    }
}

async fn serve(client: &mut WorkerClient, config: &WorkerConfig) -> Result<(), WorkerError> {
    let mut delays = RECONNECT_BACKOFF.build();
    let mut warned = false;
    loop {
        let begun = Instant::now();
        let ended = match config.mode {
            DeliveryMode::Push => connect::<PushConnection>(client, config).await,
            DeliveryMode::Pull => connect::<PullConnection>(client, config).await,
        };
        let reason = match ended {
            Ended::Done => return Ok(()),
            Ended::Fatal(error) => return Err(error),
            Ended::Unregistered { reason } => format!("cannot register: {reason}"),
            Ended::Disconnected { reason } => {
                client.disconnected();
                // One that ends at once is no success, however far it got.
                if begun.elapsed() >= LASTING {
                    delays = RECONNECT_BACKOFF.build();
                    warned = false;
                }
                format!("lost the connection: {reason}")
            }
        };
        if client.is_done() {
            return Ok(());
        }
        if client.is_draining() {
            tracing::debug!(dispatcher = %config.endpoint.endpoint, "{reason}; retrying");
        } else if !warned {
            tracing::warn!(dispatcher = %config.endpoint.endpoint, "{reason}; retrying");
            warned = true;
        }
        let pause = sleep(delays.next().unwrap_or(MAX_RECONNECT_DELAY));
        if client.meanwhile(pause).await.is_err() {
            return Ok(());
        }
    }
}

/// Registers, and exchanges messages until the connection ends.
async fn connect<C: Connection>(client: &mut WorkerClient, config: &WorkerConfig) -> Ended {
    let connection = match C::open(client, config).await {
        Ok(connection) => connection,
        Err(ended) => return ended,
    };
    tracing::info!(endpoint = %config.endpoint.endpoint, "registered");
    client.set_connected(true);
    let exchanged = connection.exchange(client).await;
    client.set_connected(false);
    match exchanged {
        Ok(()) => Ended::Done,
        Err(ended) => ended.after_registration(),
    }
}
