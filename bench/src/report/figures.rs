//! What several sections need of their series.

use crate::chart::{Bar, Set};
use crate::run::{Run, Series};
use crate::stats::{Sorted, estimate_median, median};

/// The values of a label among series, in the order in which they were measured.
pub(super) fn values<'a>(all: impl Iterator<Item = &'a Series>, label: &str) -> Vec<String> {
    let mut values = Vec::new();
    for series in all {
        let value = series.label(label);
        if !value.is_empty() && values.iter().all(|known| known != value) {
            values.push(value.to_owned());
        }
    }
    values
}

/// A quantile of samples.
pub(super) fn quantile(samples: &[f64], q: f64) -> Option<f64> {
    Sorted::new(samples).quantile(q)
}

/// A label as a number, for an axis.
pub(super) fn number(series: &Series, label: &str) -> Option<f64> {
    series.label(label).parse().ok()
}

/// Bars at the medians of a metric: a set for each value of one label, in it a bar for each of another.
pub(super) fn median_sets(
    run: &Run,
    (experiment, metric): (&str, &str),
    (sets, groups): (&str, &str),
    fixed: &[(&str, &str)],
) -> (Vec<String>, Vec<Set>) {
    let all = || run.all(experiment, metric).filter(|series| fits(series, fixed));
    let groups_found = values(all(), groups);
    let sets_found = values(all(), sets).into_iter().map(|name| {
        let bar = |group: &String| {
            let mut found =
                all().filter(|series| series.label(sets) == name && series.label(groups) == group);
            bar(&found.next()?.samples)
        };
        Set { bars: groups_found.iter().map(bar).collect(), name }
    });
    let sets_found = sets_found.collect();
    (groups_found, sets_found)
}

/// A bar at the median, with its interval where there are samples for one.
fn bar(samples: &[f64]) -> Option<Bar> {
    let value = median(samples)?;
    let interval = (samples.len() > 2).then(|| estimate_median(samples)).flatten();
    Some(Bar { value, interval: interval.map(|interval| (interval.low, interval.high)) })
}

/// Whether a series was taken in this situation.
pub(super) fn fits(series: &Series, labels: &[(&str, &str)]) -> bool {
    labels.iter().all(|(name, value)| series.label(name) == *value)
}

/// The medians of a metric over a label that is a number, in its order.
pub(super) fn curve(
    run: &Run,
    (experiment, metric): (&str, &str),
    over: &str,
    fixed: &[(&str, &str)],
) -> Vec<(f64, f64)> {
    let all = run.all(experiment, metric).filter(|series| fits(series, fixed));
    let points = all.filter_map(|series| Some((number(series, over)?, median(&series.samples)?)));
    let mut points: Vec<_> = points.collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    points
}
