//! Two runs beside each other: what has become worse, and what better, by more than chance explains.

use crate::run::{Better, Run, Series};
use crate::show::{figure, table};
use crate::stats::{Estimate, Sorted, estimate_ratio, median};

/// With fewer samples on either side, an interval says little.
const FEW: usize = 8;
/// With few samples, a change counts from this part on, and only if no sample of one run lies among
/// those of the other.
const FEW_TOLERANCE: f64 = 0.25;
/// Beyond this difference of the yardsticks, two runs were not made on equal terms.
const SAME_MACHINE: f64 = 0.1;

/// What has become of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Worse,
    Better,
    None,
}

/// A figure in both runs.
struct Pair<'a> {
    before: &'a Series,
    after: &'a Series,
    ratio: Estimate,
    change: Change,
}

/// What a comparison says.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) text: String,
    pub(crate) regressions: usize,
}

/// Compares the medians of all series that both runs have.
pub(crate) fn compare(before: &Run, after: &Run, tolerance: f64) -> Comparison {
    let pairs: Vec<Pair<'_>> = before
        .series
        .iter()
        .filter_map(|series| {
            let counterpart = after.series.iter().find(|other| series.is_counterpart(other))?;
            pair(series, counterpart, tolerance)
        })
        .collect();
    let of = |change| pairs.iter().filter(move |pair| pair.change == change);
    let regressions = of(Change::Worse).count();
    let mut text = format!("{} figures are in both runs.\n", pairs.len());
    text += &terms(before, after);
    for (change, title) in [(Change::Worse, "worse"), (Change::Better, "better")] {
        if of(change).next().is_some() {
            text += &format!("\n{} are {title}:\n\n", of(change).count());
            text += &table(&["figure", "before", "after", "ratio", "95 %"], of(change).map(row));
        }
    }
    if regressions == 0 {
        text += "\nNothing is worse.\n";
    }
    Comparison { text, regressions }
}

/// Whether both runs were made on equal terms.
fn terms(before: &Run, after: &Run) -> String {
    let ratio = after.machine.yardstick_ms / before.machine.yardstick_ms;
    let others = [before, after].map(|run| 100.0 * (run.load.others + run.load.stolen));
    let mut text = String::new();
    if !((1.0 - SAME_MACHINE)..=(1.0 + SAME_MACHINE)).contains(&ratio) {
        text += &format!(
            "The machine was not equally fast: a fixed piece of Python work took {} ms before and \
             {} ms after.\n",
            figure(before.machine.yardstick_ms),
            figure(after.machine.yardstick_ms)
        );
    }
    if others.iter().any(|&percent| percent > 5.0) {
        text += &format!(
            "Others used the processors: {:.0} % before, {:.0} % after.\n",
            others[0], others[1]
        );
    }
    text
}

fn pair<'a>(before: &'a Series, after: &'a Series, tolerance: f64) -> Option<Pair<'a>> {
    let ratio = estimate_ratio(&after.samples, &before.samples)?;
    let is_few = before.samples.len().min(after.samples.len()) < FEW;
    let (grown, shrunk) = if is_few {
        let tolerance = tolerance.max(FEW_TOLERANCE);
        let apart = are_apart(&before.samples, &after.samples);
        (apart && ratio.value > 1.0 + tolerance, apart && ratio.value < 1.0 / (1.0 + tolerance))
    } else {
        (ratio.low > 1.0 + tolerance, ratio.high < 1.0 / (1.0 + tolerance))
    };
    let change = match (before.better, grown, shrunk) {
        (Better::Less, true, _) | (Better::More, _, true) => Change::Worse,
        (Better::Less, _, true) | (Better::More, true, _) => Change::Better,
        _ => Change::None,
    };
    Some(Pair { before, after, ratio, change })
}

