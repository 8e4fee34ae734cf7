//! How long calls take: the past ones, and so the next.

use std::collections::HashMap;
use std::time::Duration;

use belljar_core::task::CodeHash;

/// What is worth holding ahead: it bridges the way to the dispatcher and back.
pub(crate) const AHEAD: Duration = Duration::from_millis(5);
/// At most so many invocations wait for each slot.
pub(crate) const AHEAD_CALLS: usize = 32;
/// For so many calls at most none is asked for ahead, where there was nothing to be had before.
const LONGEST_PAUSE: u32 = 8;

/// So many functions are told apart.
const FUNCTIONS: usize = 1000;

/// What the past calls say of the next.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// How long calls take, whichever they are; none has been seen at first.
    all: Option<Lengths>,
    functions: HashMap<CodeHash, Lengths>,
    /// How often in a row there was nothing to be had ahead.
    vain: u32,
    /// So many calls are not asked for ahead.
    pause: u32,
}

/// The mean of past calls and how far they are from it, both in seconds and smoothed as round trips are
/// in RFC 6298.
#[derive(Debug)]
struct Lengths {
    mean: f64,
    /// It takes two calls.
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

impl Pace {
    /// A call of this function took so long.
    pub(crate) fn took(&mut self, function: CodeHash, took: Duration) {
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
    }

    /// Calls that run have taken this long already: what waits behind them has waited too long.
    pub(crate) fn takes_at_least(&mut self, time: Duration) {
        let all = self.all.get_or_insert(Lengths::of(0.0));
        all.mean = all.mean.max(time.as_secs_f64());
    }

    /// A function's calls are not alike any more.
    pub(crate) fn forget(&mut self, function: CodeHash) {
        self.functions.remove(&function);
    }

    /// How many calls are worth having for each slot beyond the one that runs: as many short ones as
    /// bridge the way.
    pub(crate) fn ahead(&self) -> usize {
        let ahead = match &self.all {
            Some(all) if all.mean > 0.0 => (AHEAD.as_secs_f64() / all.mean) as usize,
            Some(_) => AHEAD_CALLS,
            None => 0,
        };
        ahead.min(AHEAD_CALLS)
    }

    /// How long a call of this function will take, where they are long and alike: the one after it is
    /// then worth asking for shortly before that.
    pub(crate) fn foreseen(&self, function: CodeHash) -> Option<Duration> {
        let Lengths { mean, deviation } = *self.functions.get(&function)?;
        let ahead = AHEAD.as_secs_f64();
        (self.pause == 0 && mean > ahead && 2.0 * deviation? <= ahead)
            .then(|| Duration::from_secs_f64(mean))
    }

    /// A call has ended: whether another was there to follow it, and whether one was asked for. What
    /// was asked for in vain pauses for ever longer from the second time on: where nothing waits, a
    /// question for each call would only cost.
    pub(crate) fn followed(&mut self, is_followed: bool, was_asked_for: bool) {
        if is_followed {
            (self.vain, self.pause) = (0, 0);
        } else if was_asked_for {
            self.pause = ((1 << self.vain) - 1).min(LONGEST_PAUSE);
            self.vain = (self.vain + 1).min(LONGEST_PAUSE);
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

    fn pace_of(milliseconds: &[u64]) -> Pace {
        let mut pace = Pace::default();
        milliseconds.iter().for_each(|took| pace.took(function(), Duration::from_millis(*took)));
        pace
    }

    #[test]
    fn long_calls_are_foreseen_where_they_are_alike() {
        let foreseen = pace_of(&[100, 102, 101]).foreseen(function()).expect("alike");
        assert!(foreseen.abs_diff(Duration::from_millis(100)) < Duration::from_millis(2));
        assert_eq!(pace_of(&[100]).foreseen(function()), None, "one call says nothing");
        assert_eq!(pace_of(&[100, 900, 100, 900]).foreseen(function()), None);
        assert_eq!(
            pace_of(&[2, 2, 2]).foreseen(function()),
            None,
            "short ones are held ahead anyway"
        );
        let mut pace = pace_of(&[10, 10, 10]);
        pace.forget(function());
        assert_eq!(pace.foreseen(function()), None);
    }

    #[test]
    fn functions_are_told_apart_and_not_remembered_without_end() {
        let mut pace = Pace::default();
        let (quick, slow) = (CodeHash::of(b"quick"), CodeHash::of(b"slow"));
        for _ in 0..4 {
            pace.took(quick, Duration::from_millis(10));
            pace.took(slow, Duration::from_millis(900));
        }
        assert_eq!(pace.foreseen(quick), Some(Duration::from_millis(10)));
        assert_eq!(pace.foreseen(slow), Some(Duration::from_millis(900)));
        for number in 0..10_000_u32 {
            pace.took(CodeHash::of(&number.to_le_bytes()), Duration::from_millis(1));
        }
        assert!(pace.functions.len() <= FUNCTIONS);
    }

    #[test]
    fn short_calls_are_held_ahead() {
        assert_eq!(Pace::default().ahead(), 0);
        assert_eq!(pace_of(&[0]).ahead(), AHEAD_CALLS);
        assert_eq!(pace_of(&[2]).ahead(), 2);
        assert_eq!(pace_of(&[6]).ahead(), 0);
    }

    #[test]
    fn nobody_is_asked_every_time_where_there_is_nothing() {
        let mut pace = pace_of(&[100, 100]);
        let mut asked = 0;
        for _ in 0..100 {
            let asks = pace.foreseen(function()).is_some();
            asked += u32::from(asks);
            pace.followed(false, asks);
        }
        assert!((10..=20).contains(&asked), "{asked}");
        pace.followed(true, false);
        assert!(pace.foreseen(function()).is_some());
    }
}
