//! Pull and push mode: worker processes behind a port. Moves bytes between the socket and
//! [`WorkerSessions`], which decides.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use belljar_core::args::{self, ArgsPiece};
use belljar_core::id::{DispatcherId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::limits::{MAX_PAYLOAD_BYTES, MAX_SENT_ARGS_BYTES, SHARED_ARGS_BYTES};
use belljar_core::message::{RejectReason, decode, encode};
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome, Report};
use belljar_core::task::{TaskAttempt, TaskClass};
use belljar_store::NamedArgs;
use belljar_store::record::{Timestamp, WorkerRecord};
use belljar_wire::{Authentication, Incoming, ListenConfig, Router, RouterSender, SendError};

use super::handshake::Handshakes;
use super::session::WorkerSession;
use super::sessions::{SocketCommand, WorkerSessions};
use crate::config::RemoteConfig;
use crate::error::DispatcherError;
use crate::event::SchedulerEvent;
use crate::metrics::Metrics;

/// How many messages one turn handles.
const MESSAGES_AT_ONCE: usize = 256;
/// How often silence is looked for within a heartbeat interval.
const TICKS_PER_HEARTBEAT: u32 = 10;

/// Worker processes.
pub(crate) struct RemoteTransport {
    router: Router,
    sender: RouterSender,
    sessions: WorkerSessions,
    /// A class that was served once stays served: its workers may be restarting.
    served: BTreeSet<TaskClass>,
    /// Events that came up between turns.
    events: Vec<SchedulerEvent>,
    /// From how many bytes on the store names arguments in files.
    named_args: Option<NamedArgs>,
    tick: Duration,
    next_tick: Instant,
    metrics: Option<Arc<Metrics>>,
}

impl RemoteTransport {
    pub(crate) async fn bind(
        id: DispatcherId,
        config: RemoteConfig,
        metrics: Option<Arc<Metrics>>,
    ) -> Result<Self, DispatcherError> {
        let RemoteConfig { listen, mode, secret, heartbeat, blobs, named_args, listening } = config;
        let authentication = match secret {
            Some(_) => Authentication::SharedSecret,
            None => Authentication::None,
        };
        let router = Router::bind(ListenConfig { authentication, ..listen }).await?;
        tracing::info!(address = %router.local_addr(), %mode, "listening for workers");
        if let Some(listening) = listening {
            // The receiver may be gone.
            let _ = listening.send(router.local_addr());
        }
        let now = Instant::now();
        let tick = heartbeat / TICKS_PER_HEARTBEAT;
        Ok(Self {
            sender: router.sender(),
            router,
            sessions: WorkerSessions::new(Handshakes::new(id, mode, secret, blobs), heartbeat, now),
            served: BTreeSet::new(),
            events: Vec::new(),
            named_args,
            tick,
            next_tick: now + tick,
            metrics,
        })
    }

    /// Waits for events. Cancel safe.
    pub(crate) async fn events(&mut self) -> Result<Vec<SchedulerEvent>, DispatcherError> {
        if !self.events.is_empty() {
            return Ok(std::mem::take(&mut self.events));
        }
        let timer = tokio::time::sleep_until(self.next_tick.into());
        let first = tokio::select! {
            incoming = self.router.recv() => incoming.ok_or(DispatcherError::SocketFailed)?,
            () = timer => {
                let now = Instant::now();
                self.next_tick = now + self.tick;
                let events = self.sessions.tick(now);
                self.name_args_by_workers(&events);
                return Ok(events);
            }
        };
        let mut events = self.handle(first);
        for _ in 1..MESSAGES_AT_ONCE {
            let more = tokio::select! {
                biased;
                incoming = self.router.recv() => incoming,
                () = std::future::ready(()) => None,
            };
            let Some(incoming) = more else { break };
            events.extend(self.handle(incoming));
        }
        self.name_args_by_workers(&events);
        Ok(events)
    }

    /// Has long arguments in files named, as long as all workers share the directory or bucket. What was claimed before a worker came that does not
    /// goes back to the store where it is that one's.
    fn name_args_by_workers(&self, events: &[SchedulerEvent]) {
        let Some(named) = &self.named_args else { return };
        let is_change = |event: &SchedulerEvent| {
            matches!(event, SchedulerEvent::WorkerJoined(..) | SchedulerEvent::WorkerLeft { .. })
        };
        if events.iter().any(is_change) {
            let share = self.sessions.iter().all(|session| session.worker.shares_blobs);
            named.set(if share { SHARED_ARGS_BYTES } else { MAX_SENT_ARGS_BYTES + 1 });
        }
    }

    fn handle(&mut self, incoming: Incoming) -> Vec<SchedulerEvent> {
        let now = Instant::now();
        if let (Some(metrics), Incoming::Message(..)) = (&self.metrics, &incoming) {
            metrics.received.inc();
        }
        let events = match incoming {
            Incoming::Message(peer, bytes) => match decode(&bytes) {
                Ok(batch) => self.sessions.handle_message(peer, batch, now),
                Err(error) => {
                    tracing::warn!(%peer, error = &error as &dyn std::error::Error, "bad message");
                    let event = self.sessions.disconnected(peer, now);
                    self.sessions.refuse(peer, RejectReason::Malformed, "the message is no batch");
                    event.into_iter().collect()
                }
            },
            Incoming::Disconnected(peer, reason) => {
                tracing::debug!(%peer, %reason, "connection ended");
                self.sessions.disconnected(peer, now).into_iter().collect()
            }
        };
        for event in &events {
            if let SchedulerEvent::WorkerJoined(worker) = event {
                self.served.extend(&worker.classes);
            }
        }
        events
    }

