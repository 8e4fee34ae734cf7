//! One connection: made, and both sides known to each other.

use std::time::Duration;

use belljar_core::message::{
    FromDispatcher, FromWorker, Refusal, Registration, SessionId, VERSION, accepts, decode, encode,
};
use belljar_wire::{Broken, ConnectError, Dealer, Req};
use bytes::Bytes;
use tokio::time::timeout;

use super::WorkerConfig;
use super::error::WorkerError;

/// Silence of so many heartbeats ends a connection.
pub(crate) const MISSED: u32 = 3;

/// Why a connection is over.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Everything is done.
    Done,
    /// There is no use in trying again.
    Fatal(WorkerError),
    /// It is to be made again.
    Broken {
        /// Why, for people.
        reason: String,
        /// Whether the worker had been taken in.
        served: bool,
    },
}

impl Ended {
    pub(crate) fn broken(reason: impl ToString) -> Self {
        Self::Broken { reason: reason.to_string(), served: false }
    }

    /// The worker had been taken in on this connection.
    pub(crate) fn after_service(self) -> Self {
        match self {
            Self::Broken { reason, .. } => Self::Broken { reason, served: true },
            other => other,
        }
    }
}

impl From<Broken> for Ended {
    fn from(broken: Broken) -> Self {
        Self::broken(broken)
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

/// An error and what it came from, on one line: a port that is closed and a certificate that is not
/// believed differ in nothing else.
fn with_sources(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

/// What a refusal means for the worker.
pub(crate) fn refused(reason: Refusal, text: String) -> Ended {
    match reason {
        Refusal::Version | Refusal::Secret | Refusal::Mode => {
            Ended::Fatal(WorkerError::Refused { reason, text })
        }
        Refusal::Session | Refusal::Unavailable | Refusal::Malformed => Ended::broken(text),
    }
}

/// A socket that can be asked something.
pub(crate) trait Ask {
    /// Sends `request` and waits for the next message.
    async fn ask(&mut self, request: Bytes, deadline: Duration) -> Result<Bytes, Broken>;
}

impl Ask for Dealer {
    async fn ask(&mut self, request: Bytes, deadline: Duration) -> Result<Bytes, Broken> {
        self.send(request).await?;
        timeout(deadline, self.recv()).await.map_err(|_| Broken::Stalled)?
    }
}

impl Ask for Req {
    async fn ask(&mut self, request: Bytes, deadline: Duration) -> Result<Bytes, Broken> {
        self.exchange(request, deadline).await
    }
}

/// How a worker was taken in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Welcome {
    pub(crate) session: SessionId,
    pub(crate) heartbeat: Duration,
}

/// Registers on a new connection.
pub(crate) async fn register(
    line: &mut impl Ask,
    config: &WorkerConfig,
    registration: &Registration,
) -> Result<Welcome, Ended> {
    let deadline = config.endpoint.limits.handshake;
    let hello = encode(&[FromWorker::Hello { version: VERSION }]);
    let challenge = match only(&line.ask(hello, deadline).await?)? {
        FromDispatcher::Challenge { version: VERSION, nonce, .. } => nonce,
        FromDispatcher::Challenge { version, .. } => {
            let text = format!("it speaks version {version}, not {VERSION}");
            return Err(refused(Refusal::Version, text));
        }
        other => return Err(unexpected(other)),
    };
    let proof = config.secret.as_ref().map(|secret| secret.prove_worker(challenge, registration));
    let register = FromWorker::Register { registration: registration.clone(), proof };
    match only(&line.ask(encode(&[register]), deadline).await?)? {
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
        FromDispatcher::Refused { reason, text } => refused(reason, text),
        _ => Ended::broken("the dispatcher spoke out of turn"),
    }
}
