//! The messages between a worker's slot and its child process, and their framing: a length (four
//! bytes, little-endian) and that many bytes of MessagePack. Both children, `belljar-python` and
//! `belljar-sandbox`, speak it on one socket; the end of the stream asks a child to leave.
//!
//! # Layout
//!
//! * `long`: messages of which a part is elsewhere.

mod long;

use std::io::{self, Read, Write};
use std::path::PathBuf;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::Denied;
use crate::files::{CallFile, MAX_FILES, check_name};
use crate::grants::Granted;
use crate::invocation::Invocation;
use crate::limits::{MAX_FRAME_BYTES, MAX_INLINE_RESULT_BYTES};
use crate::live::Progress;
use crate::outcome::{Failure, FailureKind, Phases};
use crate::session::{self, MAX_STATE_BYTES};

pub use long::{HEAD_BYTES, decode_around, encode_around, long_result, write_done};

/// The descriptor on which a child finds its socket.
pub const CHILD_FD: i32 = 3;

/// So much is set aside for a message before it has come.
pub const AHEAD_BYTES: usize = 8 << 20;

/// A message that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream failed or ended inside a message.
    #[error("the frame stream failed")]
    Stream(#[from] io::Error),
    /// The peer claims a longer message than it may send.
    #[error("a frame of {bytes} bytes is longer than {limit}")]
    TooLong {
        /// The length that it claims.
        bytes: usize,
        /// The longest that it may send.
        limit: usize,
    },
    /// The bytes are no message of the expected kind.
    #[error("the frame is malformed")]
    Malformed(#[from] rmp_serde::decode::Error),
}

/// A message from a slot to its child: one call. The next is sent only after its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// What the answer must repeat: [`nonce`].
    pub nonce: u64,
    /// What to call; its code is left out where this child has been sent it before.
    pub invocation: Invocation,
    /// Whether the child first evicts all code that it was sent.
    pub evict: bool,
    /// What the call may reach beyond its interpreter.
    pub granted: Option<Box<Granted>>,
    /// The longest pickle that it may return or raise, and the most bytes of files that it may leave; of the latter two
    /// [`MAX_INLINE_RESULT_BYTES`] at most.
    pub max_result_bytes: u64,
    /// An empty directory for the files of a native call: its working directory.
    pub folder: Option<PathBuf>,
}

/// A message from a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChildReply {
    /// The interpreter is up and takes calls.
    Ready(Ready),
    /// The call ended. What it changed is put back only now, while the worker is busy with the answer.
    Done(Done),
    /// The last call left behind what the next must not meet and what cannot be put back, such as a thread, a child
    /// process or a closed stream. The child takes no further call and ends; one that it has been sent did not begin.
    LeftBehind(String),
    /// The running call makes an HTTP request, in the words of its guest. The worker answers with bytes in one
    /// frame, and the child reads nothing else meanwhile. Only from a call with [`Granted::http`].
    Http(Bytes),
    /// The call with this nonce says how far it has come.
    Progress(u64, Progress),
}

/// A child's first word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The interpreter's full version, such as `3.11.2`.
    pub python: String,
    /// The version of dill that encodes and decodes.
    pub dill: String,
}

/// The end of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// That of the call.
    pub nonce: u64,
    /// The pickled return value, or what was raised.
    pub result: Result<Bytes, Failure>,
    /// Where the time went.
    pub phases: Phases,
    /// The most memory used, in bytes.
    pub peak_memory_bytes: u64,
    /// The files that it left and that were to be kept.
    pub files: Vec<CallFile>,
    /// What it was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<Denied>,
}

/// A number that nobody can guess, for one call: an answer that does not repeat it belongs to no call or to
/// another one. Costs no system call.
#[must_use]
pub fn nonce() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}

impl Done {
    /// The end of a call that could not begin.
    #[must_use]
    pub fn failed(nonce: u64, failure: Failure) -> Self {
        Self {
            nonce,
            result: Err(failure),
            phases: Phases::default(),
            peak_memory_bytes: 0,
            files: Vec::new(),
            denied: Vec::new(),
        }
    }

