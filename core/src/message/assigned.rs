//! An invocation on the wire: the code of its function is left out where the worker has it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::grants::Grants;
use crate::id::TaskId;
use crate::invocation::{Function, Invocation};
use crate::message::TaskAttempt;
use crate::task::{Attempt, CodeHash, Limits, TaskClass};

/// An invocation whose worker may already have the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// The task.
    pub task_id: TaskId,
    /// Which attempt this is.
    pub attempt: Attempt,
    /// Where and in which Python it runs.
    pub class: TaskClass,
    /// What it may use.
    pub limits: Limits,
    /// Names the function's bytes.
    pub hash: CodeHash,
    /// Those bytes, unless they were sent in this session before.
    pub code: Option<Bytes>,
    /// The pickled `(args, kwargs)`.
    pub args: Bytes,
    /// What it asks to reach; whether it may, the worker decides.
    #[serde(default)]
    pub grants: Option<Box<Grants>>,
}

/// The worker does not have the code of this task, which it was not sent either: the task is to be
/// returned, and the code named in `Evicted`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the code `{hash}` is not here")]
pub struct CodeMissing {
    /// The attempt that cannot be made.
    pub task: TaskAttempt,
    /// The code it needs.
    pub hash: CodeHash,
}

impl Assigned {
    /// The invocation with its code.
    #[must_use]
    pub fn with_code(invocation: Invocation) -> Self {
        let code = invocation.function.code.clone();
        Self { code: Some(code), ..Self::without_code(invocation) }
    }

    /// The invocation for a worker that was sent the code before.
    #[must_use]
    pub fn without_code(invocation: Invocation) -> Self {
        let Invocation { task_id, attempt, class, limits, function, args, grants } = invocation;
        Self { task_id, attempt, class, limits, hash: function.hash, code: None, args, grants }
    }

    /// The task and its attempt.
    #[must_use]
    pub const fn task(&self) -> TaskAttempt {
        TaskAttempt { task_id: self.task_id, attempt: self.attempt }
    }

    /// The whole invocation, with the code that came along or else what `known` has.
    ///
    /// # Errors
    /// Neither has it.
    pub fn into_invocation(
        self,
        known: impl FnOnce(&CodeHash) -> Option<Bytes>,
    ) -> Result<Invocation, CodeMissing> {
        let (task, hash) = (self.task(), self.hash);
        let code = self.code.or_else(|| known(&hash)).ok_or(CodeMissing { task, hash })?;
        Ok(Invocation {
            task_id: self.task_id,
            attempt: self.attempt,
            class: self.class,
            limits: self.limits,
            function: Function { hash, code },
            args: self.args,
            grants: self.grants,
        })
    }
}
