//! All workers of a port: who gets in, what their messages mean to the scheduler, who is lost. Pure:
//! messages and the time go in, events and commands to the socket come out.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use belljar_core::id::{DispatcherId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::message::{FromDispatcher, FromWorker, DeliveryMode, Nonce, RejectReason, Secret};
use belljar_core::task::TaskAttempt;
use belljar_wire::PeerId;

use super::session::Session;
use crate::event::Event;

/// Silence of so many heartbeats is a loss.
const MISSED: u32 = 3;
/// So is the end of all connections for so many: the process is gone, or it would be back.
const PARTED: u32 = 2;

/// What the socket shall do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Let this peer stay.
    Admit(PeerId),
    /// Tell it this.
    Say(PeerId, Vec<FromDispatcher>),
    /// End the connection, after what was said.
    Cut(PeerId),
}

/// All workers of a port.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(super) id: DispatcherId,
    pub(super) mode: DeliveryMode,
    pub(super) secret: Option<Secret>,
    pub(super) heartbeat: Duration,
    pub(super) draining: bool,
    /// Peers that have said Hello, and what each was challenged with.
    pub(super) lobby: HashMap<PeerId, Nonce>,
    pub(super) by_peer: HashMap<PeerId, WorkerId>,
    pub(crate) sessions: HashMap<WorkerId, Session>,
    /// Which batches wait for the store to take this attempt.
    awaited: HashMap<TaskAttempt, Vec<(WorkerId, u64)>>,
    /// Who may have something to be told.
    pub(super) dirty: HashSet<WorkerId>,
    pub(crate) commands: Vec<Command>,
    ticked: Instant,
}

impl Sessions {
    pub(crate) fn new(
        id: DispatcherId,
        mode: DeliveryMode,
        secret: Option<Secret>,
        heartbeat: Duration,
        now: Instant,
    ) -> Self {
        Self {
            id,
            mode,
            secret,
            heartbeat,
            draining: false,
            lobby: HashMap::new(),
            by_peer: HashMap::new(),
            sessions: HashMap::new(),
            awaited: HashMap::new(),
            dirty: HashSet::new(),
            commands: Vec::new(),
            ticked: now,
        }
    }

    /// Takes a peer's message.
    pub(crate) fn hear(
        &mut self,
        peer: PeerId,
        batch: Vec<FromWorker>,
        now: Instant,
    ) -> Vec<Event> {
        let Some(worker) = self.by_peer.get(&peer).copied() else {
            return self.hear_stranger(peer, batch, now);
        };
        let Some(session) = self.sessions.get_mut(&worker) else { return Vec::new() };
        session.hear(peer, now);
        let mut events = Vec::new();
        let (mut free, mut leaves) = (None, false);
        for message in batch {
            match message {
                FromWorker::Request { free: more } => free = Some(more),
                FromWorker::Bye => leaves = true,
                FromWorker::Hello { .. } | FromWorker::Register { .. } => {
                    self.gone(peer, now);
                    self.refuse(peer, RejectReason::Malformed, "registered already");
                    return events;
                }
                message => self.heed(worker, message, &mut events),
            }
        }
        if leaves {
            events.extend(self.leave(worker, peer));
        } else if let Some(session) = self.sessions.get_mut(&worker) {
            if session.mode == DeliveryMode::Pull {
                events.extend(returned(worker, session.ask(peer, free, now)));
            }
            self.dirty.insert(worker);
        }
        events
    }

    fn heed(&mut self, worker: WorkerId, message: FromWorker, events: &mut Vec<Event>) {
        let Some(session) = self.sessions.get_mut(&worker) else { return };
        match message {
            FromWorker::Reports { sequence, reports } => {
                let tasks = reports.iter().map(|report| report.task).collect();
                if self.await_settling(worker, sequence, tasks) {
                    events.push(Event::Reported { worker, reports });
                }
            }
            FromWorker::Returned { sequence, tasks } => {
                if self.await_settling(worker, sequence, tasks.clone()) {
                    events.extend(returned(worker, tasks));
                }
            }
            FromWorker::InFlight(held) => events.extend(returned(worker, session.compare(&held))),
            FromWorker::Window(window) => {
                session.set_window(window);
                events.push(resized(session));
            }
            FromWorker::Classes(classes) => {
                session.classes = classes;
                session.give_turn();
                events.push(Event::Joined(session.as_worker()));
            }
            FromWorker::Guests(guests) => session.guests = guests,
            FromWorker::Evicted(code) => session.forget(&code),
            FromWorker::Draining => {
                session.draining = true;
                let unsent = session.take_waiting(0);
                events.push(resized(session));
                events.extend(returned(worker, unsent));
            }
            FromWorker::Heartbeat
            | FromWorker::Request { .. }
            | FromWorker::Bye
            | FromWorker::Hello { .. }
            | FromWorker::Register { .. } => {}
        }
    }