    /// The same with a failure in place of a pickle that is too long, and with texts of bounded length. A child
    /// does this before it answers, and a worker again, since a child may be hostile.
    #[must_use]
    pub fn within(mut self, max_result_bytes: u64) -> Self {
        let max_inline_bytes = max_result_bytes.min(MAX_INLINE_RESULT_BYTES);
        self.keep_files_within(max_result_bytes, max_inline_bytes);
        self.result = match self.result {
            Ok(value) if value.len() as u64 > max_result_bytes => {
                Err(Failure::too_long("result", value.len(), max_result_bytes))
            }
            Err(failure) if failure.exception.len() as u64 > max_inline_bytes => {
                let bytes = failure.exception.len();
                let what = format!("exception `{}`", failure.shortened().message);
                Err(Failure::too_long(&what, bytes, max_inline_bytes))
            }
            Err(failure) => Err(failure.shortened()),
            value => value,
        };
        self
    }
}

impl Done {
    /// A child that answers with other files than it may is taken at its word for none of them.
    fn keep_files_within(&mut self, max_result_bytes: u64, max_files_bytes: u64) {
        if self.files.is_empty() {
            return;
        }
        let files = &self.files;
        let result =
            self.result.as_ref().map_or_else(|failure| failure.exception.len(), Bytes::len);
        let add = |sum: usize, file: &CallFile| sum.saturating_add(file.bytes.len());
        let (states, others): (Vec<_>, Vec<_>) =
            files.iter().partition(|file| session::is_state(file));
        let (has_state, many) = (!states.is_empty(), states.len() > 1);
        let (left, state) = (others.into_iter().fold(0, add), states.into_iter().fold(0, add));
        let bytes = result.saturating_add(left);
        let together = bytes.saturating_add(state) as u64;
        let is_named =
            files.iter().all(|file| session::is_state(file) || check_name(&file.name).is_ok());
        let failure = if bytes as u64 > max_result_bytes {
            Failure::too_long("result with the files that the call leaves", bytes, max_result_bytes)
        } else if left as u64 > max_files_bytes {
            Failure::too_long("set of files that the call leaves", left, max_files_bytes)
        } else if state > MAX_STATE_BYTES || (state > 0 && together > MAX_INLINE_RESULT_BYTES) {
            let text = "result with what the session has";
            Failure::too_long(text, bytes + state, MAX_INLINE_RESULT_BYTES)
        } else if files.len() > MAX_FILES + 1 || many || !is_named {
            let text = "the executor answered with files that no call can leave";
            Failure::by_platform(FailureKind::Limit, text.into())
        } else {
            return;
        };
        self.files.clear();
        // What a session's call has raised says nothing of what it did to the session, which it has not now.
        if self.result.is_ok() || has_state {
            self.result = Err(failure);
        }
    }
}

/// `message` as one frame, its length in front.
///
/// # Errors
/// The message is longer than [`MAX_FRAME_BYTES`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; 4];
    #[expect(clippy::expect_used, reason = "our own types into memory")]
    rmp_serde::encode::write(&mut frame, message).expect("messages are serializable");
    let length = frame.len() - 4;
    let prefix = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME_BYTES);
    let prefix = prefix.ok_or(FrameError::TooLong { bytes: length, limit: MAX_FRAME_BYTES })?;
    frame[..4].copy_from_slice(&prefix.to_le_bytes());
    Ok(frame)
}

/// The length that a frame's first four bytes claim.
///
/// # Errors
/// It is above `limit`.
pub fn length(prefix: [u8; 4], limit: usize) -> Result<usize, FrameError> {
    let bytes = u32::from_le_bytes(prefix) as usize;
    if bytes > limit { Err(FrameError::TooLong { bytes, limit }) } else { Ok(bytes) }
}

/// The message in a frame's body, the bytes after its length.
///
/// # Errors
/// The bytes are no such message.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    Ok(rmp_serde::from_slice(body)?)
}

/// Reads one message, for children: they have nothing else to wait for. `None` at the stream's end.
///
/// # Errors
/// The stream fails or ends inside a frame, or the frame is no such message.
pub fn read<T: DeserializeOwned>(stream: &mut impl Read) -> Result<Option<T>, FrameError> {
    let mut prefix = [0; 4];
    if let Err(error) = stream.read_exact(&mut prefix) {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => Ok(None),
            _ => Err(error.into()),
        };
    }
    let length = length(prefix, MAX_FRAME_BYTES)?;
    // What is set aside and not written to costs no memory; what is longer grows with what arrives.
    let mut body = Vec::with_capacity(length.min(AHEAD_BYTES));
    stream.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    decode(&body).map(Some)
}

