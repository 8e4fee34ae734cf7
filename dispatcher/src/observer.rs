//! What is logged and counted of events and actions, beside the main loop.

use std::sync::Arc;
use std::time::Instant;

use belljar_store::record::{Completion, RequeueReason, Requeued, WorkerRecord};

use crate::event::{SchedulerAction, SchedulerEvent};
use crate::metrics::Metrics;

/// Watches the main loop.
pub(crate) struct Observer {
    metrics: Option<Arc<Metrics>>,
}

impl Observer {
    /// Counts only where there are metrics.
    pub(crate) const fn new(metrics: Option<Arc<Metrics>>) -> Self {
        Self { metrics }
    }

    /// The loop goes round once more, with so many tasks in its hands.
    pub(crate) fn turn(
        &self,
        now: Instant,
        held: usize,
        workers: impl FnOnce() -> Vec<WorkerRecord>,
    ) {
        if let Some(metrics) = &self.metrics {
            metrics.refresh(now, held, workers);
        }
    }

    pub(crate) fn event(&self, event: &SchedulerEvent) {
        if let Some(metrics) = &self.metrics {
            metrics.event(event);
        }
    }

    pub(crate) fn action(&self, action: &SchedulerAction) {
        log_death(action);
        if let Some(metrics) = &self.metrics {
            metrics.action(action);
        }
    }
}

/// Logs an attempt that ended with its executor or worker: the end of most others is the function's own affair.
fn log_death(action: &SchedulerAction) {
    match action {
        SchedulerAction::Requeue(Requeued { task, reason: RequeueReason::Died(evidence) }) => {
            let why = first_line(evidence);
            tracing::info!(task_id = %task.task_id, attempt = task.attempt.0, "queued again: {why}");
        }
        SchedulerAction::Complete(Completion { report, .. }) => {
            let failure = report.outcome.verdict.failure();
            if let Some(failure) = failure.filter(|failure| failure.kind.is_lost()) {
                let (task, why) = (report.task, first_line(&failure.message));
                tracing::info!(task_id = %task.task_id, attempt = task.attempt.0, "failed: {why}");
            }
        }
        _ => {}
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
