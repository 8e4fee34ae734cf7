//! What can go wrong, and the only place that knows HTTP status codes.
//!
//! [`GatewayError`] ends the gateway. [`ApiError`] answers one request: `{"detail", "code"}`, where
//! `detail` of a 422 is a list of [`Problem`]s and else one sentence, and `code` never changes its
//! meaning. Internal detail is logged, not sent.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use belljar_core::args::ValueRef;
use belljar_core::id::{BlobId, FunctionId, SessionId, TaskId, WorkerId};
use belljar_core::task::TaskStatus;
use belljar_store::StoreError;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::addresses;
use crate::outage::StoreFault;
use crate::policy::{QuotaExceeded, Violation};
use crate::problem::Problem;
use crate::refusal::Refusal;
use crate::schema::Status;
use crate::upload::UploadProblem;

/// Why a gateway ended.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The listening socket is unusable.
    #[error("the listening socket failed")]
    Listener(#[source] std::io::Error),
    /// A task of the gateway itself ended early: a defect.
    #[error("the gateway's {0} ended early")]
    TaskEnded(&'static str),
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the request is invalid")]
    Invalid(Vec<Problem>),
    #[error("the function cannot run in the sandbox")]
    NotInSandbox(Vec<Problem>),
    #[error("{0}")]
    Payload(String),
    #[error("no function has the id `{0}`: register it, and use the id from that answer")]
    UnknownFunction(FunctionId),
    #[error("no task has the id `{0}`: it was never given out, or its record has expired")]
    UnknownTask(TaskId),
    #[error("no session has the id `{0}`: it was never made, it was deleted, or it has expired")]
    UnknownSession(SessionId),
    #[error("task {id} has left no file `{name}`: its record lists those that it has")]
    UnknownFile { id: TaskId, name: String },
    #[error("no uploaded value has the id `{0}`: it was never uploaded, or it has expired")]
    UnknownBlob(BlobId),
    #[error(
        "there is no value `{0}`, to which the payload refers: it was never there, or it has expired; nothing was accepted"
    )]
    UnknownValue(ValueRef),
    #[error(
        "task {id} is {status}: the payload can refer to its result once it is COMPLETED; nothing was accepted"
    )]
    NoResult { id: TaskId, status: TaskStatus },
    #[error(
        "the result of task {id} was made in the sandbox and {globals}: loading it outside of the sandbox may run anything; \
         nothing was accepted: run this call in the sandbox too, or return plain data"
    )]
    UnsafeValue { id: TaskId, globals: String },
    #[error(
        "the arguments have {bytes} bytes with the values that they refer to, and {limit} are allowed: nothing was accepted"
    )]
    ArgsTooLarge { bytes: u64, limit: u64 },
    #[error(
        "the value has more than the {limit} bytes that are allowed: upload it in several, or raise the gateway's limit, \
         --max-value-mb"
    )]
    ValueTooLarge { limit: u64 },
    #[error("{0}")]
    Upload(UploadProblem),
    #[error("no worker has the id `{0}`: it has left, or was never connected")]
    UnknownWorker(WorkerId),
    #[error(
        "worker {0} is a part of its dispatcher and leaves with it: end the dispatcher, which finishes what runs"
    )]
    NotRemote(WorkerId),
    #[error("there is nothing at `{0}`: /docs lists the routes")]
    UnknownRoute(String),
    #[error("use {methods} for {path}")]
    Method { methods: String, path: String },
    #[error(
        "the body has more than the {limit} bytes that are allowed: store large data elsewhere and pass a reference, or raise the gateway's body limit"
    )]
    TooLarge { limit: usize },
    #[error("the body is encoded as `{0}`: send it as it is, or compressed by gzip or zstd")]
    Encoding(String),
    #[error("the body cannot be decompressed as its Content-Encoding says: {0}")]
    BrokenEncoding(String),
    #[error("the body did not arrive in time: send it faster, or in smaller parts")]
    SlowBody,
    #[error("the body ended early: {0}")]
    BrokenBody(String),
    #[error(
        "requests for the host `{0}` are not answered here: use the address that the gateway listens on, or start it with --allowed-host {name}", name = host_to_allow(.0)
    )]
    Host(String),
    #[error("the request has no Host header: HTTP/1.1 requires one")]
    NoHost,
    #[error("the request has several Host headers: it names one")]
    SeveralHosts,
    #[error("web pages of `{0}` may not change anything here: call the gateway from a program")]
    Origin(String),
    #[error(
        "the idempotency key `{key}` was used before with another request, for task {task_id}: use a new key for a new request"
    )]
    IdempotencyConflict { key: String, task_id: TaskId },
    #[error("task {id} has already ended as {status}")]
    TaskEnded { id: TaskId, status: TaskStatus },
    #[error("{0} tasks are waited for already, as many as are allowed: try again later")]
    TooManyWaiters(usize),
    #[error("{0} requests are open already, as many as are allowed: try again later")]
    TooManyRequests(usize),
    #[error("too many large requests are open: try again later")]
    Overloaded,
    #[error(
        "the audit log cannot be written, and nothing is done that it would record: nothing was changed, try again later"
    )]
    AuditUnwritable,
    #[error("{0}; nothing was registered, try again later")]
    PackageIndex(String),
    #[error("the gateway is shutting down: try again later")]
    ShuttingDown,
    #[error("not ready: {0}")]
    NotReady(String),
    #[error("not ready: {}", store_sentence(.0))]
    NotWritable(StoreError),
    #[error(
        "the issuer of tokens does not answer, and the key of this one is not known here: try again later, or show a key"
    )]
    IssuerDown,
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Policy(#[from] Violation),
    #[error(transparent)]
    Quota(Box<QuotaExceeded>),
    #[error("{}", addresses::sentence(*.0))]
    TooManyOfAddress(u32),
    #[error("{}", store_sentence(.0))]
    Store(#[from] StoreError),
    #[error(
        "the gateway failed to answer: the request id in the header `x-request-id` finds the reason in its log"
    )]
    Internal(Cow<'static, str>),
}

