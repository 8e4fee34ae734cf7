//! What passes between a pool and a dispatcher: turns the pool's events into messages, and messages into
//! commands for the pool. Pure: no socket, no clock.

use std::collections::VecDeque;
use std::time::Duration;

use belljar_core::id::WorkerId;
use belljar_core::invocation::Invocation;
use belljar_core::limits::BATCH_BYTES;
use belljar_core::live::LiveUpdate;
use belljar_core::message::{
    DeliveryMode, FromDispatcher, FromWorker, Nonce, RejectReason, SessionId, WorkerRegistration,
};
use belljar_core::outcome::{CallVerdict, Outcome, Report};
use belljar_core::task::TaskAttempt;

use super::announced::{Announced, Capabilities, Duty};
use super::assignments::{Accepted, Assignments};
use super::outbox::Outbox;
use crate::event::PoolEvent;

/// How many updates of running calls wait for a connection; the oldest is dropped for another one.
const LIVE_UPDATES: usize = 64;

/// What the pool is to do.
#[derive(Debug)]
pub(crate) enum PoolCommand {
    /// Run this.
    Submit(Box<Invocation>),
    /// Stop this.
    Cancel(TaskAttempt),
    /// Somebody watches this: show what it writes.
    Watch(TaskAttempt, bool),
    /// Take nothing more.
    Drain,
}

/// The dispatcher refuses to go on.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) reason: RejectReason,
    pub(crate) text: String,
}

/// What does not change about a worker.
#[derive(Debug, Clone)]
pub(crate) struct WorkerInfo {
    pub(crate) worker: WorkerId,
    pub(crate) mode: DeliveryMode,
    pub(crate) slots: usize,
    pub(crate) host: String,
    pub(crate) version: String,
}

/// A worker's side of its sessions, one after the other.
#[derive(Debug)]
pub(crate) struct WorkerSession {
    info: WorkerInfo,
    id: Option<SessionId>,
    assignments: Assignments,
    pub(crate) outbox: Outbox,
    capabilities: Capabilities,
    duty: Duty,
    /// The pool's window has changed by time alone, so that no report is due with which to say so.
    is_resized: bool,
    /// What running calls show of themselves.
    live: VecDeque<LiveUpdate>,
}

impl WorkerSession {
    pub(crate) fn new(info: WorkerInfo) -> Self {
        Self {
            info,
            id: None,
            assignments: Assignments::default(),
            outbox: Outbox::default(),
            capabilities: Capabilities::default(),
            duty: Duty::Serving,
            is_resized: false,
            live: VecDeque::new(),
        }
    }

