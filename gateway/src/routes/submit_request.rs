//! What a client sends to have a function called, read and checked.

use std::time::Duration;

use belljar_core::files::{CallFiles, MAX_PATTERNS};
use belljar_core::id::{FunctionId, SessionId};
use belljar_core::task::{Priority, Runtime};
use belljar_pickle::{self as pickle, Reference};
use bytes::Bytes;
use http::HeaderValue;

use crate::error::ApiError;
use crate::extract::Query;
use crate::fields::{Wrong, parse, request_body};
use crate::media::BodyForm;
use crate::problem::Problem;
use crate::routes::call_query::BareCall;
use crate::values::{Delay, FilePattern, Files, IdempotencyKey, List, Payload, Seconds, Wait};

/// The most tasks of one batch.
const MAX_BATCH: usize = 10_000;
/// The most bytes of files, names and patterns that one batch puts into the store: each of its calls has a copy.
const MAX_BATCH_FILE_BYTES: usize = 64 << 20;

request_body! {
    /// One call.
    pub(crate) struct Execute<'de> {
        /// The function to call.
        required function_id: FunctionId,
        /// The pickled pair `((args...), {kwargs})` in base64, as
        /// `codecs.encode(dill.dumps((args, kwargs)), "base64").decode()` makes it.
        required payload: Payload<'de>,
        /// `sandbox` isolates a call more than its function was registered for; the other way is refused.
        optional runtime: Runtime,
        /// Seconds that the call may take; at most what the function was registered with.
        optional timeout_s: Seconds,
        /// The same key and request give the same task; with another request it is 409. The header
        /// `Idempotency-Key` means the same.
        optional idempotency_key: IdempotencyKey,
        /// Which tasks go first. Default: `normal`.
        optional priority: Priority,
        /// Seconds for which the task is held back.
        optional delay_s: Delay,
        /// The session that the call goes on with, in the sandbox: it runs once those before it have ended, and finds what they left.
        optional session_id: SessionId,
        /// Files by their paths in the working directory of the call, their contents in base64.
        optional files: Files,
        /// Patterns of the files to keep when it has ended, such as `*.png` or `out/**/*.csv`.
        optional outputs: List<FilePattern, MAX_PATTERNS>,
    }
}

request_body! {
    /// Many calls of one function.
    pub(crate) struct Batch<'de> {
        /// The function to call.
        required function_id: FunctionId,
        /// For each call the pickled pair `((args...), {kwargs})` in base64.
        required payloads: List<Payload<'de>, MAX_BATCH>,
        /// `sandbox` isolates a call more than its function was registered for; the other way is refused.
        optional runtime: Runtime,
        /// Seconds that each call may take; at most what the function was registered with.
        optional timeout_s: Seconds,
        /// The same key and request give the same tasks; with another request it is 409. The header
        /// `Idempotency-Key` means the same.
        optional idempotency_key: IdempotencyKey,
        /// Which tasks go first. Default: `normal`.
        optional priority: Priority,
        /// Seconds for which the tasks are held back.
        optional delay_s: Delay,
        /// The session that the calls go on with, in the sandbox: one after the other, each finds what those before left.
        optional session_id: SessionId,
        /// Files by their paths in the working directory of each call, their contents in base64.
        optional files: Files,
        /// Patterns of the files to keep when it has ended, such as `*.png` or `out/**/*.csv`.
        optional outputs: List<FilePattern, MAX_PATTERNS>,
        /// Seconds to wait, once the tasks are accepted, until at least one has ended: the answer has
        /// its result.
        optional wait: Wait,
    }
}

/// What a request asks for beside the function and the arguments.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Options {
    pub(super) runtime: Option<Runtime>,
    pub(super) timeout_s: Option<f64>,
    pub(super) key: Option<String>,
    pub(super) priority: Priority,
    pub(super) delay_ms: u64,
    pub(super) session: Option<SessionId>,
}

impl Options {
    /// The fields that one call and a batch have alike.
    fn new(
        runtime: Option<Runtime>,
        timeout_s: Option<Seconds>,
        key: Option<String>,
        priority: Option<Priority>,
        delay_s: Option<Delay>,
    ) -> Self {
        let timeout_s = timeout_s.map(|seconds| seconds.0);
        let delay_ms = delay_s.map_or(0, |delay| delay.0);
        let priority = priority.unwrap_or_default();
        Self { runtime, timeout_s, key, priority, delay_ms, session: None }
    }
}

impl Options {
    /// The same of a call that may belong to a session: then it runs in the sandbox.
    pub(super) fn in_session(self, session: Option<SessionId>) -> Self {
        let runtime = self.runtime.or(session.map(|_| Runtime::Sandbox));
        Self { runtime, session, ..self }
    }
}

