//! Whether the bucket answers. While it does not, one request at a time waits for it, and all others fail at once: an outage must not have
//! every call wait, and with it the slots that others need.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a request is tried again: what waits for it is told then.
pub(super) const RETRIED: Duration = Duration::from_secs(5);
/// How long all requests fail at once after one has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What the last requests have shown.
#[derive(Debug, Default)]
pub(super) struct Presence(Mutex<Option<Outage>>);

#[derive(Debug)]
struct Outage {
    /// When the last request failed, and why.
    at: Instant,
    why: String,
    /// Since when another one is under way.
    asked: Option<Instant>,
}

/// A request that is under way.
pub(super) struct Asking<'a> {
    presence: &'a Presence,
    /// Whether it is the one that finds out.
    is_probe: bool,
}

impl Presence {
    /// Begins a request; or says why it would fail.
    pub(super) fn ask(&self) -> Result<Asking<'_>, String> {
        let mut outage = self.lock();
        let Some(known) = outage.as_mut() else {
            return Ok(Asking { presence: self, is_probe: false });
        };
        // One that gets no answer at all may be under way for longer.
        let is_asked = known.asked.is_some_and(|since| since.elapsed() < RETRIED);
        if is_asked || known.at.elapsed() < PAUSE {
            return Err(known.why.clone());
        }
        known.asked = Some(Instant::now());
        Ok(Asking { presence: self, is_probe: true })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Outage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking<'_> {
    /// It has ended: with this error, if the bucket is away.
    pub(super) fn answered(self, failed: Option<&io::Error>) {
        let outage =
            failed.map(|error| Outage { at: Instant::now(), why: error.to_string(), asked: None });
        *self.presence.lock() = outage;
    }
}

impl Drop for Asking<'_> {
    /// One that was given up tells nothing: the next one finds out.
    fn drop(&mut self) {
        if let Some(known) = self.presence.lock().as_mut().filter(|_| self.is_probe) {
            known.asked = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> io::Error {
        io::Error::other("away")
    }

    #[test]
    fn while_it_is_away_one_request_finds_out_and_others_fail() {
        let presence = Presence::default();
        let (first, second) = (presence.ask().expect("it is there"), presence.ask());
        first.answered(Some(&away()));
        assert_eq!(presence.ask().err().as_deref(), Some("away"), "it was away just now");
        let long_ago = |presence: &Presence| {
            let at = Instant::now().checked_sub(PAUSE).expect("it was up then");
            presence.lock().as_mut().expect("an outage").at = at;
        };
        long_ago(&presence);
        let probe = presence.ask().expect("the one that finds out");
        assert!(presence.ask().is_err(), "no other");
        drop(probe);
        let probe = presence.ask().expect("the one before was given up");
        probe.answered(Some(&away()));
        assert!(presence.ask().is_err());
        long_ago(&presence);
        let probe = presence.ask().expect("the next one");
        // One that began before comes through.
        second.expect("it was there").answered(None);
        presence.ask().expect("it is back");
        drop(probe);
        presence.ask().expect("it is back");
    }
}
