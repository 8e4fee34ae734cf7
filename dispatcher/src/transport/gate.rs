//! Who gets in: Hello, Challenge, Register, Welcome; and what is said to those who do not.

use std::time::Instant;

use belljar_core::message::{
    FromDispatcher, FromWorker, Nonce, Proof, RejectReason, WorkerRegistration, VERSION, accepts,
};
use belljar_wire::PeerId;

use super::session::Session;
use super::sessions::{Command, Sessions};
use crate::event::Event;

impl Sessions {
    /// Takes a message from somebody who is not registered.
    pub(super) fn hear_stranger(
        &mut self,
        peer: PeerId,
        batch: Vec<FromWorker>,
        now: Instant,
    ) -> Vec<Event> {
        match batch.into_iter().next() {
            Some(FromWorker::Hello { version: VERSION }) => {
                let nonce = Nonce::random();
                self.lobby.insert(peer, nonce);
                let challenge =
                    FromDispatcher::Challenge { version: VERSION, dispatcher: self.id, nonce };
                self.commands.push(Command::Say(peer, vec![challenge]));
            }
            Some(FromWorker::Hello { version }) => {
                let text = format!("this dispatcher speaks version {VERSION}, not {version}");
                self.refuse(peer, RejectReason::Version, &text);
            }
            Some(FromWorker::Register { registration, proof }) => {
                return self.register(peer, &registration, proof.as_ref(), now);
            }
            Some(_) => self.refuse(peer, RejectReason::Session, "the session is not known"),
            None => self.refuse(peer, RejectReason::Malformed, "an empty batch"),
        }
        Vec::new()
    }

    fn register(
        &mut self,
        peer: PeerId,
        registration: &WorkerRegistration,
        proof: Option<&Proof>,
        now: Instant,
    ) -> Vec<Event> {
        let Some(challenge) = self.lobby.remove(&peer) else {
            self.refuse(peer, RejectReason::Malformed, "Register comes after Hello");
            return Vec::new();
        };
        if let Err((reason, text)) = self.check(registration, proof, challenge) {
            tracing::warn!(
                host = registration.host,
                pid = registration.pid,
                ?reason,
                "worker refused: {text}"
            );
            self.refuse(peer, reason, &text);
            return Vec::new();
        }
        let worker = registration.worker;
        let new = || Session::new(registration, now);
        let session = self.sessions.entry(worker).or_insert_with(new);
        let replaced = session.attach(peer, registration, now);
        let welcome = FromDispatcher::Welcome {
            session: session.id,
            heartbeat_ms: u32::try_from(self.heartbeat.as_millis()).unwrap_or(u32::MAX),
            proof: self
                .secret
                .as_ref()
                .map(|secret| secret.prove_dispatcher(challenge, registration.nonce, session.id)),
        };
        let joined = Event::Joined(session.as_worker());
        tracing::info!(
            worker_id = %worker, host = session.host, mode = %session.mode, slots = session.slots, "worker registered"
        );
        self.by_peer.insert(peer, worker);
        self.dirty.insert(worker);
        for old in replaced {
            self.by_peer.remove(&old);
            self.commands.push(Command::Cut(old));
        }
        self.commands.push(Command::Admit(peer));
        self.commands.push(Command::Say(peer, vec![welcome]));
        vec![joined]
    }

    fn check(
        &self,
        registration: &WorkerRegistration,
        proof: Option<&Proof>,
        challenge: Nonce,
    ) -> Result<(), (RejectReason, String)> {
        let expected =
            self.secret.as_ref().map(|secret| secret.prove_worker(challenge, registration));
        if !accepts(proof, expected.as_ref()) {
            return Err((RejectReason::Secret, "it does not hold this dispatcher's secret".to_owned()));
        }
        if registration.mode != self.mode {
            let text = format!("this dispatcher serves {} workers", self.mode);
            return Err((RejectReason::DeliveryMode, text));
        }
        // Who has work of ours may still say what it came to.
        if self.draining && !self.sessions.contains_key(&registration.worker) {
            return Err((RejectReason::Unavailable, "this dispatcher is leaving".to_owned()));
        }
        Ok(())
    }

    pub(crate) fn refuse(&mut self, peer: PeerId, reason: RejectReason, text: &str) {
        self.lobby.remove(&peer);
        let refused = FromDispatcher::Rejected { reason, text: text.to_owned() };
        self.commands.push(Command::Say(peer, vec![refused]));
        self.commands.push(Command::Cut(peer));
    }
}
