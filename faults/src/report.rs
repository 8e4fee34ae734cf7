//! The table: a row for each cell, as Markdown.

use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::cell::Cell;
use crate::checker::{Rule, Verdict};

/// The head of the table.
pub const HEAD: &str = "\
| cell | faults | accepted | lost | doubled | changed | backwards | run again | recovery p50 | p99 |
|---|---|---|---|---|---|---|---|---|---|";

/// How many findings of one cell are shown.
const SHOWN: usize = 5;

/// A row of the table.
pub struct Row<'a>(pub Cell, pub &'a Verdict);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(cell, verdict) = self;
        let count = |rule| verdict.count(rule);
        write!(
            f,
            "| {cell} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            verdict.faults,
            verdict.accepted,
            count(Rule::Lost),
            count(Rule::Doubled),
            count(Rule::Changed),
            count(Rule::Backwards),
            verdict.again,
            seconds(verdict.recovery(0.5)),
            seconds(verdict.recovery(0.99)),
        )
    }
}

/// What is wrong, a line for each finding, and how many more there are.
#[must_use]
pub fn findings(cell: Cell, verdict: &Verdict) -> String {
    let mut text = String::new();
    for finding in verdict.findings.iter().take(SHOWN) {
        let _ = writeln!(text, "{cell}: {}: {}", finding.rule, finding.evidence);
    }
    if let Some(more @ 1..) = verdict.findings.len().checked_sub(SHOWN) {
        let _ = writeln!(text, "{cell}: and {more} more");
    }
    text
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
