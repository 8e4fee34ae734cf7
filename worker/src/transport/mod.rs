//! A worker process: a pool that serves a remote dispatcher, by push or by pull. Connects, and again
//! whenever the connection breaks; what runs goes on meanwhile, and what it came to is said until the
//! dispatcher acknowledges it.
//!
//! # Layout
//!
//! * `link`: one connection, and how the two sides get to know each other.
//! * `session`: what passes between pool and dispatcher; pure. `outbox`: what is not acknowledged.
//!   `codes`: the functions' code. * `crew`: the pool, driven by a session.
//! * `push`, `pull`: the two ways to exchange messages.

mod codes;
mod crew;
mod error;
mod link;
mod outbox;
mod pull;
mod push;
mod session;

use std::time::Duration;

use belljar_core::id::WorkerId;
use belljar_core::message::{Mode, Secret};
use belljar_wire::{Backoff, ConnectConfig};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::config::PoolConfig;
use crew::Crew;
pub use error::WorkerError;
use link::Ended;

/// How long the last results may take on their way, after the drain.
const FAREWELL: Duration = Duration::from_secs(5);

/// A connection that lasted so long makes up for those that failed before it.
const LASTING: Duration = Duration::from_secs(1);

/// A worker process.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Where the dispatcher is.
    pub endpoint: ConnectConfig,
    /// How tasks get here.
    pub mode: Mode,
    /// What both sides must hold. Without one the dispatcher is not asked who it is.
    pub secret: Option<Secret>,
    /// What runs them.
    pub pool: PoolConfig,
    /// The name of this machine, for people.
    pub host: String,
    /// The version of this program, for people.
    pub version: String,
    /// How long running calls may go on after shutdown was asked for.
    pub drain_timeout: Duration,
}

/// Serves the dispatcher until `shutdown`, or until it takes this worker out of service; then gives
/// back what waits, lets running calls end, and says what they came to.
///
/// # Errors
/// The dispatcher refuses this worker for good, or cannot be believed. Everything else is tried again.
pub async fn run(config: WorkerConfig, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let mut crew = Crew::start(WorkerId::random(), &config, shutdown.clone());
    let drain_timeout = config.drain_timeout;
    let too_late = async {
        shutdown.cancelled().await;
        sleep(drain_timeout + FAREWELL).await;
    };
    tokio::select! {
        served = serve(&mut crew, &config) => served,
        () = too_late => {
            tracing::warn!("left although the dispatcher has not acknowledged everything");
            Ok(())
        }
    }
}

async fn serve(crew: &mut Crew, config: &WorkerConfig) -> Result<(), WorkerError> {
    let mut backoff = Backoff::default();
    let mut warned = false;
    loop {
        if crew.is_done() {
            return Ok(());
        }
        let begun = Instant::now();
        let ended = match config.mode {
            Mode::Push => push::serve(crew, config).await,
            Mode::Pull => pull::serve(crew, config).await,
        };
        match ended {
            Ended::Done => return Ok(()),
            Ended::Fatal(error) => return Err(error),
            Ended::Broken { reason, served } => {
                // One that ends at once is no success, however far it got.
                if served && begun.elapsed() >= LASTING {
                    backoff.reset();
                    warned = false;
                }
                if !warned {
                    tracing::warn!(endpoint = %config.endpoint.endpoint, "{reason}; trying again");
                    warned = true;
                }
            }
        }
        crew.meanwhile(sleep(backoff.pause())).await;
    }
}
