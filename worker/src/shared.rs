//! What the slots of a pool and the handles to it share, and housekeeping: the task that sends events for
//! those that may not wait, and gives back what has waited too long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use belljar_core::invocation::Invocation;
use belljar_core::task::TaskClass;
use belljar_traces::Traces;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::backlog::{Backlog, Job};
use crate::event::PoolEvent;
use crate::metrics::{PoolFigures, PoolMetrics};
use crate::standby::Standby;

/// What slots and handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<PoolState>,
    /// The classes, in the order of each slot's executors.
    pub(crate) classes: Vec<TaskClass>,
    pub(crate) standbys: Vec<Standby>,
    pub(crate) metrics: Option<Arc<PoolMetrics>>,
    pub(crate) traces: Option<Traces>,
    /// Running calls are cut.
    pub(crate) cut: CancellationToken,
    /// Housekeeping and the standbys end.
    pub(crate) stop: CancellationToken,
    /// There is something for housekeeping to do.
    pub(crate) housekeeping: Notify,
}

// A std mutex: it is held for a few instructions and never across an await.
#[derive(Debug)]
pub(crate) struct PoolState {
    pub(crate) backlog: Backlog,
    /// One for each slot; empty once the pool takes nothing more.
    pub(crate) jobs: Vec<mpsc::Sender<Job>>,
    /// Events for housekeeping to send, since `submit` and `cancel` never wait.
    pub(crate) outbox: Vec<PoolEvent>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, PoolState> {
        // Nothing under the lock panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the pool has now.
    pub(crate) fn figures(&self) -> PoolFigures {
        let is_up = |standby: &Standby| standby.info().is_some();
        let classes = self.classes.iter().copied().zip(self.standbys.iter().map(is_up)).collect();
        let backlog = &self.lock().backlog;
        let (slots, running) = (backlog.slots(), backlog.running());
        PoolFigures { slots, running, waiting: backlog.in_flight() - running, classes }
    }

    /// What a slot runs after a call that took `took`.
    pub(crate) fn next(&self, slot: usize, took: Option<Duration>) -> Option<Job> {
        let now = Instant::now();
        let mut state = self.lock();
        let next = state.backlog.next(slot, took, now);
        let has_change = next.is_some() && state.backlog.next_change(now).is_some();
        drop(state);
        if has_change {
            self.housekeeping.notify_one();
        }
        next
    }

    /// Takes no more, gives back what waits, and lets free slots end.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.jobs.clear();
        let waiting = state.backlog.take_waiting();
        state.outbox.extend(waiting.iter().map(returned));
        drop(state);
        self.housekeeping.notify_one();
    }

    /// Stops what runs.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
        self.lock().backlog.cancel_running();
    }

    /// Sends the events that others left, reports that the window has changed by time alone, and gives
    /// back what has waited too long.
    pub(crate) async fn housekeep(&self, events: mpsc::Sender<PoolEvent>) {
        let mut change = None;
        loop {
            let stopping = self.stop.is_cancelled();
            let (left, wake) = {
                let now = Instant::now();
                let mut state = self.lock();
                let late = state.backlog.overdue(now);
                state.outbox.extend(late.iter().map(returned));
                if change.is_some_and(|change| change <= now) {
                    state.outbox.push(PoolEvent::Resized);
                }
                change = state.backlog.next_change(now);
                let overdue = state.backlog.next_overdue();
                (std::mem::take(&mut state.outbox), overdue.into_iter().chain(change).min())
            };
            for event in left {
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
                () = self.housekeeping.notified() => {}
                () = self.stop.cancelled() => {}
                () = sleep => {}
            }
        }
    }
}

fn returned(invocation: &Invocation) -> PoolEvent {
    PoolEvent::Returned(invocation.task)
}
