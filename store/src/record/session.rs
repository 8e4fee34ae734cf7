//! Sessions as clients see them.

use std::time::Duration;

use belljar_core::id::{SessionId, TaskId};
use belljar_core::task::{TaskClass, TaskLimits};
use serde::{Deserialize, Serialize};

use super::task::Timestamp;

/// What is fixed of a session when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// The client's name for it; not unique.
    pub name: String,
    /// Where its calls run.
    pub class: TaskClass,
    /// The widest limits that a call of it may have.
    pub limits: TaskLimits,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Names it.
    pub id: SessionId,
    /// What is fixed of it.
    pub spec: SessionSpec,
    /// When it was made.
    pub created_at: Timestamp,
    /// How long it is kept after its last call.
    pub ttl: Duration,
    /// Its call that is queued or runs.
    pub active: Option<TaskId>,
    /// How many calls wait behind that.
    pub waiting: u64,
    /// How many calls have ended.
    pub calls: u64,
    /// Bytes of what its last call has left, as they are kept.
    pub bytes: u64,
    /// When it is forgotten; `None` while it has calls.
    pub expires_at: Option<Timestamp>,
}
