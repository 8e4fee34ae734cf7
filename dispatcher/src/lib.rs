//! Hands stored tasks to workers and settles what comes back.
//!
//! One task owns everything: the scheduler's state, the transport to the workers, and at most one
//! request of each kind to the store. What arrives while a request is under way forms the next batch,
//! so batches grow with the load and an idle dispatcher answers at once.
//!
//! # Layout
//!
//! * [`config`]: what a dispatcher is told. * [`event`]: what the scheduler hears and answers.
//! * [`scheduler`]: decides, purely. `fleet`: the workers and the choice among them.
//! * `desk`: carries actions out: claims, results and heartbeats to and from the store.
//! * `functions`: the code of functions, cached. `retry`: patience with the store.
//! * `transport`: the ways to workers: a pool in this process, or worker processes.

pub mod config;
mod desk;
pub mod error;
pub mod event;
mod fleet;
mod functions;
mod retry;
pub mod scheduler;
mod transport;

use std::time::{Duration, Instant};

use belljar_core::id::DispatcherId;
use belljar_store::{Store, Topic};
use tokio_util::sync::CancellationToken;

pub use config::{Config, RemoteConfig, Workers};
use desk::Desk;
pub use error::DispatcherError;
use event::{Action, Event};
use scheduler::Scheduler;
use transport::Transport;

/// How long the last results may take on their way to the store, after the drain.
const SETTLE_TIME: Duration = Duration::from_secs(5);

/// Runs a dispatcher until `shutdown`, then lets running calls finish for as long as the
/// configuration allows, gives the rest back, and leaves.
///
/// # Errors
/// The store cannot be subscribed to, or the port for workers not opened. Later failures are waited
/// out.
pub async fn run(
    config: Config,
    store: Store,
    shutdown: CancellationToken,
) -> Result<(), DispatcherError> {
    let id = DispatcherId::random();
    let topics = [Topic::Work, Topic::Cancel, Topic::Deliveries(id)];
    let mut notices = store.subscribe(&topics).await?;
    let mut transport = Transport::start(id, config.workers).await?;
    let mut desk = Desk::new(id, store, config.host);
    let mut scheduler = Scheduler::new();
    tracing::info!(dispatcher_id = %id, "dispatching");

    let mut drain_deadline = None;
    while drain_deadline.is_none() || !(scheduler.is_idle() && desk.is_idle()) {
        desk.beat_if_due(&transport);
        let events = tokio::select! {
            events = transport.events() => events?,
            event = desk.answer() => vec![event],
            notice = notices.next() => desk.hear(notice).into_iter().collect(),
            () = shutdown.cancelled(), if drain_deadline.is_none() => {
                tracing::info!(held = scheduler.held(), "draining");
                transport.drain(config.drain_timeout);
                drain_deadline = Some(tokio::time::Instant::now() + config.drain_timeout + SETTLE_TIME);
                vec![Event::DrainBegun]
            }
            () = expired(drain_deadline) => break,
        };
        let now = Instant::now();
        for event in events {
            match &event {
                Event::Settled(settled) => transport.settled(settled),
                // Whoever submits is refused what nobody is known to serve.
                Event::Joined(_) => desk.beat_soon(),
                _ => {}
            }
            for action in scheduler.handle(event, now) {
                match action {
                    Action::Send { worker, invocations } => {
                        fail::fail_point!("leased");
                        transport.send(worker, invocations);
                    }
                    Action::Stop { worker, task } => transport.stop(worker, task),
                    action => desk.take(action),
                }
            }
        }
        transport.flush();
    }
    desk.retire().await;
    tracing::info!(dispatcher_id = %id, given_back = scheduler.held(), "left");
    Ok(())
}

async fn expired(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
