//! A task: its status and the moves that status may make, and what was fixed when it was accepted.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::grants::GrantRequest;
use crate::id::{FunctionId, TaskId};
use crate::labels::Labels;
use crate::requirements::PackageLock;
use crate::warm::WarmMode;
pub use crate::word::InvalidWord;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TaskStatus {
    /// Accepted and waiting: for a free slot, for its delay, or for another attempt.
    Queued,
    /// Handed to a worker.
    Running,
    /// Ended with a return value.
    Completed,
    /// Ended with an exception.
    Failed,
    /// Ended by a client's wish.
    Cancelled,
}

impl TaskStatus {
    /// Every status, in the order of a task's life.
    pub const ALL: [Self; 5] =
        [Self::Queued, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// The word used in HTTP, in the store and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Whether nothing can follow.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether a task may go from this status to `next`. The store's scripts enforce the same table.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => matches!(next, Self::Running | Self::Cancelled | Self::Failed),
            // Back to the queue only when the attempt was lost.
            Self::Running => !matches!(next, Self::Running),
            Self::Completed | Self::Failed | Self::Cancelled => false,
        }
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TaskStatus {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| InvalidWord {
            what: "task status",
            text: text.to_owned(),
            expected: "QUEUED, RUNNING, COMPLETED, FAILED or CANCELLED",
        })
    }
}

/// Where the Python code of a call runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// Embedded CPython in a child process: full speed, for code that is trusted.
    Native,
    /// CPython for WASI inside wasmtime, a fresh interpreter for every call.
    Sandbox,
}

impl Runtime {
    /// Every runtime.
    pub const ALL: [Self; 2] = [Self::Native, Self::Sandbox];

    /// The word used in HTTP, in the store and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Sandbox => "sandbox",
        }
    }

    /// Whether a function registered for this runtime may be called in `wanted`. Isolation can be
    /// requested, never dropped: what was registered for the sandbox never runs natively.
    #[must_use]
    pub const fn may_narrow_to(self, wanted: Self) -> bool {
        matches!((self, wanted), (Self::Native, _) | (Self::Sandbox, Self::Sandbox))
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Runtime {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        Self::ALL.into_iter().find(|runtime| runtime.as_str() == text).ok_or_else(|| InvalidWord {
            what: "runtime",
            text: text.to_owned(),
            expected: "native or sandbox",
        })
    }
}

/// A Python feature release such as 3.11. Bytecode, and so a function sent by value, belongs to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PythonVersion {
    /// The 3 of 3.11.
    pub major: u8,
    /// The 11 of 3.11.
    pub minor: u8,
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for PythonVersion {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let parsed = text.split_once('.').and_then(|(major, minor)| {
            Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
        });
        parsed.filter(|version| version.to_string() == text).ok_or_else(|| InvalidWord {
            what: "Python version",
            text: text.to_owned(),
            expected: "give a feature release such as `3.11`",
        })
    }
}

impl TryFrom<String> for PythonVersion {
    type Error = InvalidWord;

    fn try_from(text: String) -> Result<Self, InvalidWord> {
        text.parse()
    }
}

impl From<PythonVersion> for String {
    fn from(version: PythonVersion) -> Self {
        version.to_string()
    }
}

/// Stands before the labels in the text of a class.
const LABELS_MARK: char = '/';

/// What a slot needs to run a task: a queue exists for each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskClass {
    /// Where it runs.
    pub runtime: Runtime,
    /// Which Python runs it.
    pub python: PythonVersion,
    /// What its worker must have; of a worker's class, what it has.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl TaskClass {
    /// One without labels.
    #[must_use]
    pub const fn new(runtime: Runtime, python: PythonVersion) -> Self {
        Self { runtime, python, labels: Labels::NONE }
    }

    /// Whether a worker of this class runs tasks of another one: it has all labels that they ask for.
    #[must_use]
    pub fn serves(&self, task: &Self) -> bool {
        self.runtime == task.runtime
            && self.python == task.python
            && self.labels.contain(&task.labels)
    }
}

impl fmt::Display for TaskClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.runtime, self.python)?;
        if self.labels.is_empty() { Ok(()) } else { write!(f, "{LABELS_MARK}{}", self.labels) }
    }
}

impl FromStr for TaskClass {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let invalid = || InvalidWord {
            what: "task class",
            text: text.to_owned(),
            expected: "give a runtime and a Python version such as `native:3.11`, and labels as in `native:3.11/gpu=a100`",
        };
        let (base, labels) = text.split_once(LABELS_MARK).unwrap_or((text, ""));
        let (runtime, python) = base.split_once(':').ok_or_else(invalid)?;
        Ok(Self {
            runtime: runtime.parse().map_err(|_| invalid())?,
            python: python.parse().map_err(|_| invalid())?,
            labels: labels.parse().map_err(|_| invalid())?,
        })
    }
}

/// Which of a tenant's tasks of a class go first. Strict: a lower one waits while a higher one is queued.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before the others.
    High,
    /// What a submission that says nothing gets.
    #[default]
    Normal,
    /// After the others.
    Low,
}

impl Priority {
    /// Every priority, the first to be served first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The word used in HTTP and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The number of an attempt at a task: 1 for the first. It is the fence of the store, which takes a
/// result of the current attempt only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt(pub u32);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One attempt at one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskAttempt {
    /// The task.
    pub task_id: TaskId,
    /// The number of the attempt: the fence.
    pub attempt: Attempt,
}

impl fmt::Display for TaskAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} attempt {}", self.task_id, self.attempt)
    }
}

