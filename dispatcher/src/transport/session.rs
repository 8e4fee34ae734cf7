//! What a dispatcher remembers of one worker: what it was sent and has not answered for, which code it
//! has, and what it shall be told next. Pure: no socket, no clock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use belljar_core::guest::GuestModules;
use belljar_core::id::WorkerId;
use belljar_core::invocation::Invocation;
use belljar_core::limits::BATCH_BYTES;
use belljar_core::message::{FromDispatcher, DeliveryMode, WorkerRegistration, SessionId};
use belljar_core::task::{CodeHash, TaskAttempt, TaskClass};
use belljar_wire::PeerId;

use super::line::{Line, Reply};
use crate::event::NewWorker;

/// So many acknowledgements wait for a message to ride with, and only until the next tick.
const MOST_WAITING_ACKS: usize = 64;
/// The largest window that is believed.
const MOST_AT_ONCE: u32 = 65_536;

/// One worker.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) worker: WorkerId,
    pub(crate) mode: DeliveryMode,
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) slots: u32,
    pub(crate) classes: Vec<TaskClass>,
    /// What its guests of the sandbox lack.
    pub(crate) guests: Vec<GuestModules>,
    window: u32,
    pub(crate) draining: bool,
    /// Its connections, the oldest first.
    pub(crate) lines: Vec<Line>,
    pub(crate) joined: Instant,
    pub(crate) heard: Instant,
    said: Instant,
    /// Since when there has been no connection.
    pub(crate) parted: Option<Instant>,
    /// What it has or will get, and has not answered for.
    pub(crate) outstanding: HashSet<TaskAttempt>,
    /// Those of `outstanding` that may have been lost with a connection.
    doubtful: HashSet<TaskAttempt>,
    /// Those of `outstanding` that it was told to stop.
    stopped: HashSet<TaskAttempt>,
    known: HashSet<CodeHash>,
    /// Calls that are not on their way yet.
    waiting: VecDeque<Invocation>,
    stops: Vec<TaskAttempt>,
    acks: Vec<u64>,
    /// They have waited for something to ride with, in vain.
    acks_are_due: bool,
    /// How many more calls a pull worker takes.
    free: usize,
    /// The batches of reports on their way to the store, and how many of each are not there yet.
    pub(crate) settling: HashMap<u64, usize>,
}

impl Session {
    pub(crate) fn new(registration: &WorkerRegistration, now: Instant) -> Self {
        Self {
            id: SessionId::random(),
            worker: registration.worker,
            mode: registration.mode,
            host: registration.host.clone(),
            pid: registration.pid,
            slots: registration.slots,
            classes: Vec::new(),
            guests: Vec::new(),
            window: 0,
            draining: false,
            lines: Vec::new(),
            joined: now,
            heard: now,
            said: now,
            parted: None,
            outstanding: HashSet::new(),
            doubtful: HashSet::new(),
            stopped: HashSet::new(),
            known: HashSet::new(),
            waiting: VecDeque::new(),
            stops: Vec::new(),
            acks: Vec::new(),
            acks_are_due: false,
            free: 0,
            settling: HashMap::new(),
        }
    }

    /// As the scheduler is told of it: without a connection, without classes or when it leaves it
    /// takes nothing.
    pub(crate) fn as_worker(&self) -> NewWorker {
        let takes_none = self.draining || self.lines.is_empty() || self.classes.is_empty();
        let window = if takes_none { 0 } else { self.window as usize };
        let slots = self.slots as usize;
        NewWorker { id: self.worker, classes: self.classes.clone(), slots, window }
    }

    pub(crate) fn set_window(&mut self, window: u32) {
        self.window = window.min(MOST_AT_ONCE);
    }

    /// Takes a registered connection in. Answers with the connections that it replaces.
    pub(crate) fn attach(
        &mut self,
        peer: PeerId,
        registration: &WorkerRegistration,
        now: Instant,
    ) -> Vec<PeerId> {
        let most = match self.mode {
            DeliveryMode::Push => 1,
            DeliveryMode::Pull => 2,
        };
        let mut replaced = Vec::new();
        if registration.session != Some(self.id) {
            // The worker has lost the session: its code is gone, and so are its connections.
            self.id = SessionId::random();
            self.known.clear();
            replaced.extend(self.lines.iter().map(|line| line.peer));
        } else {
            let surplus = (self.lines.len() + 1).saturating_sub(most);
            replaced.extend(self.lines.iter().take(surplus).map(|line| line.peer));
        }
        replaced.iter().for_each(|peer| self.detach(*peer, now));
        // A wish to stop may have been lost as well.
        self.stops = self.stopped.iter().copied().collect();
        self.lines.push(Line::new(peer));
        self.classes.clone_from(&registration.classes);
        self.set_window(registration.window);
        (self.heard, self.said, self.parted) = (now, now, None);
        replaced
    }