/// A submission as a client sent it. An unknown function is reported before a bad payload.
pub(super) struct SubmitRequest {
    pub(super) function_id: FunctionId,
    pub(super) options: Options,
    pub(super) args: Result<Arguments, ApiError>,
    /// How long to wait for results that go into the answer.
    pub(super) wait: Duration,
    /// Fields that are not known here.
    pub(super) ignored: Vec<String>,
}

/// The arguments of calls.
pub(super) struct Arguments {
    /// For each call: the pickle, with its files around it; the pickle alone where it refers to values.
    pub(super) payloads: Vec<Bytes>,
    /// Those that refer to values.
    pub(super) referring: Vec<Referring>,
    files: CallFiles,
}

/// A call whose arguments refer to values.
pub(super) struct Referring {
    /// Which call.
    pub(super) index: usize,
    /// Where its pickle refers to what.
    pub(super) references: Vec<Reference>,
}

impl Arguments {
    fn new(files: CallFiles) -> Self {
        Self { payloads: Vec::new(), referring: Vec::new(), files }
    }

    fn push(&mut self, (pickle, references): (Bytes, Vec<Reference>)) {
        if references.is_empty() {
            self.payloads.push(self.files.envelope(pickle));
        } else {
            self.referring.push(Referring { index: self.payloads.len(), references });
            self.payloads.push(pickle);
        }
    }

    /// The files of each call.
    pub(super) const fn files(&self) -> &CallFiles {
        &self.files
    }
}

/// Reads the body of a single call.
pub(super) fn read_one(
    (form, bytes): (BodyForm, &Bytes),
    key: Option<&HeaderValue>,
) -> Result<SubmitRequest, ApiError> {
    let body: Execute<'_> = parse(form, bytes)?;
    let files = call_files(body.files, body.outputs, 1)?;
    let args = arguments(body.payload, bytes)
        .map(|args| one(files, args))
        .map_err(|why| ApiError::Payload(format!("the payload is {why}")));
    let key = one_key(body.idempotency_key, key)?;
    let options = Options::new(body.runtime, body.timeout_s, key, body.priority, body.delay_s)
        .in_session(body.session_id);
    let (function_id, ignored) = (body.function_id, body.ignored);
    Ok(SubmitRequest { function_id, options, args, wait: Duration::ZERO, ignored })
}

/// Reads a single call whose body is its arguments alone.
pub(super) fn read_bare(
    query: &Query,
    body: Bytes,
    key: Option<&HeaderValue>,
) -> Result<SubmitRequest, ApiError> {
    let call = BareCall::read(query)?;
    let files = CallFiles { inputs: Vec::new(), outputs: call.outputs };
    let args = checked(body)
        .map(|args| one(files, args))
        .map_err(|why| ApiError::Payload(format!("the body is {why}")));
    let key = one_key(call.idempotency_key, key)?;
    let options = Options { key, ..call.options };
    let (function_id, ignored) = (call.function_id, call.ignored);
    Ok(SubmitRequest { function_id, options, args, wait: Duration::ZERO, ignored })
}

/// Reads the body of a batch.
pub(super) fn read_batch(
    (form, bytes): (BodyForm, &Bytes),
    key: Option<&HeaderValue>,
) -> Result<SubmitRequest, ApiError> {
    let body: Batch<'_> = parse(form, bytes)?;
    let files = call_files(body.files, body.outputs, body.payloads.0.len())?;
    let read = |mut all: Arguments, (index, text): (usize, Payload<'_>)| {
        let args = arguments(text, bytes).map_err(|why| {
            ApiError::Payload(format!("payloads[{index}] is {why}; no task was accepted"))
        })?;
        all.push(args);
        Ok(all)
    };
    let args = body.payloads.0.into_iter().enumerate().try_fold(Arguments::new(files), read);
    let key = one_key(body.idempotency_key, key)?;
    let options = Options::new(body.runtime, body.timeout_s, key, body.priority, body.delay_s)
        .in_session(body.session_id);
    let wait = body.wait.map_or(Duration::ZERO, |wait| wait.0);
    let (function_id, ignored) = (body.function_id, body.ignored);
    Ok(SubmitRequest { function_id, options, args, wait, ignored })
}

fn one(files: CallFiles, args: (Bytes, Vec<Reference>)) -> Arguments {
    let mut all = Arguments::new(files);
    all.push(args);
    all
}

