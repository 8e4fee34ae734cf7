//! Submitting calls: one, or a batch of which all are accepted or none.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use belljar_core::id::{FunctionId, TaskId};
use belljar_core::task::{CodeHash, Priority, Runtime, TaskClass, TaskSpec};
use belljar_core::{payload, pickle};
use belljar_store::StoreError;
use belljar_store::record::{FunctionRecord, Idempotency, NewTask};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::body::{Input, offload, parse};
use crate::error::ApiError;
use crate::extract::not_a_uuid;
use crate::known::pythons;
use crate::reply;
use crate::routes::functions::{timeout_ms, unserved, word};
use crate::timing::{Notes, Phase, Scope};
use crate::validate::{Field, Kind, Problem};

/// The most tasks of one batch.
const MAX_BATCH: usize = 10_000;
/// The longest idempotency key, in bytes.
const MAX_KEY: usize = 256;
/// The longest delay: thirty days.
const MAX_DELAY_SECONDS: f64 = 2_592_000.0;

const FIELDS: &[Field] = &[
    Field::required("function_id", Kind::Id),
    Field::required("payload", Kind::Text),
    Field::optional("runtime", Kind::Text),
    Field::optional("timeout_s", Kind::Number),
    Field::optional("idempotency_key", Kind::Text),
    Field::optional("priority", Kind::Text),
    Field::optional("delay_s", Kind::Number),
];

const BATCH_FIELDS: &[Field] = &[
    Field::required("function_id", Kind::Id),
    Field::required("payloads", Kind::Texts),
    Field::optional("runtime", Kind::Text),
    Field::optional("timeout_s", Kind::Number),
    Field::optional("idempotency_key", Kind::Text),
    Field::optional("priority", Kind::Text),
    Field::optional("delay_s", Kind::Number),
];

#[derive(Deserialize)]
struct Execute<'a> {
    #[serde(borrow)]
    function_id: Cow<'a, str>,
    #[serde(borrow)]
    payload: Cow<'a, str>,
    runtime: Option<Cow<'a, str>>,
    timeout_s: Option<f64>,
    idempotency_key: Option<String>,
    priority: Option<Cow<'a, str>>,
    delay_s: Option<f64>,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    function_id: Cow<'a, str>,
    payloads: Vec<Cow<'a, str>>,
    runtime: Option<Cow<'a, str>>,
    timeout_s: Option<f64>,
    idempotency_key: Option<String>,
    priority: Option<Cow<'a, str>>,
    delay_s: Option<f64>,
}

#[derive(Serialize)]
struct Submitted {
    task_id: TaskId,
}

#[derive(Serialize)]
struct SubmittedBatch {
    task_ids: Vec<TaskId>,
}

/// What was asked beside the function and the arguments.
#[derive(Debug, Default, PartialEq)]
struct Options {
    runtime: Option<Runtime>,
    timeout_s: Option<f64>,
    key: Option<String>,
    priority: Priority,
    delay_ms: u64,
}

/// A submission as a client sent it. An unknown function is told before a bad payload.
struct Sent {
    function_id: FunctionId,
    options: Options,
    args: Result<Vec<Bytes>, ApiError>,
}

/// `POST /execute_function`
pub(crate) async fn execute(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
    input: Input,
) -> Result<Response, ApiError> {
    let bytes = input.bytes.clone();
    let sent = offload(input.bytes.len(), move || read_one(&bytes)).await?;
    let ids = submit(&app, &notes, sent, Form::One).await?;
    let task_id = ids.first().copied();
    let task_id = task_id.ok_or(ApiError::Internal("the store gave no id".into()))?;
    reply::json(&Submitted { task_id })
}

/// `POST /v1/tasks`
pub(crate) async fn batch(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
    input: Input,
) -> Result<Response, ApiError> {
    let bytes = input.bytes.clone();
    let sent = offload(input.bytes.len(), move || read_batch(&bytes)).await?;
    let task_ids = submit(&app, &notes, sent, Form::Batch).await?;
    let size = 32 + task_ids.len() * 39;
    reply::json_with_room(&SubmittedBatch { task_ids }, size)
}

