//! The workers of a port: what their messages mean to the scheduler, and which are lost. Pure: messages
//! and the time go in, events and commands for the socket come out.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use belljar_core::id::WorkerId;
use belljar_core::invocation::Invocation;
use belljar_core::message::{DeliveryMode, FromDispatcher, FromWorker, RejectReason};
use belljar_core::task::TaskAttempt;
use belljar_wire::PeerId;

use super::handshake::{Authenticated, Handshakes, Step};
use super::session::WorkerSession;
use crate::event::SchedulerEvent;

/// What the socket must do.
#[derive(Debug)]
pub(crate) enum SocketCommand {
    /// Let this peer stay.
    Admit(PeerId),
    /// Send it this batch.
    Send(PeerId, Vec<FromDispatcher>),
    /// Close its connection, once everything is sent.
    Disconnect(PeerId),
}

/// Whether new workers are welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// The dispatcher is leaving. Workers that it gave tasks to may still report.
    Draining,
}

/// The workers of a port.
#[derive(Debug)]
pub(crate) struct WorkerSessions {
    heartbeat: Duration,
    handshakes: Handshakes,
    phase: Phase,
    by_peer: HashMap<PeerId, WorkerId>,
    sessions: HashMap<WorkerId, WorkerSession>,
    /// Which batches wait until the store has recorded this attempt.
    awaited: HashMap<TaskAttempt, Vec<(WorkerId, u64)>>,
    /// The workers that may have to be told something.
    dirty: HashSet<WorkerId>,
    pub(crate) commands: Vec<SocketCommand>,
    last_tick: Instant,
}

impl WorkerSessions {
    pub(crate) fn new(handshakes: Handshakes, heartbeat: Duration, now: Instant) -> Self {
        Self {
            heartbeat,
            handshakes,
            phase: Phase::Serving,
            by_peer: HashMap::new(),
            sessions: HashMap::new(),
            awaited: HashMap::new(),
            dirty: HashSet::new(),
            commands: Vec::new(),
            last_tick: now,
        }
    }

    pub(crate) const fn mode(&self) -> DeliveryMode {
        self.handshakes.mode
    }

