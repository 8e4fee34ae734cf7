//! Holds a history to what is promised. Every finding is one broken promise, with the ids that show it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use crate::history::{Event, History, Phase};
use crate::pickle;

/// Which promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// An accepted task has no end.
    Lost,
    /// One submission became two tasks, or one attempt was made twice.
    Doubled,
    /// A status or result that could be read was another later.
    Changed,
    /// A status went backwards: an ended task runs, a task that waits again never ran.
    Backwards,
    /// A result of an execution that never ended, or of another task.
    Unfounded,
    /// A task of a function that never fails has failed.
    Failed,
    /// Everything was as before later than it must be.
    Late,
    /// The service's books disagree, with themselves or with what clients saw.
    Unbalanced,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Lost => "R1 lost",
            Self::Doubled => "R3 doubled",
            Self::Changed => "R2 changed",
            Self::Backwards => "R9 backwards",
            Self::Unfounded => "R2 unfounded",
            Self::Failed => "R1 failed",
            Self::Late => "R4 late",
            Self::Unbalanced => "R8 unbalanced",
        };
        f.write_str(text)
    }
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub rule: Rule,
    /// What shows it.
    pub evidence: String,
}

/// What a history comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many tasks were accepted.
    pub accepted: usize,
    /// How many faults there were.
    pub faults: usize,
    /// How many executions there were beyond the first of each task: allowed, as few as may be.
    pub again: usize,
    /// How long after the end of each fault the last task had ended that was open as it began.
    pub recoveries: Vec<Duration>,
    /// What is broken.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// How many findings there are of one rule.
    #[must_use]
    pub fn count(&self, rule: Rule) -> usize {
        self.findings.iter().filter(|finding| finding.rule == rule).count()
    }

    /// The recovery that this share of all faults did not exceed.
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
pub fn check(history: &History) -> Verdict {
    let tasks = Tasks::of(history);
    let mut verdict = Verdict { accepted: tasks.by_id.len(), ..Verdict::default() };
    tasks.check_submissions(&mut verdict);
    for (id, task) in &tasks.by_id {
        task.check(id, &mut verdict);
    }
    tasks.check_executions(history, &mut verdict);
    check_recovery(history, &tasks, &mut verdict);
    check_books(history, &tasks, &mut verdict);
    verdict.findings.sort_by_key(|finding| finding.rule);
    verdict
}

/// A look at a task.
#[derive(Debug)]
struct Look<'a> {
    status: &'a str,
    result: &'a str,
    asked_us: u64,
    at_us: u64,
}

#[derive(Debug)]
struct Task<'a> {
    key: u64,
    accepted_us: u64,
    looks: Vec<Look<'a>>,
    attempts: Option<u32>,
}

struct Tasks<'a> {
    by_id: BTreeMap<&'a str, Task<'a>>,
    by_key: HashMap<u64, HashSet<&'a str>>,
}

fn is_end(status: &str) -> bool {
    matches!(status, "COMPLETED" | "FAILED" | "CANCELLED")
}

impl Verdict {
    fn find(&mut self, rule: Rule, evidence: String) {
        self.findings.push(Finding { rule, evidence });
    }
}

