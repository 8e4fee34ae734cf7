//! The handshake of a new connection: Hello, Challenge, Register, Welcome. Decides whom to refuse.

use std::collections::HashMap;

use belljar_core::id::DispatcherId;
use belljar_core::message::{
    DeliveryMode, FromDispatcher, FromWorker, Nonce, Proof, RejectReason, Secret, SessionId,
    VERSION, WorkerRegistration, accepts,
};
use belljar_wire::PeerId;

/// The handshakes of a port.
#[derive(Debug)]
pub(crate) struct Handshakes {
    dispatcher: DispatcherId,
    pub(crate) mode: DeliveryMode,
    secret: Option<Secret>,
    /// Whose the directory or bucket of blobs is.
    blobs: Option<String>,
    /// Peers that have said Hello, and the challenge of each.
    pending: HashMap<PeerId, Nonce>,
}

/// How a handshake goes on.
#[derive(Debug)]
pub(crate) enum Step {
    /// The peer gets this challenge.
    Challenge(FromDispatcher),
    /// The peer may register as this worker.
    Register(Box<Authenticated>),
    /// The peer is refused.
    Refuse(RejectReason, String),
}

/// A worker that holds the secret, if there is one.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub(crate) registration: WorkerRegistration,
    challenge: Nonce,
}

impl Handshakes {
    pub(crate) fn new(
        dispatcher: DispatcherId,
        mode: DeliveryMode,
        secret: Option<Secret>,
        blobs: Option<String>,
    ) -> Self {
        Self { dispatcher, mode, secret, blobs, pending: HashMap::new() }
    }

    /// Handles a message of a peer that is not registered.
    pub(crate) fn handle(&mut self, peer: PeerId, batch: Vec<FromWorker>) -> Step {
        match batch.into_iter().next() {
            Some(FromWorker::Hello { version: VERSION }) => {
                let nonce = Nonce::random();
                self.pending.insert(peer, nonce);
                let dispatcher = self.dispatcher;
                Step::Challenge(FromDispatcher::Challenge { version: VERSION, dispatcher, nonce })
            }
            Some(FromWorker::Hello { version }) => {
                let text = format!(
                    "the worker speaks protocol version {version}, the dispatcher {VERSION}"
                );
                Step::Refuse(RejectReason::Version, text)
            }
            Some(FromWorker::Register { registration, proof }) => {
                self.authenticate(peer, registration, proof.as_ref())
            }
            Some(_) => refuse(RejectReason::Session, "the session is unknown"),
            None => refuse(RejectReason::Malformed, "the batch is empty"),
        }
    }

    /// Ends the handshake of a peer.
    pub(crate) fn forget(&mut self, peer: PeerId) {
        self.pending.remove(&peer);
    }

    fn authenticate(
        &mut self,
        peer: PeerId,
        registration: WorkerRegistration,
        proof: Option<&Proof>,
    ) -> Step {
        let Some(challenge) = self.pending.remove(&peer) else {
            return refuse(RejectReason::Malformed, "Register came before Hello");
        };
        if let Err((reason, text)) = self.check(&registration, proof, challenge) {
            let WorkerRegistration { host, pid, .. } = &registration;
            tracing::warn!(host, pid, ?reason, "refused a worker: {text}");
            return Step::Refuse(reason, text);
        }
        Step::Register(Box::new(Authenticated { registration, challenge }))
    }

    fn check(
        &self,
        registration: &WorkerRegistration,
        proof: Option<&Proof>,
        challenge: Nonce,
    ) -> Result<(), (RejectReason, String)> {
        let secret = self.secret.as_ref();
        let expected = secret.map(|secret| secret.prove_worker(challenge, registration));
        if !accepts(proof, expected.as_ref()) {
            let text = "the worker does not hold the dispatcher's secret".to_owned();
            return Err((RejectReason::Secret, text));
        }
        if registration.mode != self.mode {
            let text = format!("the dispatcher serves {} workers only", self.mode);
            return Err((RejectReason::DeliveryMode, text));
        }
        if registration.blobs.is_some() && registration.blobs != self.blobs {
            let text = match self.blobs {
                Some(_) => {
                    "the worker's directory or bucket for large values is not the dispatcher's"
                }
                None => {
                    "the worker has a directory or bucket for large values, and the dispatcher has none"
                }
            };
            return Err((RejectReason::Blobs, text.to_owned()));
        }
        Ok(())
    }

    /// The answer to a worker that is registered.
    pub(crate) fn welcome(
        &self,
        worker: &Authenticated,
        session: SessionId,
        heartbeat_ms: u32,
    ) -> FromDispatcher {
        let Authenticated { registration, challenge } = worker;
        let secret = self.secret.as_ref();
        let prove =
            |secret: &Secret| secret.prove_dispatcher(*challenge, registration.nonce, session);
        FromDispatcher::Welcome { session, heartbeat_ms, proof: secret.map(prove) }
    }
}

fn refuse(reason: RejectReason, text: &str) -> Step {
    Step::Refuse(reason, text.to_owned())
}
