//! One record of the audit log.

use std::net::IpAddr;
use std::time::Duration;

use belljar_core::id::{FunctionId, TaskId};
use belljar_core::tenant::Tenant;
use belljar_store::record::Timestamp;
use serde::{Serialize, Serializer};

use crate::times::rfc3339;

/// The `result` of what was done.
pub(crate) const DONE: &str = "ok";

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A gateway has started.
    Start,
    /// A gateway has ended in order.
    Stop,
    /// A gateway read the file of tenants again.
    ReadTenants,
    /// A key was made.
    CreateKey,
    /// A key was revoked.
    RevokeKey,
    /// A key was replaced.
    RotateKey,
    /// A function was registered.
    Register,
    /// A function was deleted.
    Delete,
    /// Calls were submitted.
    Submit,
    /// A session was made, perhaps from another one.
    CreateSession,
    /// A session was deleted.
    DeleteSession,
    /// A task was cancelled.
    Cancel,
    /// A worker was taken out of service.
    DrainWorker,
    /// A request that none of these is about. Only refused ones are recorded.
    Request,
    /// Requests were refused, so many that they are only counted.
    RefuseMany,
    /// The line before was not written to its end: a process was killed, or the disk was full.
    EndTornLine,
}

/// What was done, by whom, from where, on which object, with which result. What does not apply is absent.
#[derive(Debug, Clone, Serialize)]
pub struct AuditRecord {
    #[serde(serialize_with = "time")]
    pub(crate) time: Timestamp,
    pub(crate) action: Action,
    /// `ok`, or the code of the error.
    pub(crate) result: &'static str,
    /// The HTTP status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<Tenant>,
    /// The id of the key that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// The account of the operator; of a token, what its issuer calls the holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// Where the request comes from; `unix` is a unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// Method and route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) function: Option<FunctionId>,
    /// The task; of several that were submitted together, the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<TaskId>,
    /// How many tasks, requests or bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    /// What else it was done to: the id of a key or of a session, a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    /// The process that did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<u32>,
}

impl AuditRecord {
    /// Something that was done just now.
    #[must_use]
    pub fn now(action: Action) -> Self {
        Self {
            time: Timestamp::before_now(Duration::ZERO),
            action,
            result: DONE,
            status: None,
            tenant: None,
            key: None,
            user: None,
            address: None,
            request: None,
            request_id: None,
            function: None,
            task: None,
            count: None,
            object: None,
            process: None,
        }
    }

    /// By the operator's account `user`, to the key `id` of `tenant`.
    #[must_use]
    pub fn about_key(self, id: String, tenant: &Tenant, user: String) -> Self {
        Self { object: Some(id), tenant: Some(tenant.clone()), user: Some(user), ..self }
    }

    /// By this process.
    pub(crate) fn by_process(self) -> Self {
        Self { process: Some(std::process::id()), ..self }
    }

    /// Sent from this address, or over a unix socket.
    pub(crate) fn sent_from(self, address: Option<IpAddr>) -> Self {
        let text = address.map_or_else(|| "unix".to_owned(), |it| it.to_canonical().to_string());
        Self { address: Some(text), ..self }
    }

    /// Done to this.
    pub(crate) fn about(self, object: String) -> Self {
        Self { object: Some(object), ..self }
    }

    /// So many.
    pub(crate) fn times(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }
}

fn time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}
