//! The pool of a worker process and its session: events of the pool go into the session, commands of the
//! dispatcher go to the pool.

use std::sync::Arc;
use std::time::Duration;

use belljar_core::id::WorkerId;
use belljar_core::message::{
    FromDispatcher, FromWorker, RejectReason, SessionId, WorkerRegistration,
};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::announced::Announced;
use super::config::WorkerConfig;
use super::metrics::WorkerMetrics;
use super::session::{PoolCommand, Rejected, WorkerInfo, WorkerSession};
use crate::event::PoolEvent;
use crate::pool::Pool;

/// How many of the pool's events are taken at once.
const EVENTS_AT_ONCE: usize = 256;

/// While calls wait behind those that run, the ends of so many go out together, unless they take longer
/// than this to come up. A message for each would cost both sides as much as the call did.
const GATHERED: usize = 8;
const GATHER_TIME: Duration = Duration::from_millis(1);

/// How long a worker that was told to stop and runs nothing looks for a dispatcher that takes its last
/// reports. The store queues their tasks again.
const UNREPORTED_TIMEOUT: Duration = Duration::from_millis(500);

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Nothing runs, and nothing more can be reported.
#[derive(Debug)]
pub(crate) struct NothingToDo;

/// A pool that serves a dispatcher.
pub(crate) struct WorkerClient {
    pool: Pool,
    events: mpsc::Receiver<PoolEvent>,
    /// When the pool ended, if it has: no event follows.
    over_since: Option<Instant>,
    /// When the last connection ended.
    disconnected_since: Instant,
    session: WorkerSession,
    shutdown: CancellationToken,
    drain_timeout: Duration,
    metrics: Option<Arc<WorkerMetrics>>,
}

impl WorkerClient {
    pub(crate) fn start(
        worker: WorkerId,
        config: &WorkerConfig,
        shutdown: CancellationToken,
    ) -> Self {
        let (pool, events) = Pool::start(config.pool.clone());
        let session = WorkerSession::new(WorkerInfo {
            worker,
            mode: config.mode,
            slots: config.pool.slots,
            host: config.host.clone(),
            version: config.version.clone(),
        });
        let drain_timeout = config.drain_timeout;
        let (over_since, disconnected_since) = (None, Instant::now());
        let metrics = config.metrics.clone();
        Self {
            pool,
            events,
            over_since,
            disconnected_since,
            session,
            shutdown,
            drain_timeout,
            metrics,
        }
    }

    /// The connection has ended.
    pub(crate) fn disconnected(&mut self) {
        self.disconnected_since = Instant::now();
    }

    /// Whether the worker is registered at its dispatcher.
    pub(crate) fn set_connected(&self, is_connected: bool) {
        if let Some(metrics) = &self.metrics {
            metrics.connected.set(is_connected.into());
        }
    }

    /// A message goes to the dispatcher.
    pub(crate) fn count_sent(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.sent.inc();
        }
    }

    /// Whether everything is finished and acknowledged.
    pub(crate) fn is_done(&self) -> bool {
        self.over_since.is_some() && self.session.outbox.is_empty()
    }

    /// Whether the worker takes no more tasks.
    pub(crate) fn is_draining(&self) -> bool {
        self.session.is_draining()
    }

    /// Waits until something has happened in the pool, or shutdown is asked for. Cancel safe.
    pub(crate) async fn changes(&mut self) {
        let mut events = Vec::new();
        tokio::select! {
            count = self.events.recv_many(&mut events, EVENTS_AT_ONCE), if self.over_since.is_none() => {
                self.over_since = (count == 0).then(Instant::now);
                events.into_iter().for_each(|event| self.session.take(event));
            }
            () = self.shutdown.cancelled(), if !self.session.is_draining() => self.drain(),
            else => std::future::pending().await,
        }
    }

    /// Like [`WorkerClient::changes`], and takes more of what happens as long as that keeps no slot without a
    /// call. For push: requests of pull gather by themselves, while the one before is answered.
    pub(crate) async fn gathered_changes(&mut self) {
        self.changes().await;
        let deadline = Instant::now() + GATHER_TIME;
        let mut gathered = 1;
        while gathered < GATHERED && self.pool.waiting() > self.pool.slots() {
            let Ok(Some(event)) = timeout_at(deadline, self.events.recv()).await else { break };
            self.session.take(event);
            gathered += 1;
        }
    }

    /// Does `work` without a connection while the pool goes on.
    ///
    /// # Errors
    /// The pool has ended, and there is nothing to report or no dispatcher to report to.
    pub(crate) async fn meanwhile<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, NothingToDo> {
        let mut work = std::pin::pin!(work);
        loop {
            if self.is_done() {
                return Err(NothingToDo);
            }
            let deadline = self.over_since.map(|over| over.max(self.disconnected_since));
            let deadline = deadline.map(|since| since + UNREPORTED_TIMEOUT);
            tokio::select! {
                result = &mut work => return Ok(result),
                () = self.changes() => {}
                () = until(deadline) => {
                    tracing::warn!("leaving: no dispatcher acknowledges the last reports");
                    return Err(NothingToDo);
                }
            }
        }
    }

    fn drain(&mut self) {
        if self.session.is_draining() {
            return;
        }
        tracing::info!(calls = self.pool.in_flight(), "draining");
        self.session.drain();
        let (pool, deadline) = (self.pool.clone(), self.drain_timeout);
        tokio::spawn(async move { pool.drain(deadline).await });
    }

    /// What the next connection begins with, where the directory or bucket of blobs is this one's.
    pub(crate) fn registration(&self, blobs: Option<&str>) -> WorkerRegistration {
        let blobs = blobs.map(str::to_owned);
        WorkerRegistration { blobs, ..self.session.registration(self.pool.window()) }
    }

    pub(crate) fn welcomed(
        &mut self,
        session: SessionId,
        registration: &WorkerRegistration,
    ) -> Announced {
        self.session.welcomed(session, registration)
    }

    pub(crate) fn messages(&mut self, announced: &mut Announced) -> Vec<FromWorker> {
        self.session.messages(announced, self.pool.window())
    }

    pub(crate) fn is_pressing(&self, announced: &Announced) -> bool {
        self.session.is_pressing(announced, self.pool.window())
    }

    pub(crate) fn free(&self) -> u32 {
        self.session.free(self.pool.window())
    }

    /// Does what a message of the dispatcher asks for.
    pub(crate) fn handle_message(&mut self, message: &Bytes) -> Result<(), Rejected> {
        if let Some(metrics) = &self.metrics {
            metrics.received.inc();
        }
        let batch = belljar_core::message::decode::<FromDispatcher>(message).map_err(|error| {
            let text = format!("the dispatcher sent a malformed message: {error}");
            Rejected { reason: RejectReason::Malformed, text }
        })?;
        for message in batch {
            let commands = self.session.handle_message(message)?;
            commands.into_iter().for_each(|command| self.apply(command));
        }
        Ok(())
    }

    fn apply(&mut self, command: PoolCommand) {
        match command {
            PoolCommand::Submit(invocation) => {
                let task = invocation.task;
                if let Err(refused) = self.pool.submit(*invocation) {
                    tracing::debug!(task_id = %task.task_id, reason = %refused.reason, "given back");
                    self.session.give_back(task);
                }
            }
            PoolCommand::Cancel(task) => {
                // Where the pool no longer has it, its end is on the way.
                let _ = self.pool.cancel(task);
            }
            PoolCommand::Watch(task, from_start) => self.pool.watch(task, from_start),
            PoolCommand::Drain => self.drain(),
        }
    }
}
