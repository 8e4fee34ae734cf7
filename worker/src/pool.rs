//! N slots over one small backlog.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use belljar_core::id::TaskId;
use belljar_core::invocation::Invocation;
use belljar_core::outcome::{Outcome, Report, Verdict};
use belljar_core::task::Attempt;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backlog::{Backlog, Cancelled, Placed};
use crate::child::spawn::all_buried;
use crate::config::PoolConfig;
use crate::error::{Refused, RefusedReason};
use crate::executor::process::ProcessExecutor;
use crate::executor::supply::Supply;
use crate::shared::{Shared, State};
use crate::slot::Slot;

pub use crate::event::{ExecutorInfo, PoolEvent};

/// Events that may wait for the owner. With more the slots wait, and so does the work.
const EVENTS: usize = 256;

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

impl Pool {
    /// Starts the slots. Never waits: `PoolEvent::ExecutorUp` says when a class is served.
    ///
    /// Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(config: PoolConfig) -> (Self, mpsc::Receiver<PoolEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let (slots, helpers) = (TaskTracker::new(), TaskTracker::new());
        let stop = CancellationToken::new();
        let (mut classes, mut supplies) = (Vec::new(), Vec::<Supply>::new());
        // Those of further Pythons come after the usual one's, which would else be up later for them.
        let usual = config.executors.first().map(|first| first.class.python);
        for executor in config.executors {
            let first = supplies.first().filter(|_| Some(executor.class.python) != usual).cloned();
            classes.push(executor.class);
            let (supply, work) = Supply::new(executor, first, events.clone(), stop.clone());
            supplies.push(supply);
            helpers.spawn(work);
        }
        let (mailboxes, inboxes): (Vec<_>, Vec<_>) =
            (0..config.slots).map(|_| mpsc::channel(1)).unzip();
        let backlog = Backlog::new(config.slots);
        let offers = Arc::new(config.offers);
        let shared = Arc::new(Shared {
            state: Mutex::new(State { backlog, mailboxes, outbox: Vec::new() }),
            classes,
            supplies,
            cut: CancellationToken::new(),
            stop,
            keeper: Notify::new(),
        });
        for (index, mailbox) in inboxes.into_iter().enumerate() {
            let executors = shared
                .supplies
                .iter()
                .map(|supply| ProcessExecutor::new(supply.clone(), Arc::clone(&offers)))
                .collect();
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

    /// How many invocations the pool wants to have at once, running and waiting: one for each slot,
    /// and, so that a slot goes on without asking, a few more while calls are short, and one for each
    /// call that is expected to end soon. Changes with every call and with time.
    #[must_use]
    pub fn window(&self) -> usize {
        self.shared().lock().backlog.window(Instant::now())
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

    /// How many invocations wait for a slot now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let state = self.shared().lock();
        state.backlog.in_flight().saturating_sub(state.backlog.running())
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
        fail::fail_point!("sent");
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
        let now = Instant::now();
        match state.backlog.place(invocation, now) {
            Placed::Slot(slot, job) => {
                // A free slot has an empty mailbox, and ends only after the mailboxes are gone.
                let _ = state.mailboxes[slot].try_send(job);
                if state.backlog.next_turn(now).is_some() {
                    drop(state);
                    shared.keeper.notify_one();
                }
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
