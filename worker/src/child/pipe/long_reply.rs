//! A reply with a long result, which goes to its file as it comes.

use std::io;

use belljar_core::frame::{self, FrameError, HEAD_BYTES};
use bytes::BytesMut;

use super::{FramedPipe, MAX_INLINE_FRAME_BYTES, PIECE_BYTES, Received};
use crate::child::Lost;
use crate::child::long_result::{ResultFile, ResultPlace};

/// The lengths of a reply with a long result, and of what stands before the result, of the result, and of what follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct LongReply {
    length: usize,
    head: usize,
    bytes: u64,
    after: usize,
}

impl FramedPipe {
    /// The parts of a reply of so many bytes, if it has a long result; `None` too while too little of it is here.
    pub(super) fn long_result(
        &self,
        length: usize,
        nonce: u64,
    ) -> Result<Option<LongReply>, FrameError> {
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
    pub(super) async fn receive_into_file(
        &mut self,
        place: &ResultPlace,
        long: LongReply,
    ) -> Result<Received, Lost> {
        if long.bytes > place.max_bytes {
            let (bytes, limit) = (long.length, usize::try_from(place.max_bytes));
            return Err(FrameError::TooLong { bytes, limit: limit.unwrap_or(usize::MAX) }.into());
        }
        match ResultFile::create(place).await {
            Ok(file) => self.fill((file, place), long).await,
            Err(error) => {
                let before = self.buffer.split_to(4 + long.head);
                self.receive_whole(long, (before, BytesMut::new()), error).await
            }
        }
    }

    async fn fill(
        &mut self,
        (mut file, place): (ResultFile, &ResultPlace),
        long: LongReply,
    ) -> Result<Received, Lost> {
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
        fail::fail_point!("result_unnamed");
        let finished = file.finish(place).await;
        let result = finished.map_err(|error| Lost::Unwritten(long.bytes, error))?;
        fail::fail_point!("result_named");
        self.reset_buffer();
        Ok(Received::InFile(done, result))
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
    use std::path::Path;
    use std::sync::Arc;

    use belljar_core::frame::{ChildReply, Done, write_done};
    use belljar_core::id::TaskId;
    use belljar_core::outcome::{Failure, FailureKind};
    use belljar_core::result_file;
    use belljar_core::shared_blobs::SharedBlobs;
    use belljar_core::task::{Attempt, TaskAttempt};
    use belljar_stream::UnixStream;
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

    use super::*;
    use crate::child::long_result::LongResult;
    use crate::child::pipe::BUFFER_BYTES;

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
        let blobs = SharedBlobs::Directory(directory.into());
        ResultPlace { blobs, task, max_bytes: 1 << 30 }
    }

    fn make_shard(directory: &Path, place: &ResultPlace) -> std::path::PathBuf {
        let path = directory.join(result_file::path(place.task));
        fs::create_dir(path.parent().expect("a shard")).expect("made");
        path
    }

    #[tokio::test]
    async fn a_long_result_goes_to_its_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = place(directory.path());
        let path = make_shard(directory.path(), &place);
        let received = pipe(done(70)).receive(Some((NONCE, &place))).await.expect("received");
        let Received::InFile(ended, LongResult { bytes, .. }) = received else {
            panic!("{received:?}")
        };
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
        let place = place(Path::new("nowhere"));
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
                match pipe.fill((file, &place), long).await {
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