    /// The worker says what it has. Answers with the tasks that never arrived.
    pub(crate) fn compare(&mut self, held: &[TaskAttempt]) -> Vec<TaskAttempt> {
        let held: HashSet<_> = held.iter().copied().collect();
        let missing: Vec<_> = self.doubtful.drain().filter(|task| !held.contains(task)).collect();
        missing.iter().for_each(|task| self.answered(*task));
        missing
    }

    /// A connection is no more; what was on it may not have arrived.
    pub(crate) fn detach(&mut self, peer: PeerId, now: Instant) {
        let Some(place) = self.lines.iter().position(|line| line.peer == peer) else { return };
        let line = self.lines.remove(place);
        let unconfirmed = line.unconfirmed.into_iter();
        self.doubtful.extend(unconfirmed.filter(|task| self.outstanding.contains(task)));
        if self.lines.is_empty() {
            self.parted = Some(now);
            self.waiting.clear();
            self.doubtful.extend(&self.outstanding);
        }
    }

    /// The worker has spoken on this connection.
    pub(crate) fn hear(&mut self, peer: PeerId, now: Instant) {
        self.heard = now;
        if let Some(line) = self.lines.iter_mut().find(|line| line.peer == peer) {
            line.unconfirmed.clear();
        }
    }

    /// A pull worker waits for a reply on this connection: for work, if it says how many `free` slots
    /// it has, or else for any answer. Answers with the tasks that it no longer has room for.
    pub(crate) fn ask(
        &mut self,
        peer: PeerId,
        free: Option<u32>,
        now: Instant,
    ) -> Vec<TaskAttempt> {
        if let Some(line) = self.lines.iter_mut().find(|line| line.peer == peer) {
            line.reply = if free.is_some() { Reply::Waits(now) } else { Reply::Now };
        }
        let Some(free) = free else { return Vec::new() };
        // Else it could not say what becomes of its calls until the next heartbeat.
        let will_be_its_turn = !self.settling.is_empty() || !self.acks.is_empty();
        if !self.can_speak()
            && !will_be_its_turn
            && let Some(place) = self.longest_waiting()
        {
            self.lines[place].reply = Reply::Now;
        }
        self.free = free.min(MOST_AT_ONCE) as usize;
        self.take_waiting(self.free)
    }

    /// Gives a pull worker its turn wherever it waits: what it has just said of itself may soon change again,
    /// and with both connections held it could not say so.
    pub(crate) fn give_turn(&mut self) {
        for line in &mut self.lines {
            if matches!(line.reply, Reply::Waits(_)) {
                line.reply = Reply::Now;
            }
        }
    }

    /// The calls behind the first `keep` that are not on their way yet: they will not be.
    pub(crate) fn take_waiting(&mut self, keep: usize) -> Vec<TaskAttempt> {
        let surplus = self.waiting.split_off(keep.min(self.waiting.len()));
        let surplus: Vec<_> = surplus.iter().map(|invocation| invocation.task).collect();
        surplus.iter().for_each(|task| self.answered(*task));
        surplus
    }

    pub(crate) fn send(&mut self, invocations: Vec<Invocation>) {
        self.outstanding.extend(invocations.iter().map(|invocation| invocation.task));
        if self.lines.is_empty() {
            // Found missing when the worker registers again, or lost with it.
            self.doubtful.extend(invocations.iter().map(|invocation| invocation.task));
        } else {
            self.waiting.extend(invocations);
        }
    }

    pub(crate) fn stop(&mut self, task: TaskAttempt) {
        if self.outstanding.contains(&task) && self.stopped.insert(task) {
            self.stops.push(task);
        }
    }

    pub(crate) fn forget(&mut self, code: &[CodeHash]) {
        code.iter().for_each(|hash| {
            self.known.remove(hash);
        });
    }

    /// The worker has said what became of a task, or never had it.
    pub(crate) fn answered(&mut self, task: TaskAttempt) {
        self.outstanding.remove(&task);
        self.doubtful.remove(&task);
        self.stopped.remove(&task);
    }

