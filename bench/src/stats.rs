//! Numbers about numbers: percentiles, and confidence intervals by the bootstrap.

use serde::{Deserialize, Serialize};

/// How often the bootstrap draws.
const RESAMPLES: usize = 2_000;
/// The part of its draws that an interval leaves out at either end: 95 % remain.
const TAIL: f64 = 0.025;
/// Draws are the same in every run, so that a report can be made again from its samples.
const SEED: u64 = 0x5eed;

/// A figure with the interval in which it lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Samples in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sorted(Vec<f64>);

impl Sorted {
    pub(crate) fn new(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }

    /// The value below which the part `q` of the samples lies, between two samples if need be;
    /// `None` without samples.
    pub(crate) fn quantile(&self, q: f64) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        let position = q.clamp(0.0, 1.0) * last as f64;
        let below = self.0[position.floor() as usize];
        let above = self.0[position.ceil() as usize];
        Some(below + (above - below) * position.fract())
    }
}

/// The middle one; `None` without samples.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    Sorted::new(samples).quantile(0.5)
}

/// The n-th root of the product; `None` without samples or for ones that are not positive.
pub(crate) fn geometric_mean(samples: &[f64]) -> Option<f64> {
    if samples.is_empty() || samples.iter().any(|&sample| sample <= 0.0) {
        return None;
    }
    let sum: f64 = samples.iter().map(|sample| sample.ln()).sum();
    Some((sum / samples.len() as f64).exp())
}

/// The median of samples.
pub(crate) fn estimate_median(samples: &[f64]) -> Option<Estimate> {
    let value = median(samples)?;
    bootstrap(value, |random| median(&draw(samples, random)))
}

/// The median of `above` over the median of `below`.
pub(crate) fn estimate_ratio(above: &[f64], below: &[f64]) -> Option<Estimate> {
    let ratio = |above: &[f64], below: &[f64]| Some(median(above)? / median(below)?);
    let value = ratio(above, below)?;
    bootstrap(value, |random| ratio(&draw(above, random), &draw(below, random)))
}

/// The geometric mean of ratios of medians, each of two lists of samples.
pub(crate) fn estimate_mean_ratio(pairs: &[(&[f64], &[f64])]) -> Option<Estimate> {
    let mean = |ratios: Option<Vec<f64>>| geometric_mean(&ratios?);
    let ratio = |above: &[f64], below: &[f64]| Some(median(above)? / median(below)?);
    let value = mean(pairs.iter().map(|(above, below)| ratio(above, below)).collect())?;
    bootstrap(value, |random| {
        let drawn = pairs.iter().map(|(above, below)| {
            let above = draw(above, random);
            ratio(&above, &draw(below, random))
        });
        mean(drawn.collect())
    })
}

fn bootstrap(
    value: f64,
    mut figure: impl FnMut(&mut fastrand::Rng) -> Option<f64>,
) -> Option<Estimate> {
    let mut random = fastrand::Rng::with_seed(SEED);
    let drawn: Option<Vec<f64>> = (0..RESAMPLES).map(|_| figure(&mut random)).collect();
    let drawn = Sorted::new(&drawn?);
    Some(Estimate { value, low: drawn.quantile(TAIL)?, high: drawn.quantile(1.0 - TAIL)? })
}

/// As many samples as there are, each drawn from all.
fn draw(samples: &[f64], random: &mut fastrand::Rng) -> Vec<f64> {
    samples.iter().map(|_| samples[random.usize(..samples.len())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(mean: f64, spread: f64, count: usize, seed: u64) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(seed);
        // Twelve uniform numbers sum up to nearly a normal one, of variance 1.
        let mut one = || (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        (0..count).map(|_| mean + spread * one()).collect()
    }

    #[test]
    fn quantiles_lie_between_samples() {
        let sorted = Sorted::new(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!(sorted.quantile(0.0), Some(1.0));
        assert_eq!(sorted.quantile(0.5), Some(2.5));
        assert_eq!(sorted.quantile(1.0), Some(4.0));
        assert_eq!(Sorted::new(&[7.0]).quantile(0.99), Some(7.0));
        assert_eq!(Sorted::new(&[]).quantile(0.5), None);
    }

    #[test]
    fn a_99th_percentile_of_a_hundred_is_nearly_the_largest() {
        let samples: Vec<f64> = (1..=100).map(f64::from).collect();
        let p99 = Sorted::new(&samples).quantile(0.99).unwrap();
        assert!((p99 - 99.01).abs() < 1e-9, "{p99}");
    }

    #[test]
    fn the_geometric_mean_of_opposite_ratios_is_one() {
        assert!((geometric_mean(&[4.0, 0.25]).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(geometric_mean(&[]), None);
        assert_eq!(geometric_mean(&[1.0, 0.0]), None);
    }

    #[test]
    fn intervals_hold_the_truth_about_as_often_as_they_say() {
        let held = (0..200).filter(|&seed| {
            let interval = estimate_median(&normal(10.0, 1.0, 40, seed)).unwrap();
            (interval.low..=interval.high).contains(&10.0)
        });
        let held = held.count();
        assert!((180..=200).contains(&held), "{held} of 200");
    }

    #[test]
    fn intervals_narrow_with_more_samples() {
        let width = |count| {
            let interval = estimate_median(&normal(10.0, 1.0, count, 1)).unwrap();
            interval.high - interval.low
        };
        assert!(width(1_000) < width(50) / 2.0);
    }

    #[test]
    fn a_ratio_is_the_ratio_of_medians() {
        let interval =
            estimate_ratio(&normal(30.0, 1.0, 100, 1), &normal(20.0, 1.0, 100, 2)).unwrap();
        assert!(interval.low < 1.5 && 1.5 < interval.high, "{interval:?}");
        assert!(interval.high - interval.low < 0.1, "{interval:?}");
        assert_eq!(estimate_ratio(&[], &[1.0]), None);
    }

    #[test]
    fn a_mean_of_ratios_weighs_each_pair_alike() {
        let (slow, fast) = (normal(8.0, 0.1, 30, 1), normal(2.0, 0.1, 30, 2));
        let (even, same) = (normal(100.0, 0.1, 30, 3), normal(100.0, 0.1, 30, 4));
        let mean = estimate_mean_ratio(&[(&slow, &fast), (&even, &same)]).unwrap();
        assert!((mean.value - 2.0).abs() < 0.1, "{mean:?}");
        assert!(mean.low <= mean.value && mean.value <= mean.high);
    }

    #[test]
    fn the_same_samples_give_the_same_interval() {
        let samples = normal(1.0, 0.2, 30, 9);
        assert_eq!(estimate_median(&samples), estimate_median(&samples));
    }
}
