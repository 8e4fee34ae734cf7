//! What a child writes to standard output and standard error: read all the time, so that it never
//! stands still, and kept to its tail, so that a flood costs nothing.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;

use belljar_core::live::{LIVE_BYTES, LiveChunk};
use belljar_core::outcome::OutputTail;
use bytes::Bytes;
use tokio::net::unix::pipe::Receiver;

/// One read of a pipe.
const READ_BYTES: usize = 64 << 10;
/// Reads of one pipe in a row, before anything else is looked at. What a call wrote is in the pipe
/// whole when it ends, and a pipe holds no more than that.
const READS_IN_A_ROW: usize = 32;
/// Lines of standard error that a message quotes.
const LAST_LINES: usize = 5;
/// And at most so much of them.
const LAST_BYTES: usize = 1000;

/// The tails of both streams.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) stdout: OutputTail,
    pub(crate) stderr: OutputTail,
}

impl Output {
    /// The last lines of standard error, for a message; empty when nothing was written.
    pub(crate) fn stderr_tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr.bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let mut words = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        if words.len() > LAST_BYTES {
            let mut cut = words.len() - LAST_BYTES;
            while !words.is_char_boundary(cut) {
                cut += 1;
            }
            words.replace_range(..cut, "...");
        }
        words
    }
}

/// Both pipes.
#[derive(Debug)]
pub(crate) struct Streams {
    stdout: Stream,
    stderr: Stream,
}

impl Streams {
    pub(crate) fn new(stdout: OwnedFd, stderr: OwnedFd) -> io::Result<Self> {
        Ok(Self { stdout: Stream::new(stdout)?, stderr: Stream::new(stderr)? })
    }

    /// Waits for `work`, reading what the child writes meanwhile.
    pub(crate) async fn while_pumping<F: Future>(&mut self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.pump() => {}
            }
        }
    }

    /// Waits until the child has written something, and reads it.
    pub(crate) async fn pump(&mut self) {
        tokio::select! {
            biased;
            () = self.stdout.pump() => {}
            () = self.stderr.pump() => {}
        }
    }

    /// How many bytes of each were read since the last time that they were taken.
    pub(crate) fn written(&self) -> [u64; 2] {
        [self.stdout.tail.total, self.stderr.tail.total]
    }

    /// What was read of each since it had so many bytes; of much, the end.
    pub(crate) fn since(&self, [stdout, stderr]: [u64; 2]) -> [LiveChunk; 2] {
        [self.stdout.tail.since(stdout), self.stderr.tail.since(stderr)]
    }

    /// What was written since the last time: all of it that is in the pipes now.
    pub(crate) fn take(&mut self) -> Output {
        Output { stdout: self.stdout.take(), stderr: self.stderr.take() }
    }
}

#[derive(Debug)]
struct Stream {
    pipe: Receiver,
    /// Whether a writer is left.
    open: bool,
    tail: Tail,
}

impl Stream {
    fn new(pipe: OwnedFd) -> io::Result<Self> {
        Ok(Self { pipe: Receiver::from_owned_fd(pipe)?, open: true, tail: Tail::default() })
    }

    /// Waits until there is something to read, and reads it. Never ready again after the end.
    async fn pump(&mut self) {
        if !self.open || self.pipe.readable().await.is_err() {
            return std::future::pending().await;
        }
        let mut buffer = [0; 4096];
        for _ in 0..READS_IN_A_ROW {
            match self.pipe.try_read(&mut buffer) {
                Ok(0) => self.open = false,
                Ok(length) => {
                    self.tail.push(&buffer[..length]);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.open = false,
            }
            return;
        }
    }

    /// Reads directly: the runtime may not know yet that there is something to read.
    fn take(&mut self) -> OutputTail {
        let mut buffer = [0; 4096];
        let mut read = 0;
        while read < READS_IN_A_ROW * READ_BYTES {
            match rustix::io::read(&self.pipe, &mut buffer) {
                Ok(length @ 1..) => self.tail.push(&buffer[..length]),
                _ => break,
            }
            read += buffer.len();
        }
        self.tail.take()
    }
}

/// The last bytes of a stream.
#[derive(Debug, Default)]
struct Tail {
    kept: Vec<u8>,
    total: u64,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.kept.extend_from_slice(bytes);
        // Cut only now and then: moving the tail for every line would cost more than keeping it.
        if self.kept.len() > 4 * OutputTail::KEPT_BYTES {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let surplus = self.kept.len().saturating_sub(OutputTail::KEPT_BYTES);
        self.kept.drain(..surplus);
    }

    /// What was pushed since there were `from` bytes, at most [`LIVE_BYTES`] of it, the last ones.
    fn since(&self, from: u64) -> LiveChunk {
        let kept = self.kept.len().min(LIVE_BYTES);
        let start = from.max(self.total - kept as u64).min(self.total);
        let new = usize::try_from(self.total - start).unwrap_or(kept);
        LiveChunk { start, bytes: Bytes::copy_from_slice(&self.kept[self.kept.len() - new..]) }
    }

    fn take(&mut self) -> OutputTail {
        self.cut();
        let bytes = Bytes::from(std::mem::take(&mut self.kept));
        OutputTail { bytes, total_bytes: std::mem::take(&mut self.total) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_last_bytes() {
        let mut tail = Tail::default();
        for _ in 0..100 {
            tail.push(&[b'x'; 1000]);
        }
        tail.push(b"end");
        let taken = tail.take();
        assert_eq!(taken.total_bytes, 100_003);
        assert_eq!(taken.bytes.len(), OutputTail::KEPT_BYTES);
        assert!(taken.bytes.ends_with(b"xend"));
        assert_eq!(tail.take(), OutputTail::default());
    }

    #[test]
    fn what_was_written_since_is_bounded_and_knows_its_place() {
        let mut tail = Tail::default();
        tail.push(b"first");
        assert_eq!(tail.since(0), LiveChunk { start: 0, bytes: Bytes::from_static(b"first") });
        tail.push(b"second");
        assert_eq!(tail.since(5), LiveChunk { start: 5, bytes: Bytes::from_static(b"second") });
        assert_eq!(tail.since(11), LiveChunk { start: 11, bytes: Bytes::new() });
        (0..1000).for_each(|_| tail.push(&[b'x'; 1000]));
        let flood = tail.since(11);
        assert_eq!((flood.bytes.len(), flood.end()), (LIVE_BYTES, 1_000_011));
    }

    #[test]
    fn stderr_tail_is_short() {
        let stderr = OutputTail { bytes: "é\n".repeat(5000).into(), total_bytes: 0 };
        let output = Output { stderr, ..Output::default() };
        assert_eq!(output.stderr_tail(), "é\né\né\né\né");
        let stderr = OutputTail { bytes: "é".repeat(5000).into(), total_bytes: 0 };
        let output = Output { stderr, ..Output::default() };
        assert!(output.stderr_tail().len() <= LAST_BYTES + 3);
    }
}