    /// Notes a batch that is to be acknowledged once the store has all of it; `false` where it is on
    /// its way there already.
    fn await_settling(
        &mut self,
        worker: WorkerId,
        sequence: u64,
        mut tasks: Vec<TaskAttempt>,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&worker) else { return false };
        tasks.iter().for_each(|task| session.answered(*task));
        // Said twice in a batch, a task is settled once.
        tasks.sort_unstable();
        tasks.dedup();
        if tasks.is_empty() {
            session.acknowledge(sequence);
            return false;
        }
        if session.settling.contains_key(&sequence) {
            return false;
        }
        session.settling.insert(sequence, tasks.len());
        for task in tasks {
            self.awaited.entry(task).or_default().push((worker, sequence));
        }
        true
    }

    fn leave(&mut self, worker: WorkerId, peer: PeerId) -> Option<Event> {
        let mut session = self.sessions.remove(&worker)?;
        let mut last: Vec<_> = session.take_acks().into_iter().collect();
        last.push(FromDispatcher::Heartbeat);
        if session.mode == DeliveryMode::Pull {
            self.commands.push(Command::Say(peer, last));
        }
        for line in &session.lines {
            self.by_peer.remove(&line.peer);
            self.commands.push(Command::Cut(line.peer));
        }
        tracing::info!(worker_id = %worker, host = session.host, "worker left");
        Some(Event::Left { worker, reason: "it left with the call unanswered".to_owned() })
    }

    /// A connection has ended. The worker has until its heartbeats are missed to come back.
    pub(crate) fn gone(&mut self, peer: PeerId, now: Instant) -> Option<Event> {
        self.lobby.remove(&peer);
        let session = self.sessions.get_mut(&self.by_peer.remove(&peer)?)?;
        session.detach(peer, now);
        session.lines.is_empty().then(|| resized(session))
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Event> {
        // Where this process has not run for a while, the silence is its own.
        let slept = now - self.ticked > self.heartbeat;
        self.ticked = now;
        let mut lost = Vec::new();
        let absence = self.heartbeat * PARTED;
        for (worker, session) in &mut self.sessions {
            if slept {
                session.heard = now;
                session.parted = session.parted.map(|_| now);
            }
            let gone = session.parted.is_some_and(|since| now - since >= absence);
            if gone || now - session.heard >= self.heartbeat * MISSED {
                lost.push(*worker);
            } else if session.tick(self.heartbeat, now) {
                self.dirty.insert(*worker);
            }
        }
        let lost = lost.into_iter();
        lost.filter_map(|worker| self.lose(worker)).collect()
    }

    fn lose(&mut self, worker: WorkerId) -> Option<Event> {
        let session = self.sessions.remove(&worker)?;
        for line in &session.lines {
            self.by_peer.remove(&line.peer);
        }
        let reason = if session.parted.is_some() {
            let absence = self.heartbeat * PARTED;
            format!("its connection ended and it did not return within {absence:?}")
        } else {
            format!("it was silent for {:?}", self.heartbeat * MISSED)
        };
        tracing::warn!(
            worker_id = %worker, host = session.host, calls = session.outstanding.len(),
            "worker lost: {reason}"
        );
        Some(Event::Left { worker, reason })
    }

    pub(crate) fn send(&mut self, worker: WorkerId, invocations: Vec<Invocation>) {
        // One that has just been lost is said to be so in an event on its way.
        let Some(session) = self.sessions.get_mut(&worker) else { return };
        session.send(invocations);
        self.dirty.insert(worker);
    }

    pub(crate) fn stop(&mut self, worker: WorkerId, task: TaskAttempt) {
        let Some(session) = self.sessions.get_mut(&worker) else { return };
        session.stop(task);
        self.dirty.insert(worker);
    }

    /// The store has taken what was said of these attempts.
    pub(crate) fn settled(&mut self, settled: &[TaskAttempt]) {
        for task in settled {
            let batches = self.awaited.remove(task);
            for (worker, sequence) in batches.into_iter().flatten() {
                let Some(session) = self.sessions.get_mut(&worker) else { continue };
                let Some(left) = session.settling.get_mut(&sequence) else { continue };
                *left -= 1;
                if *left == 0 {
                    session.acknowledge(sequence);
                    self.dirty.insert(worker);
                }
            }
        }
    }

    /// Gives no more work out, and takes back what is not on its way.
    pub(crate) fn drain(&mut self) -> Vec<Event> {
        self.draining = true;
        let unsent = |session: &mut Session| returned(session.worker, session.take_waiting(0));
        self.sessions.values_mut().filter_map(unsent).collect()
    }

    /// Turns what is to be told into commands.
    pub(crate) fn flush(&mut self, now: Instant) {
        for worker in std::mem::take(&mut self.dirty) {
            let Some(session) = self.sessions.get_mut(&worker) else { continue };
            while let Some((peer, batch)) = session.next_message(self.heartbeat, now) {
                self.commands.push(Command::Say(peer, batch));
            }
        }
    }
}

fn resized(session: &Session) -> Event {
    Event::Resized { worker: session.worker, window: session.as_worker().window }
}

/// Tasks of a worker that it will not begin.
fn returned(worker: WorkerId, tasks: Vec<TaskAttempt>) -> Option<Event> {
    (!tasks.is_empty()).then_some(Event::Returned { worker, tasks })
}