/// The files of each of so many calls.
fn call_files(
    files: Option<Files>,
    outputs: Option<List<FilePattern, MAX_PATTERNS>>,
    calls: usize,
) -> Result<CallFiles, ApiError> {
    let inputs = files.map_or_else(Vec::new, |files| files.0);
    let outputs: Vec<_> =
        outputs.map_or_else(Vec::new, |list| list.0.into_iter().map(|one| one.0).collect());
    // Names and patterns too: each call has a copy of them as well.
    let given: usize = inputs.iter().map(|file| file.name.len() + file.bytes.len()).sum();
    let bytes = given + outputs.iter().map(String::len).sum::<usize>();
    if calls > 1 && bytes.saturating_mul(calls) > MAX_BATCH_FILE_BYTES {
        let msg = format!(
            "Input should have at most {MAX_BATCH_FILE_BYTES} bytes of files, names and patterns for all calls \
             together, not {bytes} for each of {calls}: submit fewer calls at once"
        );
        return Err(ApiError::invalid(Problem::body("too_long", "files", msg)));
    }
    Ok(CallFiles { inputs, outputs })
}

/// The pickled arguments in a payload of `body` with what they refer to, or what it is instead.
fn arguments(payload: Payload<'_>, body: &Bytes) -> Result<(Bytes, Vec<Reference>), String> {
    let args = payload.decode(body).map_err(|error| format!("not base64: {error}; {WAY_OUT}"))?;
    checked(args)
}

const WAY_OUT: &str = "send codecs.encode(dill.dumps((args, kwargs)), \"base64\")";

/// Pickled arguments, or what they are instead.
fn checked(args: Bytes) -> Result<(Bytes, Vec<Reference>), String> {
    match pickle::inspect_referring(&args) {
        Ok((_, references)) => Ok((args, references)),
        Err(error) => Err(format!("not a pickle: {error}; {WAY_OUT}")),
    }
}

/// The idempotency key of the body or of the header, which must not differ.
fn one_key(
    field: Option<IdempotencyKey>,
    header: Option<&HeaderValue>,
) -> Result<Option<String>, ApiError> {
    let Some(header) = header else { return Ok(field.map(|key| key.0)) };
    let invalid = |wrong: Wrong| {
        let in_header = |problem: Problem| problem.under("idempotency-key").under("header");
        ApiError::Invalid(wrong.into_iter().map(in_header).collect())
    };
    let text = String::from_utf8_lossy(header.as_bytes()).into_owned();
    let key = IdempotencyKey::new(text).map_err(invalid)?;
    match field {
        Some(field) if field.0 != key.0 => {
            let msg = "The header and the field `idempotency_key` differ: send one of them";
            Err(invalid(vec![Problem::here("value_error", msg)]))
        }
        _ => Ok(Some(key.0)),
    }
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
        let request = read_one((BodyForm::Json, &body.into()), None).expect("valid");
        assert_eq!(request.function_id.to_string(), ID);
        assert_eq!((request.options.priority, request.options.delay_ms), (Priority::High, 500));
        assert_eq!(request.args.ok().map(|args| args.payloads.len()), Some(1));
        assert_eq!(request.ignored, ["x"]);
    }

    #[test]
    fn every_wrong_field_is_told_at_once() {
        let body = r#"{"function_id":"x","payload":"","priority":"urgent","delay_s":-1,
            "idempotency_key":"","runtime":"sandbx"}"#;
        let read = read_one((BodyForm::Json, &body.into()), None);
        let Err(ApiError::Invalid(problems)) = read else { panic!("valid") };
        assert_eq!(problems.len(), 5, "{problems:?}");
    }

    #[test]
    fn the_bad_payload_of_a_batch_is_named() {
        let body = format!(r#"{{"function_id":"{ID}","payloads":["{ARGS}","payload"]}}"#);
        let request = read_batch((BodyForm::Json, &body.into()), None).expect("valid JSON");
        let error = request.args.err().expect("no base64").to_string();
        assert!(error.starts_with("payloads[1] is not base64: incorrect padding"), "{error}");
        let many = vec![format!("\"{ARGS}\""); MAX_BATCH + 1].join(",");
        let body = format!(r#"{{"function_id":"{ID}","payloads":[{many}]}}"#);
        assert!(matches!(
            read_batch((BodyForm::Json, &body.into()), None),
            Err(ApiError::Invalid(_))
        ));
    }

    #[test]
    fn the_header_means_the_same_as_the_field() {
        let key = |field: Option<&str>, header: Option<&'static str>| {
            let header = header.map(HeaderValue::from_static);
            one_key(field.map(|key| IdempotencyKey(key.to_owned())), header.as_ref())
        };
        for (field, header) in [(Some("a"), None), (None, Some("a")), (Some("a"), Some("a"))] {
            assert_eq!(key(field, header).ok().flatten().as_deref(), Some("a"));
        }
        assert!(matches!(key(None, None), Ok(None)));
        assert!(key(Some("a"), Some("b")).is_err() && key(None, Some("")).is_err());
    }
}
