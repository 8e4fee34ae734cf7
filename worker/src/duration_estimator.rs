//! Estimates how long the next call takes from how long past ones took.

use std::collections::HashMap;
use std::time::Duration;

use belljar_core::task::CodeHash;

/// Work for this long is worth holding ahead: it bridges the way to the dispatcher and back.
pub(crate) const AHEAD: Duration = Duration::from_millis(5);
/// At most so many invocations wait for each slot.
pub(crate) const AHEAD_CALLS: usize = 32;
/// A change of less than this part of what is held ahead is not followed: durations vary, and each new window is told to
/// the dispatcher, which then claims anew.
const FOLLOWED_PART: usize = 4;
/// After requests that brought nothing, at most this many calls pass without another.
const LONGEST_PAUSE: u32 = 8;

/// How many functions are told apart.
const FUNCTIONS: usize = 1000;

/// The durations of past calls.
#[derive(Debug, Default)]
pub(crate) struct DurationEstimator {
    /// How long calls take, whichever they are; none has been seen at first.
    all: Option<Lengths>,
    functions: HashMap<CodeHash, Lengths>,
    ahead: usize,
    /// How many requests in a row brought nothing.
    fruitless: u32,
    /// For this many calls, no further one is asked for ahead.
    pause: u32,
}

/// The mean of past calls and their deviation from it, in seconds, both smoothed as RFC 6298 smooths round
/// trips.
#[derive(Debug)]
struct Lengths {
    mean: f64,
    /// Known from the second call on.
    deviation: Option<f64>,
}

impl Lengths {
    const fn of(first: f64) -> Self {
        Self { mean: first, deviation: None }
    }

    fn add(&mut self, took: f64) {
        let off = (took - self.mean).abs();
        let deviation = self.deviation.get_or_insert(off);
        *deviation += (off - *deviation) / 4.0;
        self.mean += (took - self.mean) / 8.0;
    }
}

impl DurationEstimator {
    /// A call of `function` took this long.
    pub(crate) fn record(&mut self, function: CodeHash, took: Duration) {
        let took = took.as_secs_f64();
        match &mut self.all {
            Some(lengths) => lengths.add(took),
            None => self.all = Some(Lengths::of(took)),
        }
        match self.functions.get_mut(&function) {
            Some(lengths) => lengths.add(took),
            None => {
                if self.functions.len() >= FUNCTIONS {
                    self.functions.clear();
                }
                self.functions.insert(function, Lengths::of(took));
            }
        }
        self.follow();
    }

    /// Running calls have already taken this long.
    pub(crate) fn at_least(&mut self, time: Duration) {
        let all = self.all.get_or_insert(Lengths::of(0.0));
        all.mean = all.mean.max(time.as_secs_f64());
        self.follow();
    }

    /// The calls of `function` are no longer alike.
    pub(crate) fn forget(&mut self, function: CodeHash) {
        self.functions.remove(&function);
    }

    /// How many calls are worth holding for each slot beyond the one that runs: about as many short ones as
    /// bridge the way.
    pub(crate) const fn ahead(&self) -> usize {
        self.ahead
    }

    fn follow(&mut self) {
        let bridging = match &self.all {
            Some(all) if all.mean > 0.0 => (AHEAD.as_secs_f64() / all.mean) as usize,
            Some(_) => AHEAD_CALLS,
            None => 0,
        };
        let bridging = bridging.min(AHEAD_CALLS);
        if bridging == 0 || bridging.abs_diff(self.ahead) * FOLLOWED_PART > self.ahead {
            self.ahead = bridging;
        }
    }

    /// How long a call of `function` will take, where its calls are long and alike. The next call is then
    /// worth asking for shortly before that.
    pub(crate) fn expected(&self, function: CodeHash) -> Option<Duration> {
        let Lengths { mean, deviation } = *self.functions.get(&function)?;
        let ahead = AHEAD.as_secs_f64();
        (self.pause == 0 && mean > ahead && 2.0 * deviation? <= ahead)
            .then(|| Duration::from_secs_f64(mean))
    }

