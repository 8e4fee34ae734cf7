//! When the store is told of capacity that ended calls have freed.

use belljar_store::record::Demand;

/// The store is told once it is this part of what was demanded. What it may deliver leaves much room mostly, and where it
/// ends, the next claim says how much there is.
const TOLD_PART: usize = 8;

/// Freed capacity that the store does not know of.
#[derive(Debug, Default)]
pub(crate) struct FreedCapacity {
    freed: usize,
    /// How much of it is told together.
    together: usize,
}

impl FreedCapacity {
    /// A claim tells the store all that is free.
    pub(crate) fn claimed(&mut self, demand: &[Demand]) {
        let demanded = demand.iter().map(|demand| demand.count).sum::<usize>();
        // Tasks may wait for a place that is not reserved.
        let has_reserved = demand.iter().any(|demand| demand.reserved > 0);
        *self = Self { freed: 0, together: if has_reserved { 1 } else { demanded / TOLD_PART } };
    }

    pub(crate) fn add(&mut self, count: usize) {
        self.freed += count;
    }

    /// What the store is told with the outcomes that it records now.
    pub(crate) fn take(&mut self) -> usize {
        if self.freed >= self.together { std::mem::take(&mut self.freed) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(count: usize, reserved: usize) -> Vec<usize> {
        let mut capacity = FreedCapacity::default();
        capacity.claimed(&[Demand { classes: Vec::new(), count, reserved }]);
        let mut told = || {
            capacity.add(1);
            capacity.take()
        };
        (0..8).map(|_| told()).collect()
    }

    #[test]
    fn little_of_much_is_told_later() {
        assert_eq!(told(32, 0), [0, 0, 0, 4, 0, 0, 0, 4]);
    }

    #[test]
    fn few_places_are_told_at_once_and_so_are_those_that_others_may_wait_for() {
        assert_eq!(told(4, 0), [1; 8]);
        assert_eq!(told(0, 0), [1; 8]);
        assert_eq!(told(32, 3), [1; 8]);
    }
}
