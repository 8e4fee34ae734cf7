//! The whole record of a task.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use belljar_core::grants::GrantRequest;
use belljar_core::id::{DispatcherId, FunctionId, TaskId, WorkerId};
use belljar_core::outcome::{Failure, FailureKind, OutputTail};
use belljar_core::task::{TaskLimits, Priority, PythonVersion, Runtime, TaskStatus};
use belljar_store::record::{TaskRecord, Timestamp};
use serde::Serialize;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::InPath;
use crate::reply::{self, ms, ms_between, rfc3339};
use crate::timing::{Phase, Scope};

#[derive(Serialize)]
struct TaskView {
    task_id: TaskId,
    function_id: FunctionId,
    status: TaskStatus,
    runtime: Runtime,
    python: PythonVersion,
    priority: Priority,
    limits: LimitsView,
    #[serde(skip_serializing_if = "Option::is_none")]
    grants: Option<Box<GrantRequest>>,
    attempts: u32,
    deaths: u32,
    losses: Vec<String>,
    accepted_at: String,
    due_at: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    expires_at: Option<String>,
    durations_ms: DurationsView,
    dispatcher: Option<DispatcherId>,
    worker: Option<WorkerId>,
    failure: Option<FailureView>,
    peak_memory_bytes: Option<u64>,
    stdout: Option<OutputView>,
    stderr: Option<OutputView>,
    args_bytes: u64,
    result_bytes: u64,
}

/// TaskLimits as clients name them.
#[derive(Serialize)]
pub(super) struct LimitsView {
    timeout_s: f64,
    memory_mb: u32,
    max_retries: u32,
}

/// Where the time went; `None` where it has not gone yet.
#[derive(Default, Serialize)]
struct DurationsView {
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
}

#[derive(Serialize)]
struct FailureView {
    kind: FailureKind,
    message: String,
    traceback: String,
    /// A way out, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

#[derive(Serialize)]
struct OutputView {
    /// The end of it; bytes that are no UTF-8 are shown as replacement characters.
    text: String,
    total_bytes: u64,
}

impl From<TaskLimits> for LimitsView {
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 milliseconds")]
    fn from(limits: TaskLimits) -> Self {
        let TaskLimits { timeout_ms, memory_mb, max_retries } = limits;
        Self { timeout_s: timeout_ms as f64 / 1_000.0, memory_mb, max_retries }
    }
}

impl From<OutputTail> for OutputView {
    fn from(tail: OutputTail) -> Self {
        Self {
            text: String::from_utf8_lossy(&tail.bytes).into_owned(),
            total_bytes: tail.total_bytes,
        }
    }
}

/// `GET /v1/tasks/{task_id}`
pub(crate) async fn task(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
    InPath(id): InPath<TaskId>,
) -> Result<Response, ApiError> {
    let found = notes.time(Phase::Store, app.store.task(id)).await?;
    reply::json_with_room(&view(found.ok_or(ApiError::UnknownTask(id))?), 2_048)
}

fn view(record: TaskRecord) -> TaskView {
    let durations_ms = durations(&record);
    let outcome = record.outcome;
    let failure = outcome.as_ref().and_then(|outcome| outcome.verdict.failure().cloned());
    let failure = failure.map(|Failure { kind, message, traceback, .. }| {
        let hint = hint(record.spec.class.runtime, &message);
        FailureView { kind, message, traceback, hint }
    });
    let peak_memory_bytes =
        outcome.as_ref().map(|outcome| outcome.peak_memory_bytes).filter(|&bytes| bytes > 0);
    let (stdout, stderr) = outcome.map(|outcome| (outcome.stdout, outcome.stderr)).unzip();
    let time = |time: Option<Timestamp>| time.map(rfc3339);
    TaskView {
        task_id: record.id,
        function_id: record.spec.function_id,
        status: record.status,
        runtime: record.spec.class.runtime,
        python: record.spec.class.python,
        priority: record.spec.priority,
        limits: record.spec.limits.into(),
        grants: record.spec.grants,
        attempts: record.attempts,
        deaths: record.deaths,
        losses: record.failures,
        accepted_at: rfc3339(record.accepted_at),
        due_at: time(record.due_at),
        started_at: time(record.started_at),
        finished_at: time(record.finished_at),
        expires_at: time(record.expires_at),
        durations_ms,
        dispatcher: record.dispatcher,
        worker: record.worker,
        failure,
        peak_memory_bytes,
        stdout: stdout.map(OutputView::from),
        stderr: stderr.map(OutputView::from),
        args_bytes: record.args_bytes,
        result_bytes: record.result_bytes,
    }
}

/// The way out for a function that found a module missing in the sandbox: what a reading before
/// the call cannot see, such as an import within an import.
fn hint(runtime: Runtime, message: &str) -> Option<&'static str> {
    const IMPORTS: [&str; 2] = ["ModuleNotFoundError", "ImportError"];
    let raised = message.split_once(':').map_or(message, |(class, _)| class);
    (runtime == Runtime::Sandbox && IMPORTS.contains(&raised)).then_some(
        "not available in the sandbox: register the function with \"runtime\": \"native\", or put \
         pure Python on the worker's --python-path",
    )
}

fn durations(record: &TaskRecord) -> DurationsView {
    let outcome = record.outcome.as_ref();
    let phase = |us: fn(&belljar_core::outcome::Phases) -> u64| {
        outcome.map(|outcome| ms(us(&outcome.phases)))
    };
    let ready_at = record.due_at.unwrap_or(record.accepted_at);
    DurationsView {
        queue: record.started_at.map(|started| ms_between(ready_at, started)),
        run: record.started_at.zip(record.finished_at).map(|(from, to)| ms_between(from, to)),
        slot: outcome.map(|outcome| ms(outcome.elapsed_us)),
        instance: phase(|phases| phases.instance_us),
        decode: phase(|phases| phases.decode_us),
        call: phase(|phases| phases.call_us),
        encode: phase(|phases| phases.encode_us),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_missing_in_the_sandbox_comes_with_the_way_out() {
        let said = "ModuleNotFoundError: No module named 'numpy'";
        assert!(hint(Runtime::Sandbox, said).is_some_and(|hint| hint.contains("native")));
        assert_eq!(hint(Runtime::Native, said), None);
        assert_eq!(hint(Runtime::Sandbox, "ValueError: ImportError"), None);
    }
}
