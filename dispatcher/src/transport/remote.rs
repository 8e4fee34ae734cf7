//! Pull and push mode: worker processes behind a port. Moves bytes between the socket and
//! [`Sessions`], which decides.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use belljar_core::id::{DispatcherId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::limits::MAX_PAYLOAD_BYTES;
use belljar_core::message::{RejectReason, decode, encode};
use belljar_core::outcome::{Failure, FailureKind, Outcome, Report, CallVerdict};
use belljar_core::task::{TaskAttempt, TaskClass};
use belljar_store::record::{Timestamp, WorkerRecord};
use belljar_wire::{Authentication, Incoming, ListenConfig, Router, RouterSender, SendError};

use super::sessions::{Command, Sessions};
use crate::config::RemoteConfig;
use crate::error::DispatcherError;
use crate::event::Event;

/// How many messages are taken in one turn.
const MESSAGES_AT_ONCE: usize = 256;
/// How often silence is looked for within a heartbeat interval.
const TICKS_PER_HEARTBEAT: u32 = 10;

/// Worker processes.
pub(crate) struct Remote {
    router: Router,
    sender: RouterSender,
    sessions: Sessions,
    /// Whatever was served lately stays served: workers may be restarting.
    served: BTreeSet<TaskClass>,
    /// Events that came up between turns.
    events: Vec<Event>,
    tick: Duration,
    next_tick: Instant,
}

impl Remote {
    pub(crate) async fn bind(
        id: DispatcherId,
        config: RemoteConfig,
    ) -> Result<Self, DispatcherError> {
        let RemoteConfig { listen, mode, secret, heartbeat, listening } = config;
        let authentication = if secret.is_some() { Authentication::SharedSecret } else { Authentication::None };
        let router = Router::bind(ListenConfig { authentication, ..listen }).await?;
        tracing::info!(address = %router.local_addr(), %mode, "waiting for workers");
        if let Some(listening) = listening {
            // Whoever wanted to know may have left.
            let _ = listening.send(router.local_addr());
        }
        let now = Instant::now();
        let tick = heartbeat / TICKS_PER_HEARTBEAT;
        Ok(Self {
            sender: router.sender(),
            router,
            sessions: Sessions::new(id, mode, secret, heartbeat, now),
            served: BTreeSet::new(),
            events: Vec::new(),
            tick,
            next_tick: now + tick,
        })
    }

    /// Waits for something to happen. Cancel safe.
    pub(crate) async fn events(&mut self) -> Result<Vec<Event>, DispatcherError> {
        if !self.events.is_empty() {
            return Ok(std::mem::take(&mut self.events));
        }
        let timer = tokio::time::sleep_until(self.next_tick.into());
        let first = tokio::select! {
            incoming = self.router.recv() => incoming.ok_or(DispatcherError::SocketFailed)?,
            () = timer => {
                let now = Instant::now();
                self.next_tick = now + self.tick;
                return Ok(self.sessions.tick(now));
            }
        };
        let mut events = self.hear(first);
        for _ in 1..MESSAGES_AT_ONCE {
            let more = tokio::select! {
                biased;
                incoming = self.router.recv() => incoming,
                () = std::future::ready(()) => None,
            };
            let Some(incoming) = more else { break };
            events.extend(self.hear(incoming));
        }
        Ok(events)
    }

    fn hear(&mut self, incoming: Incoming) -> Vec<Event> {
        let now = Instant::now();
        let events = match incoming {
            Incoming::Message(peer, bytes) => match decode(&bytes) {
                Ok(batch) => self.sessions.hear(peer, batch, now),
                Err(error) => {
                    tracing::warn!(%peer, error = &error as &dyn std::error::Error, "bad message");
                    let gone = self.sessions.gone(peer, now);
                    self.sessions.refuse(peer, RejectReason::Malformed, "no batch of messages");
                    gone.into_iter().collect()
                }
            },
            Incoming::Disconnected(peer, reason) => {
                tracing::debug!(%peer, %reason, "connection ended");
                self.sessions.gone(peer, now).into_iter().collect()
            }
        };
        for event in &events {
            if let Event::Joined(worker) = event {
                self.served.extend(&worker.classes);
            }
        }
        events
    }

    pub(crate) fn send(&mut self, worker: WorkerId, mut invocations: Vec<Invocation>) {
        let reports: Vec<_> = invocations.iter().filter_map(too_large).collect();
        if !reports.is_empty() {
            invocations.retain(|invocation| too_large(invocation).is_none());
            self.events.push(Event::Reported { worker, reports });
        }
        self.sessions.send(worker, invocations);
    }

    pub(crate) fn stop(&mut self, worker: WorkerId, task: TaskAttempt) {
        self.sessions.stop(worker, task);
    }

    pub(crate) fn settled(&mut self, settled: &[TaskAttempt]) {
        self.sessions.settled(settled);
    }

    pub(crate) fn flush(&mut self) {
        let now = Instant::now();
        self.sessions.flush(now);
        for command in std::mem::take(&mut self.sessions.commands) {
            match command {
                Command::Admit(peer) => {
                    if let Err(error) = self.sender.admit(peer) {
                        tracing::debug!(%peer, %error, "not admitted");
                        self.events.extend(self.sessions.gone(peer, now));
                        self.sessions.refuse(peer, RejectReason::Unavailable, "too many workers");
                    }
                }
                Command::Say(peer, batch) => match self.sender.try_send(peer, encode(&batch)) {
                    // What was on it is found missing when the worker registers again.
                    Ok(()) | Err(SendError::Disconnected) => {}
                    Err(error @ (SendError::Full | SendError::TooLong { .. })) => {
                        tracing::warn!(%peer, %error, "cutting the connection");
                        self.sender.disconnect(peer);
                    }
                },
                Command::Cut(peer) => self.sender.disconnect(peer),
            }
        }
    }

    pub(crate) fn served(&self) -> Vec<TaskClass> {
        self.served.iter().copied().collect()
    }

    pub(crate) fn workers(&self, dispatcher: DispatcherId) -> Vec<WorkerRecord> {
        let record = |session: &super::session::Session| {
            let busy = u32::try_from(session.outstanding.len()).unwrap_or(u32::MAX);
            WorkerRecord {
                id: session.worker,
                dispatcher,
                mode: session.mode.to_string(),
                host: session.host.clone(),
                pid: session.pid,
                slots: session.slots,
                busy: busy.min(session.slots),
                classes: session.classes.clone(),
                guests: session.guests.clone(),
                since: Timestamp::before_now(session.joined.elapsed()),
            }
        };
        self.sessions.sessions.values().map(record).collect()
    }

    pub(crate) fn drain(&mut self) {
        self.events.extend(self.sessions.drain());
    }
}

/// How a call ends that no worker can be sent.
fn too_large(invocation: &Invocation) -> Option<Report> {
    let bytes = invocation.code_bytes() + invocation.args.len();
    (bytes > MAX_PAYLOAD_BYTES).then(|| {
        let text =
            format!("the function and its arguments of {bytes} bytes are too large to be sent");
        let failure = Failure::by_platform(FailureKind::Limit, text);
        let outcome = Outcome::bare(CallVerdict::Failed(failure), Duration::ZERO);
        Report { task: invocation.task, outcome }
    })
}
