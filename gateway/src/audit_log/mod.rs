//! The audit log: who did what, from where, on which object, with which result. One JSON object a line, each with
//! the hash of the line before. Never payloads, never secrets.
//!
//! # Layout
//!
//! * here: the log of a gateway, which a thread of its own writes.
//! * `record`: one record.
//! * `chain`: how lines hang together.
//! * `stream`: that of the store, which all gateways write.
//! * `file`: the file, which several processes may write, and which may be rotated.
//! * `refusals`: how many refused requests are recorded one by one.
//! * `verify`: whether a log is whole.

mod chain;
mod file;
mod record;
mod refusals;
mod stream;
mod verify;
mod writer;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use belljar_store::{Store, StoreConfig};
use http::StatusCode;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;

pub use belljar_core::sha256::InvalidHash;
pub use chain::ChainHash;
pub use file::{AuditFile, AuditLogError};
pub(crate) use record::DONE;
pub use record::{Action, AuditRecord};
pub use stream::AuditStream;
pub use verify::{Verified, VerifyError, verify, verify_stream};

use refusals::Refusals;
use writer::{Message, Output, Writer};

/// How many records may wait to be written. With more, requests that would be recorded are refused.
const MAX_WAITING: usize = 16_384;

/// Where a gateway keeps its audit log: in a file of its machine, in the store with all gateways, or in both.
#[derive(Debug, Clone, Default)]
pub struct AuditTargets {
    /// The file.
    pub file: Option<PathBuf>,
    /// The store, and about how many records it keeps.
    pub stream: Option<(StoreConfig, u64)>,
}

/// The audit log of a gateway. Dropping it writes what is left.
#[derive(Debug)]
pub struct AuditLog {
    refusals: Mutex<Refusals>,
    /// One or two, each with all records.
    outputs: Vec<OutputThread>,
}

/// A thread that writes a log.
#[derive(Debug)]
struct OutputThread {
    shared: Arc<Shared>,
    messages: UnboundedSender<Message>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the gateway and a writer both know.
#[derive(Debug, Default)]
struct Shared {
    /// Records that are not written yet.
    waiting: AtomicUsize,
    /// Nothing can be written at the moment.
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
        let file = Output::File(AuditFile::open(path)?);
        let (output, _) = OutputThread::start(async { Ok(file) })?;
        Ok(Self { refusals: Mutex::default(), outputs: vec![output] })
    }

    /// Opens all that is named; `None` where nothing is.
    ///
    /// # Errors
    /// One cannot be written, or is no audit log.
    pub async fn open_all(targets: AuditTargets) -> Result<Option<Self>, AuditLogError> {
        let mut outputs = Vec::new();
        if let Some(path) = &targets.file {
            let file = Output::File(AuditFile::open(path)?);
            outputs.push(OutputThread::start(async { Ok(file) })?);
        }
        if let Some((config, keep)) = targets.stream {
            // A connection of its own, on that thread: the gateway may wait for the end of it.
            outputs.push(OutputThread::start(async move {
                let store = Store::connect(config).await.map_err(AuditLogError::Store)?;
                Ok(Output::Stream(AuditStream::open(store, Some(keep)).await?))
            })?);
        }
        let mut opened = Vec::new();
        for (output, failed) in outputs {
            if let Ok(error) = failed.await {
                return Err(error);
            }
            opened.push(output);
        }
        let log = Self { refusals: Mutex::default(), outputs: opened };
        Ok((!log.outputs.is_empty()).then_some(log))
    }

    /// Whether it takes records. While it does not, nothing is done that it would record.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.outputs.iter().all(|output| {
            !output.shared.is_failing.load(Ordering::Relaxed)
                && output.shared.waiting.load(Ordering::Relaxed) < MAX_WAITING
        })
    }

    /// Records something that was done, or failed.
    pub fn record(&self, record: AuditRecord) {
        for output in &self.outputs {
            output.shared.waiting.fetch_add(1, Ordering::Relaxed);
            output.send(Message::Record(Box::new(record.clone())));
        }
    }

    /// Records what was answered to a request: some of the refused ones are only counted, so that a flood of them
    /// does not fill the disk.
    pub(crate) fn record_answer(&self, record: AuditRecord) {
        let status = record.status.and_then(|status| StatusCode::from_u16(status).ok());
        let is_listed = !status.is_some_and(is_refusal) || (self.is_ready() && self.may_list());
        if is_listed {
            return self.record(record);
        }
        for output in &self.outputs {
            // The first since the writer has looked: it is told, once.
            if output.shared.unlisted.fetch_add(1, Ordering::Relaxed) == 0 {
                output.send(Message::Unlisted);
            }
        }
    }

    fn may_list(&self) -> bool {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).may_list()
    }

    /// Writes what is left, and ends. What cannot be written now is told in the log.
    pub fn close(&self) {
        self.outputs.iter().for_each(OutputThread::close);
    }
}

impl OutputThread {
    /// Starts a thread that opens its output, which the receiver tells, and then writes.
    fn start(
        open: impl Future<Output = Result<Output, AuditLogError>> + Send + 'static,
    ) -> Result<(Self, oneshot::Receiver<AuditLogError>), AuditLogError> {
        let (messages, received) = mpsc::unbounded_channel();
        let (failing, failed) = oneshot::channel();
        let shared = Arc::<Shared>::default();
        let of_writer = Arc::clone(&shared);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(AuditLogError::Thread)?;
        let work = async move {
            match open.await {
                Ok(output) => {
                    // It does not fail.
                    drop(failing);
                    Writer::new(output, of_writer).run(received).await;
                }
                Err(error) => drop(failing.send(error)),
            }
        };
        let writer = std::thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || runtime.block_on(work))
            .map_err(AuditLogError::Thread)?;
        Ok((Self { shared, messages, writer: Mutex::new(Some(writer)) }, failed))
    }

    fn send(&self, message: Message) {
        // The writer ends only when it is told to.
        let _ = self.messages.send(message);
    }

    fn close(&self) {
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