/// Whether all samples of one lie on the same side of all samples of the other.
fn are_apart(before: &[f64], after: &[f64]) -> bool {
    let (before, after) = (Sorted::new(before), Sorted::new(after));
    let ends = |sorted: &Sorted| Some((sorted.quantile(0.0)?, sorted.quantile(1.0)?));
    let Some(((b_low, b_high), (a_low, a_high))) = ends(&before).zip(ends(&after)) else {
        return false;
    };
    a_low > b_high || a_high < b_low
}

fn row(pair: &Pair<'_>) -> Vec<String> {
    let middle = |series: &Series| {
        let value = median(&series.samples).map(figure).unwrap_or_default();
        format!("{value} {}", series.unit)
    };
    vec![
        pair.before.title(),
        middle(pair.before),
        middle(pair.after),
        format!("{:.2}", pair.ratio.value),
        format!("{:.2} - {:.2}", pair.ratio.low, pair.ratio.high),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    fn run(better: Better, samples: Vec<f64>) -> Run {
        let mut run = Run::new("quick", Machine { yardstick_ms: 10.0, ..Machine::default() });
        let series = Series::new("latency", "latency", "ms", better).at("mode", "pull");
        run.series.push(series.of(samples));
        run
    }

    fn around(middle: f64, count: usize) -> Vec<f64> {
        (0..count).map(|index| middle * (0.9 + 0.2 * index as f64 / count as f64)).collect()
    }

    fn regressions(better: Better, before: Vec<f64>, after: Vec<f64>) -> usize {
        compare(&run(better, before), &run(better, after), 0.05).regressions
    }

    #[test]
    fn a_run_is_no_worse_than_itself() {
        let same = run(Better::Less, around(1.0, 100));
        let found = compare(&same, &same, 0.05);
        assert_eq!(found.regressions, 0);
        assert!(found.text.contains("Nothing is worse"), "{}", found.text);
    }

    #[test]
    fn slower_is_worse_and_faster_is_not() {
        assert_eq!(regressions(Better::Less, around(1.0, 100), around(1.2, 100)), 1);
        assert_eq!(regressions(Better::Less, around(1.2, 100), around(1.0, 100)), 0);
        assert_eq!(regressions(Better::More, around(1.2, 100), around(1.0, 100)), 1);
        assert_eq!(regressions(Better::More, around(1.0, 100), around(1.2, 100)), 0);
    }

    #[test]
    fn a_change_within_the_tolerance_does_not_count() {
        assert_eq!(regressions(Better::Less, around(1.0, 1_000), around(1.04, 1_000)), 0);
    }

    #[test]
    fn few_samples_that_mix_prove_nothing() {
        assert_eq!(regressions(Better::Less, vec![1.0, 1.6], vec![1.5, 2.0]), 0);
        assert_eq!(regressions(Better::Less, vec![1.0, 1.1], vec![1.5, 2.0]), 1);
    }

    #[test]
    fn a_regression_is_told_with_its_name_and_figures() {
        let before = run(Better::Less, around(1.0, 100));
        let found = compare(&before, &run(Better::Less, around(2.0, 100)), 0.05);
        assert!(found.text.contains("latency latency, mode pull"), "{}", found.text);
        assert!(found.text.contains("2.00"), "{}", found.text);
    }

    #[test]
    fn figures_of_one_run_only_are_left_out() {
        let before = run(Better::Less, around(1.0, 100));
        let mut after = run(Better::Less, around(9.0, 100));
        after.series[0].labels.insert("mode".into(), "push".into());
        let found = compare(&before, &after, 0.05);
        assert_eq!(found.regressions, 0);
        assert!(found.text.starts_with("0 figures"), "{}", found.text);
    }

    #[test]
    fn a_slower_machine_is_told() {
        let before = run(Better::Less, around(1.0, 100));
        let mut after = before.clone();
        after.machine.yardstick_ms = 20.0;
        assert!(compare(&before, &after, 0.05).text.contains("not equally fast"));
    }
}