    /// Whether a worker shares the directory of blobs.
    pub(crate) fn shares_blobs(&self, worker: WorkerId) -> bool {
        self.sessions.get(&worker).is_some_and(|session| session.worker.shares_blobs)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &WorkerSession> {
        self.sessions.values()
    }

    /// Handles a peer's message.
    pub(crate) fn handle_message(
        &mut self,
        peer: PeerId,
        batch: Vec<FromWorker>,
        now: Instant,
    ) -> Vec<SchedulerEvent> {
        let Some(worker) = self.by_peer.get(&peer).copied() else {
            return self.handle_handshake(peer, batch, now);
        };
        let Some(session) = self.sessions.get_mut(&worker) else { return Vec::new() };
        session.on_message(peer, now);
        let mut events = Vec::new();
        let mut free = None;
        for message in batch {
            match message {
                FromWorker::Request { free: more } => free = Some(more),
                FromWorker::Bye => {
                    events.extend(self.leave(worker, peer));
                    return events;
                }
                FromWorker::Hello { .. } | FromWorker::Register { .. } => {
                    self.disconnected(peer, now);
                    self.refuse(peer, RejectReason::Malformed, "the worker is already registered");
                    return events;
                }
                message => self.apply(worker, message, &mut events),
            }
        }
        if let Some(session) = self.sessions.get_mut(&worker) {
            events.extend(returned(worker, session.on_message_end(peer, free, now)));
            self.dirty.insert(worker);
        }
        events
    }

    fn handle_handshake(
        &mut self,
        peer: PeerId,
        batch: Vec<FromWorker>,
        now: Instant,
    ) -> Vec<SchedulerEvent> {
        match self.handshakes.handle(peer, batch) {
            Step::Challenge(challenge) => {
                self.commands.push(SocketCommand::Send(peer, vec![challenge]));
                Vec::new()
            }
            Step::Register(worker) => self.register(peer, &worker, now).into_iter().collect(),
            Step::Refuse(reason, text) => {
                self.refuse(peer, reason, &text);
                Vec::new()
            }
        }
    }

    fn register(
        &mut self,
        peer: PeerId,
        worker: &Authenticated,
        now: Instant,
    ) -> Option<SchedulerEvent> {
        let registration = &worker.registration;
        let id = registration.worker;
        // A worker that has tasks of this dispatcher may still report them.
        if self.phase == Phase::Draining && !self.sessions.contains_key(&id) {
            self.refuse(peer, RejectReason::Unavailable, "the dispatcher is leaving");
            return None;
        }
        let new = || WorkerSession::new(registration, now);
        let session = self.sessions.entry(id).or_insert_with(new);
        let replaced = session.attach(peer, registration, now);
        tracing::info!(
            worker_id = %id, host = session.worker.host, mode = %self.handshakes.mode,
            slots = session.worker.slots, "worker registered"
        );
        let heartbeat_ms = u32::try_from(self.heartbeat.as_millis()).unwrap_or(u32::MAX);
        let welcome = self.handshakes.welcome(worker, session.id, heartbeat_ms);
        let joined = SchedulerEvent::WorkerJoined(session.capacity());
        self.by_peer.insert(peer, id);
        self.dirty.insert(id);
        for old in replaced {
            self.by_peer.remove(&old);
            self.commands.push(SocketCommand::Disconnect(old));
        }
        self.commands.push(SocketCommand::Admit(peer));
        self.commands.push(SocketCommand::Send(peer, vec![welcome]));
        Some(joined)
    }

    pub(crate) fn refuse(&mut self, peer: PeerId, reason: RejectReason, text: &str) {
        tracing::debug!(%peer, ?reason, "refused: {text}");
        self.handshakes.forget(peer);
        let refused = FromDispatcher::Rejected { reason, text: text.to_owned() };
        self.commands.push(SocketCommand::Send(peer, vec![refused]));
        self.commands.push(SocketCommand::Disconnect(peer));
    }

    fn apply(&mut self, worker: WorkerId, message: FromWorker, events: &mut Vec<SchedulerEvent>) {
        let Some(session) = self.sessions.get_mut(&worker) else { return };
        match message {
            FromWorker::Reports { sequence, reports } => {
                let tasks = reports.iter().map(|report| report.task).collect();
                if self.expect_recording(worker, sequence, tasks) {
                    events.push(SchedulerEvent::Reported { worker, reports });
                }
            }
            FromWorker::Returned { sequence, tasks } => {
                if self.expect_recording(worker, sequence, tasks.clone()) {
                    events.extend(returned(worker, tasks));
                }
            }
            FromWorker::InFlight(held) => {
                events.extend(returned(worker, session.outstanding.take_missing(&held)));
            }
            FromWorker::Window(window) => {
                session.set_window(window);
                events.push(window_changed(session));
            }
            FromWorker::Classes(classes) => {
                session.set_classes(classes);
                events.push(SchedulerEvent::WorkerJoined(session.capacity()));
            }
            FromWorker::Guests(guests) => session.guests = guests,
            FromWorker::Evicted(code) => session.evict(&code),
            FromWorker::Live(updates) => events.push(SchedulerEvent::Live { worker, updates }),
            FromWorker::Draining => {
                let unsent = session.drain();
                events.push(window_changed(session));
                events.extend(returned(worker, unsent));
            }
            FromWorker::Heartbeat
            | FromWorker::Request { .. }
            | FromWorker::Bye
            | FromWorker::Hello { .. }
            | FromWorker::Register { .. } => {}
        }
    }

    /// Notes a batch that is acknowledged once the store has recorded all of it. `false` if it is on its
    /// way to the store already.
    fn expect_recording(
        &mut self,
        worker: WorkerId,
        sequence: u64,
        mut tasks: Vec<TaskAttempt>,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&worker) else { return false };
        tasks.iter().for_each(|task| session.outstanding.remove(*task));
        // A task that is twice in a batch is recorded once.
        tasks.sort_unstable();
        tasks.dedup();
        if tasks.is_empty() {
            session.acks.acknowledge(sequence);
            return false;
        }
        if !session.acks.expect(sequence, tasks.len()) {
            return false;
        }
        for task in tasks {
            self.awaited.entry(task).or_default().push((worker, sequence));
        }
        true
    }

    fn leave(&mut self, worker: WorkerId, peer: PeerId) -> Option<SchedulerEvent> {
        let mut session = self.sessions.remove(&worker)?;
        if session.link.expects_farewell() {
            let mut last: Vec<_> = session.acks.take().into_iter().collect();
            last.push(FromDispatcher::Heartbeat);
            self.commands.push(SocketCommand::Send(peer, last));
        }
        for peer in session.link.peers() {
            self.by_peer.remove(&peer);
            self.commands.push(SocketCommand::Disconnect(peer));
        }
        tracing::info!(worker_id = %worker, host = session.worker.host, "worker left");
        let reason = "it left without reporting the call".to_owned();
        Some(SchedulerEvent::WorkerLeft { worker, reason })
    }

