//! N slots over one small backlog.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use belljar_core::id::TaskId;
use belljar_core::invocation::Invocation;
use belljar_core::outcome::{Outcome, Report, Verdict};
use belljar_core::task::{Attempt, TaskClass};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backlog::{Backlog, Cancelled, Job, Placed};
use crate::child::spawn::all_buried;
use crate::config::PoolConfig;
use crate::error::{Refused, RefusedReason};
use crate::executor::process::ProcessExecutor;
use crate::executor::supply::Supply;
use crate::slot::Slot;

/// Events that may wait for the owner. With more the slots wait, and so does the work.
const EVENTS: usize = 256;

/// What a pool tells its owner. For every invocation that was taken there is exactly one
/// `Finished` or `Returned`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolEvent {
    /// An attempt has ended, whatever it came to.
    Finished(Report),
    /// An invocation that never started: another worker may have it.
    Returned {
        /// The task.
        task_id: TaskId,
        /// The attempt that was not made.
        attempt: Attempt,
    },
    /// Children of a class are there: tasks of it can run. Comes once after the start, and again
    /// after each `ExecutorDown`.
    ExecutorUp(ExecutorInfo),
    /// Children of a class do not start. The pool tries again by itself, ever more slowly; until
    /// then it gives invocations of that class back.
    ExecutorDown {
        /// The class.
        class: TaskClass,
        /// What the last attempt to start one came to, with its last lines of standard error.
        reason: String,
    },
}

/// What an executor says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorInfo {
    /// The class of tasks that it runs.
    pub class: TaskClass,
    /// The full version of its Python, such as `3.11.2`.
    pub python: String,
    /// The version of its dill.
    pub dill: String,
}

/// A handle to a running pool; clones are cheap. When the last is dropped, the pool stops at once.
#[derive(Debug, Clone)]
pub struct Pool {
    owner: Arc<Owner>,
}

/// Ends the pool with the last handle.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    slots: TaskTracker,
    helpers: TaskTracker,
}

/// What slots and handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// The classes, in the order of each slot's executors.
    pub(crate) classes: Vec<TaskClass>,
    supplies: Vec<Supply>,
    /// Running calls are cut.
    pub(crate) cut: CancellationToken,
    /// The keeper and the supplies end.
    stop: CancellationToken,
    /// Something for the keeper to do.
    keeper: Notify,
}

// A std mutex: it is held for a few instructions and never across an await.
#[derive(Debug)]
struct State {
    backlog: Backlog,
    /// One for each slot; empty once the pool takes nothing more.
    mailboxes: Vec<mpsc::Sender<Job>>,
    /// What the keeper has to tell, since `submit` and `cancel` never wait.
    outbox: Vec<PoolEvent>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a slot does after a call that took so long.
    pub(crate) fn next(&self, slot: usize, took: Option<Duration>) -> Option<Job> {
        self.lock().backlog.next(slot, took)
    }

    /// Takes no more, gives back what waits, and lets free slots end.
    fn close(&self) {
        let mut state = self.lock();
        state.mailboxes.clear();
        let waiting = state.backlog.take_waiting();
        state.outbox.extend(waiting.iter().map(returned));
        drop(state);
        self.keeper.notify_one();
    }

    /// Stops what runs.
    fn cut(&self) {
        self.cut.cancel();
        self.lock().backlog.cancel_running();
    }

    /// Tells what others left to be told, and gives back what has waited too long.
    async fn keep(&self, events: mpsc::Sender<PoolEvent>) {
        loop {
            let stopping = self.stop.is_cancelled();
            let (told, wake) = {
                let mut state = self.lock();
                let late = state.backlog.overdue(Instant::now());
                state.outbox.extend(late.iter().map(returned));
                (std::mem::take(&mut state.outbox), state.backlog.next_overdue())
            };
            for event in told {
                let _ = events.send(event).await;
            }
            if stopping {
                return;
            }
            let sleep = async {
                match wake {
                    Some(wake) => sleep_until(wake).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.keeper.notified() => {}
                () = self.stop.cancelled() => {}
                () = sleep => {}
            }
        }
    }
}

fn returned(invocation: &Invocation) -> PoolEvent {
    PoolEvent::Returned { task_id: invocation.task_id, attempt: invocation.attempt }
}

impl Pool {
    /// Starts the slots. Never waits: `PoolEvent::ExecutorUp` says when a class is served.
    ///
    /// Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(config: PoolConfig) -> (Self, mpsc::Receiver<PoolEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let (slots, helpers) = (TaskTracker::new(), TaskTracker::new());
        let stop = CancellationToken::new();
        let (mut classes, mut supplies) = (Vec::new(), Vec::new());
        for executor in config.executors {
            classes.push(executor.class);
            let (supply, work) = Supply::new(executor, events.clone(), stop.clone());
            supplies.push(supply);
            helpers.spawn(work);
        }
        let (mailboxes, inboxes): (Vec<_>, Vec<_>) =
            (0..config.slots).map(|_| mpsc::channel(1)).unzip();
        let backlog = Backlog::new(config.slots);
        let shared = Arc::new(Shared {
            state: Mutex::new(State { backlog, mailboxes, outbox: Vec::new() }),
            classes,
            supplies,
            cut: CancellationToken::new(),
            stop,
            keeper: Notify::new(),
        });
        for (index, mailbox) in inboxes.into_iter().enumerate() {
            let executors = shared.supplies.iter().cloned().map(ProcessExecutor::new).collect();
            let (shared, events) = (Arc::clone(&shared), events.clone());
            slots.spawn(Slot { index, shared, executors, mailbox, events }.run());
        }
        let keeper = Arc::clone(&shared);
        helpers.spawn(async move { keeper.keep(events).await });
        (Self { owner: Arc::new(Owner { shared, slots, helpers }) }, receiver)
    }