    pub(crate) fn send(&mut self, worker: WorkerId, mut invocations: Vec<Invocation>) {
        let has_directory = self.sessions.shares_blobs(worker);
        let shares = || has_directory;
        let is_named = |it: &Invocation| !has_directory && named_and_not_long(it);
        let tasks: Vec<_> =
            invocations.iter().filter(|it| is_named(it)).map(|it| it.task).collect();
        if !tasks.is_empty() {
            invocations.retain(|it| !tasks.contains(&it.task));
            // They come again as they are.
            self.events.push(SchedulerEvent::Returned { worker, tasks });
        }
        let reports: Vec<_> =
            invocations.iter().filter_map(|invocation| refused(invocation, shares)).collect();
        if !reports.is_empty() {
            invocations.retain(|it| reports.iter().all(|report| report.task != it.task));
            self.events.push(SchedulerEvent::Reported { worker, reports });
        }
        self.sessions.send(worker, invocations);
    }

    pub(crate) fn stop(&mut self, worker: WorkerId, task: TaskAttempt) {
        self.sessions.stop(worker, task);
    }

    pub(crate) fn watch(&mut self, worker: WorkerId, task: TaskAttempt, from_start: bool) {
        self.sessions.watch(worker, task, from_start);
    }

    pub(crate) fn drain_worker(&mut self, worker: WorkerId) {
        self.events.extend(self.sessions.drain_worker(worker));
    }

    pub(crate) fn recorded(&mut self, recorded: &[TaskAttempt]) {
        self.sessions.recorded(recorded);
    }

    pub(crate) fn flush(&mut self) {
        let now = Instant::now();
        self.sessions.flush(now);
        for command in std::mem::take(&mut self.sessions.commands) {
            match command {
                SocketCommand::Admit(peer) => {
                    if let Err(error) = self.sender.admit(peer) {
                        tracing::debug!(%peer, %error, "cannot admit the peer");
                        self.events.extend(self.sessions.disconnected(peer, now));
                        let text = "the dispatcher has its maximum number of workers";
                        self.sessions.refuse(peer, RejectReason::Unavailable, text);
                    }
                }
                SocketCommand::Send(peer, batch) => {
                    if let Some(metrics) = &self.metrics {
                        metrics.sent.inc();
                    }
                    match self.sender.try_send(peer, encode(&batch)) {
                        // What the batch contained is found missing when the worker registers again.
                        Ok(()) | Err(SendError::Disconnected) => {}
                        Err(error @ (SendError::Full | SendError::TooLong { .. })) => {
                            tracing::warn!(%peer, %error, "disconnecting the worker");
                            self.sender.disconnect(peer);
                        }
                    }
                }
                SocketCommand::Disconnect(peer) => self.sender.disconnect(peer),
            }
        }
    }

    pub(crate) fn served(&self) -> Vec<TaskClass> {
        self.served.iter().copied().collect()
    }

    pub(crate) fn workers(&self, dispatcher: DispatcherId) -> Vec<WorkerRecord> {
        let mode = self.sessions.mode();
        let record = |session: &WorkerSession| {
            let worker = &session.worker;
            let busy = u32::try_from(session.outstanding.len()).unwrap_or(u32::MAX);
            WorkerRecord {
                id: worker.id,
                dispatcher,
                mode: mode.to_string(),
                host: worker.host.clone(),
                pid: worker.pid,
                version: worker.version.clone(),
                draining: session.is_draining(),
                slots: worker.slots,
                busy: busy.min(worker.slots),
                classes: session.classes.clone(),
                guests: session.guests.clone(),
                since: Timestamp::before_now(worker.since.elapsed()),
            }
        };
        self.sessions.iter().map(record).collect()
    }

    pub(crate) fn drain(&mut self) {
        self.events.extend(self.sessions.drain());
    }

    /// Whether every worker got what it waits for before the dispatcher may leave.
    pub(crate) fn is_idle(&self) -> bool {
        self.events.is_empty() && !self.sessions.has_ready_acks()
    }

    /// Closes the port, once everything is sent.
    pub(crate) async fn close(self) {
        self.router.close().await;
    }
}

/// Whether the arguments of a call are named, and have room in a message.
fn named_and_not_long(invocation: &Invocation) -> bool {
    let pieces = || args::pieces(&invocation.args).unwrap_or_default();
    args::is_list(&invocation.args)
        && pieces().iter().map(ArgsPiece::bytes).sum::<u64>() <= MAX_SENT_ARGS_BYTES
}

/// The report of a call that cannot be sent to a worker, which may share the directory of blobs.
fn refused(invocation: &Invocation, shares_blobs: impl Fn() -> bool) -> Option<Report> {
    let args = &invocation.args;
    let bytes = invocation.code_bytes() + args.len();
    let text = if bytes > MAX_PAYLOAD_BYTES {
        format!("the function and its arguments have {bytes} bytes, too many for a message")
    } else if args::is_list(args) && !shares_blobs() {
        // One that cannot be read is the worker's to refuse.
        let pieces = args::pieces(args).unwrap_or_default();
        let bytes: u64 = pieces.iter().map(ArgsPiece::bytes).sum();
        format!(
            "the arguments have {bytes} bytes with the values that they refer to, and a message to a worker has room for \
             {MAX_SENT_ARGS_BYTES}\nhint: workers take more that have the dispatcher's directory or bucket for large \
             values, --blobs"
        )
    } else {
        return None;
    };
    let failure = Failure::by_platform(FailureKind::Limit, text);
    let outcome = Outcome::bare(CallVerdict::Failed(failure), Duration::ZERO);
    Some(Report { task: invocation.task, outcome })
}
