//! A call as it is sent to a child, with arguments that may be in files.

use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path};
use std::sync::Arc;

use belljar_core::args::{self, ArgsPiece};
use belljar_core::files::CallFiles;
use belljar_core::frame::{self, Call, FrameError};
use belljar_core::limits::{MAX_SANDBOX_ARGS_BYTES, STREAMED_RESULT_BYTES};
use belljar_core::outcome::{Failure, FailureKind};
use bytes::Bytes;

use super::long_result::ResultPlace;

/// What stands around the arguments of a call, and these.
#[derive(Debug)]
pub(crate) struct CallFrame {
    pub(crate) before: Vec<u8>,
    /// Nothing where the arguments stand in `before`.
    pub(crate) args: Vec<ArgsPiece>,
    pub(crate) after: Vec<u8>,
    /// What the answer repeats.
    pub(crate) nonce: u64,
    /// Where a long result goes; `None` where all are in memory.
    pub(crate) result: Option<ResultPlace>,
}

impl CallFrame {
    /// The frame of a call.
    pub(crate) fn of(
        call: &mut Call,
        is_sandboxed: bool,
        blobs: Option<&Arc<Path>>,
    ) -> Result<Self, Failure> {
        let (nonce, task, max_bytes) = (call.nonce, call.invocation.task, call.max_result_bytes);
        let result = blobs.filter(|_| max_bytes > STREAMED_RESULT_BYTES).map(|blobs| ResultPlace {
            directory: Arc::clone(blobs),
            task,
            max_bytes,
        });
        let limit = |text: String| Failure::by_platform(FailureKind::Limit, text);
        let encoded = |error: FrameError| limit(error.to_string());
        if !args::is_list(&call.invocation.args) {
            let before = frame::encode(call).map_err(encoded)?;
            return Ok(Self { before, args: Vec::new(), after: Vec::new(), nonce, result });
        }
        let pieces = located(&call.invocation.args, blobs.map(|blobs| &**blobs)).map_err(limit)?;
        let bytes = pieces.iter().map(ArgsPiece::bytes).sum();
        if is_sandboxed && bytes > MAX_SANDBOX_ARGS_BYTES {
            return Err(limit(format!(
                "the arguments have {bytes} bytes with the values that they refer to, and a sandboxed call gets \
                 {MAX_SANDBOX_ARGS_BYTES} at most"
            )));
        }
        let (before, after) = frame::encode_around(call, bytes).map_err(encoded)?;
        Ok(Self { before, args: pieces, after, nonce, result })
    }
}

/// The pieces of arguments, with the whole names of their files.
fn located(arguments: &Bytes, blobs: Option<&Path>) -> Result<Vec<ArgsPiece>, String> {
    let mut pieces = args::pieces(arguments)
        .map_err(|error| format!("the arguments cannot be put together: {error}"))?;
    for piece in &mut pieces {
        let ArgsPiece::File(path, _) = piece else { continue };
        let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
        let directory = blobs.filter(|_| is_below).ok_or_else(|| {
            format!(
                "the arguments are in `{}`, which is no file of this worker's --blobs",
                path.display()
            )
        })?;
        *path = directory.join(&*path);
    }
    Ok(pieces)
}

/// Whether files come with the arguments.
pub(crate) fn has_files(arguments: &Bytes, blobs: Option<&Path>) -> bool {
    if !args::is_list(arguments) {
        return CallFiles::are_in(arguments);
    }
    match located(arguments, blobs).unwrap_or_default().first() {
        Some(ArgsPiece::Here(bytes)) => CallFiles::are_in(bytes),
        Some(ArgsPiece::File(path, _)) => {
            let mut head = [0; 16];
            let read = File::open(path).and_then(|mut file| file.read(&mut head)).unwrap_or(0);
            CallFiles::are_in(&head[..read])
        }
        Some(ArgsPiece::Held(..)) | None => false,
    }
}
