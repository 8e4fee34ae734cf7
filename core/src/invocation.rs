//! A task on its way to a slot: one value, from the claim in the store to the child process.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{FunctionId, TaskId};
use crate::task::{Attempt, CodeHash, Priority, TaskAttempt, TaskClass, TaskLimits, TaskSpec};
use crate::trace::TraceContext;
use crate::warm::WarmMode;

/// One attempt at a task, with all that a slot needs to make it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// The task and the number of the attempt.
    pub task: TaskAttempt,
    /// What was fixed when the task was accepted.
    pub spec: TaskSpec,
    /// The pickled callable, whose hash is `spec.code`; left out where the receiver has it.
    pub code: Option<Bytes>,
    /// The pickled `(args, kwargs)`.
    pub args: Bytes,
    /// What the spans of the task belong to, where it is traced. The last field: it is left out of what is written otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Box<TraceContext>>,
}

impl Invocation {
    /// The first attempt at a call that no store knows of, with default limits and no grants.
    #[must_use]
    pub fn standalone(class: TaskClass, code: Bytes, args: Bytes) -> Self {
        let spec = TaskSpec {
            function_id: FunctionId::random(),
            code: CodeHash::of(&code),
            class,
            limits: TaskLimits::DEFAULT,
            priority: Priority::Normal,
            grants: None,
            packages: None,
            warm: WarmMode::Auto,
        };
        let task = TaskAttempt { task_id: TaskId::random(), attempt: Attempt(1) };
        Self { task, spec, code: Some(code), args, trace: None }
    }

    /// The same without its code, for a receiver that has it.
    #[must_use]
    pub fn without_code(self) -> Self {
        Self { code: None, ..self }
    }

    /// The length of the code that comes along.
    #[must_use]
    pub fn code_bytes(&self) -> usize {
        self.code.as_ref().map_or(0, Bytes::len)
    }
}
