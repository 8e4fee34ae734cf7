//! The handshake of a new connection: both sides prove who they are, and the worker registers.

use std::fs;
use std::time::Duration;

use belljar_core::message::{
    FromDispatcher, FromWorker, RejectReason, SessionId, VERSION, WorkerRegistration, accepts,
    decode, encode,
};
use belljar_core::result_file::OWNER;
use belljar_core::shared_blobs::SharedBlobs;
use belljar_wire::{ConnectError, ConnectionError, Dealer, Req};
use bytes::Bytes;
use tokio::time::timeout;

use super::client::{NothingToDo, WorkerClient};
use super::config::WorkerConfig;
use super::error::WorkerError;
use super::session::Rejected;

/// A connection ends after this many heartbeats of silence.
pub(crate) const MISSED: u32 = 3;

/// Why a connection is over.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Everything is done.
    Done,
    /// Trying again is of no use.
    Fatal(WorkerError),
    /// The worker could not register: to be tried again.
    Unregistered {
        /// Why, for people.
        reason: String,
    },
    /// The worker had registered: to be tried again.
    Disconnected {
        /// Why, for people.
        reason: String,
    },
}

impl Ended {
    pub(crate) fn broken(reason: impl ToString) -> Self {
        Self::Unregistered { reason: reason.to_string() }
    }

    /// The same, of a connection on which the worker had registered.
    pub(crate) fn after_registration(self) -> Self {
        match self {
            Self::Unregistered { reason } => Self::Disconnected { reason },
            other => other,
        }
    }
}

/// A way to exchange messages with a dispatcher: push or pull.
pub(crate) trait Connection: Sized {
    /// Connects and registers.
    async fn open(client: &mut WorkerClient, config: &WorkerConfig) -> Result<Self, Ended>;

    /// Exchanges messages until everything is done.
    async fn exchange(self, client: &mut WorkerClient) -> Result<(), Ended>;
}

impl From<NothingToDo> for Ended {
    fn from(_: NothingToDo) -> Self {
        Self::Done
    }
}

impl From<Rejected> for Ended {
    fn from(Rejected { reason, text }: Rejected) -> Self {
        refused(reason, text)
    }
}

impl From<ConnectionError> for Ended {
    fn from(error: ConnectionError) -> Self {
        Self::broken(error)
    }
}

impl From<ConnectError> for Ended {
    fn from(error: ConnectError) -> Self {
        match error {
            error @ ConnectError::Tls(_) => Self::Fatal(WorkerError::Connect(error)),
            error => Self::broken(with_sources(&error)),
        }
    }
}

/// An error and its causes, on one line: a closed port and a refused certificate differ in nothing else.
fn with_sources(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

/// What a refusal means for the worker.
fn refused(reason: RejectReason, text: String) -> Ended {
    match reason {
        RejectReason::Version
        | RejectReason::Secret
        | RejectReason::DeliveryMode
        | RejectReason::Blobs => Ended::Fatal(WorkerError::Refused { reason, text }),
        RejectReason::Session | RejectReason::Unavailable | RejectReason::Malformed => {
            Ended::broken(text)
        }
    }
}

/// A socket that sends a request and receives the reply.
pub(crate) trait Ask {
    /// Sends `request` and waits for the next message.
    async fn ask(&mut self, request: Bytes, deadline: Duration) -> Result<Bytes, ConnectionError>;
}

impl Ask for Dealer {
    async fn ask(&mut self, request: Bytes, deadline: Duration) -> Result<Bytes, ConnectionError> {
        self.send(request).await?;
        timeout(deadline, self.recv()).await.map_err(|_| ConnectionError::TimedOut)?
    }
}

impl Ask for Req {
    async fn ask(&mut self, request: Bytes, deadline: Duration) -> Result<Bytes, ConnectionError> {
        self.exchange(request, deadline).await
    }
}

/// What the dispatcher answered to the registration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Welcome {
    pub(crate) session: SessionId,
    pub(crate) heartbeat: Duration,
}

/// Whose the directory or bucket of blobs is, where there is one.
pub(crate) async fn owner_of(blobs: Option<&SharedBlobs>) -> Result<Option<String>, Ended> {
    let (place, owner) = match blobs {
        None => return Ok(None),
        Some(SharedBlobs::Directory(directory)) => {
            let path = directory.join(OWNER);
            (path.display().to_string(), fs::read_to_string(path))
        }
        Some(SharedBlobs::Bucket(bucket)) => {
            (format!("{}/{OWNER}", bucket.url()), bucket.owner().await)
        }
    };
    owner.map(Some).map_err(|error| {
        Ended::broken(format!(
            "`{place}` cannot be read ({error}): a dispatcher with the same --blobs writes it"
        ))
    })
}

/// Registers on a new connection.
pub(crate) async fn register(
    socket: &mut impl Ask,
    config: &WorkerConfig,
    registration: &WorkerRegistration,
) -> Result<Welcome, Ended> {
    let deadline = config.endpoint.limits.handshake;
    let hello = encode(&[FromWorker::Hello { version: VERSION }]);
    let challenge = match only(&socket.ask(hello, deadline).await?)? {
        FromDispatcher::Challenge { version: VERSION, nonce, .. } => nonce,
        FromDispatcher::Challenge { version, .. } => {
            let text = format!("it speaks version {version}, not {VERSION}");
            return Err(refused(RejectReason::Version, text));
        }
        other => return Err(unexpected(other)),
    };
    let proof = config.secret.as_ref().map(|secret| secret.prove_worker(challenge, registration));
    let register = FromWorker::Register { registration: registration.clone(), proof };
    match only(&socket.ask(encode(&[register]), deadline).await?)? {
        FromDispatcher::Welcome { session, heartbeat_ms, proof } => {
            let expected = config
                .secret
                .as_ref()
                .map(|secret| secret.prove_dispatcher(challenge, registration.nonce, session));
            if !accepts(proof.as_ref(), expected.as_ref()) {
                return Err(Ended::Fatal(WorkerError::Unproved));
            }
            let heartbeat = Duration::from_millis(heartbeat_ms.max(1).into());
            Ok(Welcome { session, heartbeat })
        }
        other => Err(unexpected(other)),
    }
}

/// The one message of an answer to Hello or Register.
fn only(answer: &Bytes) -> Result<FromDispatcher, Ended> {
    let batch = decode::<FromDispatcher>(answer).map_err(Ended::broken)?;
    batch.into_iter().next().ok_or_else(|| Ended::broken("the dispatcher sent nothing"))
}

fn unexpected(message: FromDispatcher) -> Ended {
    match message {
        FromDispatcher::Rejected { reason, text } => refused(reason, text),
        _ => Ended::broken("the dispatcher spoke out of turn"),
    }
}
