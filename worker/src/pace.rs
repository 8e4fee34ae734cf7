//! How long calls take: the past ones, and so the next.

use std::time::Duration;

/// What is worth holding ahead: it bridges the way to the dispatcher and back.
pub(crate) const AHEAD: Duration = Duration::from_millis(5);
/// At most so many invocations wait for each slot.
pub(crate) const AHEAD_CALLS: usize = 32;
/// For so many calls at most none is asked for ahead, where there was nothing to be had before.
const LONGEST_PAUSE: u32 = 8;

/// The mean of the past calls and how far they are from it, both smoothed as round trips are in
/// RFC 6298, and whether asking ahead was of any use.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// In seconds; none has been seen at first.
    mean: Option<f64>,
    /// In seconds; it takes two calls.
    deviation: Option<f64>,
    /// How often in a row there was nothing to be had ahead.
    vain: u32,
    /// So many calls are not asked for ahead.
    pause: u32,
}

impl Pace {
    /// A call took so long.
    pub(crate) fn took(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        if let Some(mean) = &mut self.mean {
            let off = (took - *mean).abs();
            let deviation = self.deviation.get_or_insert(off);
            *deviation += (off - *deviation) / 4.0;
            *mean += (took - *mean) / 8.0;
        } else {
            self.mean = Some(took);
        }
    }

    /// Those that run have taken this long already.
    pub(crate) fn takes_at_least(&mut self, time: Duration) {
        let mean = self.mean.get_or_insert(0.0);
        *mean = mean.max(time.as_secs_f64());
        self.deviation = None;
    }

    /// How many calls are worth having for each slot beyond the one that runs: as many short ones as
    /// bridge the way.
    pub(crate) fn ahead(&self) -> usize {
        let ahead = match self.mean {
            Some(mean) if mean > 0.0 => (AHEAD.as_secs_f64() / mean) as usize,
            Some(_) => AHEAD_CALLS,
            None => 0,
        };
        ahead.min(AHEAD_CALLS)
    }

    /// How long the next call will take, where calls are long and alike: the one after it is then worth
    /// asking for shortly before that.
    pub(crate) fn foreseen(&self) -> Option<Duration> {
        let (mean, deviation) = (self.mean?, self.deviation?);
        let ahead = AHEAD.as_secs_f64();
        (self.pause == 0 && mean > ahead && 2.0 * deviation <= ahead)
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

    fn pace_of(milliseconds: &[u64]) -> Pace {
        let mut pace = Pace::default();
        milliseconds.iter().for_each(|took| pace.took(Duration::from_millis(*took)));
        pace
    }

    #[test]
    fn long_calls_are_foreseen_where_they_are_alike() {
        let foreseen = pace_of(&[100, 102, 101]).foreseen().expect("alike");
        assert!(foreseen.abs_diff(Duration::from_millis(100)) < Duration::from_millis(2));
        assert_eq!(pace_of(&[100]).foreseen(), None, "one call says nothing");
        assert_eq!(pace_of(&[100, 900, 100, 900]).foreseen(), None);
        assert_eq!(pace_of(&[2, 2, 2]).foreseen(), None, "short ones are held ahead anyway");
        let mut pace = pace_of(&[10, 10, 10]);
        pace.takes_at_least(Duration::from_millis(100));
        assert_eq!(pace.foreseen(), None, "they are not alike any more");
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
            let asks = pace.foreseen().is_some();
            asked += u32::from(asks);
            pace.followed(false, asks);
        }
        assert!((10..=20).contains(&asked), "{asked}");
        pace.followed(true, false);
        assert!(pace.foreseen().is_some());
    }
}
