//! A call as it is sent to a child, with arguments that may be in files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path};
use std::sync::Arc;

use belljar_core::args::{self, ArgsPiece};
use belljar_core::files::CallFiles;
use belljar_core::frame::{self, Call, FrameError};
use belljar_core::limits::{MAX_SANDBOX_ARGS_BYTES, STREAMED_RESULT_BYTES};
use belljar_core::outcome::{Failure, FailureKind};
use belljar_core::shared_blobs::SharedBlobs;
use bytes::Bytes;

use super::long_result::ResultPlace;

/// A piece of arguments that is there to be sent.
#[derive(Debug)]
pub(crate) enum SentPiece {
    Here(Bytes),
    /// So many bytes in a file.
    File(Arc<File>, u64),
}

impl SentPiece {
    const fn bytes(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::File(_, bytes) => *bytes,
        }
    }
}

/// What stands around the arguments of a call, and these.
#[derive(Debug)]
pub(crate) struct CallFrame {
    pub(crate) before: Vec<u8>,
    /// Nothing where the arguments stand in `before`.
    pub(crate) args: Vec<SentPiece>,
    pub(crate) after: Vec<u8>,
    /// What the answer repeats.
    pub(crate) nonce: u64,
    /// Where a long result goes; `None` where all are in memory.
    pub(crate) result: Option<ResultPlace>,
}

impl CallFrame {
    /// The frame of a call. Its arguments are these pieces, if they are a list.
    pub(crate) fn of(
        call: &mut Call,
        args: Option<Vec<SentPiece>>,
        blobs: Option<&SharedBlobs>,
    ) -> Result<Self, Failure> {
        let (nonce, task, max_bytes) = (call.nonce, call.invocation.task, call.max_result_bytes);
        let result = blobs.filter(|_| max_bytes > STREAMED_RESULT_BYTES).map(|blobs| ResultPlace {
            blobs: blobs.clone(),
            task,
            max_bytes,
        });
        let encoded = |error: FrameError| limit(error.to_string());
        let Some(args) = args else {
            let before = frame::encode(call).map_err(encoded)?;
            return Ok(Self { before, args: Vec::new(), after: Vec::new(), nonce, result });
        };
        let bytes = args.iter().map(SentPiece::bytes).sum();
        let (before, after) = frame::encode_around(call, bytes).map_err(encoded)?;
        Ok(Self { before, args, after, nonce, result })
    }
}

fn limit(text: String) -> Failure {
    Failure::by_platform(FailureKind::Limit, text)
}

/// The pieces of arguments that are a list, with what they name opened, or got from the bucket.
pub(crate) async fn collect(
    arguments: &Bytes,
    is_sandboxed: bool,
    blobs: Option<&SharedBlobs>,
) -> Result<Vec<SentPiece>, Failure> {
    let pieces = args::pieces(arguments)
        .map_err(|error| limit(format!("the arguments cannot be put together: {error}")))?;
    let bytes: u64 = pieces.iter().map(ArgsPiece::bytes).sum();
    if is_sandboxed && bytes > MAX_SANDBOX_ARGS_BYTES {
        return Err(limit(format!(
            "the arguments have {bytes} bytes with the values that they refer to, and a sandboxed call gets \
             {MAX_SANDBOX_ARGS_BYTES} at most"
        )));
    }
    let mut collected = Vec::with_capacity(pieces.len());
    for piece in pieces {
        collected.push(match piece {
            ArgsPiece::Here(bytes) => SentPiece::Here(bytes),
            ArgsPiece::File(path, bytes) => {
                SentPiece::File(file(&path, bytes, blobs).await?, bytes)
            }
            ArgsPiece::Held(..) => return Err(unread(&io::Error::other("it has no name here"))),
        });
    }
    Ok(collected)
}

async fn file(path: &Path, bytes: u64, blobs: Option<&SharedBlobs>) -> Result<Arc<File>, Failure> {
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
    let opened = match (blobs.filter(|_| is_below), path.to_str()) {
        (Some(SharedBlobs::Directory(directory)), _) => {
            let path = directory.join(path);
            let opened = tokio::task::spawn_blocking(move || File::open(path)).await;
            opened.unwrap_or_else(|error| Err(io::Error::other(error))).map(Arc::new)
        }
        (Some(SharedBlobs::Bucket(bucket)), Some(object)) => {
            let fetched = bucket.fetch(object, bytes).await;
            fail::fail_point!("args_come");
            fetched
        }
        _ => {
            return Err(limit(format!(
                "the arguments are in `{}`, which is nothing of this worker's --blobs",
                path.display()
            )));
        }
    };
    opened.map_err(|error| unread(&error))
}

fn unread(error: &io::Error) -> Failure {
    let text = format!("a value that the arguments refer to cannot be read: {error}");
    Failure::by_platform(FailureKind::Decode, text)
}

/// Whether files come with the arguments, or with these pieces in their place.
pub(crate) fn has_files(arguments: &Bytes, pieces: Option<&[SentPiece]>) -> bool {
    match pieces.map(<[_]>::first) {
        None => CallFiles::are_in(arguments),
        Some(Some(SentPiece::Here(bytes))) => CallFiles::are_in(bytes),
        Some(Some(SentPiece::File(file, _))) => {
            let mut head = [0; 16];
            let read = file.read_at(&mut head, 0).unwrap_or(0);
            CallFiles::are_in(&head[..read])
        }
        Some(None) => false,
    }
}
