//! What passes between a pool and a dispatcher: turns what the pool tells into messages, and messages
//! into orders for the pool. Pure: no socket, no clock.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use belljar_core::id::WorkerId;
use belljar_core::invocation::Invocation;
use belljar_core::message::{
    Assigned, FromDispatcher, FromWorker, Mode, Nonce, Refusal, Registration, SessionId,
    TaskAttempt,
};
use belljar_core::outcome::{Outcome, Report, Verdict};
use belljar_core::task::{CodeHash, TaskClass};

use super::codes::Codes;
use super::outbox::Outbox;
use crate::event::PoolEvent;

/// A message is not filled beyond this.
const MESSAGE_BYTES: usize = 16 << 20;
/// How many wishes to stop are remembered that came before their task, on the other connection.
const EARLY_STOPS: usize = 256;

/// What the pool shall do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Run this.
    Submit(Box<Invocation>),
    /// Stop this.
    Cancel(TaskAttempt),
    /// Take nothing more.
    Drain,
}

/// The dispatcher has refused to go on.
#[derive(Debug)]
pub(crate) struct Parted {
    pub(crate) reason: Refusal,
    pub(crate) text: String,
}

/// What a worker says of itself that does not change.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) worker: WorkerId,
    pub(crate) mode: Mode,
    pub(crate) slots: usize,
    pub(crate) host: String,
    pub(crate) version: String,
}

/// A worker's side of its sessions, one after the other.
#[derive(Debug)]
pub(crate) struct Session {
    about: About,
    id: Option<SessionId>,
    /// What the pool has, and whether it came in this session.
    in_flight: HashMap<TaskAttempt, bool>,
    pub(crate) outbox: Outbox,
    codes: Codes,
    classes: Vec<TaskClass>,
    forgot: Vec<CodeHash>,
    early_stops: VecDeque<TaskAttempt>,
    draining: bool,
    /// The pool's window has changed, and nothing else may be there to be said.
    resized: bool,
    told: Told,
}

/// What was said on this connection.
#[derive(Debug, Default)]
struct Told {
    held: bool,
    window: u32,
    classes: Vec<TaskClass>,
    draining: bool,
}

impl Session {
    pub(crate) fn new(about: About) -> Self {
        Self {
            about,
            id: None,
            in_flight: HashMap::new(),
            outbox: Outbox::default(),
            codes: Codes::default(),
            classes: Vec::new(),
            forgot: Vec::new(),
            early_stops: VecDeque::new(),
            draining: false,
            resized: false,
            told: Told::default(),
        }
    }

