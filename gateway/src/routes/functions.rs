//! Registering functions.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use belljar_core::grants::GrantRequest;
use belljar_core::id::FunctionId;
use belljar_pickle::{self as pickle, payload};
use belljar_core::task::{CodeHash, TaskLimits, Runtime};
use belljar_store::record::{FunctionRecord, Timestamp};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::app::App;
use crate::body::{Input, offload, parse};
use crate::error::ApiError;
use crate::guest_modules;
use crate::reply;
use crate::routes::placement::Wish;
use crate::timing::{Phase, Scope};
use crate::validate::{Field, Kind, Problem};

/// The longest name and the longest description, in bytes.
const MAX_NAME: usize = 1_024;
const MAX_DESCRIPTION: usize = 16 * 1_024;

const FIELDS: &[Field] = &[
    Field::required("name", Kind::Text),
    Field::required("payload", Kind::Text),
    Field::optional("runtime", Kind::Text),
    Field::optional("python", Kind::Text),
    Field::optional("timeout_s", Kind::Number),
    Field::optional("memory_mb", Kind::Count),
    Field::optional("max_retries", Kind::Count),
    Field::optional("description", Kind::Text),
    Field::optional("grants", Kind::Object),
];

#[derive(Deserialize)]
struct Register<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    payload: Cow<'a, str>,
    runtime: Option<Cow<'a, str>>,
    python: Option<Cow<'a, str>>,
    timeout_s: Option<f64>,
    memory_mb: Option<u32>,
    max_retries: Option<u32>,
    description: Option<Cow<'a, str>>,
    grants: Option<Map<String, Value>>,
}

#[derive(Serialize)]
struct Registered {
    function_id: FunctionId,
}

/// A function as a client sent it, read and checked.
struct Registration {
    name: String,
    description: String,
    code: Bytes,
    hash: CodeHash,
    modules: Vec<String>,
    wish: Wish,
    limits: TaskLimits,
    grants: Option<Box<GrantRequest>>,
}

/// `POST /register_function`
pub(crate) async fn register(
    State(app): State<Arc<App>>,
    Scope(notes): Scope,
    input: Input,
) -> Result<Response, ApiError> {
    let (bytes, shared) = (input.bytes.clone(), Arc::clone(&app));
    let read = move || read(&bytes, &shared);
    let sent = notes.time(Phase::Read, offload(input.bytes.len(), read)).await?;
    let served = notes.time(Phase::Store, app.served.get(&app.store)).await?;
    let class = match sent.wish.resolve(app.config.default_class, &served) {
        Ok(class) => class,
        // Somebody who serves it may have come within the last second.
        Err(_) => {
            let served = notes.time(Phase::Store, app.served.look(&app.store)).await?;
            sent.wish.resolve(app.config.default_class, &served).map_err(ApiError::invalid)?
        }
    };
    if class.runtime == Runtime::Sandbox {
        guest_modules::check(class.python, &sent.modules)?;
    }
    let record = FunctionRecord {
        id: FunctionId::random(),
        name: sent.name,
        description: sent.description,
        class,
        limits: sent.limits,
        grants: sent.grants,
        code: sent.hash,
        code_bytes: sent.code.len() as u64,
        registered_at: Timestamp::default(),
    };
    let record = notes.time(Phase::Store, app.store.put_function(record, sent.code)).await?;
    let function_id = record.id;
    app.known.insert(Arc::new(record));
    reply::json(&Registered { function_id })
}