fn read_one(bytes: &[u8]) -> Result<Sent, ApiError> {
    let body: Execute<'_> = parse(bytes, FIELDS)?;
    let mut problems = Vec::new();
    let function_id = id(&body.function_id, &mut problems);
    let options = Options {
        runtime: word(body.runtime.as_deref(), "runtime", &mut problems),
        timeout_s: body.timeout_s,
        key: key(body.idempotency_key, &mut problems),
        priority: priority(body.priority.as_deref(), &mut problems),
        delay_ms: delay(body.delay_s, &mut problems),
    };
    let Some(function_id) = function_id.filter(|_| problems.is_empty()) else {
        return Err(ApiError::Invalid(problems));
    };
    let args = arguments(&body.payload)
        .map(|args| vec![args])
        .map_err(|why| ApiError::Payload(format!("the payload is {why}")));
    Ok(Sent { function_id, options, args })
}

fn read_batch(bytes: &[u8]) -> Result<Sent, ApiError> {
    let body: Batch<'_> = parse(bytes, BATCH_FIELDS)?;
    let mut problems = Vec::new();
    let function_id = id(&body.function_id, &mut problems);
    let options = Options {
        runtime: word(body.runtime.as_deref(), "runtime", &mut problems),
        timeout_s: body.timeout_s,
        key: key(body.idempotency_key, &mut problems),
        priority: priority(body.priority.as_deref(), &mut problems),
        delay_ms: delay(body.delay_s, &mut problems),
    };
    if body.payloads.len() > MAX_BATCH {
        let msg = format!(
            "Input should have at most {MAX_BATCH} elements, not {}: send several batches",
            body.payloads.len()
        );
        problems.push(Problem::body("too_long", "payloads", msg));
    }
    let Some(function_id) = function_id.filter(|_| problems.is_empty()) else {
        return Err(ApiError::Invalid(problems));
    };
    let read = |(index, text): (usize, &Cow<'_, str>)| {
        arguments(text).map_err(|why| {
            ApiError::Payload(format!("payloads[{index}] is {why}; no task was accepted"))
        })
    };
    let args = body.payloads.iter().enumerate().map(read).collect();
    Ok(Sent { function_id, options, args })
}

/// The pickled arguments in a payload, or what it is instead.
fn arguments(text: &str) -> Result<Bytes, String> {
    const WAY_OUT: &str = "send codecs.encode(dill.dumps((args, kwargs)), \"base64\")";
    let args = payload::decode(text).map_err(|error| format!("not base64: {error}; {WAY_OUT}"))?;
    pickle::inspect(&args).map_err(|error| format!("not a pickle: {error}; {WAY_OUT}"))?;
    Ok(args.into())
}

fn id(text: &str, problems: &mut Vec<Problem>) -> Option<FunctionId> {
    let parsed = text.parse();
    parsed
        .map_err(|_| problems.push(Problem::body("uuid_parsing", "function_id", not_a_uuid(text))))
        .ok()
}

fn key(key: Option<String>, problems: &mut Vec<Problem>) -> Option<String> {
    let key = key?;
    if key.is_empty() || key.len() > MAX_KEY {
        let msg = format!("Input should have from 1 to {MAX_KEY} bytes, not {}", key.len());
        problems.push(Problem::body("string_length", "idempotency_key", msg));
    }
    Some(key)
}

fn priority(text: Option<&str>, problems: &mut Vec<Problem>) -> Priority {
    let Some(text) = text else { return Priority::default() };
    Priority::ALL.into_iter().find(|priority| priority.as_str() == text).unwrap_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        let msg = format!("Input should be `high`, `normal` or `low`, not `{shown}`");
        problems.push(Problem::body("enum", "priority", msg));
        Priority::default()
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn delay(seconds: Option<f64>, problems: &mut Vec<Problem>) -> u64 {
    let seconds = seconds.unwrap_or_default();
    if (0.0..=MAX_DELAY_SECONDS).contains(&seconds) {
        return (seconds * 1_000.0).ceil() as u64;
    }
    let kind = if seconds < 0.0 { "greater_than_equal" } else { "less_than_equal" };
    let msg = format!("Input should be from 0 to {MAX_DELAY_SECONDS} seconds, not {seconds}");
    problems.push(Problem::body(kind, "delay_s", msg));
    0
}

/// How many tasks a submission may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    One,
    Batch,
}

