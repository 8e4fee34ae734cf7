//! What declarations of routes, bodies and replies name in `/openapi.json`: types of other crates, and error
//! answers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use belljar_core::task::{Priority, Runtime, TaskStatus};
use belljar_core::warm::WarmMode;
use utoipa::openapi::schema::Type;
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Schema,
};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

/// A reference to a schema by its name.
pub(crate) fn reference(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

/// Declares schemas of types that are words.
macro_rules! words {
    ($($schema:ident, $name:literal, $words:expr, $about:literal;)*) => {$(
        #[doc = $about]
        pub(crate) struct $schema;

        impl PartialSchema for $schema {
            fn schema() -> RefOr<Schema> {
                let words = ObjectBuilder::new().schema_type(Type::String);
                words.enum_values(Some($words)).description(Some($about)).into()
            }
        }

        impl ToSchema for $schema {
            fn name() -> Cow<'static, str> {
                $name.into()
            }
        }
    )*};
}

words! {
    Status, "Status", TaskStatus::ALL.map(TaskStatus::as_str),
        "QUEUED, RUNNING, then exactly one of COMPLETED, FAILED, CANCELLED, which never changes. A task \
         whose attempt is lost goes from RUNNING back to QUEUED.";
    RuntimeName, "Runtime", [Runtime::Native.as_str(), Runtime::Sandbox.as_str()],
        "`native`: CPython in a child process, for code that is trusted. `sandbox`: CPython for \
         WebAssembly, a fresh interpreter for each call.";
    PriorityName, "Priority", Priority::ALL.map(Priority::as_str),
        "Which tasks go first: a lower one waits while a higher one is queued.";
    WarmName, "Warm", WarmMode::ALL.map(WarmMode::as_str),
        "Whether calls in the sandbox start with the modules of the function imported: where that saves more than it \
         costs, where it is possible at all, or in no case.";
}

/// Declares the error answers that routes name.
macro_rules! errors {
    ($($name:ident: $($status:literal $schema:literal $about:literal),+;)*) => {$(
        #[doc = concat!($($about, " "),+)]
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$(($status.to_owned(), error($schema, $about))),+].into()
            }
        }
    )*};
}

fn error(schema: &str, about: &str) -> RefOr<Response> {
    let content = ContentBuilder::new().schema(Some(reference(schema))).build();
    ResponseBuilder::new().description(about).content("application/json", content).build().into()
}

errors! {
    BadPayload: "400" "Error"
        "The payload is not base64, not a pickle, or cannot be called (`invalid_payload`).";
    NeedsKey:
        "401" "Error"
            "Where keys are required: no key (`key_missing`), none that is known here (`key_invalid`), an \
             expired or a revoked one (`key_expired`, `key_revoked`). With `WWW-Authenticate`.",
        "403" "Error"
            "The key lacks a scope (`scope_missing`), or its holder's functions may not run in this runtime \
             (`runtime_forbidden`); the operator's policy does not allow it (`policy_forbidden`); or a web page \
             of others sends the request (`foreign_origin`).",
        "429" "Error"
            "A quota of the tenant is used up (`quota_exceeded`; `quota` says which), or the queue is full \
             (`queue_full`): nothing was accepted. With `Retry-After`.";
    UnknownId: "404" "Error" "No such function or task (`unknown_function`, `unknown_task`).";
    UnknownBlob: "404" "Error" "No such uploaded value (`unknown_blob`).";
    UploadConflict:
        "400" "Error"
            "The hash or the range is malformed (`invalid_digest`, `invalid_range`), or the value has another hash \
             (`digest_mismatch`).",
        "409" "Error"
            "The piece does not begin where the last one ended (`upload_offset`; the header `upload-offset` says where), or \
             somebody else sends pieces of it (`upload_busy`).";
    NoValues: "501" "Error"
        "There is no directory or bucket for large values (`no_blob_directory`): the operator names one by `--blobs`.";
    UnknownWorker: "404" "Error" "No such worker (`unknown_worker`).";
    NotRemote: "409" "Error" "The worker is a part of its dispatcher (`worker_not_remote`).";
    UnknownPath: "404" "Error" "No such route (`unknown_route`).";
    Conflict: "409" "Error"
        "The idempotency key was used with another request (`idempotency_conflict`).";
    Ended: "409" "Error" "The task has ended already (`task_ended`); `status` says how.";
    TooLarge:
        "408" "Error" "The body does not arrive in time (`body_timeout`).",
        "413" "Error"
            "The body is over the limit (`body_too_large`), or a payload over that of the tenant (`payload_too_large`).",
        "415" "Error" "The body has another Content-Encoding than gzip and zstd (`unsupported_encoding`).";
    Invalid: "422" "Invalid"
        "Malformed JSON, a missing, mistyped or misspelt field, a malformed id or cursor \
         (`invalid_request`); a function for the sandbox that needs a module which the sandbox does not \
         have (`not_in_sandbox`).";
    QueueFull: "429" "Error" "The queue is full; nothing was accepted (`queue_full`). With `Retry-After`.";
    Unavailable: "503" "Error"
        "The store is unreachable or the gateway is overloaded. The sentence says whether something may \
         have been accepted. With `Retry-After`.";
}
