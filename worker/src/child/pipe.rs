//! What passes between a slot and its child: one call, and the reply to it.

use std::io;
use std::path::Path;

use belljar_core::args::ArgsPiece;
use belljar_core::frame::{self, ChildReply, Done, FrameError, HEAD_BYTES};
use belljar_core::limits::{MAX_INLINE_RESULT_BYTES, REPLY_MARGIN_BYTES, STREAMED_RESULT_BYTES};
use belljar_core::live::Progress;
use belljar_core::session::MAX_STATE_BYTES;
use belljar_stream::UnixStream;
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Lost;
use super::call_frame::CallFrame;
use super::long_result::{ResultFile, ResultPlace};
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
    /// The length of its result where that is in its file, and an empty one stands in `done`.
    pub(crate) in_file: Option<u64>,
}

/// What a child said.
#[derive(Debug)]
pub(crate) enum Received {
    Reply(ChildReply),
    /// The end of the call, and the length of its result, which is in its file.
    InFile(Done, u64),
}

/// The lengths of a reply with a long result, and of what stands before the result, of the result, and of what follows.
#[derive(Debug, Clone, Copy)]
struct LongReply {
    length: usize,
    head: usize,
    bytes: u64,
    after: usize,
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
                Received::InFile(done, bytes) => return Ok(Answer { done, in_file: Some(bytes) }),
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
                ArgsPiece::Here(bytes) => self.socket.write_all(bytes).await?,
                ArgsPiece::File(path, bytes) => {
                    // In a box: other calls carry none of its state.
                    Box::pin(self.send_file(path, *bytes)).await?;
                }
                ArgsPiece::Held(..) => {
                    return Err(Lost::Arguments(io::Error::other("it has no name here")));
                }
            }
        }
        Ok(self.socket.write_all(&frame.after).await?)
    }

    async fn send_file(&mut self, path: &Path, bytes: u64) -> Result<(), Lost> {
        let mut file = tokio::fs::File::open(path).await.map_err(Lost::Arguments)?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut left = bytes;
        while left > 0 {
            let most = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = file.read(&mut piece[..most]).await.map_err(Lost::Arguments)?;
            if read == 0 {
                return Err(Lost::Arguments(io::ErrorKind::UnexpectedEof.into()));
            }
            self.socket.write_all(&piece[..read]).await?;
            left -= read as u64;
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

    /// The parts of a reply of so many bytes, if it has a long result; `None` too while too little of it is here.
    fn long_result(&self, length: usize, nonce: u64) -> Result<Option<LongReply>, FrameError> {
        let head = self.buffer.get(4..4 + HEAD_BYTES);
        let Some((head, bytes)) = head.and_then(|head| frame::long_result(head, nonce)) else {
            return Ok(None);
        };
        let after = length.saturating_sub(head + bytes as usize);
        if after > MAX_INLINE_FRAME_BYTES {
            return Err(FrameError::TooLong { bytes: after, limit: MAX_INLINE_FRAME_BYTES });
        }
        Ok(Some(LongReply { length, head, bytes: bytes.into(), after }))
    }

    /// Has the result of a reply written to its file as it comes. Where that fails and the reply is not too long for memory, it is
    /// received as others are.
    async fn receive_into_file(
        &mut self,
        place: &ResultPlace,
        long: LongReply,
    ) -> Result<Received, Lost> {
        if long.bytes > place.max_bytes {
            let (bytes, limit) = (long.length, usize::try_from(place.max_bytes));
            return Err(FrameError::TooLong { bytes, limit: limit.unwrap_or(usize::MAX) }.into());
        }
        match ResultFile::create(place).await {
            Ok(file) => self.fill(file, long).await,
            Err(error) => {
                let before = self.buffer.split_to(4 + long.head);
                self.receive_whole(long, (before, BytesMut::new()), error).await
            }
        }
    }

    async fn fill(&mut self, mut file: ResultFile, long: LongReply) -> Result<Received, Lost> {
        let before = self.buffer.split_to(4 + long.head);
        while file.bytes() < long.bytes {
            if self.buffer.is_empty() {
                self.read_more(PIECE_BYTES).await?;
            }
            let left = usize::try_from(long.bytes - file.bytes()).unwrap_or(usize::MAX);
            let piece = self.buffer.split_to(left.min(self.buffer.len())).freeze();
            if let Err(error) = file.append(&piece).await {
                let unwritten = |error| Lost::Unwritten(long.bytes, error);
                if long.length > MAX_INLINE_FRAME_BYTES {
                    return Err(unwritten(error));
                }
                let mut come = file.read_back().await.map_err(unwritten)?;
                come.extend_from_slice(&piece);
                return self.receive_whole(long, (before, come), error).await;
            }
        }
        while self.buffer.len() < long.after {
            self.read_more(long.after - self.buffer.len()).await?;
        }
        let after = self.buffer.split_to(long.after);
        let done = frame::decode_around(&before[4..], &after)?;
        file.finish().await.map_err(|error| Lost::Unwritten(long.bytes, error))?;
        self.reset_buffer();
        Ok(Received::InFile(done, long.bytes))
    }

    /// Receives a reply of which a part has come, after a file could not be written.
    async fn receive_whole(
        &mut self,
        long: LongReply,
        (mut before, come): (BytesMut, BytesMut),
        error: io::Error,
    ) -> Result<Received, Lost> {
        if long.length > MAX_INLINE_FRAME_BYTES {
            return Err(Lost::Unwritten(long.bytes, error));
        }
        tracing::error!(%error, "a large result cannot be written to its file");
        before.extend_from_slice(&come);
        before.extend_from_slice(&self.buffer);
        self.buffer = before;
        Box::pin(self.receive(None)).await
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::sync::Arc;

    use belljar_core::frame::write_done;
    use belljar_core::id::TaskId;
    use belljar_core::outcome::{Failure, FailureKind};
    use belljar_core::result_file;
    use belljar_core::task::{Attempt, TaskAttempt};
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

    use super::*;

    const NONCE: u64 = 7;

    fn done(mebibytes: usize) -> Done {
        let failure = Failure::by_platform(FailureKind::Limit, String::new());
        Done { result: Ok(vec![1; mebibytes << 20].into()), ..Done::failed(NONCE, failure) }
    }

    /// A pipe to a child that ends its call so.
    fn pipe(done: Done) -> FramedPipe {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("set");
        std::thread::spawn(move || {
            let mut theirs = theirs;
            // Where it is refused, nobody reads all of it.
            let _ = write_done(&mut theirs, done);
        });
        FramedPipe::new(UnixStream::from_std(ours).expect("adopted"), 2 << 30)
    }

    fn place(directory: &Path) -> ResultPlace {
        let task = TaskAttempt { task_id: TaskId::random(), attempt: Attempt(1) };
        ResultPlace { directory: directory.into(), task, max_bytes: 1 << 30 }
    }

    fn make_shard(place: &ResultPlace) -> std::path::PathBuf {
        let path = place.directory.join(result_file::path(place.task));
        fs::create_dir(path.parent().expect("a shard")).expect("made");
        path
    }

    #[tokio::test]
    async fn a_long_result_goes_to_its_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = place(directory.path());
        let path = make_shard(&place);
        let received = pipe(done(70)).receive(Some((NONCE, &place))).await.expect("received");
        let Received::InFile(ended, bytes) = received else { panic!("{received:?}") };
        assert_eq!((ended, bytes), (done(0), 70 << 20));
        assert_eq!(fs::read(&path).expect("a file"), vec![1; 70 << 20]);
        let files = fs::read_dir(path.parent().expect("a shard")).expect("read");
        assert_eq!(files.count(), 1);
    }

    #[tokio::test]
    async fn without_a_file_it_is_in_memory_as_far_as_it_may() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = place(directory.path());
        let received = pipe(done(9)).receive(Some((NONCE, &place))).await.expect("received");
        let Received::Reply(reply) = received else { panic!("{received:?}") };
        assert_eq!(reply, ChildReply::Done(done(9)));
        let lost = pipe(done(70)).receive(Some((NONCE, &place))).await.expect_err("too long");
        assert!(matches!(lost, Lost::Unwritten(bytes, _) if bytes == 70 << 20), "{lost}");
        for place in [None, Some((NONCE + 1, &place))] {
            let lost = pipe(done(70)).receive(place).await.expect_err("too long");
            assert!(matches!(lost, Lost::Protocol(FrameError::TooLong { .. })), "{lost}");
        }
    }

    /// A file with room for so many bytes.
    fn file_with_room(bytes: u64) -> File {
        let file = memfd_create("full", MemfdFlags::ALLOW_SEALING).expect("a file");
        ftruncate(&file, bytes).expect("cut");
        fcntl_add_seals(&file, SealFlags::GROW).expect("sealed");
        file.into()
    }

    #[tokio::test]
    async fn a_disk_that_gets_full_costs_the_longest_results_alone() {
        for room in [0, 1 << 20, 5 << 20] {
            for (mebibytes, is_kept) in [(9, true), (70, false)] {
                let mut pipe = pipe(done(mebibytes));
                while pipe.buffer.len() < 4 + HEAD_BYTES {
                    pipe.read_more(BUFFER_BYTES).await.expect("more");
                }
                let length = u32::from_le_bytes(pipe.buffer[..4].try_into().expect("four"));
                let long =
                    pipe.long_result(length as usize, NONCE).expect("it may be").expect("long");
                let file = ResultFile::of(Arc::new(file_with_room(room)));
                match pipe.fill(file, long).await {
                    Ok(Received::Reply(reply)) if is_kept => {
                        assert!(reply == ChildReply::Done(done(mebibytes)), "all of it");
                    }
                    Err(Lost::Unwritten(bytes, _)) if !is_kept => {
                        assert_eq!(bytes, (mebibytes as u64) << 20);
                    }
                    other => panic!("{room} {mebibytes}: {:?}", other.map(|_| ())),
                }
            }
        }
    }
}
