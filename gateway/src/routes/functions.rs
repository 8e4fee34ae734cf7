//! Registering functions.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use belljar_core::grants::GrantRequest;
use belljar_core::id::FunctionId;
use belljar_core::labels::Labels;
use belljar_core::requirements::{MAX_REQUIREMENTS, PackageLock, Requirement};
use belljar_core::task::{CodeHash, PythonVersion, Runtime, TaskClass, TaskLimits};
use belljar_core::warm::WarmMode;
use belljar_pickle as pickle;
use belljar_store::record::{FunctionRecord, Timestamp};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::body::{RequestBytes, offload};
use crate::caller::Caller;
use crate::config::Config;
use crate::error::ApiError;
use crate::extract::InPath;
use crate::fields::{parse, request_body};
use crate::guest_modules;
use crate::media::BodyForm;
use crate::policy::TenantPolicy;
use crate::problem::Problem;
use crate::reply;
use crate::routes::requirements;
use crate::routes::runtime_selection::RuntimeRequest;
use crate::routes::submit::labels_problem;
use crate::schema::{BadPayload, Invalid, TooLarge, Unavailable, UnknownId};
use crate::timing::{Phase, RequestTiming};
use crate::values::{Count, LabelFields, List, Payload, Seconds, Text};

/// The longest name and the longest description, in bytes.
const MAX_NAME: usize = 1_024;
const MAX_DESCRIPTION: usize = 16 * 1_024;
/// The most environment variables, directories and HTTP requests, each, that a function may ask for.
const MAX_GRANTS: usize = 32;
/// The longest name of a variable, path of a directory or URL, in bytes.
const MAX_GRANT_BYTES: usize = 1_024;
/// And of all of them together: they are part of the record of every call.
const MAX_GRANTS_BYTES: usize = 2_048;

request_body! {
    /// A function to register.
    pub(crate) struct Register<'de> {
        /// A name of your choice; names need not be unique.
        required name: Text<'de, MAX_NAME>,
        /// The pickled function in base64, as `codecs.encode(dill.dumps(function), "base64").decode()`
        /// makes it.
        required payload: Payload<'de>,
        /// Where it runs. Default: the deployment's.
        optional runtime: Runtime,
        /// The Python that it was made for. Default: what its bytecode shows, else the deployment's.
        optional python: PythonVersion,
        /// Seconds that a call may take.
        optional timeout_s: Seconds,
        /// Memory that a call may have, in MiB.
        optional memory_mb: Count<1>,
        /// Retries after an executor or worker dies. Exceptions are never retried.
        optional max_retries: Count<0>,
        /// Seconds after which it is forgotten. Default: never, or what the operator allows.
        optional ttl_s: Count<1>,
        /// Whether its calls in the sandbox start with its modules imported. Default: `auto`.
        optional warm: WarmMode,
        /// What its workers must have, as names and values, such as `{"gpu": "a100"}`. Labels that no live worker has
        /// are 422, here and when a call is submitted.
        optional labels: LabelFields,
        /// What it is for.
        optional description: Text<'de, MAX_DESCRIPTION>,
        /// What every call may reach beyond its interpreter, if the worker offers it; else the call fails
        /// with a PermissionError that names what is missing.
        optional grants: GrantFields<'de>,
        /// Packages of the operator's package index that it imports from, such as `jinja2==3.1.4`, where the operator
        /// offers that. They and what they need are chosen now, for all calls, with the hashes of their files; in the sandbox they must be
        /// pure Python.
        optional requirements: List<Requirement, MAX_REQUIREMENTS>,
    }
}

