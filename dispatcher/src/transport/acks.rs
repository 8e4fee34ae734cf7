//! The acknowledgements that one worker waits for.

use std::collections::HashMap;

use belljar_core::message::FromDispatcher;

/// At most so many wait for another message to travel with, and only until the next tick. A message of
/// its own for each would cost both sides more than the task did.
const MAX_WAITING: usize = 64;

/// The acknowledgements of one worker's batches.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    /// The batches on their way to the store, and how many attempts of each are not recorded yet.
    recording: HashMap<u64, usize>,
    /// The batches to acknowledge.
    ready: Vec<u64>,
    timing: Timing,
}

/// When acknowledgements go out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Timing {
    /// With the next message, or from the next tick on.
    #[default]
    Batched,
    /// Now: they have waited a tick.
    Due,
    /// Always at once: one of the sides is leaving.
    Immediate,
}

impl Acks {
    /// Expects `count` attempts of a batch to be recorded. `false` if the batch is known already.
    pub(crate) fn expect(&mut self, sequence: u64, count: usize) -> bool {
        if self.recording.contains_key(&sequence) {
            return false;
        }
        self.recording.insert(sequence, count);
        true
    }

    /// One more attempt of a batch is recorded. Returns whether that was the last.
    pub(crate) fn recorded(&mut self, sequence: u64) -> bool {
        let Some(left) = self.recording.get_mut(&sequence) else { return false };
        *left -= 1;
        let is_complete = *left == 0;
        if is_complete {
            self.acknowledge(sequence);
        }
        is_complete
    }

    /// Nothing of a batch remains to be recorded.
    pub(crate) fn acknowledge(&mut self, sequence: u64) {
        self.recording.remove(&sequence);
        self.ready.push(sequence);
    }

    /// From now on acknowledgements go out at once.
    pub(crate) fn send_at_once(&mut self) {
        self.timing = Timing::Immediate;
    }

    /// Time has passed. Returns whether acknowledgements are due.
    pub(crate) fn tick(&mut self) -> bool {
        if self.timing == Timing::Batched && self.is_ready() {
            self.timing = Timing::Due;
        }
        self.is_ready()
    }

    /// Whether there are acknowledgements to send.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether there are acknowledgements to send, now or once the store has answered.
    pub(crate) fn are_expected(&self) -> bool {
        self.is_ready() || !self.recording.is_empty()
    }

    /// Whether they need not wait any longer for another message.
    pub(crate) fn are_due(&self) -> bool {
        self.timing != Timing::Batched || self.ready.len() >= MAX_WAITING
    }

    /// The message with all acknowledgements, if there are any.
    pub(crate) fn take(&mut self) -> Option<FromDispatcher> {
        if self.timing == Timing::Due {
            self.timing = Timing::Batched;
        }
        let ready = std::mem::take(&mut self.ready);
        (!ready.is_empty()).then_some(FromDispatcher::Ack(ready))
    }
}