    /// Takes an event of the pool.
    pub(crate) fn take(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::Finished(report) => self.report(report),
            PoolEvent::Returned(task) => self.give_back(task),
            PoolEvent::Live(update) => {
                if self.live.len() == LIVE_UPDATES {
                    self.live.pop_front();
                }
                self.live.push_back(*update);
            }
            PoolEvent::Resized => self.is_resized = true,
            PoolEvent::ExecutorUp(info) => {
                tracing::info!(class = %info.class, python = info.python, "executor is up");
                self.capabilities.add(info);
            }
            PoolEvent::ExecutorDown { class, reason } => {
                tracing::error!(%class, reason, "executors do not start");
                self.capabilities.classes.retain(|known| *known != class);
            }
        }
    }

    fn report(&mut self, report: Report) {
        self.assignments.remove(report.task);
        self.outbox.report(report);
    }

    pub(crate) fn give_back(&mut self, task: TaskAttempt) {
        self.assignments.remove(task);
        self.outbox.give_back(task);
    }

    pub(crate) fn drain(&mut self) {
        self.duty = Duty::Draining;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.duty == Duty::Draining
    }

    /// What a new connection begins with; `window` is the pool's.
    pub(crate) fn registration(&self, window: usize) -> WorkerRegistration {
        WorkerRegistration {
            worker: self.info.worker,
            session: self.id,
            mode: self.info.mode,
            slots: count(self.info.slots),
            window: self.window(window),
            classes: self.capabilities.classes.clone(),
            host: self.info.host.clone(),
            pid: std::process::id(),
            belljar: self.info.version.clone(),
            nonce: Nonce::random(),
            blobs: None,
        }
    }

    /// The dispatcher has welcomed the worker, which had sent `registration`.
    pub(crate) fn welcomed(
        &mut self,
        session: SessionId,
        registration: &WorkerRegistration,
    ) -> Announced {
        if self.id != Some(session) {
            self.id = Some(session);
            self.assignments.session_began();
        }
        self.assignments.reconnected();
        self.outbox.rewind();
        Announced::by(registration)
    }

    /// The attempts that it has, and those whose end is not acknowledged.
    fn held(&self) -> Vec<TaskAttempt> {
        self.assignments.attempts().chain(self.outbox.held()).collect()
    }

    /// How many invocations this session may bring at once: the dispatcher does not count those of
    /// earlier sessions.
    fn window(&self, pool: usize) -> u32 {
        match self.duty {
            Duty::Serving => count(pool.saturating_sub(self.assignments.earlier())),
            Duty::Draining => 0,
        }
    }

    /// How many more invocations there is room for.
    pub(crate) fn free(&self, pool: usize) -> u32 {
        match self.duty {
            Duty::Serving => count(pool.saturating_sub(self.assignments.len())),
            Duty::Draining => 0,
        }
    }

    /// Whether something must be sent without waiting for an occasion; `pool` is the pool's window.
    pub(crate) fn is_pressing(&self, announced: &Announced, pool: usize) -> bool {
        self.outbox.is_pressing()
            || !self.live.is_empty()
            || self.assignments.has_evicted()
            || announced.is_outdated(self.duty, &self.capabilities)
            || (self.is_resized && announced.window() != self.window(pool))
    }

    /// What to send now: one message's worth.
    pub(crate) fn messages(&mut self, announced: &mut Announced, pool: usize) -> Vec<FromWorker> {
        self.is_resized = false;
        let window = self.window(pool);
        let mut batch = announced.update(self.duty, &self.capabilities, window, || self.held());
        // Before the tasks that need it are given back: they come again with their code.
        if self.assignments.has_evicted() {
            batch.push(FromWorker::Evicted(self.assignments.take_evicted()));
        }
        if !self.live.is_empty() {
            batch.push(FromWorker::Live(std::mem::take(&mut self.live).into()));
        }
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let Some((message, size)) = self.outbox.next() else { break };
            bytes += size;
            batch.push(message);
        }
        batch
    }

    /// What the pool is to do at a message of the dispatcher.
    pub(crate) fn handle_message(
        &mut self,
        message: FromDispatcher,
    ) -> Result<Vec<PoolCommand>, Rejected> {
        match message {
            FromDispatcher::Tasks(tasks) => {
                return Ok(tasks.into_iter().filter_map(|task| self.accept(task)).collect());
            }
            FromDispatcher::Stop(task) => {
                if self.assignments.stop(task) {
                    return Ok(vec![PoolCommand::Cancel(task)]);
                }
            }
            FromDispatcher::Watch { task, from_start } => {
                return Ok(vec![PoolCommand::Watch(task, from_start)]);
            }
            FromDispatcher::Ack(sequences) => self.outbox.acknowledge(&sequences),
            FromDispatcher::Heartbeat => {}
            FromDispatcher::Drain => return Ok(vec![PoolCommand::Drain]),
            FromDispatcher::Rejected { reason, text } => return Err(Rejected { reason, text }),
            FromDispatcher::Challenge { .. } | FromDispatcher::Welcome { .. } => {
                let text = "the dispatcher sent a handshake message out of turn".to_owned();
                return Err(Rejected { reason: RejectReason::Malformed, text });
            }
        }
        Ok(Vec::new())
    }

    fn accept(&mut self, invocation: Invocation) -> Option<PoolCommand> {
        match self.assignments.accept(invocation) {
            Accepted::Run(invocation) if self.is_draining() => {
                self.give_back(invocation.task);
                None
            }
            Accepted::Run(invocation) => Some(PoolCommand::Submit(invocation)),
            Accepted::Stopped(task) => {
                let outcome = Outcome::bare(CallVerdict::Cancelled, Duration::ZERO);
                self.report(Report { task, outcome });
                None
            }
            Accepted::CodeMissing(task) => {
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
    use belljar_core::task::CodeHash;
    use bytes::Bytes;

    use super::*;

    fn session() -> (WorkerSession, Announced) {
        let worker = WorkerId::random();
        let (host, version) = (String::new(), String::new());
        let info = WorkerInfo { worker, mode: DeliveryMode::Push, slots: 2, host, version };
        let mut session = WorkerSession::new(info);
        let (announced, _) = welcome(&mut session, SessionId::random());
        (session, announced)
    }

    /// A connection of the session `id`, and the inventory that the worker sends on it.
    fn welcome(session: &mut WorkerSession, id: SessionId) -> (Announced, Vec<TaskAttempt>) {
        let registration = session.registration(8);
        let mut announced = session.welcomed(id, &registration);
        assert!(session.is_pressing(&announced, 8));
        let window = registration.window;
        let batch =
            announced.update(Duty::Serving, &Capabilities::default(), window, || session.held());
        let [FromWorker::InFlight(held)] = &batch[..] else { panic!("{batch:?}") };
        (announced, held.clone())
    }

    fn invocation() -> Invocation {
        let class = "native:3.11".parse().expect("a class");
        Invocation::standalone(class, Bytes::from_static(b"code"), Bytes::new())
    }

    fn send(session: &mut WorkerSession, task: Invocation) -> Vec<PoolCommand> {
        session.handle_message(FromDispatcher::Tasks(vec![task])).expect("taken")
    }

    #[test]
    fn code_is_kept_for_a_session_and_missed_in_the_next() {
        let (mut session, mut announced) = session();
        assert!(send(&mut session, invocation().without_code()).is_empty());
        let sent = session.messages(&mut announced, 8);
        assert!(
            matches!(&sent[..], [FromWorker::Evicted(code), FromWorker::Returned { .. }]
                if *code == [CodeHash::of(b"code")]),
            "{sent:?}"
        );
        assert_eq!(send(&mut session, invocation()).len(), 1);
        assert_eq!(send(&mut session, invocation().without_code()).len(), 1);
        let id = session.id.expect("welcomed");
        let _ = welcome(&mut session, id);
        assert_eq!(send(&mut session, invocation().without_code()).len(), 1);
        let _ = welcome(&mut session, SessionId::random());
        assert!(send(&mut session, invocation().without_code()).is_empty());
    }

    #[test]
    fn what_another_session_brought_takes_room_and_is_named() {
        let (mut session, _) = session();
        let task = invocation();
        let held = task.task;
        send(&mut session, task);
        assert_eq!((session.window(8), session.free(8)), (8, 7));
        let (mut announced, inventory) = welcome(&mut session, SessionId::random());
        assert_eq!(inventory, [held]);
        assert_eq!((session.window(8), session.free(8)), (7, 7));
        assert_eq!(session.messages(&mut announced, 8), [FromWorker::Window(7)]);
        session.take(PoolEvent::Returned(held));
        assert_eq!(session.held(), [held], "until it is acknowledged");
        assert_eq!(session.messages(&mut announced, 8).len(), 2, "the window, and the task");
        session.handle_message(FromDispatcher::Ack(vec![1])).expect("taken");
        assert!(session.held().is_empty() && session.outbox.is_empty());
    }

    #[test]
    fn a_full_worker_registers_and_sends_its_inventory_first() {
        let (mut session, _) = session();
        for _ in 0..10_000 {
            send(&mut session, invocation());
        }
        let registration = session.registration(8);
        let register = FromWorker::Register { registration: registration.clone(), proof: None };
        let bytes = belljar_core::message::encode(&[register]).len();
        assert!(bytes < belljar_wire::PeerLimits::default().first_message_bytes, "{bytes}");
        let mut announced = session.welcomed(SessionId::random(), &registration);
        let sent = session.messages(&mut announced, 8);
        assert!(matches!(&sent[0], FromWorker::InFlight(held) if held.len() == 10_000), "{sent:?}");
    }

    #[test]
    fn a_stop_that_overtakes_its_task_counts() {
        let (mut session, mut announced) = session();
        let task = invocation();
        assert!(session.handle_message(FromDispatcher::Stop(task.task)).expect("taken").is_empty());
        assert!(send(&mut session, task.clone()).is_empty());
        let sent = session.messages(&mut announced, 8);
        let [FromWorker::Reports { reports, .. }] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(reports[0].outcome.verdict, CallVerdict::Cancelled);
    }

    #[test]
    fn a_window_that_time_has_changed_is_pressing_and_one_that_has_changed_back_is_not() {
        let (mut session, mut announced) = session();
        session.take(PoolEvent::Resized);
        assert!(session.is_pressing(&announced, 9) && !session.is_pressing(&announced, 8));
        assert_eq!(session.messages(&mut announced, 9), [FromWorker::Window(9)]);
        assert!(!session.is_pressing(&announced, 8), "the end of a call will say so");
    }

    #[test]
    fn a_draining_worker_says_so_and_takes_nothing() {
        let (mut session, mut announced) = session();
        session.drain();
        assert!(session.is_pressing(&announced, 8));
        let sent = session.messages(&mut announced, 8);
        assert_eq!(sent, [FromWorker::Draining, FromWorker::Window(0)]);
        assert!(!session.is_pressing(&announced, 8));
        assert!(send(&mut session, invocation()).is_empty());
        assert!(matches!(&session.messages(&mut announced, 8)[..], [FromWorker::Returned { .. }]));
    }
}