    /// A connection has ended. The worker may come back until it counts as lost.
    pub(crate) fn disconnected(&mut self, peer: PeerId, now: Instant) -> Option<SchedulerEvent> {
        self.handshakes.forget(peer);
        let session = self.sessions.get_mut(&self.by_peer.remove(&peer)?)?;
        session.detach(peer, now);
        (!session.link.is_connected()).then(|| window_changed(session))
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<SchedulerEvent> {
        // If this process did not run for a while, the silence is its own.
        let was_suspended = now - self.last_tick > self.heartbeat;
        self.last_tick = now;
        let mut lost = Vec::new();
        for (worker, session) in &mut self.sessions {
            if was_suspended {
                session.excuse_silence(now);
            }
            if let Some(loss) = session.loss(self.heartbeat, now) {
                lost.push((*worker, loss.to_string()));
            } else if session.tick(self.heartbeat, now) {
                self.dirty.insert(*worker);
            }
        }
        let lost = lost.into_iter();
        lost.filter_map(|(worker, reason)| self.lose(worker, reason)).collect()
    }

    fn lose(&mut self, worker: WorkerId, reason: String) -> Option<SchedulerEvent> {
        let session = self.sessions.remove(&worker)?;
        for peer in session.link.peers() {
            self.by_peer.remove(&peer);
        }
        tracing::warn!(
            worker_id = %worker, host = session.worker.host, calls = session.outstanding.len(),
            "worker lost: {reason}"
        );
        Some(SchedulerEvent::WorkerLeft { worker, reason })
    }

    pub(crate) fn send(&mut self, worker: WorkerId, invocations: Vec<Invocation>) {
        // The loss of a worker is in an event that the scheduler has not handled yet.
        let Some(session) = self.sessions.get_mut(&worker) else { return };
        session.send(invocations);
        self.dirty.insert(worker);
    }

    pub(crate) fn stop(&mut self, worker: WorkerId, task: TaskAttempt) {
        let Some(session) = self.sessions.get_mut(&worker) else { return };
        session.stop(task);
        self.dirty.insert(worker);
    }

    pub(crate) fn watch(&mut self, worker: WorkerId, task: TaskAttempt, from_start: bool) {
        let Some(session) = self.sessions.get_mut(&worker) else { return };
        session.watch(task, from_start);
        self.dirty.insert(worker);
    }

    /// Takes a worker out of service: it gets no more tasks, and is told to leave.
    pub(crate) fn drain_worker(&mut self, worker: WorkerId) -> Vec<SchedulerEvent> {
        let Some(session) = self.sessions.get_mut(&worker) else { return Vec::new() };
        tracing::info!(worker_id = %worker, host = session.worker.host, "the worker is asked to leave");
        let unsent = session.ask_to_leave();
        self.dirty.insert(worker);
        let mut events = vec![window_changed(session)];
        events.extend(returned(worker, unsent));
        events
    }

    /// The store has recorded what became of these attempts.
    pub(crate) fn recorded(&mut self, recorded: &[TaskAttempt]) {
        for task in recorded {
            let batches = self.awaited.remove(task);
            for (worker, sequence) in batches.into_iter().flatten() {
                let Some(session) = self.sessions.get_mut(&worker) else { continue };
                if session.acks.recorded(sequence) {
                    self.dirty.insert(worker);
                }
            }
        }
    }

    /// Whether a connected worker waits for an acknowledgement that is ready.
    pub(crate) fn has_ready_acks(&self) -> bool {
        let mut sessions = self.sessions.values();
        sessions.any(|session| session.link.is_connected() && session.acks.is_ready())
    }

    /// Gives out no more tasks, and takes back those that are not on their way.
    pub(crate) fn drain(&mut self) -> Vec<SchedulerEvent> {
        self.phase = Phase::Draining;
        self.dirty.extend(self.sessions.keys());
        let take_back = |session: &mut WorkerSession| {
            session.acks.send_at_once();
            returned(session.worker.id, session.take_back(0))
        };
        self.sessions.values_mut().filter_map(take_back).collect()
    }

    /// Turns what the workers must be told into commands.
    pub(crate) fn flush(&mut self, now: Instant) {
        for worker in std::mem::take(&mut self.dirty) {
            let Some(session) = self.sessions.get_mut(&worker) else { continue };
            while let Some((peer, batch)) = session.next_message(self.heartbeat, now) {
                self.commands.push(SocketCommand::Send(peer, batch));
            }
        }
    }
}

fn window_changed(session: &WorkerSession) -> SchedulerEvent {
    SchedulerEvent::WindowChanged { worker: session.worker.id, window: session.capacity().window }
}

/// The event for tasks that a worker will not begin, if there are any.
fn returned(worker: WorkerId, tasks: Vec<TaskAttempt>) -> Option<SchedulerEvent> {
    (!tasks.is_empty()).then_some(SchedulerEvent::Returned { worker, tasks })
}
