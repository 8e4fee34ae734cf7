//! What the slots of a pool and the handles to it share, and the keeper, which speaks for those that
//! may not wait.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use belljar_core::invocation::Invocation;
use belljar_core::task::TaskClass;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::backlog::{Backlog, Job};
use crate::event::PoolEvent;
use crate::executor::supply::Supply;

/// What slots and handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    /// The classes, in the order of each slot's executors.
    pub(crate) classes: Vec<TaskClass>,
    pub(crate) supplies: Vec<Supply>,
    /// Running calls are cut.
    pub(crate) cut: CancellationToken,
    /// The keeper and the supplies end.
    pub(crate) stop: CancellationToken,
    /// Something for the keeper to do.
    pub(crate) keeper: Notify,
}

// A std mutex: it is held for a few instructions and never across an await.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) backlog: Backlog,
    /// One for each slot; empty once the pool takes nothing more.
    pub(crate) mailboxes: Vec<mpsc::Sender<Job>>,
    /// What the keeper has to tell, since `submit` and `cancel` never wait.
    pub(crate) outbox: Vec<PoolEvent>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a slot does after a call that took so long.
    pub(crate) fn next(&self, slot: usize, took: Option<Duration>) -> Option<Job> {
        let now = Instant::now();
        let mut state = self.lock();
        let next = state.backlog.next(slot, took, now);
        let has_turn = next.is_some() && state.backlog.next_turn(now).is_some();
        drop(state);
        if has_turn {
            self.keeper.notify_one();
        }
        next
    }

    /// Takes no more, gives back what waits, and lets free slots end.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.mailboxes.clear();
        let waiting = state.backlog.take_waiting();
        state.outbox.extend(waiting.iter().map(returned));
        drop(state);
        self.keeper.notify_one();
    }

    /// Stops what runs.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
        self.lock().backlog.cancel_running();
    }

    /// Tells what others left to be told and that the window has changed by time alone, and gives back
    /// what has waited too long.
    pub(crate) async fn keep(&self, events: mpsc::Sender<PoolEvent>) {
        let mut turn = None;
        loop {
            let stopping = self.stop.is_cancelled();
            let (told, wake) = {
                let now = Instant::now();
                let mut state = self.lock();
                let late = state.backlog.overdue(now);
                state.outbox.extend(late.iter().map(returned));
                if turn.is_some_and(|turn| turn <= now) {
                    state.outbox.push(PoolEvent::Resized);
                }
                turn = state.backlog.next_turn(now);
                let overdue = state.backlog.next_overdue();
                (std::mem::take(&mut state.outbox), overdue.into_iter().chain(turn).min())
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
