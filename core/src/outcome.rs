//! The outcome of a call. What a function did is data here, never an error of the platform.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::access::AccessLog;
use crate::exception;
use crate::files::CallFile;
use crate::task::{InvalidWord, TaskAttempt, TaskStatus};
use crate::warm::WarmStart;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallVerdict {
    /// The function returned; the pickled value.
    Completed(Bytes),
    /// The same; the pickled value, of so many bytes, is in the file of the attempt: [`crate::result_file`].
    CompletedInFile(u64),
    /// The function raised, or the platform ended it.
    Failed(Failure),
    /// A client cancelled it and the code has stopped.
    Cancelled,
}

impl CallVerdict {
    /// The status that a task with this verdict ends in.
    #[must_use]
    pub const fn status(&self) -> TaskStatus {
        match self {
            Self::Completed(_) | Self::CompletedInFile(_) => TaskStatus::Completed,
            Self::Failed(_) => TaskStatus::Failed,
            Self::Cancelled => TaskStatus::Cancelled,
        }
    }

    /// Why it failed, if it did.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::Completed(_) | Self::CompletedInFile(_) | Self::Cancelled => None,
        }
    }

    /// The pickle that the result route gives out; empty for a cancelled task, and where it is in a file.
    #[must_use]
    pub fn pickle(&self) -> Bytes {
        match self {
            Self::Completed(value) => value.clone(),
            Self::Failed(failure) => failure.exception.clone(),
            Self::CompletedInFile(_) | Self::Cancelled => Bytes::new(),
        }
    }
}

/// What loading a result runs, as the static reader of pickles finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResultKind {
    /// Nothing but constructors of plain values and builtin exceptions.
    Data,
    /// It may be anything.
    Objects {
        /// What it names beside those, as `module.name`, each once, in order of appearance.
        globals: Vec<String>,
        /// Why it may name more than that; `None` where it does not.
        unreadable: Option<String>,
    },
}

impl ResultKind {
    /// The word in HTTP.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Objects { .. } => "objects",
        }
    }
}

/// Why a call failed, in the terms a program can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The function raised.
    Exception,
    /// The function or its arguments could not be unpickled, or do not fit together.
    Decode,
    /// The return value cannot be pickled.
    Encode,
    /// The deadline passed.
    Timeout,
    /// The memory limit was reached.
    Memory,
    /// The stack limit was reached.
    Recursion,
    /// Another limit was reached, such as the size of a result.
    Limit,
    /// The call asked for something that the sandbox does not grant.
    Denied,
    /// The executor died under the call: by signal, by exit, or by breaking its protocol.
    ExecutorDied,
    /// The worker or its dispatcher disappeared.
    WorkerLost,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Exception,
        Self::Decode,
        Self::Encode,
        Self::Timeout,
        Self::Memory,
        Self::Recursion,
        Self::Limit,
        Self::Denied,
        Self::ExecutorDied,
        Self::WorkerLost,
    ];

    /// Whether the attempt was lost rather than answered, so that another may be made.
    #[must_use]
    pub const fn is_lost(self) -> bool {
        matches!(self, Self::ExecutorDied | Self::WorkerLost)
    }

    /// The word in HTTP and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exception => "exception",
            Self::Decode => "decode",
            Self::Encode => "encode",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Recursion => "recursion",
            Self::Limit => "limit",
            Self::Denied => "denied",
            Self::ExecutorDied => "executor_died",
            Self::WorkerLost => "worker_lost",
        }
    }

    /// The builtin exception that stands for this kind where the original cannot be pickled. Builtin, so
    /// that any client can unpickle it.
    #[must_use]
    pub const fn builtin_exception(self) -> &'static str {
        match self {
            Self::Exception | Self::ExecutorDied | Self::WorkerLost | Self::Limit => "RuntimeError",
            Self::Decode | Self::Encode => "ValueError",
            Self::Timeout => "TimeoutError",
            Self::Memory => "MemoryError",
            Self::Recursion => "RecursionError",
            Self::Denied => "PermissionError",
        }
    }
}

impl FromStr for FailureKind {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| InvalidWord {
            what: "kind of failure",
            text: text.to_owned(),
            expected: "exception, decode, encode, timeout, memory, recursion, limit, denied, executor_died or worker_lost",
        })
    }
}

/// A failure: for programs, for Python clients, and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Why, for programs.
    pub kind: FailureKind,
    /// The pickled exception object that the client raises.
    pub exception: Bytes,
    /// The exception in one line: `ZeroDivisionError: division by zero`.
    pub message: String,
    /// The traceback where the code ran; empty where the platform ended the call.
    pub traceback: String,
}

