//! What a dispatcher knows of one worker: what it was sent and has not answered, which code it has, and
//! what it must be told next. Pure: no socket, no clock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use belljar_core::guest::GuestModules;
use belljar_core::id::WorkerId;
use belljar_core::invocation::Invocation;
use belljar_core::limits::BATCH_BYTES;
use belljar_core::message::{DeliveryMode, FromDispatcher, SessionId, WorkerRegistration};
use belljar_core::task::{CodeHash, TaskAttempt, TaskClass};
use belljar_wire::PeerId;

use super::acks::Acks;
use super::link::{MAX_AT_ONCE, WorkerLink};
use super::outstanding::{Delivery, Outstanding};
use super::pull::PullLink;
use super::push::PushLink;
use crate::event::WorkerCapacity;

/// A worker that is silent for so many heartbeats is lost.
const SILENT_HEARTBEATS: u32 = 3;
/// So is one that has no connection for so many: a living process would be back.
const ABSENT_HEARTBEATS: u32 = 2;

/// One worker.
#[derive(Debug)]
pub(crate) struct WorkerSession {
    pub(crate) worker: WorkerInfo,
    pub(crate) id: SessionId,
    pub(crate) classes: Vec<TaskClass>,
    /// The modules that its guests of the sandbox lack.
    pub(crate) guests: Vec<GuestModules>,
    window: u32,
    phase: Phase,
    leave: Leave,
    presence: Presence,
    pub(crate) link: SessionLink,
    pub(crate) outstanding: Outstanding,
    /// The functions whose code it has.
    code: HashSet<CodeHash>,
    /// Calls that are not on their way yet.
    queue: VecDeque<Invocation>,
    /// Attempts that it must be told to stop.
    stops: Vec<TaskAttempt>,
    /// Attempts that are watched, which it must be told, and whether from their start.
    watches: HashMap<TaskAttempt, bool>,
    pub(crate) acks: Acks,
}

/// What does not change while a session lasts.
#[derive(Debug)]
pub(crate) struct WorkerInfo {
    pub(crate) id: WorkerId,
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) slots: u32,
    /// Whether it has the dispatcher's directory of blobs.
    pub(crate) shares_blobs: bool,
    pub(crate) since: Instant,
}

/// Whether a worker takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// It finishes what it runs, and leaves.
    Draining,
}

/// Whether the worker is asked to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    NotAsked,
    /// It must be told.
    Due,
    /// It was told on the connection that there is.
    Told,
}

/// When a worker was last heard, and since when it has no connection.
#[derive(Debug, Clone, Copy)]
struct Presence {
    last_heard: Instant,
    absent_since: Option<Instant>,
}

/// Why a worker counts as lost.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loss {
    /// It has had no connection for so long.
    Absent(Duration),
    /// It has been silent for so long.
    Silent(Duration),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(time) => {
                write!(f, "its connection ended and it did not return within {time:?}")
            }
            Self::Silent(time) => write!(f, "it was silent for {time:?}"),
        }
    }
}

/// How the worker is reached.
#[derive(Debug)]
pub(crate) enum SessionLink {
    Push(PushLink),
    Pull(PullLink),
}

impl Deref for SessionLink {
    type Target = dyn WorkerLink;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Push(link) => link,
            Self::Pull(link) => link,
        }
    }
}

impl DerefMut for SessionLink {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::Push(link) => link,
            Self::Pull(link) => link,
        }
    }
}

impl WorkerSession {
    pub(crate) fn new(registration: &WorkerRegistration, now: Instant) -> Self {
        Self {
            worker: WorkerInfo {
                id: registration.worker,
                host: registration.host.clone(),
                pid: registration.pid,
                version: registration.belljar.clone(),
                slots: registration.slots,
                shares_blobs: registration.blobs.is_some(),
                since: now,
            },
            id: SessionId::random(),
            classes: Vec::new(),
            guests: Vec::new(),
            window: 0,
            phase: Phase::Serving,
            leave: Leave::NotAsked,
            presence: Presence { last_heard: now, absent_since: None },
            link: match registration.mode {
                DeliveryMode::Push => SessionLink::Push(PushLink::new(now)),
                DeliveryMode::Pull => SessionLink::Pull(PullLink::default()),
            },
            outstanding: Outstanding::default(),
            code: HashSet::new(),
            queue: VecDeque::new(),
            stops: Vec::new(),
            watches: HashMap::new(),
            acks: Acks::default(),
        }
    }