    pub(crate) fn acknowledge(&mut self, sequence: u64) {
        self.settling.remove(&sequence);
        self.acks.push(sequence);
    }

    /// What would be said now in any case.
    pub(crate) fn take_acks(&mut self) -> Option<FromDispatcher> {
        let acks = std::mem::take(&mut self.acks);
        self.acks_are_due = false;
        (!acks.is_empty()).then_some(FromDispatcher::Ack(acks))
    }

    /// Time has passed: whoever has waited or heard nothing for `heartbeat` shall hear something.
    /// Answers whether there is something to be said.
    pub(crate) fn tick(&mut self, heartbeat: Duration, now: Instant) -> bool {
        self.acks_are_due = !self.acks.is_empty();
        let is_late = match self.mode {
            DeliveryMode::Push => now - self.said >= heartbeat,
            DeliveryMode::Pull => {
                // Each of them, not the first.
                let late = self.lines.iter_mut().filter_map(|line| line.hurry(heartbeat, now));
                late.count() > 0
            }
        };
        is_late || self.acks_are_due
    }

    /// The next message, and the connection for it; to be called until there is none.
    pub(crate) fn next_message(
        &mut self,
        heartbeat: Duration,
        now: Instant,
    ) -> Option<(PeerId, Vec<FromDispatcher>)> {
        let place = match self.mode {
            DeliveryMode::Push => self.lines.len().checked_sub(1)?,
            DeliveryMode::Pull => {
                let urgent = self.lines.iter().position(|line| line.reply == Reply::Now);
                urgent.or_else(|| self.longest_waiting())?
            }
        };
        let must = match self.mode {
            DeliveryMode::Push => now - self.said >= heartbeat,
            DeliveryMode::Pull => self.lines[place].reply == Reply::Now,
        };
        // A message of its own for each would cost both sides more than the task did.
        let acks_can_wait = !(must || self.acks_are_due || self.draining)
            && self.acks.len() < MOST_WAITING_ACKS
            && self.can_speak();
        if acks_can_wait && self.waiting.is_empty() && self.stops.is_empty() {
            return None;
        }
        let mut batch: Vec<_> = self.take_acks().into_iter().collect();
        let room = if self.mode == DeliveryMode::Pull { self.free } else { usize::MAX };
        let tasks = self.next_tasks(room);
        self.free = self.free.saturating_sub(tasks.len());
        let sent: Vec<_> = tasks.iter().map(|invocation| invocation.task).collect();
        if !tasks.is_empty() {
            batch.push(FromDispatcher::Tasks(tasks));
        }
        // Behind the tasks: one of them may be meant.
        batch.extend(self.stops.drain(..).map(FromDispatcher::Stop));
        if batch.is_empty() {
            if !must {
                return None;
            }
            batch.push(FromDispatcher::Heartbeat);
        }
        let line = &mut self.lines[place];
        (line.reply, self.said) = (Reply::None, now);
        if self.mode == DeliveryMode::Pull {
            line.unconfirmed = sent;
        }
        Some((line.peer, batch))
    }

    /// Whether the worker can say what becomes of its calls: pull needs a connection on which it is the
    /// worker's turn.
    fn can_speak(&self) -> bool {
        self.mode == DeliveryMode::Push
            || self.outstanding.is_empty()
            || self.lines.iter().any(|line| line.reply == Reply::None)
    }

    fn longest_waiting(&self) -> Option<usize> {
        let waits = self.lines.iter().enumerate().filter_map(|(place, line)| match line.reply {
            Reply::Waits(since) => Some((since, place)),
            Reply::None | Reply::Now => None,
        });
        waits.min().map(|(_, place)| place)
    }

    /// As many of the waiting calls as go into one message, their code left out where it is known.
    fn next_tasks(&mut self, room: usize) -> Vec<Invocation> {
        let (mut bytes, mut tasks) = (0, Vec::new());
        while tasks.len() < room {
            let Some(next) = self.waiting.front() else { break };
            let is_known = self.known.contains(&next.spec.code);
            bytes += next.args.len() + if is_known { 0 } else { next.code_bytes() };
            if !tasks.is_empty() && bytes > BATCH_BYTES {
                break;
            }
            let Some(next) = self.waiting.pop_front() else { break };
            let is_new = self.known.insert(next.spec.code);
            tasks.push(if is_new { next } else { next.without_code() });
        }
        tasks
    }
}