impl Failure {
    /// The longest message that is kept.
    pub const MAX_MESSAGE_BYTES: usize = 8 << 10;
    /// The longest traceback that is kept: its start and its end.
    pub const MAX_TRACEBACK_BYTES: usize = 64 << 10;

    /// A failure that stands for a pickle over the limit.
    #[must_use]
    pub fn too_long(what: &str, bytes: usize, max_result_bytes: u64) -> Self {
        let limit = max_result_bytes >> 20;
        let text = format!(
            "the {what} has {bytes} bytes, and the limit is {limit} MiB\nhint: return less at once, or put it where \
             the client can read it; the operator sets the limit, by --max-result-mb or for a tenant"
        );
        Self::by_platform(FailureKind::Limit, text)
    }

    /// The same with a message and a traceback of bounded length.
    #[must_use]
    pub fn shortened(mut self) -> Self {
        const CUT: &str = "...";
        if self.message.len() > Self::MAX_MESSAGE_BYTES {
            let end = self.message.floor_char_boundary(Self::MAX_MESSAGE_BYTES - CUT.len());
            self.message.replace_range(end.., CUT);
        }
        if self.traceback.len() > Self::MAX_TRACEBACK_BYTES {
            const LEFT_OUT: &str = "\n... the middle is left out ...\n";
            let kept = (Self::MAX_TRACEBACK_BYTES - LEFT_OUT.len()) / 2;
            let start = self.traceback.floor_char_boundary(kept);
            let end = self.traceback.ceil_char_boundary(self.traceback.len() - kept);
            self.traceback.replace_range(start..end, LEFT_OUT);
        }
        self
    }

    /// A failure that the platform found: the exception is a builtin with `message` as its text.
    #[must_use]
    pub fn by_platform(kind: FailureKind, message: String) -> Self {
        let exception = Bytes::from(exception::pickled(kind.builtin_exception(), &message));
        let message = format!("{}: {message}", kind.builtin_exception());
        Self { kind, exception, message, traceback: String::new() }
    }
}

/// Where the time of one attempt went inside the executor, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Getting a fresh interpreter ready; 0 where one stood by, and always in native.
    pub instance_us: u64,
    /// Unpickling the function and its arguments.
    pub decode_us: u64,
    /// Running the function.
    pub call_us: u64,
    /// Pickling the result.
    pub encode_us: u64,
    /// Processor time of the executor for the call, also of its children; 0 where it was not measured.
    #[serde(default)]
    pub cpu_us: u64,
    /// Whether the call started with the modules of its function imported, in the sandbox; `None` where that is no question. The last
    /// field: it is left out of what is written then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<WarmStart>,
}

/// The end of what a call wrote to standard output or standard error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputTail {
    /// The last bytes written, at most [`OutputTail::KEPT_BYTES`].
    pub bytes: Bytes,
    /// How many bytes were written in all.
    pub total_bytes: u64,
}

impl OutputTail {
    /// How much of each stream of a call is kept.
    pub const KEPT_BYTES: usize = 16 * 1024;
}

/// Everything that is known of one attempt once it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub verdict: CallVerdict,
    /// Where its time went.
    pub phases: Phases,
    /// Wall-clock time in the worker's slot, in microseconds.
    pub elapsed_us: u64,
    /// The most memory of the executor, in bytes; 0 where it is not known.
    pub peak_memory_bytes: u64,
    /// The end of standard output.
    pub stdout: OutputTail,
    /// The end of standard error.
    pub stderr: OutputTail,
    /// The files that it left and that were to be kept.
    #[serde(default)]
    pub files: Vec<CallFile>,
    /// What it reached and what it was refused; `None` where there is nothing to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Box<AccessLog>>,
}

impl Outcome {
    /// Processor time in microseconds. A call that was stopped is taken to have used one processor all the time.
    #[must_use]
    pub const fn cpu_us(&self) -> u64 {
        if self.phases.cpu_us > 0 { self.phases.cpu_us } else { self.elapsed_us }
    }

    /// Memory for as long as the call took, in MiB times milliseconds.
    #[must_use]
    pub const fn memory_mb_ms(&self) -> u64 {
        (self.peak_memory_bytes >> 20).saturating_mul(self.elapsed_us / 1_000)
    }

    /// An outcome of which no more than the verdict is known.
    #[must_use]
    pub fn bare(verdict: CallVerdict, elapsed: Duration) -> Self {
        Self {
            verdict,
            phases: Phases::default(),
            elapsed_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            peak_memory_bytes: 0,
            stdout: OutputTail::default(),
            stderr: OutputTail::default(),
            files: Vec::new(),
            access: None,
        }
    }
}

/// A worker's word on one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The attempt that ended.
    pub task: TaskAttempt,
    /// How it ended.
    pub outcome: Outcome,
}