/// What one attempt may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLimits {
    /// Wall-clock time from the start of the call to its end, in milliseconds.
    pub timeout_ms: u64,
    /// Memory that the call may have, in MiB.
    pub memory_mb: u32,
    /// How often a call whose executor or worker died is tried again. Exceptions are never retried.
    pub max_retries: u32,
    /// The longest pickle that it may return or raise, with the files that it leaves, in MiB, where its tenant has a limit
    /// beside that of the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_result_mb: Option<u32>,
}

impl TaskLimits {
    /// What a deployment that sets nothing gives: five minutes, 1 GiB, three attempts.
    pub const DEFAULT: Self =
        Self { timeout_ms: 300_000, memory_mb: 1024, max_retries: 2, max_result_mb: None };
    /// The most that a deployment that sets nothing allows: a day, 64 GiB, eleven attempts.
    pub const WIDEST: Self =
        Self { timeout_ms: 86_400_000, memory_mb: 65_536, max_retries: 10, max_result_mb: None };

    /// The deadline as a duration.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// The longest result in bytes, where the worker allows `of_worker`.
    #[must_use]
    pub fn max_result_bytes(&self, of_worker: u64) -> u64 {
        self.max_result_mb.map_or(of_worker, |mib| of_worker.min(u64::from(mib) << 20))
    }
}

/// Names the bytes of a function: their BLAKE3 hash. Equal code is stored, sent and cached once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CodeHash(#[serde(with = "serde_bytes")] [u8; 32]);

impl CodeHash {
    /// The hash of `code`.
    #[must_use]
    pub fn of(code: &[u8]) -> Self {
        Self(*blake3::hash(code).as_bytes())
    }

    /// The hash of these parts, one behind the other.
    #[must_use]
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What was fixed when a task was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TaskSpec {
    /// The function that is called.
    pub function_id: FunctionId,
    /// The bytes of that function.
    pub code: CodeHash,
    /// What a slot needs.
    pub class: TaskClass,
    /// What each attempt may use.
    pub limits: TaskLimits,
    /// Which tasks of the class go first.
    pub priority: Priority,
    /// What it may reach beyond its interpreter; mostly nothing.
    #[serde(default)]
    pub grants: Option<Box<GrantRequest>>,
    /// The packages that it imports from, besides those that its runtime has; mostly none.
    #[serde(default)]
    pub packages: Option<Box<PackageLock>>,
    /// Whether it may start with its modules imported, in the sandbox.
    #[serde(default)]
    pub warm: WarmMode,
}

/// Fields at the end that say nothing are left out: most tasks have neither.
impl Serialize for TaskSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { function_id, code, class, limits, priority, grants, packages, warm } = self;
        let further = if warm.is_auto() { usize::from(packages.is_some()) } else { 2 };
        let mut spec = serializer.serialize_struct("TaskSpec", 6 + further)?;
        spec.serialize_field("function_id", function_id)?;
        spec.serialize_field("code", code)?;
        spec.serialize_field("class", class)?;
        spec.serialize_field("limits", limits)?;
        spec.serialize_field("priority", priority)?;
        spec.serialize_field("grants", grants)?;
        if further > 0 {
            spec.serialize_field("packages", packages)?;
        }
        if further > 1 {
            spec.serialize_field("warm", warm)?;
        }
        spec.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirements::Wheel;

    #[test]
    fn words_come_back() {
        for status in TaskStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        for text in ["native:3.11", "sandbox:3.13"] {
            assert_eq!(text.parse::<TaskClass>().expect("valid").to_string(), text);
        }
        for text in ["native", "native:3", "wasm:3.11", "native:3.011", "native:3.11 "] {
            assert!(text.parse::<TaskClass>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_spec_comes_back_and_says_no_more_than_it_must() {
        let class = "sandbox:3.11".parse().expect("a class");
        let plain = crate::invocation::Invocation::standalone(class, "code".into(), "".into()).spec;
        let lock = |name: &str| {
            let wheel = Wheel::new(&format!("{name}-1.0-py3-none-any.whl"), &"07".repeat(32));
            Box::new(PackageLock::new(vec![wheel.expect("a wheel")]).expect("one"))
        };
        for (packages, warm, fields) in [
            (None, WarmMode::Auto, 6),
            (Some(lock("jinja2")), WarmMode::Auto, 7),
            (None, WarmMode::Never, 8),
            (Some(lock("jinja2")), WarmMode::Always, 8),
        ] {
            let spec = TaskSpec { packages, warm, ..plain.clone() };
            let bytes = rmp_serde::to_vec(&spec).expect("encoded");
            assert_eq!(bytes[0], 0x90 + fields);
            assert_eq!(rmp_serde::from_slice::<TaskSpec>(&bytes).expect("decoded"), spec);
        }
    }

    #[test]
    fn nothing_follows_a_terminal_status() {
        for from in TaskStatus::ALL.into_iter().filter(|status| status.is_terminal()) {
            assert!(TaskStatus::ALL.into_iter().all(|to| !from.may_become(to)), "{from}");
        }
    }

    #[test]
    fn only_a_lost_attempt_goes_back() {
        assert!(TaskStatus::Running.may_become(TaskStatus::Queued));
        assert!(!TaskStatus::Queued.may_become(TaskStatus::Completed));
    }

    #[test]
    fn isolation_is_never_dropped() {
        assert!(Runtime::Native.may_narrow_to(Runtime::Sandbox));
        assert!(!Runtime::Sandbox.may_narrow_to(Runtime::Native));
    }
}
