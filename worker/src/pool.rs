//! N slots over one small backlog.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use belljar_core::invocation::Invocation;
use belljar_core::outcome::{CallVerdict, Outcome, Report};
use belljar_core::task::TaskAttempt;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backlog::{Backlog, Cancelled, Placed};
use crate::child::spawn::all_reaped;
use crate::config::PoolConfig;
use crate::error::{Refused, RefusedReason};
use crate::shared::{PoolState, Shared};
use crate::slot::{PoolSlot, SlotInstance};
use crate::standby::Standby;

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
    /// The standbys' work, and housekeeping.
    housekeeping: TaskTracker,
}

impl Pool {
    /// Starts the slots. Never waits: `PoolEvent::ExecutorUp` says when a class is served.
    ///
    /// Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(config: PoolConfig) -> (Self, mpsc::Receiver<PoolEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let (slots, housekeeping) = (TaskTracker::new(), TaskTracker::new());
        let stop = CancellationToken::new();
        let (mut classes, mut standbys) = (Vec::new(), Vec::<Standby>::new());
        // Those of other Pythons wait for the first: starting beside it, they would delay it.
        let preferred = config.executors.first().map(|first| first.class().python);
        for executor in config.executors {
            let class = executor.class();
            let first = standbys.first().filter(|_| Some(class.python) != preferred).cloned();
            classes.push(class);
            let (standby, work) =
                Standby::new(executor, first, events.clone(), stop.clone(), config.metrics.clone());
            standbys.push(standby);
            housekeeping.spawn(work);
        }
        let (jobs, receivers): (Vec<_>, Vec<_>) =
            (0..config.slots).map(|_| mpsc::channel(1)).unzip();
        let backlog = Backlog::new(config.slots);
        let watches: Vec<_> = (0..config.slots).map(|slot| backlog.watch_of(slot)).collect();
        let shared = Arc::new(Shared {
            state: Mutex::new(PoolState { backlog, jobs, outbox: Vec::new() }),
            classes,
            standbys,
            metrics: config.metrics,
            traces: config.traces,
            cut: CancellationToken::new(),
            stop,
            housekeeping: Notify::new(),
        });
        if let Some(metrics) = &shared.metrics {
            let pool = Arc::downgrade(&shared);
            metrics.watch(move || pool.upgrade().map(|shared| shared.figures()));
        }
        for (index, (jobs, watch)) in receivers.into_iter().zip(watches).enumerate() {
            let instances = shared.standbys.iter().cloned().map(SlotInstance::new).collect();
            let (shared, events) = (Arc::clone(&shared), events.clone());
            slots.spawn(PoolSlot { index, shared, instances, jobs, events, watch }.run());
        }
        let keeping = Arc::clone(&shared);
        housekeeping.spawn(async move { keeping.housekeep(events).await });
        (Self { owner: Arc::new(Owner { shared, slots, housekeeping }) }, receiver)
    }

    fn shared(&self) -> &Shared {
        &self.owner.shared
    }

    /// How many invocations the pool wants at once, running and waiting: one for each slot; while calls
    /// are short a few more, so that a slot goes on without asking; and one for each call that is
    /// expected to end soon. Changes with every call and with time.
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

    /// What the executors that have started report of themselves.
    #[must_use]
    pub fn describe(&self) -> Vec<ExecutorInfo> {
        self.shared().standbys.iter().filter_map(Standby::info).collect()
    }

    /// Takes an invocation. Never waits.
    ///
    /// # Errors
    /// The pool is stopping or full, has no such class, or no instance of the class starts.
    pub fn submit(&self, invocation: Invocation) -> Result<(), Refused> {
        fail::fail_point!("sent");
        let shared = self.shared();
        let refuse = |reason, invocation| Refused { reason, invocation: Box::new(invocation) };
        let class = shared.classes.iter().position(|class| class.serves(&invocation.spec.class));
        let Some(standby) = class.and_then(|index| shared.standbys.get(index)) else {
            return Err(refuse(RefusedReason::Class, invocation));
        };
        if standby.is_down() {
            return Err(refuse(RefusedReason::Down, invocation));
        }
        let mut state = shared.lock();
        if state.jobs.is_empty() {
            return Err(refuse(RefusedReason::Stopping, invocation));
        }
        if state.backlog.is_full() {
            return Err(refuse(RefusedReason::Full, invocation));
        }
        let now = Instant::now();
        match state.backlog.place(invocation, now) {
            Placed::Slot(slot, job) => {
                // A free slot has an empty channel, and ends only after the channels are gone.
                let _ = state.jobs[slot].try_send(job);
                if state.backlog.next_change(now).is_some() {
                    drop(state);
                    shared.housekeeping.notify_one();
                }
            }
            Placed::Waits { first } => {
                drop(state);
                if first {
                    shared.housekeeping.notify_one();
                }
            }
        }
        Ok(())
    }

    /// Cancels an attempt, waiting or running; `false` where the pool has no such attempt (it may
    /// have just ended). The event is `Finished` with `CallVerdict::Cancelled`, once the code has
    /// stopped, unless the call ended by itself first.
    #[must_use]
    pub fn cancel(&self, task: TaskAttempt) -> bool {
        let mut state = self.shared().lock();
        match state.backlog.cancel(task) {
            Cancelled::Unknown => false,
            Cancelled::Running => true,
            Cancelled::Waiting => {
                let outcome = Outcome::bare(CallVerdict::Cancelled, Duration::ZERO);
                state.outbox.push(PoolEvent::Finished(Report { task, outcome }));
                drop(state);
                self.shared().housekeeping.notify_one();
                true
            }
        }
    }

    /// Somebody watches an attempt, for [`belljar_core::live::WATCH_TTL`] from now: [`PoolEvent::Live`] has what it writes, and
    /// what it has written before too if that is wanted. Nothing happens where it does not run.
    pub fn watch(&self, task: TaskAttempt, from_start: bool) {
        self.shared().lock().backlog.watch(task, from_start);
    }

    /// Takes nothing more, gives the backlog back, lets running calls end for up to `deadline`, cuts
    /// the rest (reported as `FailureKind::WorkerLost`), and ends all instances. The events must be read
    /// meanwhile; their channel closes at the end.
    pub async fn drain(&self, deadline: Duration) {
        let Owner { shared, slots, housekeeping } = &*self.owner;
        shared.close();
        slots.close();
        housekeeping.close();
        if timeout(deadline, slots.wait()).await.is_err() {
            shared.cut();
            slots.wait().await;
        }
        shared.stop.cancel();
        housekeeping.wait().await;
        for standby in &shared.standbys {
            standby.end().await;
        }
        all_reaped().await;
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