request_body! {
    /// What a function may reach beyond its interpreter.
    pub(crate) struct GrantFields<'de> {
        /// Names of environment variables; the values are the worker's.
        optional env: List<Text<'de, MAX_GRANT_BYTES>, MAX_GRANTS>,
        /// Absolute paths of directories, to be read under the same paths.
        optional read: List<Text<'de, MAX_GRANT_BYTES>, MAX_GRANTS>,
        /// MiB of the writable /tmp in memory that each call has, instead of 16; empty at its start. Sandbox only:
        /// a native function has the machine's.
        optional scratch_mb: Count<0>,
        /// HTTP requests that it may make: a method, or several with commas, and a URL in which `*` stands for a part
        /// of the path, or at its end for all that follows. Sandbox only: a native function has the machine's network.
        optional http: List<Text<'de, MAX_GRANT_BYTES>, MAX_GRANTS>,
    }
}

/// A function that is registered.
#[derive(Serialize, ToSchema)]
struct Registered {
    #[schema(value_type = uuid::Uuid)]
    function_id: FunctionId,
    /// Fields of the request that are not known here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    ignored: Vec<String>,
}

/// A function as a client sent it, read and checked.
struct Registration {
    name: String,
    description: String,
    code: Bytes,
    hash: CodeHash,
    modules: Vec<String>,
    runtime: RuntimeRequest,
    limits: TaskLimits,
    grants: Option<Box<GrantRequest>>,
    requirements: Vec<Requirement>,
    labels: Labels,
    warm: WarmMode,
    ttl_s: Option<u32>,
    ignored: Vec<String>,
}

/// Register a function
///
/// The payload is read without being loaded. A Python that no worker runs is 422 with both versions in the
/// sentence; so is, for the sandbox, a function that needs a module which cannot work there, with the
/// module's name.
#[utoipa::path(
    post, path = "/register_function", tag = "Classic",
    request_body(content(
        (Register = "application/json", example = json!({
            "name": "len", "payload": "gASVFAAAAAAAAACMCGJ1aWx0aW5zlIwDbGVulJOULg==\n"
        })),
        (Register = "application/msgpack")
    )),
    responses((status = 200, body = Registered), BadPayload, TooLarge, Invalid, Unavailable)
)]
pub(crate) async fn register_function(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    body: RequestBytes,
) -> Result<Response, ApiError> {
    let RequestBytes { bytes, form, idempotency_key, room: _room } = body;
    let (shared, policy) = (Arc::clone(&app), caller.policy());
    let of_policy = policy.clone();
    let read =
        offload(bytes.len(), move || read((form, &bytes), &shared.config, of_policy.as_deref()));
    let mut sent = timing.time(Phase::Read, read).await?;
    if idempotency_key.is_some() {
        sent.ignored.push("Idempotency-Key".to_owned());
    }
    let served = timing.time(Phase::Store, app.served.get(&app.store)).await?;
    let default = caller.default_class(app.config.default_class);
    let class = match sent.runtime.select(default, &served) {
        Ok(class) => class,
        // A worker that serves it may have come within the last second.
        Err(_) => {
            let served = timing.time(Phase::Store, app.served.read(&app.store)).await?;
            sent.runtime.select(default, &served).map_err(ApiError::invalid)?
        }
    };
    let class = TaskClass { labels: sent.labels, ..class };
    if !class.labels.is_empty()
        && let Some(problem) = labels_problem(&app, &timing, class, "labels").await?
    {
        return Err(ApiError::invalid(problem));
    }
    caller.require_runtime(class.runtime)?;
    if let Some(policy) = &policy {
        policy.check_runtime(class.runtime)?;
        sent.grants.iter().try_for_each(|grants| policy.check_grants(grants))?;
    }
    let packages = packages(&app, &timing, &caller, class, &sent).await?;
    let ttl_s = policy.as_ref().map_or(Ok(sent.ttl_s), |policy| policy.check_ttl(sent.ttl_s))?;
    let record = FunctionRecord {
        ttl_s,
        id: FunctionId::random(),
        name: sent.name,
        description: sent.description,
        class,
        tenant: caller.tenant().clone(),
        limits: sent.limits,
        grants: sent.grants,
        requirements: sent.requirements.iter().map(Requirement::to_string).collect(),
        packages,
        warm: sent.warm,
        code: sent.hash,
        code_bytes: sent.code.len() as u64,
        registered_at: Timestamp::default(),
    };
    let since = app.functions.before_read();
    let view = app.store_of(&caller);
    let put = view.put_function(record, sent.code);
    let record = timing.time(Phase::Store, put).await.map_err(|error| caller.told(error))?;
    timing.set_wrote();
    let function_id = record.id;
    timing.set_function(function_id);
    app.functions.insert(&Arc::new(record), since);
    reply::json(&Registered { function_id, ignored: sent.ignored })
}

