//! The protocol between dispatchers and workers: their messages, as MessagePack.
//! `docs/reference/wire-protocol.md` shows the bytes and the order of things.
//!
//! One ZeroMQ message carries a batch: an array of the messages below, to be treated in order. So a
//! request that must also carry results, or a reply that must also acknowledge them, is two small
//! messages and not a third kind.
//!
//! # Layout
//!
//! * `secret`: the proof that the other side has the shared secret.

mod secret;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use secret::{Nonce, Proof, Secret, SecretTooShort, accepts};

use crate::guest::GuestModules;
use crate::id::{DispatcherId, WorkerId};
use crate::invocation::Invocation;
use crate::live::LiveUpdate;
use crate::outcome::Report;
use crate::task::{CodeHash, TaskAttempt, TaskClass};

/// The version of this protocol. Both sides must speak the same; `Hello`, `Challenge` and `Rejected`
/// keep their form in all versions, so that a difference can be reported.
pub const VERSION: u16 = 1;

/// Names the time in which a dispatcher remembers a worker: what it sent there, and which code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionId(Uuid);

impl SessionId {
    /// A new session, which cannot be guessed.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The session that these bytes name.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How tasks get to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryMode {
    /// The worker asks (REQ) and the reply waits until there is work.
    Pull,
    /// The dispatcher sends (DEALER), as far as the worker's window allows.
    Push,
}

impl DeliveryMode {
    /// The word in commands and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

impl fmt::Display for DeliveryMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a worker registers with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRegistration {
    /// The process.
    pub worker: WorkerId,
    /// The session that it still has with this dispatcher, if any.
    pub session: Option<SessionId>,
    /// How its tasks are delivered.
    pub mode: DeliveryMode,
    /// How many calls run at once.
    pub slots: u32,
    /// How many invocations it takes at once, running and waiting.
    pub window: u32,
    /// What it can run.
    pub classes: Vec<TaskClass>,
    /// The host's name, for people.
    pub host: String,
    /// The process number, for people.
    pub pid: u32,
    /// The version of belljar, for people.
    pub belljar: String,
    /// For the dispatcher's own proof.
    pub nonce: Nonce,
    /// Whose the directory of blobs is that the worker shares with its dispatcher, as its file `owner` says; `None` for a worker
    /// without. The last field: it is left out then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blobs: Option<String>,
}

/// A message from a worker to a dispatcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromWorker {
    /// The first message on every connection; `Challenge` or `Rejected` answers it.
    Hello {
        /// The worker's [`VERSION`].
        version: u16,
    },
    /// The second; `Welcome` or `Rejected` answers it.
    Register {
        /// Who this is.
        registration: WorkerRegistration,
        /// Proof that it has the secret; absent for a worker without one.
        proof: Option<Proof>,
    },
    /// The first after `Welcome`: the attempts that the worker has, running, waiting, or ended and not
    /// acknowledged. What may have been lost with an earlier connection of the session and is not
    /// among them never arrived.
    InFlight(Vec<TaskAttempt>),
    /// Calls ended. Sent again on each new connection until acknowledged.
    Reports {
        /// Numbers the batch, for `Ack`.
        sequence: u64,
        /// How they ended.
        reports: Vec<Report>,
    },
    /// Calls that were not begun and will not be: others may have them. Sent again until
    /// acknowledged, numbered in one row with the reports.
    Returned {
        /// Numbers the batch, for `Ack`.
        sequence: u64,
        /// The attempts not made.
        tasks: Vec<TaskAttempt>,
    },
    /// The worker takes another number of invocations at once than before.
    Window(u32),
    /// The worker can run other classes than before; all are listed.
    Classes(Vec<TaskClass>),
    /// What the worker's guests of the sandbox lack; all are listed. Sent once in a connection, and again
    /// when it changes.
    Guests(Vec<GuestModules>),
    /// The worker has dropped code that it was sent: what still needs it must bring it along.
    Evicted(Vec<CodeHash>),
    /// What running calls show of themselves: the output of those that are watched, and the progress of those that
    /// tell it. Sent once: what is lost with a connection is in the next update or in the report.
    Live(Vec<LiveUpdate>),
    /// Pull only, and last in its batch: the one message that waits for a reply. At most `free`
    /// invocations come with it.
    Request {
        /// How many more invocations the worker takes.
        free: u32,
    },
    /// Sent in silence only, as a sign of life.
    Heartbeat,
    /// The worker takes no more tasks; it still reports what it runs.
    Draining,
    /// The worker has nothing left and leaves.
    Bye,
}

/// A message from a dispatcher to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromDispatcher {
    /// Answers `Hello`.
    Challenge {
        /// The dispatcher's [`VERSION`].
        version: u16,
        /// The run of a dispatcher that this is.
        dispatcher: DispatcherId,
        /// What the worker's proof must be made for; new for every connection.
        nonce: Nonce,
    },
    /// Answers `Register`: the worker is in.
    Welcome {
        /// The session from now on. Where it is not the one that the worker named, all code sent
        /// before must be forgotten.
        session: SessionId,
        /// After how much silence each side sends `Heartbeat`, in milliseconds. Three times as much
        /// without any message, and the other side counts as lost.
        heartbeat_ms: u32,
        /// Proof that the dispatcher has the secret too; absent for one without it.
        proof: Option<Proof>,
    },
    /// The worker is not, or no longer, in.
    Rejected {
        /// Why, for programs.
        reason: RejectReason,
        /// Why, for people.
        text: String,
    },
    /// Calls to make. Code that was sent in this session before is left out.
    Tasks(Vec<Invocation>),
    /// Stop a call; its end is reported as that of any other.
    Stop(TaskAttempt),
    /// Somebody watches a call for [`crate::live::WATCH_TTL`] from now: show its output. Ignored where the call does not
    /// run.
    Watch {
        /// The call.
        task: TaskAttempt,
        /// Whether what it has written so far is wanted again.
        from_start: bool,
    },
    /// These batches of reports and returned tasks are stored and need not be sent again.
    Ack(Vec<u64>),
    /// Sent in silence only, as a sign of life; in pull also the reply that ends a wait without work.
    Heartbeat,
    /// Take the worker out of service: finish, report, send `Bye`.
    Drain,
}

/// Why a worker is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// The versions differ: trying again is of no use until one side is replaced.
    Version,
    /// No proof, or one made with another secret.
    Secret,
    /// This dispatcher serves the other mode.
    DeliveryMode,
    /// This dispatcher has another directory of blobs, or none.
    Blobs,
    /// The dispatcher does not, or no longer, know the session: register again.
    Session,
    /// The dispatcher is leaving or full: try another, or later.
    Unavailable,
    /// The bytes or their order are against the protocol.
    Malformed,
}

/// Bytes that are no batch of messages.
#[derive(Debug, thiserror::Error)]
#[error("the message is malformed")]
pub struct Malformed(#[from] rmp_serde::decode::Error);

/// A batch as it travels.
#[must_use]
pub fn encode<T: Serialize>(batch: &[T]) -> Bytes {
    #[expect(clippy::expect_used, reason = "our own types into memory")]
    let bytes = rmp_serde::to_vec(batch).expect("messages are serializable");
    Bytes::from(bytes)
}

/// The batch in `bytes`.
///
/// # Errors
/// They are no batch of such messages.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, Malformed> {
    Ok(rmp_serde::from_slice(bytes)?)
}
