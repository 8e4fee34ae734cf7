//! What is logged, counted and traced of events and actions, beside the main loop.

use std::sync::Arc;
use std::time::Instant;

use belljar_core::task::TaskAttempt;
use belljar_store::record::{Completion, RequeueReason, Requeued, WorkerRecord};
use belljar_traces::Traces;

use crate::event::{SchedulerAction, SchedulerEvent};
use crate::metrics::Metrics;
use crate::traces::TracedTasks;

/// Watches the main loop.
pub(crate) struct Observer {
    metrics: Option<Arc<Metrics>>,
    traced: Option<TracedTasks>,
}

impl Observer {
    /// Counts only where there are metrics, and exports spans only where that is wanted.
    pub(crate) fn new(metrics: Option<Arc<Metrics>>, traces: Option<Traces>) -> Self {
        Self { metrics, traced: traces.map(TracedTasks::new) }
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

    pub(crate) fn event(&mut self, event: &SchedulerEvent) {
        if let Some(metrics) = &self.metrics {
            metrics.event(event);
        }
        if let Some(traced) = &mut self.traced {
            traced.event(event);
        }
    }

    pub(crate) fn action(&mut self, action: &SchedulerAction) {
        log_death(action, self.traced.as_ref());
        if let Some(metrics) = &self.metrics {
            metrics.action(action);
        }
        if let Some(traced) = &mut self.traced {
            traced.action(action);
        }
    }
}

/// Logs an attempt that ended with its executor or worker: the end of most others is the function's own affair.
fn log_death(action: &SchedulerAction, traced: Option<&TracedTasks>) {
    let trace_id = |task: TaskAttempt| {
        traced?.trace(task.task_id).map(|trace| tracing::field::display(trace.trace_id))
    };
    match action {
        SchedulerAction::Requeue(Requeued { task, reason: RequeueReason::Died(evidence) }) => {
            let why = first_line(evidence);
            let (trace_id, attempt) = (trace_id(*task), task.attempt.0);
            tracing::info!(task_id = %task.task_id, attempt, trace_id, "queued again: {why}");
        }
        SchedulerAction::Complete(Completion { report, .. }) => {
            let failure = report.outcome.verdict.failure();
            if let Some(failure) = failure.filter(|failure| failure.kind.is_lost()) {
                let (task, why) = (report.task, first_line(&failure.message));
                let (trace_id, attempt) = (trace_id(task), task.attempt.0);
                tracing::info!(task_id = %task.task_id, attempt, trace_id, "failed: {why}");
            }
        }
        _ => {}
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