    /// What the pool has come to.
    pub(crate) fn take(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::Finished(report) => self.report(report),
            PoolEvent::Returned { task_id, attempt } => {
                self.give_back(TaskAttempt { task_id, attempt });
            }
            PoolEvent::Resized => self.resized = true,
            PoolEvent::ExecutorUp(info) => {
                tracing::info!(class = %info.class, python = info.python, "executor is up");
                self.classes.push(info.class);
                self.classes.sort_unstable();
                self.classes.dedup();
            }
            PoolEvent::ExecutorDown { class, reason } => {
                tracing::error!(%class, reason, "executors do not start");
                self.classes.retain(|known| *known != class);
            }
        }
    }

    fn report(&mut self, report: Report) {
        self.in_flight.remove(&TaskAttempt { task_id: report.task_id, attempt: report.attempt });
        self.outbox.report(report);
    }

    pub(crate) fn give_back(&mut self, task: TaskAttempt) {
        self.in_flight.remove(&task);
        self.outbox.give_back(task);
    }

    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    pub(crate) const fn is_draining(&self) -> bool {
        self.draining
    }

    /// What is said of this worker on a new connection; `window` is the pool's.
    pub(crate) fn registration(&self, window: usize) -> Registration {
        Registration {
            worker: self.about.worker,
            session: self.id,
            mode: self.about.mode,
            slots: count(self.about.slots),
            window: self.window(window),
            classes: self.classes.clone(),
            host: self.about.host.clone(),
            pid: std::process::id(),
            belljar: self.about.version.clone(),
            nonce: Nonce::random(),
        }
    }

    /// The dispatcher has taken the worker in, who had said this.
    pub(crate) fn welcomed(&mut self, session: SessionId, said: &Registration) {
        if self.id != Some(session) {
            self.id = Some(session);
            self.codes.clear();
            self.forgot.clear();
            self.in_flight.values_mut().for_each(|is_of_session| *is_of_session = false);
        }
        self.early_stops.clear();
        self.outbox.rewind();
        let classes = said.classes.clone();
        self.told = Told { held: false, window: said.window, classes, draining: false };
    }

    /// The attempts that it has, and those whose end is not acknowledged.
    fn held(&self) -> Vec<TaskAttempt> {
        let in_flight = self.in_flight.keys().copied();
        in_flight.chain(self.outbox.held()).collect()
    }

    /// How many invocations this session may bring at once: what came in others is not counted there.
    fn window(&self, pool: usize) -> u32 {
        let foreign = self.in_flight.values().filter(|is_of_session| !**is_of_session).count();
        if self.draining { 0 } else { count(pool.saturating_sub(foreign)) }
    }

    /// How many more invocations there is room for.
    pub(crate) fn free(&self, pool: usize) -> u32 {
        if self.draining { 0 } else { count(pool.saturating_sub(self.in_flight.len())) }
    }

    /// Whether something should be said without waiting for an occasion; `pool` is the pool's window.
    pub(crate) fn is_pressing(&self, pool: usize) -> bool {
        self.outbox.is_pressing()
            || !self.told.held
            || (self.resized && self.told.window != self.window(pool))
            || !self.forgot.is_empty()
            || self.told.classes != self.classes
            || self.told.draining != self.draining
    }

    /// What is to be said now: one message's worth.
    pub(crate) fn messages(&mut self, pool: usize) -> Vec<FromWorker> {
        let mut batch = Vec::new();
        if !self.told.held {
            self.told.held = true;
            batch.push(FromWorker::Held(self.held()));
        }
        if self.draining && !self.told.draining {
            self.told.draining = true;
            batch.push(FromWorker::Draining);
        }
        if self.told.classes != self.classes {
            self.told.classes.clone_from(&self.classes);
            batch.push(FromWorker::Classes(self.classes.clone()));
        }
        self.resized = false;
        let window = self.window(pool);
        if self.told.window != window {
            self.told.window = window;
            batch.push(FromWorker::Window(window));
        }
        // Before the tasks that need it are given back: it must come along with them.
        if !self.forgot.is_empty() {
            batch.push(FromWorker::Forgot(std::mem::take(&mut self.forgot)));
        }
        let mut bytes = 0;
        while bytes < MESSAGE_BYTES {
            let Some((message, size)) = self.outbox.next() else { break };
            bytes += size;
            batch.push(message);
        }
        batch
    }

    /// What the dispatcher wants.
    pub(crate) fn heed(&mut self, message: FromDispatcher) -> Result<Vec<Order>, Parted> {
        match message {
            FromDispatcher::Tasks(tasks) => {
                return Ok(tasks.into_iter().filter_map(|task| self.accept(task)).collect());
            }
            FromDispatcher::Stop(task) if self.in_flight.contains_key(&task) => {
                return Ok(vec![Order::Cancel(task)]);
            }
            FromDispatcher::Stop(task) => {
                self.early_stops.truncate(EARLY_STOPS - 1);
                self.early_stops.push_front(task);
            }
            FromDispatcher::Ack(sequences) => self.outbox.acknowledge(&sequences),
            FromDispatcher::Heartbeat => {}
            FromDispatcher::Drain => return Ok(vec![Order::Drain]),
            FromDispatcher::Refused { reason, text } => return Err(Parted { reason, text }),
            FromDispatcher::Challenge { .. } | FromDispatcher::Welcome { .. } => {
                let text = "the dispatcher spoke out of turn".to_owned();
                return Err(Parted { reason: Refusal::Malformed, text });
            }
        }
        Ok(Vec::new())
    }

    fn accept(&mut self, assigned: Assigned) -> Option<Order> {
        let task = assigned.task();
        if let Some(code) = assigned.code.clone() {
            self.forgot.extend(self.codes.insert(assigned.hash, code));
        }
        if self.early_stops.contains(&task) {
            let outcome = Outcome::bare(Verdict::Cancelled, Duration::ZERO);
            let TaskAttempt { task_id, attempt } = task;
            self.report(Report { task_id, attempt, outcome });
            return None;
        }
        if self.draining {
            self.give_back(task);
            return None;
        }
        match assigned.into_invocation(|hash| self.codes.get(hash)) {
            Ok(invocation) => {
                self.in_flight.insert(task, true);
                Some(Order::Submit(Box::new(invocation)))
            }
            Err(missing) => {
                self.forgot.push(missing.hash);
                self.give_back(task);
                None
            }
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use belljar_core::id::TaskId;
    use belljar_core::invocation::Function;
    use belljar_core::task::{Attempt, Limits};
    use bytes::Bytes;

    use super::*;

    fn session() -> Session {
        let worker = WorkerId::random();
        let (host, version) = (String::new(), String::new());
        let mut session = Session::new(About { worker, mode: Mode::Push, slots: 2, host, version });
        welcome(&mut session, SessionId::random());
        session
    }

    /// Answers with what the worker says that it has.
    fn welcome(session: &mut Session, id: SessionId) -> Vec<TaskAttempt> {
        let said = session.registration(8);
        session.welcomed(id, &said);
        assert!(session.is_pressing(8));
        session.told.held = true;
        session.held()
    }

    fn invocation() -> Invocation {
        let code = Bytes::from_static(b"code");
        Invocation {
            task_id: TaskId::random(),
            attempt: Attempt(1),
            class: "native:3.11".parse().expect("a class"),
            limits: Limits::DEFAULT,
            function: Function { hash: CodeHash::of(&code), code },
            args: Bytes::new(),
            grants: None,
        }
    }

    fn send(session: &mut Session, task: Assigned) -> Vec<Order> {
        session.heed(FromDispatcher::Tasks(vec![task])).expect("taken")
    }

    #[test]
    fn code_is_kept_for_a_session_and_missed_in_the_next() {
        let mut session = session();
        assert!(send(&mut session, Assigned::without_code(invocation())).is_empty());
        let said = session.messages(8);
        assert!(
            matches!(&said[..], [FromWorker::Forgot(code), FromWorker::Returned { .. }]
                if *code == [CodeHash::of(b"code")]),
            "{said:?}"
        );
        assert_eq!(send(&mut session, Assigned::with_code(invocation())).len(), 1);
        assert_eq!(send(&mut session, Assigned::without_code(invocation())).len(), 1);
        let id = session.id.expect("welcomed");
        welcome(&mut session, id);
        assert_eq!(send(&mut session, Assigned::without_code(invocation())).len(), 1);
        welcome(&mut session, SessionId::random());
        assert!(send(&mut session, Assigned::without_code(invocation())).is_empty());
    }

    #[test]
    fn what_another_session_brought_takes_room_and_is_named() {
        let mut session = session();
        let task = Assigned::with_code(invocation());
        let held = task.task();
        send(&mut session, task);
        assert_eq!((session.window(8), session.free(8)), (8, 7));
        assert_eq!(welcome(&mut session, SessionId::random()), [held]);
        assert_eq!((session.window(8), session.free(8)), (7, 7));
        assert_eq!(session.messages(8), [FromWorker::Window(7)]);
        let TaskAttempt { task_id, attempt } = held;
        session.take(PoolEvent::Returned { task_id, attempt });
        assert_eq!(session.held(), [held], "until it is acknowledged");
        assert_eq!(session.messages(8).len(), 2, "the window, and the task");
        session.heed(FromDispatcher::Ack(vec![1])).expect("taken");
        assert!(session.held().is_empty() && session.outbox.is_empty());
    }

    #[test]
    fn a_full_worker_is_let_in_and_says_first_what_it_has() {
        let mut session = session();
        for _ in 0..10_000 {
            send(&mut session, Assigned::with_code(invocation()));
        }
        let registration = session.registration(8);
        let register = FromWorker::Register { registration: registration.clone(), proof: None };
        let bytes = belljar_core::message::encode(&[register]).len();
        assert!(bytes < belljar_wire::Limits::default().first_message_bytes, "{bytes}");
        session.welcomed(SessionId::random(), &registration);
        let said = session.messages(8);
        assert!(matches!(&said[0], FromWorker::Held(held) if held.len() == 10_000), "{said:?}");
    }

    #[test]
    fn a_stop_that_overtakes_its_task_counts() {
        let mut session = session();
        let task = Assigned::with_code(invocation());
        assert!(session.heed(FromDispatcher::Stop(task.task())).expect("taken").is_empty());
        assert!(send(&mut session, task.clone()).is_empty());
        let said = session.messages(8);
        let [FromWorker::Reports { reports, .. }] = &said[..] else { panic!("{said:?}") };
        assert_eq!(reports[0].outcome.verdict, Verdict::Cancelled);
    }

    #[test]
    fn a_window_that_time_has_changed_is_pressing_and_one_that_has_changed_back_is_not() {
        let mut session = session();
        session.take(PoolEvent::Resized);
        assert!(session.is_pressing(9) && !session.is_pressing(8));
        assert_eq!(session.messages(9), [FromWorker::Window(9)]);
        assert!(!session.is_pressing(8), "the end of a call will say so");
    }

    #[test]
    fn who_leaves_says_so_and_takes_nothing() {
        let mut session = session();
        session.drain();
        assert!(session.is_pressing(8));
        let said = session.messages(8);
        assert_eq!(said, [FromWorker::Draining, FromWorker::Window(0)]);
        assert!(!session.is_pressing(8));
        assert!(send(&mut session, Assigned::with_code(invocation())).is_empty());
        assert!(matches!(&session.messages(8)[..], [FromWorker::Returned { .. }]));
    }
}
