//! A task in a list, and where its time went.

use belljar_core::id::{FunctionId, TaskId, WorkerId};
use belljar_core::outcome::FailureKind;
use belljar_core::task::{Priority, PythonVersion, Runtime, TaskStatus};
use belljar_store::record::{TaskEnd, TaskSummary, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::reply::{ms, ms_between, rfc3339};
use crate::schema::{PriorityName, RuntimeName, Status};

/// A task in a list. What is only known at its end is left out before.
#[derive(Serialize, ToSchema)]
pub(super) struct TaskItem {
    #[schema(value_type = uuid::Uuid)]
    task_id: TaskId,
    #[schema(value_type = uuid::Uuid)]
    function_id: FunctionId,
    #[schema(value_type = Status)]
    status: TaskStatus,
    #[schema(value_type = RuntimeName)]
    runtime: Runtime,
    #[schema(value_type = String)]
    python: PythonVersion,
    #[schema(value_type = PriorityName)]
    priority: Priority,
    #[schema(format = DateTime)]
    accepted_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    /// Attempts opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    worker: Option<WorkerId>,
    /// Why it failed; see `kind` of `Failure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    failure: Option<FailureKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    durations_ms: Option<DurationsView>,
}

/// Where the time went, in milliseconds; `null` for a phase that has not ended.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = Durations)]
pub(super) struct DurationsView {
    /// From acceptance (or the end of its delay) to the start of the last attempt.
    queue: Option<f64>,
    /// From the start of the last attempt to its end.
    run: Option<f64>,
    /// In the worker's slot.
    slot: Option<f64>,
    instance: Option<f64>,
    decode: Option<f64>,
    call: Option<f64>,
    encode: Option<f64>,
    /// Processor time. A call that was stopped is taken to have used one processor all the time.
    cpu: Option<f64>,
}

impl DurationsView {
    /// Of a task that could be queued at `ready_at`, whose last attempt was opened at `started_at`.
    pub(super) fn new(
        ready_at: Timestamp,
        started_at: Option<Timestamp>,
        end: Option<&TaskEnd>,
    ) -> Self {
        let phase = |us: fn(&TaskEnd) -> u64| end.map(|end| ms(us(end)));
        Self {
            queue: started_at.map(|started| ms_between(ready_at, started)),
            run: started_at.zip(end).map(|(from, end)| ms_between(from, end.finished_at)),
            slot: phase(|end| end.elapsed_us),
            instance: phase(|end| end.phases.instance_us),
            decode: phase(|end| end.phases.decode_us),
            call: phase(|end| end.phases.call_us),
            encode: phase(|end| end.phases.encode_us),
            cpu: phase(TaskEnd::cpu_us),
        }
    }
}

/// A task as lists show it.
pub(super) fn task_item(task: TaskSummary) -> TaskItem {
    let end = task.end.as_ref();
    let started_at = end.and_then(|end| end.started_at);
    let ready_at = task.due_at.unwrap_or(task.accepted_at);
    TaskItem {
        task_id: task.id,
        function_id: task.function_id,
        status: task.status,
        runtime: task.class.runtime,
        python: task.class.python,
        priority: task.priority,
        accepted_at: rfc3339(task.accepted_at),
        started_at: started_at.map(rfc3339),
        finished_at: end.map(|end| rfc3339(end.finished_at)),
        attempts: end.map(|end| end.attempts),
        worker: end.and_then(|end| end.worker),
        failure: end.and_then(|end| end.failure),
        peak_memory_bytes: end.map(|end| end.peak_memory_bytes).filter(|&bytes| bytes > 0),
        durations_ms: end.map(|end| DurationsView::new(ready_at, started_at, Some(end))),
    }
}
