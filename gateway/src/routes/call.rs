//! What a client sends to have a function called, read and checked.

use std::borrow::Cow;
use std::time::Duration;

use belljar_core::id::FunctionId;
use belljar_core::task::{Priority, Runtime};
use belljar_pickle::{self as pickle, payload};
use bytes::Bytes;
use serde::Deserialize;

use crate::body::parse;
use crate::error::ApiError;
use crate::extract::{not_a_uuid, wait};
use crate::routes::functions::word;
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
    Field::optional("wait", Kind::Number),
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
    wait: Option<f64>,
}

/// What was asked beside the function and the arguments.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Options {
    pub(super) runtime: Option<Runtime>,
    pub(super) timeout_s: Option<f64>,
    pub(super) key: Option<String>,
    pub(super) priority: Priority,
    pub(super) delay_ms: u64,
}

/// A submission as a client sent it. An unknown function is told before a bad payload.
pub(super) struct Sent {
    pub(super) function_id: FunctionId,
    pub(super) options: Options,
    pub(super) args: Result<Vec<Bytes>, ApiError>,
    /// How long to wait for results that the answer may bring along.
    pub(super) wait: Duration,
}

/// The body of a single call.
pub(super) fn read_one(bytes: &[u8]) -> Result<Sent, ApiError> {
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
    Ok(Sent { function_id, options, args, wait: Duration::ZERO })
}

/// The body of a batch.
pub(super) fn read_batch(bytes: &[u8]) -> Result<Sent, ApiError> {
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
    let wait = wait(body.wait.unwrap_or_default()).unwrap_or_else(|(kind, msg)| {
        problems.push(Problem::body(kind, "wait", msg));
        Duration::ZERO
    });
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
    Ok(Sent { function_id, options, args, wait })
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
            "idempotency_key":"","runtime":"wasm"}"#;
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