async fn submit(app: &App, notes: &Notes, sent: Sent, form: Form) -> Result<Vec<TaskId>, ApiError> {
    let function = app.function(sent.function_id, notes).await?;
    let args = sent.args?;
    let spec = narrow(app, notes, &function, &sent.options).await?;
    if args.is_empty() {
        return Ok(Vec::new());
    }
    let (key, delay_ms, count) = (sent.options.key.as_deref(), sent.options.delay_ms, args.len());
    let body_seed = key.map(|_| seed(&sent.options, &function, form, count));
    let task = |(index, args): (usize, Bytes)| NewTask {
        id: TaskId::random(),
        spec: spec.clone(),
        idempotency: key.zip(body_seed.as_deref()).map(|(key, seed)| Idempotency {
            key: match form {
                Form::One => key.to_owned(),
                // A unit separator: no key of a single task is like it by accident.
                Form::Batch => format!("{key}\u{1f}{index}"),
            },
            body: CodeHash::of(&[seed, &args[..]].concat()),
        }),
        args,
        delay_ms,
    };
    let tasks = args.into_iter().enumerate().map(task).collect();
    let submitted = notes.time(Phase::Store, app.store.submit(tasks)).await;
    submitted.map_err(|error| match (error, sent.options.key) {
        (StoreError::IdempotencyConflict { task_id, .. }, Some(key)) => {
            ApiError::IdempotencyConflict { key, task_id }
        }
        (error, _) => error.into(),
    })
}

/// Everything that was asked beside the arguments, in a form that is equal for equal requests.
fn seed(options: &Options, function: &FunctionRecord, form: Form, count: usize) -> Vec<u8> {
    let Options { runtime, timeout_s, key: _, priority, delay_ms } = options;
    format!("{} {form:?} {count} {runtime:?} {timeout_s:?} {priority} {delay_ms}\n", function.id)
        .into_bytes()
}

/// What the task may do: as the function was registered, or less.
async fn narrow(
    app: &App,
    notes: &Notes,
    function: &FunctionRecord,
    options: &Options,
) -> Result<TaskSpec, ApiError> {
    let mut problems = Vec::new();
    let mut limits = function.limits;
    if let Some(seconds) = options.timeout_s {
        let whose = "the function was registered with";
        if let Some(ms) = timeout_ms(seconds, limits.timeout_ms, whose, &mut problems) {
            limits.timeout_ms = ms;
        }
    }
    let registered = function.class.runtime;
    let runtime = options.runtime.unwrap_or(registered);
    if !registered.may_narrow_to(runtime) {
        let msg = format!(
            "Input should be `{registered}`, as the function was registered: a call may be more \
             isolated than its function, never less. Register the function again for `{runtime}`"
        );
        problems.push(Problem::body("runtime_widened", "runtime", msg));
    } else if runtime != registered {
        let served = notes.time(Phase::Store, app.served.get(&app.store)).await?;
        let (python, offered) = (function.class.python, pythons(&served, runtime));
        if !served.is_empty() && !offered.contains(&python) {
            problems.push(unserved(runtime, &format!("Python {python}"), &offered));
        }
    }
    if !problems.is_empty() {
        return Err(ApiError::Invalid(problems));
    }
    Ok(TaskSpec {
        function_id: function.id,
        code: function.code,
        class: TaskClass { runtime, python: function.class.python },
        limits,
        priority: options.priority,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
    const ARGS: &str = r"gASVCQAAAAAAAABLAoWUfZSGlC4=\n";

    #[test]
    fn a_call_is_read() {
        let body = format!(
            r#"{{"function_id":"{ID}","payload":"{ARGS}","priority":"high","delay_s":0.5,"x":1}}"#
        );
        let sent = read_one(body.as_bytes()).expect("valid");
        assert_eq!(sent.function_id.to_string(), ID);
        assert_eq!((sent.options.priority, sent.options.delay_ms), (Priority::High, 500));
        assert_eq!(sent.args.expect("a pickle").len(), 1);
    }

    #[test]
    fn every_wrong_field_is_told_at_once() {
        let body = r#"{"function_id":"x","payload":"","priority":"urgent","delay_s":-1,
            "idempotency_key":"","runtime":"jar"}"#;
        let Err(ApiError::Invalid(problems)) = read_one(body.as_bytes()) else { panic!("valid") };
        assert_eq!(problems.len(), 5, "{problems:?}");
    }

    #[test]
    fn the_bad_payload_of_a_batch_is_named() {
        let body = format!(r#"{{"function_id":"{ID}","payloads":["{ARGS}","payload"]}}"#);
        let sent = read_batch(body.as_bytes()).expect("valid JSON");
        let error = sent.args.expect_err("no base64").to_string();
        assert!(error.starts_with("payloads[1] is not base64: incorrect padding"), "{error}");
        let many = vec![format!("\"{ARGS}\""); MAX_BATCH + 1].join(",");
        let body = format!(r#"{{"function_id":"{ID}","payloads":[{many}]}}"#);
        assert!(matches!(read_batch(body.as_bytes()), Err(ApiError::Invalid(_))));
    }
}