/// The name to allow, where a refused one can be.
fn host_to_allow(host: &str) -> &str {
    let name = host.split(':').next().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_plain) { name } else { "NAME" }
}

fn store_sentence(error: &StoreError) -> Cow<'static, str> {
    match error {
        StoreError::Unreachable(_) => {
            "the store is unreachable: nothing was changed, try again later".into()
        }
        StoreError::Unanswered(_) => {
            "the store does not answer, and it is not known whether the request was accepted: \
             repeating it is safe under the same `idempotency_key`, without one it may be accepted twice"
                .into()
        }
        StoreError::Unconfirmed { confirmed, wanted } => format!(
            "the request was carried out, but {confirmed} of {wanted} replicas of the store have confirmed it in time, \
             so that it may be lost with the store's primary: repeating it is safe under the same `idempotency_key`, \
             without one it may be accepted twice"
        )
        .into(),
        StoreError::RefusesWrites(why, _) => {
            format!("the store takes no writes, since {why}: nothing was changed, try again later")
                .into()
        }
        StoreError::UnwrittenBlob(_) => {
            "large values cannot be written to the disk, which may be full: nothing was changed, try again later".into()
        }
        StoreError::BucketAway { .. } => {
            "the bucket for large values does not answer or refuses: nothing was changed, try again later; the request id in the \
             header `x-request-id` finds the reason in the gateway's log".into()
        }
        StoreError::QueueFull { queued, limit } => format!(
            "the queue is full: {queued} tasks wait and {limit} are allowed; nothing was accepted, \
             try again later"
        )
        .into(),
        StoreError::SessionFull { .. } => {
            format!("{error}; nothing was accepted, try again later").into()
        }
        StoreError::TooManyLabels { .. } => format!("{error}; nothing was changed").into(),
        StoreError::NoBlobDirectory => {
            "this deployment has no directory or bucket for large values, so that none can be uploaded: the operator names one by --blobs".into()
        }
        StoreError::UnknownValue(value) => format!(
            "there is no value `{value}` any more, to which the payload refers: nothing was accepted"
        )
        .into(),
        StoreError::UnknownSession => "there is no such session: nothing was accepted".into(),
        StoreError::OverQuota(_) => "a quota is used up: nothing was changed".into(),
        // Which one, as in the lists: the others of a request can be asked for without it.
        StoreError::Corrupt { .. } => error.to_string().into(),
        _ => "the store answered unexpectedly: the request id in the header `x-request-id` finds \
              the reason in the gateway's log"
            .into(),
    }
}

impl ApiError {
    /// A 422 with one problem.
    pub(crate) fn invalid(problem: Problem) -> Self {
        Self::Invalid(vec![problem])
    }

    /// A 429 with the quota that is used up.
    pub(crate) fn quota(exceeded: QuotaExceeded) -> Self {
        Self::Quota(Box::new(exceeded))
    }