/// Writes one message.
///
/// # Errors
/// The message is too long, or the stream fails.
pub fn write<T: Serialize>(stream: &mut impl Write, message: &T) -> Result<(), FrameError> {
    Ok(stream.write_all(&encode(message)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Call {
        let class = "native:3.11".parse().expect("a class");
        let code = Bytes::from_static(b"code");
        let invocation = Invocation::standalone(class, code, Bytes::from(vec![7; 300]));
        let granted = Some(Box::default());
        Call {
            nonce: nonce(),
            invocation,
            evict: false,
            granted,
            max_result_bytes: 1 << 20,
            folder: None,
        }
    }

    #[test]
    fn a_message_comes_back() {
        let call = request();
        let frame = encode(&call).expect("short");
        assert_eq!(read::<Call>(&mut frame.as_slice()).expect("whole"), Some(call));
        assert_eq!(read::<Call>(&mut [].as_slice()).expect("the end"), None);
    }

    #[test]
    fn a_cut_or_absurd_frame_is_an_error() {
        let frame = encode(&request()).expect("short");
        assert!(matches!(read::<Call>(&mut &frame[..20]), Err(FrameError::Stream(_))));
        assert!(matches!(length([0xff; 4], 8), Err(FrameError::TooLong { .. })));
        assert!(matches!(read::<ChildReply>(&mut frame.as_slice()), Err(FrameError::Malformed(_))));
    }

    fn done(result: Result<Bytes, Failure>) -> Done {
        Done {
            nonce: 1,
            result,
            phases: Phases::default(),
            peak_memory_bytes: 1,
            files: Vec::new(),
            denied: Vec::new(),
        }
    }

    #[test]
    fn a_pickle_over_the_limit_becomes_a_failure_that_says_so() {
        let value = Bytes::from(vec![0; 2 << 20]);
        let fits = done(Ok(value.clone()));
        assert_eq!(fits.clone().within(2 << 20), fits);
        let failure = fits.within((2 << 20) - 1).result.expect_err("too long");
        assert_eq!(failure.kind, FailureKind::Limit);
        assert!(failure.message.contains("the result has 2097152 bytes"), "{}", failure.message);
        assert!(failure.message.contains("--max-result-mb"), "{}", failure.message);
        let raised = Failure { exception: value, ..failure };
        let failure = done(Err(raised)).within(1 << 20).result.expect_err("too long");
        assert!(failure.message.contains("the exception `RuntimeError: "), "{}", failure.message);
    }

    #[test]
    fn one_state_is_left_or_the_call_fails_whatever_it_raised() {
        let raised = |text: &str| Failure::by_platform(FailureKind::Exception, text.into());
        let state = |bytes| session::left(vec![0; bytes].into());
        for (files, is_taken) in [
            (vec![state(MAX_STATE_BYTES)], true),
            (vec![state(MAX_STATE_BYTES + 1)], false),
            (vec![state(1), state(1)], false),
        ] {
            let ended = Done { files: files.clone(), ..done(Err(raised("its own"))) };
            let ended = ended.within(1 << 20);
            let failure = ended.result.expect_err("raised");
            assert_eq!(
                (ended.files == files, failure.kind == FailureKind::Exception),
                (is_taken, is_taken)
            );
        }
    }

    #[test]
    fn texts_of_a_failure_are_cut() {
        let long = "é".repeat(1 << 20);
        let exception = Bytes::from_static(b"N.");
        let traceback = format!("start{long}end");
        let failure = Failure { kind: FailureKind::Exception, exception, message: long, traceback };
        let cut = done(Err(failure)).within(1 << 20).result.expect_err("a failure");
        assert!(cut.message.len() <= Failure::MAX_MESSAGE_BYTES && cut.message.ends_with("..."));
        assert!(cut.traceback.len() <= Failure::MAX_TRACEBACK_BYTES);
        assert!(cut.traceback.starts_with("start") && cut.traceback.ends_with("end"));
        assert_eq!(cut.clone().shortened(), cut);
    }
}
