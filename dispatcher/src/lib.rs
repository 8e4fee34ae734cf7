//! Gives tasks from the store to workers and records their outcomes.
//!
//! One task owns everything: the scheduler's state, the transport to the workers, and at most one
//! request of each kind to the store. What arrives while a request is under way forms the next batch,
//! so batches grow with the load and an idle dispatcher answers at once.
//!
//! # Layout
//!
//! * [`config`]: the configuration.
//! * [`error`]: the errors.
//! * [`event`]: the events and actions of the scheduler.
//! * [`scheduler`]: decides; pure.
//! * `observer`, `metrics`, `traces`: what is logged, counted and traced of what happens.
//! * `claim_state`: what the scheduler knows of its requests to the queue.
//! * `worker_registry`: the workers and the choice among them.
//! * `worker_room`: how much a worker can take.
//! * `store_client`: carries out the actions that concern the store.
//! * `freed_capacity`: when the store is told of capacity that ended calls have freed.
//! * `functions`: a cache of functions' code.
//! * `retry`: retries of store operations.
//! * `transport`: the ways to workers: a pool in this process, or worker processes.

mod claim_state;
pub mod config;
pub mod error;
pub mod event;
mod freed_capacity;
mod functions;
mod metrics;
mod observer;
mod retry;
pub mod scheduler;
mod store_client;
mod traces;
mod transport;
mod worker_registry;
mod worker_room;

use std::time::{Duration, Instant};

use belljar_core::id::DispatcherId;
use belljar_store::{Store, StoreEvent, Topic};
use tokio_util::sync::CancellationToken;

pub use config::{Config, RemoteConfig, Workers};
pub use error::DispatcherError;
use event::{SchedulerAction, SchedulerEvent};
pub use metrics::Metrics;
use observer::Observer;
use scheduler::Scheduler;
use store_client::StoreClient;
use transport::Transport;

/// How long the last outcomes may take on their way to the store, after the drain.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs a dispatcher until `shutdown`. Then it lets running calls finish for as long as the
/// configuration allows, gives the rest back, and leaves once the workers have their acknowledgements.
///
/// # Errors
/// The store subscription fails, or the port for workers cannot be opened. Later failures of the store
/// are retried.
pub async fn run(
    config: Config,
    store: Store,
    shutdown: CancellationToken,
) -> Result<(), DispatcherError> {
    let id = DispatcherId::random();
    let mut store_events = store.subscribe(&topics(id)).await?;
    let mut transport = Transport::start(id, config.workers, config.metrics.clone()).await?;
    let mut store_client = StoreClient::new(id, store, config.host);
    let mut scheduler = Scheduler::new(config.reserved_slots);
    let mut observer = Observer::new(config.metrics, config.traces);
    tracing::info!(dispatcher_id = %id, "dispatching");

    let mut drain_deadline = None;
    while drain_deadline.is_none()
        || !(scheduler.is_idle() && store_client.is_idle() && transport.is_idle())
    {
        store_client.send_heartbeat_if_due(&transport);
        let events = tokio::select! {
            events = transport.events() => events?,
            event = store_client.answer() => vec![event],
            event = store_events.next() => {
                handle_store_event(event, &mut store_client, &mut transport)
            }
            () = shutdown.cancelled(), if drain_deadline.is_none() => {
                tracing::info!(held = scheduler.held(), "draining");
                transport.drain(config.drain_timeout);
                let deadline = config.drain_timeout + RECORD_TIMEOUT;
                drain_deadline = Some(tokio::time::Instant::now() + deadline);
                vec![SchedulerEvent::DrainStarted]
            }
            () = until(drain_deadline) => break,
        };
        let now = Instant::now();
        observer.turn(now, scheduler.held(), || transport.workers(id, ""));
        for event in events {
            observer.event(&event);
            match &event {
                SchedulerEvent::Recorded(recorded) => transport.recorded(recorded),
                // Until the store knows its classes, submissions for them are refused.
                SchedulerEvent::WorkerJoined(_) => store_client.send_heartbeat_soon(),
                _ => {}
            }
            for action in scheduler.handle(event, now) {
                observer.action(&action);
                store_client.note_stop(&action);
                match action {
                    SchedulerAction::Send { worker, invocations } => {
                        fail::fail_point!("leased");
                        transport.send(worker, invocations);
                    }
                    SchedulerAction::Stop { worker, task } => transport.stop(worker, task),
                    SchedulerAction::Watch { worker, task, from_start } => {
                        transport.watch(worker, task, from_start);
                    }
                    action => store_client.apply(action),
                }
            }
        }
        transport.flush();
    }
    tokio::join!(store_client.retire(), transport.close());
    tracing::info!(dispatcher_id = %id, given_back = scheduler.held(), "left");
    Ok(())
}

const fn topics(id: DispatcherId) -> [Topic; 5] {
    [Topic::Work, Topic::Cancel, Topic::Watches, Topic::Drains, Topic::Deliveries(id)]
}

fn handle_store_event(
    event: StoreEvent,
    store_client: &mut StoreClient,
    transport: &mut Transport,
) -> Vec<SchedulerEvent> {
    if let StoreEvent::DrainRequested(worker) = event {
        transport.drain_worker(worker);
    }
    store_client.handle_store_event(event).into_iter().collect()
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