    /// The HTTP status and the word for programs.
    pub(crate) const fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_request"),
            Self::NotInSandbox(_) => (StatusCode::UNPROCESSABLE_ENTITY, "not_in_sandbox"),
            Self::Payload(_) => (StatusCode::BAD_REQUEST, "invalid_payload"),
            Self::UnknownFunction(_) => (StatusCode::NOT_FOUND, "unknown_function"),
            Self::UnknownTask(_) => (StatusCode::NOT_FOUND, "unknown_task"),
            Self::UnknownSession(_) => (StatusCode::NOT_FOUND, "unknown_session"),
            Self::UnknownFile { .. } => (StatusCode::NOT_FOUND, "unknown_file"),
            Self::UnknownWorker(_) => (StatusCode::NOT_FOUND, "unknown_worker"),
            Self::UnknownBlob(_) => (StatusCode::NOT_FOUND, "unknown_blob"),
            Self::UnknownValue(_) => (StatusCode::NOT_FOUND, "unknown_value"),
            Self::NoResult { .. } => (StatusCode::CONFLICT, "no_result"),
            Self::UnsafeValue { .. } => (StatusCode::FORBIDDEN, "value_not_data"),
            Self::ArgsTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "arguments_too_large"),
            Self::ValueTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "value_too_large"),
            Self::Upload(problem) => problem.status_and_code(),
            Self::NotRemote(_) => (StatusCode::CONFLICT, "worker_not_remote"),
            Self::UnknownRoute(_) => (StatusCode::NOT_FOUND, "unknown_route"),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::Encoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding"),
            Self::BrokenEncoding(_) => (StatusCode::BAD_REQUEST, "invalid_encoding"),
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, "body_timeout"),
            Self::BrokenBody(_) => (StatusCode::BAD_REQUEST, "body_incomplete"),
            Self::Host(_) => (StatusCode::MISDIRECTED_REQUEST, "unknown_host"),
            Self::NoHost => (StatusCode::BAD_REQUEST, "host_missing"),
            Self::SeveralHosts => (StatusCode::BAD_REQUEST, "host_ambiguous"),
            Self::Origin(_) => (StatusCode::FORBIDDEN, "foreign_origin"),
            Self::IdempotencyConflict { .. } => (StatusCode::CONFLICT, "idempotency_conflict"),
            Self::TaskEnded { .. } => (StatusCode::CONFLICT, "task_ended"),
            Self::TooManyWaiters(_) => (StatusCode::SERVICE_UNAVAILABLE, "too_many_waiters"),
            Self::TooManyRequests(_) => (StatusCode::SERVICE_UNAVAILABLE, "too_many_requests"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            Self::PackageIndex(_) => (StatusCode::SERVICE_UNAVAILABLE, "package_index"),
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
            Self::AuditUnwritable => (StatusCode::SERVICE_UNAVAILABLE, "audit_unwritable"),
            Self::NotReady(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
            Self::NotWritable(error) => (StatusCode::SERVICE_UNAVAILABLE, error.code()),
            Self::IssuerDown => (StatusCode::SERVICE_UNAVAILABLE, "issuer_unreachable"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Self::Refused(refusal) => refusal.status_and_code(),
            Self::Policy(Violation::Forbidden(_)) => (StatusCode::FORBIDDEN, "policy_forbidden"),
            Self::Policy(Violation::PayloadTooLarge(_)) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large")
            }
            Self::Quota(_) | Self::TooManyOfAddress(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded")
            }
            Self::Store(error) => Self::of_store(error),
        }
    }

    const fn of_store(error: &StoreError) -> (StatusCode, &'static str) {
        match error {
            StoreError::Unreachable(_) => (StatusCode::SERVICE_UNAVAILABLE, "store_unreachable"),
            StoreError::Unanswered(_) => (StatusCode::SERVICE_UNAVAILABLE, "store_unreachable"),
            StoreError::Unconfirmed { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_unconfirmed")
            }
            StoreError::RefusesWrites(..) => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_refuses_writes")
            }
            StoreError::UnwrittenBlob(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_refuses_writes")
            }
            StoreError::BucketAway { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "bucket_unreachable")
            }
            StoreError::NoBlobDirectory => (StatusCode::NOT_IMPLEMENTED, "no_blob_directory"),
            StoreError::UnknownValue(_) => (StatusCode::NOT_FOUND, "unknown_value"),
            StoreError::UnknownSession => (StatusCode::NOT_FOUND, "unknown_session"),
            StoreError::QueueFull { .. } | StoreError::SessionFull { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "queue_full")
            }
            StoreError::OverQuota(_) | StoreError::TooManyLabels { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded")
            }
            StoreError::IdempotencyConflict { .. } => {
                (StatusCode::CONFLICT, "idempotency_conflict")
            }
            StoreError::Url { .. }
            | StoreError::Connect { .. }
            | StoreError::InvalidPrefix(_)
            | StoreError::Unsuitable { .. }
            | StoreError::Format { .. }
            | StoreError::TlsFile { .. }
            | StoreError::TlsUnused { .. }
            | StoreError::ArgsTooLarge { .. }
            | StoreError::SessionTooLarge { .. }
            | StoreError::BlobDirectory { .. }
            | StoreError::Bucket { .. }
            | StoreError::BlobsOfAnother { .. }
            | StoreError::Certificates { .. }
            | StoreError::Unexpected { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            StoreError::Corrupt { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "record_unreadable"),
        }
    }

    const fn store_fault(&self) -> Option<StoreFault> {
        match self {
            Self::Store(StoreError::RefusesWrites(..) | StoreError::UnwrittenBlob(_))
            | Self::NotWritable(StoreError::RefusesWrites(..)) => Some(StoreFault::RefusedWrite),
            Self::Store(StoreError::Unconfirmed { .. }) => Some(StoreFault::Unconfirmed),
            Self::Store(
                StoreError::NoBlobDirectory
                | StoreError::BucketAway { .. }
                | StoreError::UnknownValue(_)
                | StoreError::UnknownSession,
            ) => None,
            Self::Store(_) | Self::NotWritable(_) => Some(StoreFault::Silent),
            _ => None,
        }
    }

    /// Seconds after which another try makes sense.
    fn retry_after(&self) -> Option<HeaderValue> {
        if let Self::Quota(exceeded) = self {
            // Rounded up: before that, the answer would be the same.
            let after = exceeded.retry_after;
            return Some((after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1).into());
        }
        match self.status_and_code().0 {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                Some(HeaderValue::from_static("1"))
            }
            _ => None,
        }
    }

    /// Whether the connection cannot be used again: part of a body may still be under way.
    const fn closes(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. }
                | Self::SlowBody
                | Self::BrokenBody(_)
                | Self::Encoding(_)
                | Self::BrokenEncoding(_)
                | Self::Overloaded
                | Self::ValueTooLarge { .. }
                | Self::Upload(_)
                | Self::ShuttingDown
        )
    }
}