    /// What the scheduler may give it: nothing without a connection, without classes, or while it drains.
    pub(crate) fn capacity(&self) -> WorkerCapacity {
        let is_serving = self.phase == Phase::Serving;
        let takes_tasks = is_serving && self.link.is_connected() && !self.classes.is_empty();
        let window = if takes_tasks { self.window as usize } else { 0 };
        let slots = self.worker.slots as usize;
        WorkerCapacity { id: self.worker.id, classes: self.classes.clone(), slots, window }
    }

    pub(crate) fn set_window(&mut self, window: u32) {
        self.window = window.min(MAX_AT_ONCE);
    }

    pub(crate) fn set_classes(&mut self, classes: Vec<TaskClass>) {
        self.classes = classes;
        // What the worker has just said may soon change again, and while both connections wait here it
        // could not say so.
        if let SessionLink::Pull(link) = &mut self.link {
            link.reply_to_all();
        }
    }

    /// Attaches a registered connection. Returns the connections that it replaces.
    pub(crate) fn attach(
        &mut self,
        peer: PeerId,
        registration: &WorkerRegistration,
        now: Instant,
    ) -> Vec<PeerId> {
        let replaced = if registration.session == Some(self.id) {
            self.link.surplus()
        } else {
            // The worker has lost the session: its code is gone, and so are its connections.
            self.id = SessionId::random();
            self.code.clear();
            self.link.peers()
        };
        replaced.iter().for_each(|peer| self.detach(*peer, now));
        // Requests to stop may have been lost as well.
        self.stops = self.outstanding.stopped();
        if self.leave == Leave::Told {
            self.leave = Leave::Due;
        }
        self.link.attach(peer, now);
        self.classes.clone_from(&registration.classes);
        self.set_window(registration.window);
        self.presence = Presence { last_heard: now, absent_since: None };
        replaced
    }

    /// A connection has ended; what was sent on it may not have arrived.
    pub(crate) fn detach(&mut self, peer: PeerId, now: Instant) {
        let Some(unconfirmed) = self.link.detach(peer) else { return };
        self.outstanding.doubt(unconfirmed);
        if !self.link.is_connected() {
            self.presence.absent_since = Some(now);
            self.queue.clear();
            self.outstanding.doubt_all();
        }
    }

    /// A message has come in on this connection.
    pub(crate) fn on_message(&mut self, peer: PeerId, now: Instant) {
        self.presence.last_heard = now;
        self.link.confirm(peer);
    }

    /// A message is complete: a pull worker now waits for a reply, with up to `free` tasks or of any
    /// kind. Returns the attempts for which it has no room any more.
    pub(crate) fn on_message_end(
        &mut self,
        peer: PeerId,
        free: Option<u32>,
        now: Instant,
    ) -> Vec<TaskAttempt> {
        let can_report_soon = self.acks.are_expected() || self.outstanding.is_empty();
        let SessionLink::Pull(link) = &mut self.link else { return Vec::new() };
        link.on_request(peer, free, now);
        if free.is_none() {
            return Vec::new();
        }
        // Else it could not report the end of its calls before the next heartbeat.
        if !can_report_soon && !link.can_report() {
            link.reply_to_oldest();
        }
        let keep = link.free();
        self.take_back(keep)
    }

    /// The worker takes no more tasks. Returns the attempts that it will not get.
    pub(crate) fn drain(&mut self) -> Vec<TaskAttempt> {
        self.phase = Phase::Draining;
        self.acks.send_at_once();
        self.take_back(0)
    }

    /// Asks the worker to leave once it has finished what it runs. Returns the attempts that it will not get.
    pub(crate) fn ask_to_leave(&mut self) -> Vec<TaskAttempt> {
        if self.leave == Leave::NotAsked {
            self.leave = Leave::Due;
        }
        self.drain()
    }

    /// Whether it gets no more tasks.
    pub(crate) fn is_draining(&self) -> bool {
        self.phase == Phase::Draining
    }

    /// Takes back the attempts behind the first `keep` that are not on their way yet.
    pub(crate) fn take_back(&mut self, keep: usize) -> Vec<TaskAttempt> {
        let surplus = self.queue.split_off(keep.min(self.queue.len()));
        let surplus: Vec<_> = surplus.iter().map(|invocation| invocation.task).collect();
        surplus.iter().for_each(|task| self.outstanding.remove(*task));
        surplus
    }

