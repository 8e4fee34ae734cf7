//! Local mode: the workers' pool inside the dispatcher.

use std::time::{Duration, Instant};

use belljar_core::guest::GuestModules;
use belljar_core::id::{DispatcherId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::task::{TaskAttempt, TaskClass};
use belljar_store::record::{Timestamp, WorkerRecord};
use belljar_worker::config::PoolConfig;
use belljar_worker::pool::{Pool, PoolEvent};
use tokio::sync::mpsc;

use crate::event::{Event, NewWorker};

/// How many of the pool's events are taken at once.
const EVENTS_AT_ONCE: usize = 256;

/// The one worker of local mode.
pub(crate) struct Local {
    id: WorkerId,
    started: Instant,
    pool: Pool,
    from_pool: mpsc::Receiver<PoolEvent>,
    window: usize,
    /// What runs now.
    classes: Vec<TaskClass>,
    /// What the guests of the sandbox lack.
    guests: Vec<GuestModules>,
    /// What is meant to run: a class whose executors are still starting is served, its calls wait.
    configured: Vec<TaskClass>,
    /// Calls that the pool did not take.
    refused: Vec<TaskAttempt>,
}

impl Local {
    pub(crate) fn start(config: PoolConfig) -> Self {
        let configured = config.executors.iter().map(|executor| executor.class()).collect();
        let (pool, from_pool) = Pool::start(config);
        let window = pool.window();
        let id = WorkerId::random();
        let (started, classes, guests) = (Instant::now(), Vec::new(), Vec::new());
        let refused = Vec::new();
        Self { id, started, pool, from_pool, window, classes, guests, configured, refused }
    }

    /// What is served: submissions for anything else are refused.
    pub(crate) fn served(&self) -> &[TaskClass] {
        &self.configured
    }

    /// Waits for something to happen. Cancel safe.
    pub(crate) async fn events(&mut self) -> Vec<Event> {
        let mut heard = Vec::new();
        if self.refused.is_empty()
            && self.from_pool.recv_many(&mut heard, EVENTS_AT_ONCE).await == 0
        {
            // The pool has ended, as it does after a drain.
            return std::future::pending().await;
        }
        let worker = self.id;
        let (mut reports, mut tasks) = (Vec::new(), std::mem::take(&mut self.refused));
        let mut classes = self.classes.clone();
        for event in heard {
            match event {
                PoolEvent::Finished(report) => reports.push(report),
                PoolEvent::Returned(task) => tasks.push(task),
                // Looked at after any event.
                PoolEvent::Resized => {}
                PoolEvent::ExecutorUp(info) => {
                    tracing::info!(class = %info.class, python = info.python, dill = info.dill, "executor is up");
                    classes.push(info.class);
                    self.guests = GuestModules::common(self.guests.drain(..).chain(info.guest));
                }
                PoolEvent::ExecutorDown { class, reason } => {
                    tracing::error!(%class, reason, "executors do not start");
                    classes.retain(|known| *known != class);
                }
            }
        }
        // First: a place that goes as a call ends is not offered to the store.
        let mut events: Vec<_> = self.changed(classes).into_iter().collect();
        if !reports.is_empty() {
            events.push(Event::Reported { worker, reports });
        }
        if !tasks.is_empty() {
            events.push(Event::Returned { worker, tasks });
        }
        events
    }

    fn changed(&mut self, mut classes: Vec<TaskClass>) -> Option<Event> {
        let (id, window) = (self.id, self.pool.window());
        classes.sort_unstable();
        classes.dedup();
        if classes != self.classes {
            (self.classes, self.window) = (classes.clone(), window);
            return Some(Event::Joined(NewWorker {
                id,
                classes,
                slots: self.pool.slots(),
                window,
            }));
        }
        (window != self.window).then(|| {
            self.window = window;
            Event::Resized { worker: id, window }
        })
    }

    pub(crate) fn send(&mut self, invocations: Vec<Invocation>) {
        for invocation in invocations {
            if let Err(refused) = self.pool.submit(invocation) {
                self.refused.push(refused.invocation.task);
            }
        }
    }

    pub(crate) fn stop(&self, task: TaskAttempt) {
        // Where the pool no longer has it, its end is on the way.
        let _ = self.pool.cancel(task);
    }

    pub(crate) fn workers(&self, dispatcher: DispatcherId, host: &str) -> Vec<WorkerRecord> {
        vec![WorkerRecord {
            id: self.id,
            dispatcher,
            mode: "local".to_owned(),
            host: host.to_owned(),
            pid: std::process::id(),
            slots: count(self.pool.slots()),
            busy: count(self.pool.in_flight().min(self.pool.slots())),
            classes: self.classes.clone(),
            guests: self.guests.clone(),
            since: Timestamp::before_now(self.started.elapsed()),
        }]
    }

    /// Has the waiting calls given back and lets running ones end for up to `deadline`; all children
    /// are gone afterwards. What becomes of the calls is heard as events.
    pub(crate) fn drain(&self, deadline: Duration) {
        let pool = self.pool.clone();
        tokio::spawn(async move { pool.drain(deadline).await });
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