/// The packages that the function gets, once it is clear that the sandbox has the modules that it needs.
async fn packages(
    app: &App,
    timing: &RequestTiming,
    caller: &Caller,
    class: TaskClass,
    sent: &Registration,
) -> Result<Option<Box<PackageLock>>, ApiError> {
    let mut guest = None;
    if class.runtime == Runtime::Sandbox {
        let guests = timing.time(Phase::Store, app.guests.get(&app.store, class.python)).await?;
        guests
            .iter()
            .try_for_each(|guests| guest_modules::check(guests, &sent.name, &sent.modules))?;
        guest = guests.map(|guests| guests.guest);
    }
    match &*sent.requirements {
        [] => Ok(None),
        asked => Box::pin(requirements::choose(app, caller, class, asked, guest.as_ref())).await,
    }
}

/// A function that is forgotten.
#[derive(Serialize, ToSchema)]
struct Removed {
    #[schema(value_type = uuid::Uuid)]
    function_id: FunctionId,
}

/// Delete a function
///
/// No call of it is accepted any more. Tasks that were accepted before still run.
#[utoipa::path(
    delete, path = "/v1/functions/{function_id}", tag = "Lists", operation_id = "delete_function",
    params(("function_id" = uuid::Uuid, Path)),
    responses((status = 200, body = Removed), UnknownId, Invalid, Unavailable)
)]
pub(crate) async fn remove_function(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    InPath(id): InPath<FunctionId>,
) -> Result<Response, ApiError> {
    timing.set_function(id);
    let view = app.store_of(&caller);
    if !timing.time(Phase::Store, view.remove_function(id)).await? {
        return Err(ApiError::UnknownFunction(id));
    }
    // The event of the store does so at the other gateways.
    app.functions.remove(id);
    reply::json(&Removed { function_id: id })
}

fn read(
    (form, bytes): (BodyForm, &Bytes),
    config: &Config,
    policy: Option<&TenantPolicy>,
) -> Result<Registration, ApiError> {
    const WAY_OUT: &str = "send codecs.encode(dill.dumps(function), \"base64\")";
    let body: Register<'_> = parse(form, bytes)?;
    let mut problems = Vec::new();
    let asked = AskedLimits {
        timeout_s: body.timeout_s.as_ref().map(|seconds| seconds.0),
        memory_mb: body.memory_mb.as_ref().map(|count| count.0),
        max_retries: body.max_retries.as_ref().map(|count| count.0),
    };
    let limits = Widest::new(config, policy).limits(asked, &config.default_limits, &mut problems);
    let grants = body.grants.and_then(|grants| requested(grants, &mut problems));
    if !problems.is_empty() {
        return Err(ApiError::Invalid(problems));
    }
    let bad = |why: String| ApiError::Payload(format!("the payload is {why}"));
    let code = body
        .payload
        .decode(bytes)
        .map_err(|error| bad(format!("not base64: {error}; {WAY_OUT}")))?;
    policy.map_or(Ok(()), |policy| policy.check_payload(code.len()))?;
    let found =
        pickle::inspect(&code).map_err(|error| bad(format!("not a pickle: {error}; {WAY_OUT}")))?;
    if !found.may_be_callable() {
        let what = format!("{}, which cannot be called: serialize the function itself", found.top);
        return Err(bad(what));
    }
    Ok(Registration {
        name: body.name.0.into_owned(),
        description: body.description.map_or_else(String::new, |text| text.0.into_owned()),
        hash: CodeHash::of(&code),
        code,
        modules: found.modules,
        runtime: RuntimeRequest { runtime: body.runtime, python: body.python, hint: found.python },
        limits,
        grants,
        requirements: body.requirements.map(|list| list.0).unwrap_or_default(),
        labels: body.labels.map_or(Labels::NONE, |labels| labels.0),
        warm: body.warm.unwrap_or_default(),
        ttl_s: body.ttl_s.map(|count| count.0),
        ignored: body.ignored,
    })
}

