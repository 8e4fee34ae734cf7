//! Checks a history against the promises. Every finding is one broken promise, with the ids that show it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use crate::history::{Event, History, Phase};
use crate::pickle;

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// An accepted task never ends.
    Lost,
    /// One submission became two tasks, or one attempt ran twice.
    Duplicated,
    /// A terminal status or result changed.
    Changed,
    /// An ended task is queued or running again.
    Backwards,
    /// A result is of an execution that never ended, or of another task.
    Unfounded,
    /// A task failed although its function never fails.
    Failed,
    /// Recovery took too long.
    Late,
    /// Files or objects of values stay that nobody needs.
    Leaked,
    /// A result is named and is not there.
    Dangling,
    /// The service's audit disagrees with itself or with what clients saw.
    Inconsistent,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Lost => "R1 lost",
            Self::Duplicated => "R3 duplicated",
            Self::Changed => "R2 changed",
            Self::Backwards => "R9 backwards",
            Self::Unfounded => "R2 unfounded",
            Self::Failed => "R1 failed",
            Self::Late => "R4 late",
            Self::Leaked => "R7 leaked",
            Self::Dangling => "R1 dangling",
            Self::Inconsistent => "R8 inconsistent",
        };
        f.write_str(text)
    }
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The promise.
    pub rule: Rule,
    /// What shows it.
    pub evidence: String,
}

/// The result of checking a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// How many tasks were accepted.
    pub accepted: usize,
    /// How many faults there were.
    pub faults: usize,
    /// How many executions there were beyond the first of each task. They are allowed.
    pub reruns: usize,
    /// For each fault: how long after its end the last task ended that was open when it began.
    pub recoveries: Vec<Duration>,
    /// The broken promises.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// How many findings there are of one rule.
    #[must_use]
    pub fn count(&self, rule: Rule) -> usize {
        self.findings.iter().filter(|finding| finding.rule == rule).count()
    }

    /// Makes every execution beyond the first of a task a finding: where each part leaves by itself, none is needed.
    pub fn allow_no_reruns(&mut self) {
        if self.reruns > 0 {
            let text = format!("{} executions were repeated although no part died", self.reruns);
            self.find(Rule::Duplicated, text);
        }
    }

    /// Makes every result a finding that is named and not there.
    pub fn allow_none_dangling(&mut self, dangling: &[String]) {
        for text in dangling {
            self.find(Rule::Dangling, text.clone());
        }
    }

    /// Makes every file that stays a finding: nobody needs it any more.
    pub fn allow_no_leaks(&mut self, left: &[String]) {
        for name in left {
            self.find(Rule::Leaked, format!("`{name}` stays"));
        }
    }

    /// The quantile of the recoveries.
    #[must_use]
    pub fn recovery(&self, share: f64) -> Duration {
        let mut sorted = self.recoveries.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
    }
}

/// Checks a history against all rules.
#[must_use]
pub fn check(history: &History) -> CheckReport {
    let tasks = Tasks::of(history);
    let mut report = CheckReport { accepted: tasks.by_id.len(), ..CheckReport::default() };
    tasks.check_submissions(&mut report);
    for (id, task) in &tasks.by_id {
        task.check(id, &mut report);
    }
    tasks.check_executions(history, &mut report);
    check_recovery(history, &tasks, &mut report);
    check_audit(history, &tasks, &mut report);
    report.findings.sort_by_key(|finding| finding.rule);
    report
}

/// What a client read of a task.
#[derive(Debug)]
struct Reading<'a> {
    status: &'a str,
    result: &'a str,
    asked_us: u64,
    at_us: u64,
}

#[derive(Debug)]
struct Task<'a> {
    key: u64,
    accepted_us: u64,
    readings: Vec<Reading<'a>>,
    attempts: Option<u32>,
}

struct Tasks<'a> {
    by_id: BTreeMap<&'a str, Task<'a>>,
    by_key: HashMap<u64, HashSet<&'a str>>,
}

fn is_terminal(status: &str) -> bool {
    matches!(status, "COMPLETED" | "FAILED" | "CANCELLED")
}

impl CheckReport {
    fn find(&mut self, rule: Rule, evidence: String) {
        self.findings.push(Finding { rule, evidence });
    }
}

impl<'a> Tasks<'a> {
    fn of(history: &'a History) -> Self {
        let mut tasks = Self { by_id: BTreeMap::new(), by_key: HashMap::new() };
        for line in &history.lines {
            if let Event::Accepted { key, task } = &line.event {
                let new = Task {
                    key: *key,
                    accepted_us: line.at_us,
                    readings: Vec::new(),
                    attempts: None,
                };
                tasks.by_id.entry(task).or_insert(new);
                tasks.by_key.entry(*key).or_default().insert(task);
            }
        }
        for line in &history.lines {
            match &line.event {
                Event::Read { task, status, result, asked_us } => {
                    let reading =
                        Reading { status, result, asked_us: *asked_us, at_us: line.at_us };
                    if let Some(task) = tasks.by_id.get_mut(task.as_str()) {
                        task.readings.push(reading);
                    }
                }
                Event::Attempts { task, attempts } => {
                    if let Some(task) = tasks.by_id.get_mut(task.as_str()) {
                        task.attempts = Some(*attempts);
                    }
                }
                _ => {}
            }
        }
        for task in tasks.by_id.values_mut() {
            task.readings.sort_by_key(|reading| reading.at_us);
        }
        tasks
    }

