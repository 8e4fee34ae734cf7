//! The audit log: who did what, from where, on which object, with which result. One JSON object a line, each with
//! the hash of the line before. Never payloads, never secrets.
//!
//! # Layout
//!
//! * here: the log of a gateway, which a thread of its own writes.
//! * `record`: one record.
//! * `chain`: how lines hang together.
//! * `file`: the file, which several processes may write, and which may be rotated.
//! * `refusals`: how many refused requests are recorded one by one.
//! * `verify`: whether a log is whole.

mod chain;
mod file;
mod record;
mod refusals;
mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use http::StatusCode;

pub use chain::{ChainHash, InvalidHash};
pub use file::{AuditFile, AuditLogError};
pub(crate) use record::DONE;
pub use record::{Action, AuditRecord};
pub use verify::{Verified, VerifyError, verify};

use refusals::Refusals;
use writer::{Message, Writer};

/// How many records may wait for the disk. With more, requests that would be recorded are refused.
const MAX_WAITING: usize = 16_384;

/// The audit log of a gateway. Dropping it writes what is left.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    shared: Arc<Shared>,
    refusals: Mutex<Refusals>,
    messages: Sender<Message>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the gateway and the writer both know.
#[derive(Debug, Default)]
struct Shared {
    /// Records that are not in the file yet.
    waiting: AtomicUsize,
    /// The file takes nothing at the moment.
    is_failing: AtomicBool,
    /// Refused requests that are only counted, since the last record that says how many.
    unlisted: AtomicU64,
}

impl AuditLog {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// It cannot be written, or is no audit log.
    pub fn open(path: &Path) -> Result<Self, AuditLogError> {
        let file = AuditFile::open(path)?;
        let (messages, received) = mpsc::channel();
        let shared = Arc::<Shared>::default();
        let writer = Writer::new(file, Arc::clone(&shared));
        let writer = std::thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || writer.run(&received))
            .map_err(|source| AuditLogError::Unusable { path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            shared,
            refusals: Mutex::default(),
            messages,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it takes records. While it does not, nothing is done that it would record.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.shared.is_failing.load(Ordering::Relaxed)
            && self.shared.waiting.load(Ordering::Relaxed) < MAX_WAITING
    }

    /// Records something that was done, or failed.
    pub fn record(&self, record: AuditRecord) {
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        self.send(Message::Record(Box::new(record)));
    }

    /// Records what was answered to a request: some of the refused ones are only counted, so that a flood of them
    /// does not fill the disk.
    pub(crate) fn record_answer(&self, record: AuditRecord) {
        let status = record.status.and_then(|status| StatusCode::from_u16(status).ok());
        let is_listed = !status.is_some_and(is_refusal) || (self.is_ready() && self.may_list());
        if is_listed {
            return self.record(record);
        }
        // The first since the writer has looked: it is told, once.
        if self.shared.unlisted.fetch_add(1, Ordering::Relaxed) == 0 {
            self.send(Message::Unlisted);
        }
    }

    fn may_list(&self) -> bool {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).may_list()
    }

    fn send(&self, message: Message) {
        // The writer ends only when it is told to.
        let _ = self.messages.send(message);
    }

    /// Writes what is left, and ends. What cannot be written now is told in the log.
    pub fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            self.send(Message::Close);
            // A panic was printed by the panic hook.
            let _ = writer.join();
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// Whether a request was refused for who sends it, or for how many they send: anyone can have as many of these answers as
/// they like.
pub(crate) fn is_refusal(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
    )
}
