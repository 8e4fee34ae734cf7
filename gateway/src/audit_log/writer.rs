//! The thread that writes the audit log of a gateway.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use super::file::AuditFile;
use super::record::{Action, AuditRecord};
use super::stream::AuditStream;
use super::{AuditLogError, Shared};

/// The pause before another try where nothing can be written.
const RETRY: Duration = Duration::from_secs(1);
/// How long refused requests are counted before a record says how many.
const COUNTED_FOR: Duration = Duration::from_secs(1);
/// How long a record may be in the system's memory only.
const SYNCED_WITHIN: Duration = Duration::from_secs(1);
/// Records that are written at once at most.
const BATCH: usize = 1_024;

/// What the thread is told.
pub(super) enum Message {
    Record(Box<AuditRecord>),
    /// Refused requests are being counted.
    Unlisted,
    Close,
}

/// Where records go.
pub(super) enum Output {
    File(AuditFile),
    Stream(AuditStream),
}

impl Output {
    /// Appends records. Returns how many stand there, also where it then failed.
    async fn append(&mut self, records: &[AuditRecord]) -> (usize, Result<(), AuditLogError>) {
        match self {
            Self::File(file) => file.append(records),
            Self::Stream(stream) => match stream.append(records).await {
                Ok(written) => (written, Ok(())),
                Err(error) => (0, Err(error)),
            },
        }
    }

    /// Puts what was written on the disk, as far as that is up to this process.
    fn sync(&self) {
        if let Self::File(file) = self {
            // What the disk does not take now it does not take later: the next write tells.
            let _ = file.sync();
        }
    }
}

/// What the thread has.
pub(super) struct Writer {
    output: Output,
    shared: Arc<Shared>,
    /// Not written yet, in their order.
    pending: Vec<AuditRecord>,
    /// Since when refused requests are counted.
    counting_since: Option<Instant>,
    /// Since when something is in the file that may not be on the disk.
    unsynced_since: Option<Instant>,
    is_closing: bool,
}

impl Writer {
    pub(super) fn new(output: Output, shared: Arc<Shared>) -> Self {
        let (pending, counting_since, unsynced_since) = (Vec::new(), None, None);
        Self { output, shared, pending, counting_since, unsynced_since, is_closing: false }
    }

    pub(super) async fn run(mut self, mut messages: UnboundedReceiver<Message>) {
        while !self.is_closing {
            self.receive(&mut messages).await;
            self.count_unlisted();
            self.write().await;
            if self.is_due(self.unsynced_since, SYNCED_WITHIN) {
                self.unsynced_since = None;
                self.output.sync();
            }
        }
        if !self.pending.is_empty() {
            let records = self.pending.len();
            tracing::error!(records, "lost, as the audit log cannot be written");
        }
    }

    fn is_due(&self, since: Option<Instant>, after: Duration) -> bool {
        since.is_some_and(|since| self.is_closing || since.elapsed() >= after)
    }

    /// Waits for messages until something is due.
    async fn receive(&mut self, messages: &mut UnboundedReceiver<Message>) {
        let is_failing = self.shared.is_failing.load(Ordering::Relaxed);
        let retry = is_failing.then_some(RETRY);
        let left = |since: Option<Instant>, after: Duration| {
            since.map(|since| after.saturating_sub(since.elapsed()))
        };
        let (counting, unsynced) =
            (left(self.counting_since, COUNTED_FOR), left(self.unsynced_since, SYNCED_WITHIN));
        let due = [retry, counting, unsynced].into_iter().flatten().min();
        let next = async { messages.recv().await.unwrap_or(Message::Close) };
        let first = match due {
            Some(due) => tokio::time::timeout(due, next).await.ok(),
            None => Some(next.await),
        };
        let rest = std::iter::from_fn(|| messages.try_recv().ok()).take(BATCH);
        for message in first.into_iter().chain(rest) {
            match message {
                Message::Record(record) => self.pending.push(*record),
                Message::Unlisted => {
                    self.counting_since.get_or_insert_with(Instant::now);
                }
                Message::Close => self.is_closing = true,
            }
        }
    }

    fn count_unlisted(&mut self) {
        if !self.is_due(self.counting_since, COUNTED_FOR) {
            return;
        }
        self.counting_since = None;
        let count = self.shared.unlisted.swap(0, Ordering::Relaxed);
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        self.pending.push(AuditRecord::now(Action::RefuseMany).by_process().times(count));
    }

    async fn write(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let (written, ended) = self.output.append(&self.pending).await;
        self.pending.drain(..written);
        self.shared.waiting.fetch_sub(written, Ordering::Relaxed);
        if written > 0 {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        let was_failing = self.shared.is_failing.swap(ended.is_err(), Ordering::Relaxed);
        match ended {
            Err(error) if !was_failing => tell(&error),
            Ok(()) if was_failing => tracing::info!("the audit log can be written again"),
            _ => {}
        }
    }
}

fn tell(error: &AuditLogError) {
    let why: &dyn std::error::Error = error;
    tracing::error!(
        why,
        "nothing is done that the audit log would record, until it can be written"
    );
}