    fn check_submissions(&self, report: &mut CheckReport) {
        for (key, ids) in self.by_key.iter().filter(|(_, ids)| ids.len() > 1) {
            report.find(Rule::Duplicated, format!("key {key} became {} tasks: {ids:?}", ids.len()));
        }
    }

    /// Compares what clients read with what tasks wrote.
    fn check_executions(&self, history: &History, report: &mut CheckReport) {
        let Some(executions) = &history.executions else { return };
        let (mut starts, mut ended) = (HashMap::<u64, usize>::new(), HashSet::new());
        for execution in executions {
            match execution.phase {
                Phase::Start => *starts.entry(execution.key).or_default() += 1,
                Phase::End => {
                    ended.insert((execution.key, execution.run.as_str()));
                }
            }
        }
        for (id, task) in &self.by_id {
            let made = starts.get(&task.key).copied().unwrap_or(0);
            report.reruns += made.saturating_sub(1);
            if let Some(attempts) = task.attempts.filter(|attempts| made > *attempts as usize) {
                let text = format!("{id} was run {made} times in {attempts} attempts");
                report.find(Rule::Duplicated, text);
            }
            let Some(end) = task.whole_end().filter(|end| end.status == "COMPLETED") else {
                continue;
            };
            let text = pickle::text(end.result).unwrap_or_default();
            let run = text.split_once(' ').filter(|(key, _)| *key == task.key.to_string());
            if !run.is_some_and(|(_, run)| ended.contains(&(task.key, run))) {
                let text = format!("{id}, key {}: no execution ended as `{text}`", task.key);
                report.find(Rule::Unfounded, text);
            }
        }
    }
}

impl Task<'_> {
    /// The first reading of it as ended.
    fn end(&self) -> Option<&Reading<'_>> {
        self.readings.iter().find(|reading| is_terminal(reading.status))
    }

    /// The first reading of it as ended that has its result.
    fn whole_end(&self) -> Option<&Reading<'_>> {
        let mut ends = self.readings.iter().filter(|reading| is_terminal(reading.status));
        ends.find(|reading| !reading.result.is_empty()).or_else(|| self.end())
    }

    fn check(&self, id: &str, report: &mut CheckReport) {
        let whole = self.whole_end();
        let Some(end) = self.end() else {
            let last = self.readings.last().map_or("never read", |reading| reading.status);
            return report.find(Rule::Lost, format!("{id}: {last}"));
        };
        if end.status != "COMPLETED" {
            report.find(Rule::Failed, format!("{id}: {}", end.status));
        }
        // Only readings that began after another ended tell anything about order.
        let later = self.readings.iter().filter(|reading| reading.asked_us >= end.at_us);
        for reading in later {
            if !is_terminal(reading.status) {
                let text = format!("{id}: {}, then {}", end.status, reading.status);
                return report.find(Rule::Backwards, text);
            }
        }
        let (mut ends, end) = (self.readings.iter(), whole.unwrap_or(end));
        let differs = |reading: &Reading<'_>| {
            let has_other = !reading.result.is_empty() && reading.result != end.result;
            is_terminal(reading.status) && (reading.status != end.status || has_other)
        };
        if let Some(other) = ends.find(|reading| differs(reading)) {
            let text = format!(
                "{id}: {} `{}`, then {} `{}`",
                end.status, end.result, other.status, other.result
            );
            report.find(Rule::Changed, text);
        }
    }
}

fn check_recovery(history: &History, tasks: &Tasks<'_>, report: &mut CheckReport) {
    let faults = history.lines.iter().enumerate().filter_map(|(place, line)| match &line.event {
        Event::Fault { what, bound_ms } => Some((place, line.at_us, what, *bound_ms)),
        _ => None,
    });
    for (place, begun_us, what, bound_ms) in faults {
        report.faults += 1;
        let rest = history.lines[place + 1..].iter();
        let mut own = rest.take_while(|line| !matches!(line.event, Event::Fault { .. }));
        let healed = own.find(|line| line.event == Event::FaultEnded);
        let over_us = healed.map_or(begun_us, |line| line.at_us);
        let open = tasks.by_id.iter().filter(|(_, task)| {
            task.accepted_us <= begun_us && task.end().is_some_and(|end| end.at_us > begun_us)
        });
        let last = open.filter_map(|(id, task)| Some((task.end()?.at_us, id))).max();
        let Some((last_us, id)) = last else {
            report.recoveries.push(Duration::ZERO);
            continue;
        };
        let took =
            last_us.saturating_sub(over_us).saturating_sub(history.stopped_us(over_us, last_us));
        let took = Duration::from_micros(took);
        report.recoveries.push(took);
        if took > Duration::from_millis(bound_ms) {
            report.find(Rule::Late, format!("{what}: {id} ended only after {took:?}"));
        }
    }
}

fn check_audit(history: &History, tasks: &Tasks<'_>, report: &mut CheckReport) {
    for line in &history.lines {
        let Event::Audit { consistent, accepted, ended } = line.event else { continue };
        if !consistent {
            report.find(Rule::Inconsistent, "the audit disagrees with the queues".to_owned());
        }
        let known = tasks.by_id.len() as u64;
        // A submission whose answer was lost and that was not repeated is in the audit only.
        if accepted < known || accepted != ended {
            let text = format!("{known} known, {accepted} accepted, {ended} ended");
            report.find(Rule::Inconsistent, text);
        }
    }
}
