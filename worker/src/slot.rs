//! A slot: runs one job after the other, with a child of its own for each class that it was asked
//! for, and tells what they came to.

use std::sync::Arc;
use std::time::Duration;

use belljar_core::invocation::Invocation;
use belljar_core::outcome::{Failure, FailureKind, Report, Verdict};
use tokio::sync::mpsc;

use crate::backlog::Job;
use crate::event::PoolEvent;
use crate::executor::Executor as _;
use crate::executor::process::ProcessExecutor;
use crate::shared::Shared;

/// One slot of a pool.
pub(crate) struct Slot {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    /// In the order of the pool's classes.
    pub(crate) executors: Vec<ProcessExecutor>,
    /// A free slot is handed its next job here; closed when the pool stops.
    pub(crate) mailbox: mpsc::Receiver<Job>,
    pub(crate) events: mpsc::Sender<PoolEvent>,
}

impl Slot {
    /// Runs until the pool stops; then ends the slot's children.
    pub(crate) async fn run(mut self) {
        if let Some(first) = self.executors.first_mut() {
            let cut = self.shared.cut.clone();
            // Where it fails, the first job meets the same and says so.
            let _ = cut.run_until_cancelled(first.warm_up()).await;
        }
        while let Some(job) = self.mailbox.recv().await {
            let mut next = Some(job);
            while let Some(job) = next {
                let (event, took) = self.execute(job).await;
                fail::fail_point!("computed");
                next = self.shared.next(self.index, took);
                // A closed channel means that nobody wants to know any more.
                let _ = self.events.send(event).await;
            }
        }
        for executor in &mut self.executors {
            executor.end().await;
        }
    }

    /// The event that a job ends in, and how long the call took if there was one.
    async fn execute(&mut self, job: Job) -> (PoolEvent, Option<Duration>) {
        let Job { invocation, cancel } = job;
        let Invocation { task_id, attempt, class, .. } = invocation;
        let returned = PoolEvent::Returned { task_id, attempt };
        let index = self.shared.classes.iter().position(|it| *it == class);
        let Some(executor) = index.and_then(|index| self.executors.get_mut(index)) else {
            return (returned, None);
        };
        let mut outcome = match executor.execute(&invocation, &cancel).await {
            Ok(outcome) => outcome,
            Err(broken) => {
                tracing::debug!(%task_id, reason = broken.reason, "given back");
                return (returned, None);
            }
        };
        if outcome.verdict == Verdict::Cancelled && self.shared.cut.is_cancelled() {
            outcome.verdict = Verdict::Failed(worker_stopped());
        }
        let took = Duration::from_micros(outcome.elapsed_us);
        (PoolEvent::Finished(Report { task_id, attempt, outcome }), Some(took))
    }
}

/// The failure of a call that a stopping pool cut.
fn worker_stopped() -> Failure {
    let text = "the worker was stopped before the call ended".to_owned();
    Failure::by_platform(FailureKind::WorkerLost, text)
}
