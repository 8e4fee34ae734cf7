//! What a call came to, and how it is read from the guest.

use belljar_core::access::Denied;
use belljar_core::files::CallFile;
use belljar_core::outcome::{Failure, FailureKind, Phases};
use bytes::Bytes;
use wasmtime::Trap;

use crate::limits::Account;
use crate::wasi::{Captured, Exit};

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The pickled return value, or what was raised.
    pub result: Result<Bytes, Failure>,
    /// Where the time went.
    pub phases: Phases,
    /// The most linear memory held, in bytes.
    pub peak_memory_bytes: u64,
    /// What the call was refused.
    pub denied: Vec<Denied>,
    /// Standard output, where it was to be captured.
    pub stdout: Captured,
    /// Standard error, where it was to be captured.
    pub stderr: Captured,
    /// The files that it left and that were to be kept.
    pub files: Vec<CallFile>,
}

impl Answer {
    /// Of a call that could not begin.
    pub(crate) fn failed(failure: Failure) -> Self {
        Self {
            result: Err(failure),
            phases: Phases::default(),
            peak_memory_bytes: 0,
            denied: Vec::new(),
            stdout: Captured::default(),
            stderr: Captured::default(),
            files: Vec::new(),
        }
    }
}

/// The guest's words on how a call ended; `enum` of the same meaning in guest/shim.c.
pub(crate) const ANSWERED: u32 = 0;
pub(crate) const OUT_OF_MEMORY: u32 = 1;
const TOO_DEEP: u32 = 2;

/// Bytes of the guest's `answer` structure.
pub(crate) const STRUCTURE_BYTES: usize = 64;

/// Reads the structure at the start of `at` in the guest's memory.
pub(crate) fn read(memory: &[u8], at: usize) -> Option<(Result<Bytes, Failure>, Phases)> {
    let fields = memory.get(at..at.checked_add(STRUCTURE_BYTES)?)?;
    let number = |at: usize| Some(u32::from_le_bytes(fields.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_le_bytes(fields.get(at..at + 8)?.try_into().ok()?));
    let bytes = |at: usize| {
        let (start, length) = (number(at)? as usize, number(at + 4)? as usize);
        memory.get(start..start.checked_add(length)?)
    };
    let text = |at: usize| Some(String::from_utf8_lossy(bytes(at)?).into_owned());
    let pickle = Bytes::copy_from_slice(bytes(4)?);
    let result = if number(0)? == 1 {
        Ok(pickle)
    } else {
        let kind = kind(bytes(12)?);
        Err(Failure { kind, exception: pickle, message: text(20)?, traceback: text(28)? })
    };
    let (decode_us, call_us, encode_us) = (long(40)?, long(48)?, long(56)?);
    Some((result, Phases { decode_us, call_us, encode_us, ..Phases::default() }))
}

/// The runner's word for a kind.
fn kind(word: &[u8]) -> FailureKind {
    match word {
        b"decode" => FailureKind::Decode,
        b"encode" => FailureKind::Encode,
        b"memory" => FailureKind::Memory,
        b"recursion" => FailureKind::Recursion,
        _ => FailureKind::Exception,
    }
}

/// A failure that the sandbox found.
fn raised(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure::by_platform(kind, message.into())
}

fn out_of_memory(account: &Account) -> Failure {
    let limit = account.memory_limit >> 20;
    raised(FailureKind::Memory, format!("the call reached its memory limit of {limit} MiB"))
}

fn too_deep() -> Failure {
    raised(FailureKind::Recursion, "the call reached the stack limit of the sandbox")
}

/// The guest came back, but without an answer of the runner's.
pub(crate) fn unanswered(word: u32, account: &Account) -> Failure {
    match word {
        OUT_OF_MEMORY => out_of_memory(account),
        TOO_DEEP => too_deep(),
        // With no memory left, CPython may fail without an exception or with one of another kind.
        _ if account.refusals > 0 => out_of_memory(account),
        _ => raised(FailureKind::ExecutorDied, "the sandbox's interpreter was left unusable"),
    }
}

/// The guest did not come back. `stack_pointer` is the one of its own stack at that time.
pub(crate) fn ended(error: &wasmtime::Error, account: &Account, stack_pointer: i32) -> Failure {
    /// An overflow is noticed below the end of the stack, or by a function that needs little more.
    const STACK_MARGIN: i32 = 64 << 10;
    if let Some(Exit(status)) = error.downcast_ref() {
        return raised(
            FailureKind::ExecutorDied,
            format!("the function ended its interpreter with exit status {status}"),
        );
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => too_deep(),
        Some(Trap::MemoryOutOfBounds) if stack_pointer < STACK_MARGIN => too_deep(),
        Some(Trap::Interrupt) => raised(FailureKind::Timeout, "the call reached its deadline"),
        _ if account.refusals > 0 => out_of_memory(account),
        Some(Trap::UnreachableCodeReached) => {
            raised(FailureKind::ExecutorDied, "the function aborted its interpreter")
        }
        Some(trap) => raised(FailureKind::ExecutorDied, format!("the interpreter crashed: {trap}")),
        None => raised(FailureKind::ExecutorDied, format!("the interpreter crashed: {error}")),
    }
}
