//! An axis with marks at round numbers, linear or logarithmic.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// From where to where an axis goes, and in which steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    is_log: bool,
}

impl Scale {
    /// An axis that shows all of `values`: from zero, or from the power of ten below them.
    pub(super) fn of(values: impl IntoIterator<Item = f64>, is_log: bool) -> Self {
        let shown =
            values.into_iter().filter(|value| value.is_finite() && (!is_log || *value > 0.0));
        let (low, high) =
            shown.fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        if high <= 0.0 {
            return Self { from: 1.0 - f64::from(u8::from(!is_log)), to: 10.0, is_log };
        }
        if is_log {
            return Self { from: at_most(low * 0.999), to: high * 1.3, is_log };
        }
        Self { from: 0.0, to: high * 1.08, is_log }
    }

    /// The lowest value, from which bars rise.
    pub(super) const fn from(self) -> f64 {
        self.from
    }

    pub(super) const fn to(self) -> f64 {
        self.to
    }

    /// Where a value lies, from 0 to 1.
    fn part(self, value: f64) -> f64 {
        let part = if self.is_log {
            (value.max(f64::MIN_POSITIVE) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        part.clamp(0.0, 1.0)
    }

    fn ticks(self) -> Vec<f64> {
        if !self.is_log {
            let step = round_step((self.to - self.from) / 5.0);
            let count = ((self.to - self.from) / step).floor() as usize;
            return (0..=count).map(|index| self.from + step * index as f64).collect();
        }
        let decades = (self.to / self.from).log10();
        let within: &[f64] = if decades < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let first = self.from.log10().floor() as i32;
        let all = (0..12)
            .flat_map(|decade| within.iter().map(move |digit| digit * 10_f64.powi(first + decade)));
        all.filter(|tick| (self.from * 0.999..=self.to).contains(tick)).collect()
    }
}

/// 1, 2 or 5 times a power of ten, at most `value`.
fn at_most(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let digit = [5.0, 2.0, 1.0].into_iter().find(|digit| digit * power <= value);
    digit.unwrap_or(1.0) * power
}

/// The smallest of 1, 2, 2.5 and 5 times a power of ten that is no less than `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let digit = [1.0, 2.0, 2.5, 5.0].into_iter().find(|digit| digit * power >= least * 0.999);
    digit.unwrap_or(10.0) * power
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        low + (f64::from(high - low) * self.part(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Scale {
    fn format(value: &f64) -> String {
        let size = value.abs();
        match size {
            _ if size >= 1e6 => format!("{}M", trimmed(value / 1e6)),
            _ if size >= 1e4 => format!("{}k", trimmed(value / 1e3)),
            _ => trimmed(*value),
        }
    }
}

/// As few decimals as tell a round number.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_numbers() {
        let linear = Scale::of([3.0, 0.7, 9.0], false);
        assert_eq!(linear.ticks(), [0.0, 2.0, 4.0, 6.0, 8.0]);
        let log = Scale::of([1.0, 50.0], true);
        assert_eq!(log.from(), 0.5);
        assert_eq!(log.ticks(), [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
    }

    #[test]
    fn a_decade_is_as_long_as_another() {
        let log = Scale { from: 1.0, to: 1_000.0, is_log: true };
        assert_eq!(log.map(&10.0, (0, 300)), 100);
        assert_eq!(log.map(&100.0, (0, 300)), 200);
        assert_eq!(log.map(&0.0, (0, 300)), 0);
    }

    #[test]
    fn large_numbers_are_short() {
        let texts = [0.5, 20.0, 10_000.0, 2_500_000.0].map(|value| Scale::format(&value));
        assert_eq!(texts, ["0.5", "20", "10k", "2.5M"]);
    }

    #[test]
    fn nothing_to_show_is_no_trouble() {
        assert!(!Scale::of([], true).ticks().is_empty());
        assert!(!Scale::of([f64::NAN], false).ticks().is_empty());
    }
}