    fn shared(&self) -> &Shared {
        &self.owner.shared
    }

    /// How many invocations the pool wants to have at once, running and waiting: the slots, and
    /// while calls are short a few more, so that a slot goes on without asking. Changes with time.
    #[must_use]
    pub fn window(&self) -> usize {
        self.shared().lock().backlog.window()
    }

    /// How many invocations it has now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared().lock().backlog.in_flight()
    }

    /// How many calls run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared().lock().backlog.running()
    }

    /// How many calls run at once.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.shared().lock().backlog.slots()
    }

    /// What the executors that have started said of themselves.
    #[must_use]
    pub fn describe(&self) -> Vec<ExecutorInfo> {
        self.shared().supplies.iter().filter_map(Supply::info).collect()
    }

    /// Takes an invocation. Never waits.
    ///
    /// # Errors
    /// The pool is stopping, over full, has no such class, or its children do not start.
    pub fn submit(&self, invocation: Invocation) -> Result<(), Refused> {
        let shared = self.shared();
        let refuse = |reason, invocation| Refused { reason, invocation: Box::new(invocation) };
        let class = shared.classes.iter().position(|class| *class == invocation.class);
        let Some(supply) = class.and_then(|index| shared.supplies.get(index)) else {
            return Err(refuse(RefusedReason::Class, invocation));
        };
        if supply.is_down() {
            return Err(refuse(RefusedReason::Down, invocation));
        }
        let mut state = shared.lock();
        if state.mailboxes.is_empty() {
            return Err(refuse(RefusedReason::Stopping, invocation));
        }
        if state.backlog.is_full() {
            return Err(refuse(RefusedReason::Full, invocation));
        }
        match state.backlog.place(invocation, Instant::now()) {
            Placed::Slot(slot, job) => {
                // A free slot has an empty mailbox, and ends only after the mailboxes are gone.
                let _ = state.mailboxes[slot].try_send(job);
            }
            Placed::Waits { first } => {
                drop(state);
                if first {
                    shared.keeper.notify_one();
                }
            }
        }
        Ok(())
    }

    /// Cancels an attempt, waiting or running; `false` where the pool has no such attempt (it may
    /// have just ended). The event is `Finished` with `Verdict::Cancelled`, once the code has
    /// stopped, unless the call ended by itself first.
    #[must_use]
    pub fn cancel(&self, task_id: TaskId, attempt: Attempt) -> bool {
        let mut state = self.shared().lock();
        match state.backlog.cancel(task_id, attempt) {
            Cancelled::Unknown => false,
            Cancelled::Running => true,
            Cancelled::Waiting => {
                let outcome = Outcome::bare(Verdict::Cancelled, Duration::ZERO);
                state.outbox.push(PoolEvent::Finished(Report { task_id, attempt, outcome }));
                drop(state);
                self.shared().keeper.notify_one();
                true
            }
        }
    }

    /// Takes nothing more, gives the backlog back, lets running calls end for up to `deadline`, cuts
    /// the rest (they are reported as `FailureKind::WorkerLost`), and ends all children. The events
    /// must be read meanwhile; their channel closes at the end.
    pub async fn drain(&self, deadline: Duration) {
        let Owner { shared, slots, helpers } = &*self.owner;
        shared.close();
        slots.close();
        helpers.close();
        if timeout(deadline, slots.wait()).await.is_err() {
            shared.cut();
            slots.wait().await;
        }
        shared.stop.cancel();
        helpers.wait().await;
        for supply in &shared.supplies {
            supply.end().await;
        }
        all_buried().await;
    }

    /// Like `drain` without waiting for running calls.
    pub async fn kill(&self) {
        self.drain(Duration::ZERO).await;
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.cut();
        self.shared.stop.cancel();
    }
}
