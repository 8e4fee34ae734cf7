//! The ways to workers: a pool in this process, or worker processes behind a port. The main loop gets
//! events from either and tells it what to do.
//!
//! # Layout
//!
//! * `local`: the pool.
//! * `remote`: the port; moves bytes between the socket and `sessions`.
//! * `sessions`: all workers of the port; pure.
//! * `handshake`: authenticates new connections.
//! * `session`: one worker.
//! * `outstanding`: the attempts that it has not answered.
//! * `acks`: the acknowledgements that it waits for.
//! * `link`: its connections, as far as push and pull agree.
//! * `push`, `pull`: where they differ.

mod acks;
mod handshake;
mod link;
pub(crate) mod local;
mod outstanding;
mod pull;
mod push;
pub(crate) mod remote;
mod session;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use belljar_core::id::{DispatcherId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::task::{TaskAttempt, TaskClass};
use belljar_store::record::WorkerRecord;

use crate::config::Workers;
use crate::error::DispatcherError;
use crate::event::SchedulerEvent;
use crate::metrics::Metrics;
use local::LocalTransport;
use remote::RemoteTransport;

/// The way to the workers of this dispatcher.
pub(crate) enum Transport {
    /// A pool in this process.
    Local(Box<LocalTransport>),
    /// Worker processes.
    Remote(Box<RemoteTransport>),
}

impl Transport {
    pub(crate) async fn start(
        id: DispatcherId,
        workers: Workers,
        metrics: Option<Arc<Metrics>>,
    ) -> Result<Self, DispatcherError> {
        Ok(match workers {
            Workers::Local(pool) => Self::Local(Box::new(LocalTransport::start(pool))),
            Workers::Remote(config) => {
                Self::Remote(Box::new(RemoteTransport::bind(id, *config, metrics).await?))
            }
        })
    }

    /// Waits for events. Cancel safe.
    pub(crate) async fn events(&mut self) -> Result<Vec<SchedulerEvent>, DispatcherError> {
        match self {
            Self::Local(local) => Ok(local.events().await),
            Self::Remote(remote) => remote.events().await,
        }
    }

    /// Hands calls to a worker. An event says which of them do not get there.
    pub(crate) fn send(&mut self, worker: WorkerId, invocations: Vec<Invocation>) {
        match self {
            Self::Local(local) => local.send(invocations),
            Self::Remote(remote) => remote.send(worker, invocations),
        }
    }

    pub(crate) fn stop(&mut self, worker: WorkerId, task: TaskAttempt) {
        match self {
            Self::Local(local) => local.stop(task),
            Self::Remote(remote) => remote.stop(worker, task),
        }
    }

    /// Tells a worker that a call is watched.
    pub(crate) fn watch(&mut self, worker: WorkerId, task: TaskAttempt, from_start: bool) {
        match self {
            Self::Local(local) => local.watch(task, from_start),
            Self::Remote(remote) => remote.watch(worker, task, from_start),
        }
    }

    /// Takes a worker out of service, if it is one of these.
    pub(crate) fn drain_worker(&mut self, worker: WorkerId) {
        match self {
            // The one that there is leaves with its dispatcher.
            Self::Local(_) => {}
            Self::Remote(remote) => remote.drain_worker(worker),
        }
    }

    /// The store has recorded what became of these attempts: the worker need not repeat it.
    pub(crate) fn recorded(&mut self, recorded: &[TaskAttempt]) {
        match self {
            Self::Local(_) => {}
            Self::Remote(remote) => remote.recorded(recorded),
        }
    }

    /// Sends what one turn of the main loop has collected.
    pub(crate) fn flush(&mut self) {
        match self {
            Self::Local(_) => {}
            Self::Remote(remote) => remote.flush(),
        }
    }

    /// The classes that are served: submissions for other classes are refused.
    pub(crate) fn served(&self) -> Vec<TaskClass> {
        match self {
            Self::Local(local) => local.served().to_vec(),
            Self::Remote(remote) => remote.served(),
        }
    }

    pub(crate) fn workers(&self, dispatcher: DispatcherId, host: &str) -> Vec<WorkerRecord> {
        match self {
            Self::Local(local) => local.workers(dispatcher, host),
            Self::Remote(remote) => remote.workers(dispatcher),
        }
    }

    /// Gives out no more tasks and lets running calls end for up to `deadline`. Events say what becomes
    /// of them.
    pub(crate) fn drain(&mut self, deadline: Duration) {
        match self {
            Self::Local(local) => local.drain(deadline),
            Self::Remote(remote) => remote.drain(),
        }
    }

    /// Whether nothing is left to be sent to workers.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Remote(remote) => remote.is_idle(),
        }
    }

    /// Closes the way to the workers, once everything is sent.
    pub(crate) async fn close(self) {
        match self {
            Self::Local(_) => {}
            Self::Remote(remote) => remote.close().await,
        }
    }
}