/// What a function asks to reach, if it asks for anything.
fn requested(given: GrantFields<'_>, problems: &mut Vec<Problem>) -> Option<Box<GrantRequest>> {
    let texts = |list: Option<List<Text<'_, MAX_GRANT_BYTES>, MAX_GRANTS>>| {
        let list = list.map(|list| list.0).unwrap_or_default();
        list.into_iter().map(|text| text.0.into_owned()).collect()
    };
    let scratch_mb = given.scratch_mb.map_or(0, |count| count.0);
    let (env, read, http) = (texts(given.env), texts(given.read), texts(given.http));
    let grants = GrantRequest { env, read, scratch_mb, http };
    let why = match given.ignored.first() {
        Some(other) => Some(format!("`{other}` cannot be granted: env, read, scratch_mb or http")),
        None => grants.check().err().map(|error| error.to_string()),
    };
    let bytes: usize =
        [&grants.env, &grants.read, &grants.http].into_iter().flatten().map(String::len).sum();
    let why = why.or_else(|| {
        let text = format!(
            "names, paths and URLs have {bytes} bytes, and at most {MAX_GRANTS_BYTES} are allowed"
        );
        (bytes > MAX_GRANTS_BYTES).then_some(text)
    });
    if let Some(why) = why {
        problems.push(Problem::body("grant_invalid", "grants", why));
    }
    (!grants.is_empty()).then(|| Box::new(grants))
}

/// The limits that a function, or a session, asks for.
pub(super) struct AskedLimits {
    pub(super) timeout_s: Option<f64>,
    pub(super) memory_mb: Option<u32>,
    pub(super) max_retries: Option<u32>,
}

/// The widest limits that a function may ask for, and who says so.
pub(super) struct Widest {
    limits: TaskLimits,
    whose: String,
}

impl Widest {
    pub(super) fn new(config: &Config, policy: Option<&TenantPolicy>) -> Self {
        let (limits, whose) = match policy {
            None => (config.max_limits, "this deployment allows".to_owned()),
            Some(policy) => {
                let whose = format!("the operator's policy for tenant `{}` allows", policy.tenant);
                (policy.widest(&config.max_limits), whose)
            }
        };
        Self { limits, whose }
    }

    /// What is asked for; what is not is that of the deployment, as far as it may be.
    pub(super) fn limits(
        &self,
        asked: AskedLimits,
        default: &TaskLimits,
        problems: &mut Vec<Problem>,
    ) -> TaskLimits {
        let (widest, whose) = (&self.limits, &self.whose);
        let timeout_ms = asked
            .timeout_s
            .and_then(|seconds| timeout_ms(seconds, widest.timeout_ms, whose, problems))
            .unwrap_or(default.timeout_ms.min(widest.timeout_ms));
        let mut count = |given: Option<u32>, field, most: u32, default: u32| {
            let Some(given) = given else { return default.min(most) };
            if given > most {
                let msg = format!("{given}: {whose} at most {most}");
                problems.push(Problem::body("less_than_equal", field, msg));
            }
            given
        };
        let memory_mb = count(asked.memory_mb, "memory_mb", widest.memory_mb, default.memory_mb);
        let retries = asked.max_retries;
        let max_retries = count(retries, "max_retries", widest.max_retries, default.max_retries);
        TaskLimits { timeout_ms, memory_mb, max_retries, max_result_mb: None }
    }
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
    let (kind, msg) = if seconds > 0.0 {
        let most = widest as f64 / 1_000.0;
        ("less_than_equal", format!("{seconds}: {whose} at most {most}"))
    } else {
        ("greater_than", format!("{seconds}: a time limit is more than 0 seconds"))
    };
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