fn read(bytes: &[u8], app: &App) -> Result<Registration, ApiError> {
    let body: Register<'_> = parse(bytes, FIELDS)?;
    let mut problems = Vec::new();
    let runtime = word(body.runtime.as_deref(), "runtime", &mut problems);
    let python = word(body.python.as_deref(), "python", &mut problems);
    let limits = limits(&body, &app.config.default_limits, &app.config.max_limits, &mut problems);
    let grants = body.grants.and_then(|grants| asked(grants, &mut problems));
    let texts = [
        ("name", &*body.name, MAX_NAME),
        ("description", body.description.as_deref().unwrap_or_default(), MAX_DESCRIPTION),
    ];
    for (field, text, limit) in texts {
        if text.len() > limit {
            let msg = format!("Input should have at most {limit} bytes, not {}", text.len());
            problems.push(Problem::body("string_too_long", field, msg));
        }
    }
    if !problems.is_empty() {
        return Err(ApiError::Invalid(problems));
    }
    let code = payload::decode(&body.payload).map_err(|error| {
        ApiError::Payload(format!(
            "the payload is not base64: {error}; send codecs.encode(dill.dumps(function), \"base64\")"
        ))
    })?;
    let found = pickle::inspect(&code).map_err(|error| {
        ApiError::Payload(format!(
            "the payload is not a pickle: {error}; send codecs.encode(dill.dumps(function), \"base64\")"
        ))
    })?;
    if !found.may_be_callable() {
        return Err(ApiError::Payload(format!(
            "the payload is {}, which cannot be called: serialize the function itself",
            found.top
        )));
    }
    Ok(Registration {
        name: body.name.into_owned(),
        description: body.description.map_or_else(String::new, Cow::into_owned),
        hash: CodeHash::of(&code),
        code: code.into(),
        modules: found.modules,
        wish: Wish { runtime, python, hint: found.python },
        limits,
        grants,
    })
}

/// What a function asks to reach, if it asks for anything.
fn asked(given: Map<String, Value>, problems: &mut Vec<Problem>) -> Option<Box<GrantRequest>> {
    let grants = GrantRequest::deserialize(Value::Object(given)).map_err(|error| error.to_string());
    let checked = grants.and_then(|grants| {
        grants.check().map_err(|error| error.to_string())?;
        Ok((!grants.is_empty()).then(|| Box::new(grants)))
    });
    checked.unwrap_or_else(|why| {
        let msg = format!("Input should be what can be granted: {why}");
        problems.push(Problem::body("grant_invalid", "grants", msg));
        None
    })
}

/// A field that holds one of some words.
pub(super) fn word<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: Option<&str>,
    field: &'static str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let parsed = text?.parse();
    parsed
        .map_err(|error: T::Err| {
            let msg = format!("Input should be valid: {error}");
            problems.push(Problem::body("enum", field, msg));
        })
        .ok()
}

fn limits(
    body: &Register<'_>,
    default: &TaskLimits,
    widest: &TaskLimits,
    problems: &mut Vec<Problem>,
) -> TaskLimits {
    let whose = "this deployment allows";
    let timeout_ms = body
        .timeout_s
        .and_then(|seconds| timeout_ms(seconds, widest.timeout_ms, whose, problems))
        .unwrap_or(default.timeout_ms);
    let mut count = |given: Option<u32>, field, least, most, default| {
        let Some(given) = given else { return default };
        if !(least..=most).contains(&given) {
            let kind = if given < least { "greater_than_equal" } else { "less_than_equal" };
            let msg = format!("Input should be from {least} to {most}, as {whose}, not {given}");
            problems.push(Problem::body(kind, field, msg));
        }
        given
    };
    let memory_mb = count(body.memory_mb, "memory_mb", 1, widest.memory_mb, default.memory_mb);
    let max_retries =
        count(body.max_retries, "max_retries", 0, widest.max_retries, default.max_retries);
    TaskLimits { timeout_ms, memory_mb, max_retries }
}

/// A time limit in milliseconds; a problem if it is none, or wider than `widest`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the range is checked, and exact below 2^53 milliseconds"
)]
pub(super) fn timeout_ms(
    seconds: f64,
    widest: u64,
    whose: &str,
    problems: &mut Vec<Problem>,
) -> Option<u64> {
    let ms = (seconds * 1_000.0).ceil();
    if seconds > 0.0 && ms <= widest as f64 {
        return Some(ms as u64);
    }
    let kind = if seconds > 0.0 { "less_than_equal" } else { "greater_than" };
    let most = widest as f64 / 1_000.0;
    let msg = format!(
        "Input should be more than 0 and at most {most} seconds, as {whose}, not {seconds}"
    );
    problems.push(Problem::body(kind, "timeout_s", msg));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limits_are_bounded() {
        let mut problems = Vec::new();
        assert_eq!(timeout_ms(1.5, 2_000, "", &mut problems), Some(1_500));
        assert_eq!(timeout_ms(0.000_01, 2_000, "", &mut problems), Some(1));
        for bad in [0.0, -1.0, 2.1, 1e300] {
            assert_eq!(timeout_ms(bad, 2_000, "", &mut problems), None, "{bad}");
        }
        assert_eq!(problems.len(), 4);
    }
}