    pub(crate) fn send(&mut self, invocations: Vec<Invocation>) {
        let is_connected = self.link.is_connected();
        // Without a connection they are found missing when the worker registers again, or lost with it.
        let delivery = if is_connected { Delivery::Expected } else { Delivery::Doubtful };
        for invocation in &invocations {
            self.outstanding.insert(invocation.task, delivery);
        }
        if is_connected {
            self.queue.extend(invocations);
        }
    }

    pub(crate) fn stop(&mut self, task: TaskAttempt) {
        if self.outstanding.stop(task) {
            self.stops.push(task);
        }
    }

    /// An attempt is watched. Not told again while it has not been: who watches asks again and again.
    pub(crate) fn watch(&mut self, task: TaskAttempt, from_start: bool) {
        if self.outstanding.has(task) {
            *self.watches.entry(task).or_default() |= from_start;
        }
    }

    /// The worker has dropped the code of these functions.
    pub(crate) fn evict(&mut self, code: &[CodeHash]) {
        code.iter().for_each(|hash| {
            self.code.remove(hash);
        });
    }

    /// Excuses the silence so far, which was not the worker's fault.
    pub(crate) fn excuse_silence(&mut self, now: Instant) {
        self.presence.last_heard = now;
        self.presence.absent_since = self.presence.absent_since.map(|_| now);
    }

    /// Whether the worker is lost.
    pub(crate) fn loss(&self, heartbeat: Duration, now: Instant) -> Option<Loss> {
        let Presence { last_heard, absent_since } = self.presence;
        let absence = heartbeat * ABSENT_HEARTBEATS;
        let silence = heartbeat * SILENT_HEARTBEATS;
        if absent_since.is_some_and(|since| now - since >= absence) {
            return Some(Loss::Absent(absence));
        }
        (now - last_heard >= silence).then_some(Loss::Silent(silence))
    }

    /// Time has passed. Returns whether the worker must be told something.
    pub(crate) fn tick(&mut self, heartbeat: Duration, now: Instant) -> bool {
        let is_ack_due = self.acks.tick();
        self.link.tick(heartbeat, now) || is_ack_due
    }

    /// The next message and its connection. Call it until it returns nothing.
    pub(crate) fn next_message(
        &mut self,
        heartbeat: Duration,
        now: Instant,
    ) -> Option<(PeerId, Vec<FromDispatcher>)> {
        let outlet = self.link.outlet(heartbeat, now)?;
        let can_report = self.outstanding.is_empty() || self.link.can_report();
        let acks_can_wait = !outlet.is_due && !self.acks.are_due() && can_report;
        let must_leave = self.leave == Leave::Due;
        let has_notices = !self.stops.is_empty() || !self.watches.is_empty() || must_leave;
        if acks_can_wait && self.queue.is_empty() && !has_notices {
            return None;
        }
        let mut batch: Vec<_> = self.acks.take().into_iter().collect();
        let tasks = self.next_tasks(outlet.max_tasks);
        let has_tasks = !tasks.is_empty();
        if !has_tasks && batch.is_empty() && !has_notices {
            if !outlet.is_due {
                return None;
            }
            batch.push(FromDispatcher::Heartbeat);
        }
        self.link.on_sent(outlet.peer, &tasks, now);
        if has_tasks {
            batch.push(FromDispatcher::Tasks(tasks));
        }
        // After the tasks: they may concern one of them.
        batch.extend(self.stops.drain(..).map(FromDispatcher::Stop));
        let watches = self.watches.drain();
        batch.extend(watches.map(|(task, from_start)| FromDispatcher::Watch { task, from_start }));
        if must_leave {
            self.leave = Leave::Told;
            batch.push(FromDispatcher::Drain);
        }
        Some((outlet.peer, batch))
    }

    /// As many queued calls as fit into one message, without code that the worker has.
    fn next_tasks(&mut self, max: usize) -> Vec<Invocation> {
        let (mut bytes, mut tasks) = (0, Vec::new());
        while tasks.len() < max {
            let Some(next) = self.queue.front() else { break };
            let has_code = self.code.contains(&next.spec.code);
            bytes += next.args.len() + if has_code { 0 } else { next.code_bytes() };
            if !tasks.is_empty() && bytes > BATCH_BYTES {
                break;
            }
            let Some(next) = self.queue.pop_front() else { break };
            let is_new = self.code.insert(next.spec.code);
            tasks.push(if is_new { next } else { next.without_code() });
        }
        tasks
    }
}
