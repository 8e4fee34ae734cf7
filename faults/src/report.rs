//! The table: one row per scenario, as Markdown.

use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::checker::{CheckReport, Rule};
use crate::scenario::Scenario;

/// The head of the table.
pub const HEAD: &str = "\
| scenario | faults | accepted | lost | duplicated | changed | backwards | reruns | recovery p50 | p99 |
|---|---|---|---|---|---|---|---|---|---|";

/// How many findings of a scenario are shown.
const SHOWN: usize = 5;

/// A row of the table.
pub struct Row<'a>(pub Scenario, pub &'a CheckReport);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(scenario, report) = self;
        let count = |rule| report.count(rule);
        write!(
            f,
            "| {scenario} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            report.faults,
            report.accepted,
            count(Rule::Lost),
            count(Rule::Duplicated),
            count(Rule::Changed),
            count(Rule::Backwards),
            report.reruns,
            seconds(report.recovery(0.5)),
            seconds(report.recovery(0.99)),
        )
    }
}

/// The first findings, one line each, and the number of the others.
#[must_use]
pub fn findings(scenario: Scenario, report: &CheckReport) -> String {
    let mut text = String::new();
    for finding in report.findings.iter().take(SHOWN) {
        let _ = writeln!(text, "{scenario}: {}: {}", finding.rule, finding.evidence);
    }
    if let Some(more @ 1..) = report.findings.len().checked_sub(SHOWN) {
        let _ = writeln!(text, "{scenario}: and {more} more");
    }
    text
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