    /// A call has ended: whether another followed it at once, and whether one was asked for. From the second
    /// request in a row that brings nothing, requests pause for longer and longer: where nothing waits, a
    /// request for each call only costs.
    pub(crate) fn call_ended(&mut self, is_followed: bool, was_asked_for: bool) {
        if is_followed {
            (self.fruitless, self.pause) = (0, 0);
        } else if was_asked_for {
            self.pause = ((1 << self.fruitless) - 1).min(LONGEST_PAUSE);
            self.fruitless = (self.fruitless + 1).min(LONGEST_PAUSE);
        } else {
            self.pause = self.pause.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function() -> CodeHash {
        CodeHash::of(b"function")
    }

    fn estimator_of(milliseconds: &[u64]) -> DurationEstimator {
        let mut estimator = DurationEstimator::default();
        milliseconds
            .iter()
            .for_each(|took| estimator.record(function(), Duration::from_millis(*took)));
        estimator
    }

    #[test]
    fn long_calls_that_are_alike_have_an_expected_duration() {
        let expected = estimator_of(&[100, 102, 101]).expected(function()).expect("alike");
        assert!(expected.abs_diff(Duration::from_millis(100)) < Duration::from_millis(2));
        assert_eq!(estimator_of(&[100]).expected(function()), None, "one call says nothing");
        assert_eq!(estimator_of(&[100, 900, 100, 900]).expected(function()), None);
        assert_eq!(
            estimator_of(&[2, 2, 2]).expected(function()),
            None,
            "short ones are held ahead anyway"
        );
        let mut estimator = estimator_of(&[10, 10, 10]);
        estimator.forget(function());
        assert_eq!(estimator.expected(function()), None);
    }

    #[test]
    fn functions_are_told_apart_and_not_remembered_without_end() {
        let mut estimator = DurationEstimator::default();
        let (quick, slow) = (CodeHash::of(b"quick"), CodeHash::of(b"slow"));
        for _ in 0..4 {
            estimator.record(quick, Duration::from_millis(10));
            estimator.record(slow, Duration::from_millis(900));
        }
        assert_eq!(estimator.expected(quick), Some(Duration::from_millis(10)));
        assert_eq!(estimator.expected(slow), Some(Duration::from_millis(900)));
        for number in 0..10_000_u32 {
            estimator.record(CodeHash::of(&number.to_le_bytes()), Duration::from_millis(1));
        }
        assert!(estimator.functions.len() <= FUNCTIONS);
    }

    #[test]
    fn short_calls_are_held_ahead() {
        assert_eq!(DurationEstimator::default().ahead(), 0);
        assert_eq!(estimator_of(&[0]).ahead(), AHEAD_CALLS);
        assert_eq!(estimator_of(&[2]).ahead(), 2);
        assert_eq!(estimator_of(&[6]).ahead(), 0);
    }

    #[test]
    fn what_is_held_ahead_does_not_follow_every_duration() {
        let mut estimator = estimator_of(&[]);
        let mut held = vec![];
        for took in [200, 220, 190, 230, 180, 210, 2000, 2000] {
            estimator.record(function(), Duration::from_micros(took));
            held.push(estimator.ahead());
        }
        assert_eq!(held, [25, 25, 25, 25, 25, 25, 11, 8]);
        estimator.at_least(Duration::from_millis(100));
        assert_eq!(estimator.ahead(), 0);
    }

    #[test]
    fn requests_that_bring_nothing_become_rare() {
        let mut estimator = estimator_of(&[100, 100]);
        let mut asked = 0;
        for _ in 0..100 {
            let asks = estimator.expected(function()).is_some();
            asked += u32::from(asks);
            estimator.call_ended(false, asks);
        }
        assert!((10..=20).contains(&asked), "{asked}");
        estimator.call_ended(true, false);
        assert!(estimator.expected(function()).is_some());
    }
}
