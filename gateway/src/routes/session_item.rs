//! A session as clients see it.

use belljar_core::id::{SessionId, TaskId};
use belljar_core::task::PythonVersion;
use belljar_store::record::SessionRecord;
use serde::Serialize;
use utoipa::ToSchema;

use crate::reply::rfc3339;
use crate::routes::tasks::LimitsView;

/// A session.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionItem {
    #[schema(value_type = uuid::Uuid)]
    session_id: SessionId,
    name: String,
    /// `sandbox`.
    runtime: String,
    #[schema(value_type = String)]
    python: PythonVersion,
    limits: LimitsView,
    ttl_s: u64,
    #[schema(format = DateTime)]
    created_at: String,
    /// When it is forgotten, if there is no further call; absent while it has calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Its call that is queued or runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    active_task: Option<TaskId>,
    /// How many calls wait behind that.
    waiting_tasks: u64,
    /// How many calls have ended.
    ended_tasks: u64,
    /// Bytes of what its last call has left, as they are kept.
    stored_bytes: u64,
    /// Fields of the request that are not known here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    ignored: Vec<String>,
}

/// The view of a session, and the fields of the request that are not known.
pub(super) fn session_item(record: SessionRecord, ignored: Vec<String>) -> SessionItem {
    SessionItem {
        session_id: record.id,
        name: record.spec.name,
        runtime: record.spec.class.runtime.to_string(),
        python: record.spec.class.python,
        limits: record.spec.limits.into(),
        ttl_s: record.ttl.as_secs(),
        created_at: rfc3339(record.created_at),
        expires_at: record.expires_at.map(rfc3339),
        active_task: record.active,
        waiting_tasks: record.waiting,
        ended_tasks: record.calls,
        stored_bytes: record.bytes,
        ignored,
    }
}