/// The answer of a request that is not done.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorReply {
    /// What is wrong, and the way out.
    detail: String,
    /// A stable word for programs.
    code: &'static str,
    /// Only for `task_ended`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Status>)]
    status: Option<TaskStatus>,
    /// Only for `quota_exceeded`: which quota, by its name in the operator's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<&'static str>,
}

/// The answer of a request that is not valid.
#[derive(Serialize, ToSchema)]
#[schema(as = Invalid)]
pub(crate) struct InvalidReply {
    /// Everything that is wrong.
    detail: Vec<Problem>,
    /// `invalid_request`, or `not_in_sandbox`.
    code: &'static str,
}

/// The word for programs of an error; an extension of the response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorCode(pub(crate) &'static str);

/// What the log says about an error of the service; an extension of the response.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// The error and its causes.
    pub(crate) why: String,
    /// What the store did not do, where it is the reason.
    pub(crate) of_store: Option<StoreFault>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        let task_status = match &self {
            Self::TaskEnded { status, .. } => Some(*status),
            _ => None,
        };
        let quota = match &self {
            Self::Quota(exceeded) => Some(exceeded.quota.as_str()),
            Self::TooManyOfAddress(_) => Some(addresses::QUOTA),
            _ => None,
        };
        let detail = self.to_string();
        let why = status.is_server_error().then(|| chain(&self));
        let (of_store, closes) = (self.store_fault(), self.closes());
        let retry_after = self.retry_after();
        let challenge = match &self {
            Self::Refused(refusal) => Some(refusal.challenge()),
            _ => None,
        };
        let body = match self {
            Self::Invalid(detail) | Self::NotInSandbox(detail) => {
                serde_json::to_vec(&InvalidReply { detail, code })
            }
            _ => serde_json::to_vec(&ErrorReply { detail, code, status: task_status, quota }),
        };
        let mut response = Response::new(body.unwrap_or_default().into());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds);
        }
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(ErrorCode(code));
        if let Some(why) = why {
            response.extensions_mut().insert(Fault { why, of_store });
        }
        response
    }
}

/// The error and its causes in one line, for the log.
fn chain(error: &ApiError) -> String {
    use std::error::Error as _;
    let mut text = match error {
        ApiError::Store(error) | ApiError::NotWritable(error) => error.to_string(),
        ApiError::Internal(what) => what.to_string(),
        error => error.to_string(),
    };
    let mut cause = error.source();
    match error {
        ApiError::Store(_) => cause = cause.and_then(std::error::Error::source),
        ApiError::NotWritable(error) => cause = error.source(),
        _ => {}
    }
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