impl<'a> Tasks<'a> {
    fn of(history: &'a History) -> Self {
        let mut tasks = Self { by_id: BTreeMap::new(), by_key: HashMap::new() };
        for line in &history.lines {
            if let Event::Accepted { key, task } = &line.event {
                let new =
                    Task { key: *key, accepted_us: line.at_us, looks: Vec::new(), attempts: None };
                tasks.by_id.entry(task).or_insert(new);
                tasks.by_key.entry(*key).or_default().insert(task);
            }
        }
        for line in &history.lines {
            match &line.event {
                Event::Seen { task, status, result, asked_us } => {
                    let look = Look { status, result, asked_us: *asked_us, at_us: line.at_us };
                    if let Some(task) = tasks.by_id.get_mut(task.as_str()) {
                        task.looks.push(look);
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
            task.looks.sort_by_key(|look| look.at_us);
        }
        tasks
    }

    fn check_submissions(&self, verdict: &mut Verdict) {
        for (key, ids) in self.by_key.iter().filter(|(_, ids)| ids.len() > 1) {
            verdict.find(Rule::Doubled, format!("key {key} became {} tasks: {ids:?}", ids.len()));
        }
    }

    /// What clients read, held against what tasks noted.
    fn check_executions(&self, history: &History, verdict: &mut Verdict) {
        let Some(notes) = &history.notes else { return };
        let (mut starts, mut ended) = (HashMap::<u64, usize>::new(), HashSet::new());
        for note in notes {
            match note.phase {
                Phase::Start => *starts.entry(note.key).or_default() += 1,
                Phase::End => {
                    ended.insert((note.key, note.run.as_str()));
                }
            }
        }
        for (id, task) in &self.by_id {
            let made = starts.get(&task.key).copied().unwrap_or(0);
            verdict.again += made.saturating_sub(1);
            if let Some(attempts) = task.attempts.filter(|attempts| made > *attempts as usize) {
                let text = format!("{id} was run {made} times in {attempts} attempts");
                verdict.find(Rule::Doubled, text);
            }
            let Some(end) = task.end().filter(|end| end.status == "COMPLETED") else { continue };
            let text = pickle::text(end.result).unwrap_or_default();
            let run = text.split_once(' ').filter(|(key, _)| *key == task.key.to_string());
            if !run.is_some_and(|(_, run)| ended.contains(&(task.key, run))) {
                let text = format!("{id}, key {}: no execution ended as `{text}`", task.key);
                verdict.find(Rule::Unfounded, text);
            }
        }
    }
}

impl Task<'_> {
    /// The first look that found it ended.
    fn end(&self) -> Option<&Look<'_>> {
        self.looks.iter().find(|look| is_end(look.status))
    }

    fn check(&self, id: &str, verdict: &mut Verdict) {
        let Some(end) = self.end() else {
            let last = self.looks.last().map_or("never seen", |look| look.status);
            return verdict.find(Rule::Lost, format!("{id}: {last}"));
        };
        if end.status != "COMPLETED" {
            verdict.find(Rule::Failed, format!("{id}: {}", end.status));
        }
        // Only looks that began after another was over say anything about order.
        let later = self.looks.iter().filter(|look| look.asked_us >= end.at_us);
        for look in later {
            if !is_end(look.status) {
                let text = format!("{id}: {}, then {}", end.status, look.status);
                return verdict.find(Rule::Backwards, text);
            }
        }
        let ends = self.looks.iter().filter(|look| is_end(look.status));
        let mut others = ends.filter(|look| (look.status, look.result) != (end.status, end.result));
        if let Some(other) = others.next() {
            let text = format!(
                "{id}: {} `{}`, then {} `{}`",
                end.status, end.result, other.status, other.result
            );
            verdict.find(Rule::Changed, text);
        }
    }
}

fn check_recovery(history: &History, tasks: &Tasks<'_>, verdict: &mut Verdict) {
    let faults = history.lines.iter().enumerate().filter_map(|(place, line)| match &line.event {
        Event::Fault { what, bound_ms } => Some((place, line.at_us, what, *bound_ms)),
        _ => None,
    });
    for (place, begun_us, what, bound_ms) in faults {
        verdict.faults += 1;
        let rest = history.lines[place + 1..].iter();
        let mut own = rest.take_while(|line| !matches!(line.event, Event::Fault { .. }));
        let healed = own.find(|line| line.event == Event::Healed);
        let over_us = healed.map_or(begun_us, |line| line.at_us);
        let open = tasks.by_id.iter().filter(|(_, task)| {
            task.accepted_us <= begun_us && task.end().is_some_and(|end| end.at_us > begun_us)
        });
        let last = open.filter_map(|(id, task)| Some((task.end()?.at_us, id))).max();
        let Some((last_us, id)) = last else {
            verdict.recoveries.push(Duration::ZERO);
            continue;
        };
        let took = Duration::from_micros(last_us.saturating_sub(over_us));
        verdict.recoveries.push(took);
        if took > Duration::from_millis(bound_ms) {
            verdict.find(Rule::Late, format!("{what}: {id} ended only after {took:?}"));
        }
    }
}

fn check_books(history: &History, tasks: &Tasks<'_>, verdict: &mut Verdict) {
    for line in &history.lines {
        let Event::Books { consistent, accepted, ended } = line.event else { continue };
        if !consistent {
            verdict.find(Rule::Unbalanced, "the books disagree with the queues".to_owned());
        }
        let known = tasks.by_id.len() as u64;
        // A submission whose answer was lost, and that was not repeated, is in the books alone.
        if accepted < known || accepted != ended {
            let text = format!("{known} known, {accepted} accepted, {ended} ended");
            verdict.find(Rule::Unbalanced, text);
        }
    }
}
