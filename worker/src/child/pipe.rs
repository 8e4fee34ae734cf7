//! What passes between a slot and its child: one call, and the reply to it.
//!
//! # Layout
//!
//! * `long_reply`: a reply whose result goes to its file as it comes.

mod long_reply;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use belljar_core::frame::{self, ChildReply, Done, FrameError, HEAD_BYTES};
use belljar_core::limits::{MAX_INLINE_RESULT_BYTES, REPLY_MARGIN_BYTES, STREAMED_RESULT_BYTES};
use belljar_core::live::Progress;
use belljar_core::session::MAX_STATE_BYTES;
use belljar_stream::UnixStream;
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Lost;
use super::call_frame::{CallFrame, SentPiece};
use super::long_result::{LongResult, ResultPlace, blocking};
use crate::http_proxy::CallProxy;

/// So much of a file is sent, or written, at once.
const PIECE_BYTES: usize = 512 << 10;
/// A reply's first buffer. Bigger replies grow it as they arrive.
const BUFFER_BYTES: usize = 16 << 10;
/// An buffer that grew beyond this is not kept for the next reply.
const KEPT_BUFFER_BYTES: usize = 1 << 20;
/// The longest reply that is in memory as a whole.
const MAX_INLINE_FRAME_BYTES: usize = MAX_INLINE_RESULT_BYTES as usize + REPLY_MARGIN_BYTES;

/// The socket to a child, apart from its output so that both can be waited for at once.
#[derive(Debug)]
pub(crate) struct FramedPipe {
    socket: UnixStream,
    buffer: BytesMut,
    /// A longer reply is refused by its header alone, so that a child cannot fill this process or its disk.
    max_frame_bytes: usize,
}

/// The end of a call.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) done: Done,
    /// Its result where that is in a file, and an empty one stands in `done`.
    pub(crate) in_file: Option<LongResult>,
}

/// What a child said.
#[derive(Debug)]
pub(crate) enum Received {
    Reply(ChildReply),
    /// The end of the call, and its result, which is in a file.
    InFile(Done, LongResult),
}

impl FramedPipe {
    pub(crate) fn new(socket: UnixStream, max_result_bytes: usize) -> Self {
        let buffer = BytesMut::with_capacity(BUFFER_BYTES);
        Self {
            socket,
            buffer,
            max_frame_bytes: max_result_bytes + MAX_STATE_BYTES + REPLY_MARGIN_BYTES,
        }
    }

    /// Whether the other side has said something, or hung up.
    pub(crate) fn has_something(&self) -> bool {
        !self.buffer.is_empty()
            || !matches!(
                self.socket.try_read(&mut [0]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock
            )
    }

    /// Hangs up.
    pub(crate) async fn shutdown(&mut self) {
        let _ = self.socket.shutdown().await;
    }

    /// Sends a call and waits for the reply to it. `http` makes the requests of the
    /// call meanwhile, and `on_progress` takes what it says of its progress.
    pub(crate) async fn exchange(
        &mut self,
        frame: &CallFrame,
        mut http: Option<&mut CallProxy>,
        on_progress: impl Fn(Progress),
    ) -> Result<Answer, Lost> {
        self.send(frame).await?;
        fail::fail_point!("running");
        let (nonce, place) = (frame.nonce, frame.result.as_ref());
        loop {
            let reply = match self.receive(place.map(|place| (nonce, place))).await? {
                Received::InFile(done, result) => {
                    return Ok(Answer { done, in_file: Some(result) });
                }
                Received::Reply(reply) => reply,
            };
            match (reply, &mut http) {
                (ChildReply::Done(done), _) if done.nonce == nonce => {
                    return Ok(Answer { done, in_file: None });
                }
                (ChildReply::LeftBehind(what), _) => return Err(Lost::LeftBehind(what)),
                (ChildReply::Progress(of, progress), _) if of == nonce => on_progress(progress),
                // In a box: calls without requests carry none of its state.
                (ChildReply::Http(message), Some(http)) => {
                    let answer = Box::pin(http.answer(message)).await;
                    self.socket.write_all(&frame::encode(&answer)?).await?;
                }
                _ => return Err(Lost::Foreign),
            }
        }
    }

    /// Sends a call. What is in files goes from there, piece by piece.
    async fn send(&mut self, frame: &CallFrame) -> Result<(), Lost> {
        self.socket.write_all(&frame.before).await?;
        for piece in &frame.args {
            match piece {
                SentPiece::Here(bytes) => self.socket.write_all(bytes).await?,
                SentPiece::File(file, bytes) => {
                    // In a box: other calls carry none of its state.
                    Box::pin(self.send_file(file, *bytes)).await?;
                }
            }
        }
        Ok(self.socket.write_all(&frame.after).await?)
    }

    /// Sends what is in a file, which other calls may send too: so each reads at a place of its own.
    async fn send_file(&mut self, file: &Arc<File>, bytes: u64) -> Result<(), Lost> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut sent = 0;
        while sent < bytes {
            let most = piece.len().min(usize::try_from(bytes - sent).unwrap_or(usize::MAX));
            let file = Arc::clone(file);
            let read = blocking(move || {
                let length = file.read_at(&mut piece[..most], sent)?;
                Ok((piece, length))
            });
            let length;
            (piece, length) = read.await.map_err(Lost::Arguments)?;
            if length == 0 {
                return Err(Lost::Arguments(io::ErrorKind::UnexpectedEof.into()));
            }
            self.socket.write_all(&piece[..length]).await?;
            sent += length as u64;
        }
        Ok(())
    }

    /// Waits for a reply. A long result of the call with this nonce goes to its place, where there is one.
    pub(crate) async fn receive(
        &mut self,
        place: Option<(u64, &ResultPlace)>,
    ) -> Result<Received, Lost> {
        loop {
            let mut ahead = BUFFER_BYTES;
            if let Some(prefix) = self.buffer.first_chunk::<4>() {
                let length = frame::length(*prefix, self.max_frame_bytes)?;
                if length as u64 > STREAMED_RESULT_BYTES {
                    if let Some((nonce, place)) = place
                        && let Some(long) = self.long_result(length, nonce)?
                    {
                        // In a box: other calls carry none of its state.
                        return Box::pin(self.receive_into_file(place, long)).await;
                    }
                    let limit = self.max_frame_bytes.min(MAX_INLINE_FRAME_BYTES);
                    if length > limit && (place.is_none() || self.buffer.len() >= 4 + HEAD_BYTES) {
                        return Err(FrameError::TooLong { bytes: length, limit }.into());
                    }
                }
                if let Some(body) = self.buffer.get(4..4 + length) {
                    let reply = frame::decode(body)?;
                    self.buffer.advance(4 + length);
                    self.reset_buffer();
                    return Ok(Received::Reply(reply));
                }
                ahead = (4 + length - self.buffer.len()).clamp(BUFFER_BYTES, frame::AHEAD_BYTES);
            }
            self.read_more(ahead).await?;
        }
    }

    async fn read_more(&mut self, ahead: usize) -> Result<(), Lost> {
        // What is set aside and not written to costs no memory.
        self.buffer.reserve(ahead);
        if self.socket.read_buf(&mut self.buffer).await? == 0 {
            return Err(Lost::Closed);
        }
        Ok(())
    }

    fn reset_buffer(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BUFFER_BYTES {
            self.buffer = BytesMut::with_capacity(BUFFER_BYTES);
        }
    }
}
