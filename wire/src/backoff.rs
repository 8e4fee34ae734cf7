//! How long to wait before connecting again.

use std::time::Duration;

/// Pauses that double from the first to the longest, each shortened by a random part of up to a half,
/// so that workers that lost one dispatcher do not return all at once.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// From `first` to `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The pause to make now.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        // A random id is the cheapest source of chance at hand.
        let (chance, _) = uuid::Uuid::new_v4().as_u64_pair();
        pause.mul_f64(1.0 - 0.5 * ((chance >> 16) & 0xffff) as f64 / 65536.0)
    }

    /// After a success: the next pause is the first again.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

impl Default for Backoff {
    /// From 50 ms to 1 s: a worker is back well before its tasks would be given to others.
    fn default() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(80));
        for full in [10, 20, 40, 80, 80, 80] {
            let full = Duration::from_millis(full);
            let pause = backoff.pause();
            assert!(pause <= full && pause >= full / 2, "{pause:?} of {full:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(10));
    }
}
