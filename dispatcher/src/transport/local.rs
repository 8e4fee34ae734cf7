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

use crate::event::{SchedulerEvent, WorkerCapacity};

/// How many of the pool's events one turn handles.
const EVENTS_AT_ONCE: usize = 256;

/// The one worker of local mode.
pub(crate) struct LocalTransport {
    id: WorkerId,
    started: Instant,
    pool: Pool,
    from_pool: mpsc::Receiver<PoolEvent>,
    window: usize,
    /// The classes whose executors run.
    classes: Vec<TaskClass>,
    /// The modules that the guests of the sandbox lack.
    guests: Vec<GuestModules>,
    /// The classes that are served, also while their executors start.
    configured: Vec<TaskClass>,
    /// Calls that the pool refused.
    refused: Vec<TaskAttempt>,
}

impl LocalTransport {
    pub(crate) fn start(config: PoolConfig) -> Self {
        let configured = config.executors.iter().map(|executor| executor.class()).collect();
        let (pool, from_pool) = Pool::start(config);
        let window = pool.window();
        let id = WorkerId::random();
        let (started, classes, guests) = (Instant::now(), Vec::new(), Vec::new());
        let refused = Vec::new();
        Self { id, started, pool, from_pool, window, classes, guests, configured, refused }
    }

    /// The classes that are served: submissions for other classes are refused.
    pub(crate) fn served(&self) -> &[TaskClass] {
        &self.configured
    }

    /// Waits for events. Cancel safe.
    pub(crate) async fn events(&mut self) -> Vec<SchedulerEvent> {
        let mut received = Vec::new();
        if self.refused.is_empty()
            && self.from_pool.recv_many(&mut received, EVENTS_AT_ONCE).await == 0
        {
            // The pool ends after a drain.
            return std::future::pending().await;
        }
        let worker = self.id;
        let (mut reports, mut tasks) = (Vec::new(), std::mem::take(&mut self.refused));
        let mut updates = Vec::new();
        let mut classes = self.classes.clone();
        for event in received {
            match event {
                PoolEvent::Finished(report) => reports.push(report),
                PoolEvent::Returned(task) => tasks.push(task),
                PoolEvent::Live(update) => updates.push(*update),
                // The window is compared after every event.
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
        // First: capacity that ends with a call must not be offered to the store.
        let mut events: Vec<_> = self.changed(classes).into_iter().collect();
        // Before the ends of those calls.
        if !updates.is_empty() {
            events.push(SchedulerEvent::Live { worker, updates });
        }
        if !reports.is_empty() {
            events.push(SchedulerEvent::Reported { worker, reports });
        }
        if !tasks.is_empty() {
            events.push(SchedulerEvent::Returned { worker, tasks });
        }
        events
    }

    fn changed(&mut self, mut classes: Vec<TaskClass>) -> Option<SchedulerEvent> {
        let (id, window) = (self.id, self.pool.window());
        classes.sort_unstable();
        classes.dedup();
        if classes != self.classes {
            (self.classes, self.window) = (classes.clone(), window);
            return Some(SchedulerEvent::WorkerJoined(WorkerCapacity {
                id,
                classes,
                slots: self.pool.slots(),
                window,
            }));
        }
        (window != self.window).then(|| {
            self.window = window;
            SchedulerEvent::WindowChanged { worker: id, window }
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
        // If the pool has it no more, its end is in an event.
        let _ = self.pool.cancel(task);
    }

    pub(crate) fn watch(&self, task: TaskAttempt, from_start: bool) {
        self.pool.watch(task, from_start);
    }

    pub(crate) fn workers(&self, dispatcher: DispatcherId, host: &str) -> Vec<WorkerRecord> {
        vec![WorkerRecord {
            id: self.id,
            dispatcher,
            mode: "local".to_owned(),
            host: host.to_owned(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            draining: false,
            slots: saturating_u32(self.pool.slots()),
            busy: saturating_u32(self.pool.in_flight().min(self.pool.slots())),
            classes: self.classes.clone(),
            guests: self.guests.clone(),
            since: Timestamp::before_now(self.started.elapsed()),
        }]
    }

    /// Gives back the waiting calls, lets running ones end for up to `deadline`, and ends all children.
    /// Events say what becomes of the calls.
    pub(crate) fn drain(&self, deadline: Duration) {
        let pool = self.pool.clone();
        tokio::spawn(async move { pool.drain(deadline).await });
    }
}

fn saturating_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
