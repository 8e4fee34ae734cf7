//! A task on its way to a slot.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::grants::Grants;
use crate::id::TaskId;
use crate::task::{Attempt, CodeHash, Limits, TaskClass};

/// A function's bytes and their name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Names the bytes.
    pub hash: CodeHash,
    /// The pickled callable.
    pub code: Bytes,
}

/// One attempt at a task, with all that a slot needs to make it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// The task.
    pub task_id: TaskId,
    /// Which attempt this is: the fence of its result.
    pub attempt: Attempt,
    /// Where and in which Python it runs.
    pub class: TaskClass,
    /// What it may use.
    pub limits: Limits,
    /// What is called.
    pub function: Function,
    /// The pickled `(args, kwargs)`.
    pub args: Bytes,
    /// What it asks to reach; whether it may, the worker decides.
    #[serde(default)]
    pub grants: Option<Box<Grants>>,
}
