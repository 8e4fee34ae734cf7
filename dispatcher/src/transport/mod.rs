//! The ways to workers: a pool in this process, or worker processes behind a port. The main loop
//! hears events from either and tells it what to do.
//!
//! # Layout
//!
//! * `local`: the pool. * `remote`: the port; moves bytes between the socket and `sessions`.
//! * `sessions`: all workers of the port, pure. `gate`: who gets in. `session`: one worker. `line`: one
//!   of its connections.

mod gate;
mod line;
pub(crate) mod local;
pub(crate) mod remote;
mod session;
mod sessions;

use std::time::Duration;

use belljar_core::id::{DispatcherId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::task::{TaskAttempt, TaskClass};
use belljar_store::record::WorkerRecord;

use crate::config::Workers;
use crate::error::DispatcherError;
use crate::event::Event;
use local::Local;
use remote::Remote;

/// The way to the workers of this dispatcher.
pub(crate) enum Transport {
    /// A pool in this process.
    Local(Box<Local>),
    /// Worker processes.
    Remote(Box<Remote>),
}

impl Transport {
    pub(crate) async fn start(id: DispatcherId, workers: Workers) -> Result<Self, DispatcherError> {
        Ok(match workers {
            Workers::Local(pool) => Self::Local(Box::new(Local::start(pool))),
            Workers::Remote(config) => Self::Remote(Box::new(Remote::bind(id, *config).await?)),
        })
    }

    /// Waits for something to happen. Cancel safe.
    pub(crate) async fn events(&mut self) -> Result<Vec<Event>, DispatcherError> {
        match self {
            Self::Local(local) => Ok(local.events().await),
            Self::Remote(remote) => remote.events().await,
        }
    }

    /// Hands calls to a worker; those that do not get there are heard of as returned or lost.
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

    /// The store has taken what was said of these attempts: whoever said it need not repeat it.
    pub(crate) fn settled(&mut self, settled: &[TaskAttempt]) {
        match self {
            Self::Local(_) => {}
            Self::Remote(remote) => remote.settled(settled),
        }
    }

    /// The end of one turn of the main loop: what was collected during it goes out.
    pub(crate) fn flush(&mut self) {
        match self {
            Self::Local(_) => {}
            Self::Remote(remote) => remote.flush(),
        }
    }

    /// What is served: submissions for anything else are refused.
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

    /// Gives no more work out and lets running calls end for up to `deadline`. What becomes of them
    /// is heard as events.
    pub(crate) fn drain(&mut self, deadline: Duration) {
        match self {
            Self::Local(local) => local.drain(deadline),
            Self::Remote(remote) => remote.drain(),
        }
    }
}
