//! Spans of tasks that are traced: of the task from when it may run, of its time in the queue, and of each attempt from its
//! claim until the store has recorded what became of it.
//!
//! An attempt is a part of its task. It follows the one before, which another dispatcher may have made.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use belljar_core::id::{FunctionId, TaskId, WorkerId};
use belljar_core::task::{Attempt, TaskAttempt, TaskClass};
use belljar_core::trace::{TraceContext, attempt_span, task_span};
use belljar_store::record::{ClaimedTask, Completion, RequeueReason, Requeued};
use belljar_traces::{Attribute, Kind, Span, Traces};

use crate::event::{SchedulerAction, SchedulerEvent};

/// The tasks in this dispatcher's hands that are traced.
#[derive(Debug)]
pub(crate) struct TracedTasks {
    traces: Traces,
    held: HashMap<TaskId, TracedTask>,
}

#[derive(Debug)]
struct TracedTask {
    trace: Box<TraceContext>,
    attempt: Attempt,
    class: TaskClass,
    function_id: FunctionId,
    due: SystemTime,
    claimed: SystemTime,
    ended: Option<End>,
}

/// How an attempt ended, which the store has yet to record.
#[derive(Debug)]
struct End {
    at: SystemTime,
    what: &'static str,
    worker: Option<WorkerId>,
    failure: Option<String>,
    /// Whether the task has ended with it.
    is_last: bool,
}

impl TracedTasks {
    pub(crate) fn new(traces: Traces) -> Self {
        Self { traces, held: HashMap::new() }
    }

    /// The trace of a task, where it is traced.
    pub(crate) fn trace(&self, task: TaskId) -> Option<&TraceContext> {
        self.held.get(&task).map(|task| &*task.trace)
    }

    /// Notes which attempts begin, and exports those that are recorded.
    pub(crate) fn event(&mut self, event: &SchedulerEvent) {
        match event {
            SchedulerEvent::Claimed(tasks) | SchedulerEvent::Delivered { tasks, .. } => {
                tasks.iter().for_each(|task| self.claimed(task));
            }
            SchedulerEvent::Recorded(recorded) if !self.held.is_empty() => {
                recorded.iter().for_each(|task| self.recorded(*task));
            }
            _ => {}
        }
    }

    /// Notes how attempts end.
    pub(crate) fn action(&mut self, action: &SchedulerAction) {
        if self.held.is_empty() {
            return;
        }
        match action {
            SchedulerAction::Complete(Completion { worker, report }) => {
                let verdict = &report.outcome.verdict;
                let failure = verdict.failure().map(|failure| failure.message.clone());
                let (what, worker) = (verdict.status().as_str(), Some(*worker));
                self.ended(
                    report.task,
                    End { at: SystemTime::now(), what, worker, failure, is_last: true },
                );
            }
            SchedulerAction::Requeue(Requeued { task, reason }) => {
                let (what, failure) = match reason {
                    RequeueReason::Unstarted => ("unstarted", None),
                    RequeueReason::Died(evidence) => ("died", Some(evidence.clone())),
                };
                let at = SystemTime::now();
                self.ended(*task, End { at, what, worker: None, failure, is_last: false });
            }
            _ => {}
        }
    }

    fn claimed(&mut self, task: &ClaimedTask) {
        let Some(trace) = &task.invocation.trace else { return };
        let TaskAttempt { task_id, attempt } = task.task();
        let spec = &task.invocation.spec;
        let traced = TracedTask {
            trace: trace.clone(),
            attempt,
            class: spec.class,
            function_id: spec.function_id,
            due: UNIX_EPOCH + Duration::from_micros(task.due_at.0),
            claimed: SystemTime::now(),
            ended: None,
        };
        // Of a later attempt it is not known when it was queued.
        if attempt == Attempt(1) {
            let times = (traced.due, traced.claimed);
            self.traces.export(Span::part(&traced.trace, task_span(task_id), "queue", times));
        }
        self.held.insert(task_id, traced);
    }

    fn ended(&mut self, task: TaskAttempt, end: End) {
        let held = self.held.get_mut(&task.task_id).filter(|it| it.attempt == task.attempt);
        // What is told again changes nothing.
        if let Some(held) = held.filter(|held| held.ended.is_none()) {
            held.ended = Some(end);
        }
    }

    fn recorded(&mut self, task: TaskAttempt) {
        let is_it = |held: &TracedTask| held.attempt == task.attempt && held.ended.is_some();
        if !self.held.get(&task.task_id).is_some_and(is_it) {
            return;
        }
        let Some(held) = self.held.remove(&task.task_id) else { return };
        let Some(end) = held.ended.as_ref() else { return };
        let now = SystemTime::now();
        let id = attempt_span(task);
        self.traces.export(Span::part(&held.trace, id, "record", (end.at, now)));
        self.traces.export(held.attempt_span(task, end, now));
        if end.is_last {
            self.traces.export(held.task_span(task.task_id, end, now));
        }
    }
}

impl TracedTask {
    fn attempt_span(&self, task: TaskAttempt, end: &End, now: SystemTime) -> Span<'_> {
        let TaskAttempt { task_id, attempt: Attempt(number) } = task;
        let before = number.checked_sub(1).filter(|before| *before > 0).map(Attempt);
        let id = attempt_span(task);
        let mut attributes = self.attributes(task_id, end);
        attributes.push(Attribute::new("belljar.attempt", i64::from(number)));
        Span {
            id,
            kind: Kind::Client,
            attributes,
            follows: before.map(|attempt| attempt_span(TaskAttempt { task_id, attempt })),
            failure: end.failure.clone(),
            ..Span::part(&self.trace, task_span(task_id), "attempt", (self.claimed, now))
        }
    }

    fn task_span(&self, task_id: TaskId, end: &End, now: SystemTime) -> Span<'_> {
        Span {
            id: task_span(task_id),
            kind: Kind::Consumer,
            attributes: self.attributes(task_id, end),
            failure: end.failure.clone(),
            ..Span::part(&self.trace, self.trace.span_id, "task", (self.due, now))
        }
    }

    fn attributes(&self, task_id: TaskId, end: &End) -> Vec<Attribute> {
        let mut attributes = vec![
            Attribute::new("belljar.task_id", task_id.to_string()),
            Attribute::new("belljar.function_id", self.function_id.to_string()),
            Attribute::new("belljar.class", self.class.to_string()),
            Attribute::new("belljar.outcome", end.what),
        ];
        attributes.extend(end.worker.map(|id| Attribute::new("belljar.worker", id.to_string())));
        attributes
    }
}
