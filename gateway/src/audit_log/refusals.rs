//! How many refused requests are recorded one by one: anyone can send as many as they like, without a key.

use std::time::{Duration, Instant};

/// So many in each [`WINDOW`] have records of their own. The others are counted.
const LISTED: u32 = 20;
const WINDOW: Duration = Duration::from_secs(1);

/// Refused requests of the last moment.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
    count: u32,
}

impl Refusals {
    /// Whether one more has a record of its own.
    pub(super) fn may_list(&mut self) -> bool {
        self.may_list_at(Instant::now())
    }

    fn may_list_at(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count += 1;
        self.count <= LISTED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let mut listed = |at| (0..100).filter(|_| refusals.may_list_at(start + at)).count();
        assert_eq!(listed(Duration::ZERO), LISTED as usize);
        assert_eq!(listed(WINDOW / 2), 0);
        assert_eq!(listed(WINDOW), LISTED as usize);
    }
}
