//! The checker finds every broken promise in a history, and nothing in a correct one.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use belljar_faults::checker::{CheckReport, Rule, check};
use belljar_faults::history::{Event, Execution, History, Line, Phase, Recorder};

/// A result as the service returns it: `pickle.dumps(text, 4)`.
fn result(text: &str) -> String {
    let mut bytes = b"\x80\x04\x95\0\0\0\0\0\0\0\0\x8c".to_vec();
    bytes.push(u8::try_from(text.len()).expect("short"));
    bytes.extend(text.as_bytes());
    bytes.extend(b"\x94.");
    STANDARD.encode(bytes)
}

/// Builds a history. A task's id is `t` and its key.
struct HistoryBuilder {
    history: History,
    now_us: u64,
}

impl HistoryBuilder {
    fn new() -> Self {
        let history = History { lines: Vec::new(), executions: Some(Vec::new()) };
        Self { history, now_us: 0 }
    }

    fn event(&mut self, event: Event) -> &mut Self {
        self.now_us += 1000;
        self.history.lines.push(Line { at_us: self.now_us, event });
        self
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        self.now_us += time.as_micros() as u64;
        self
    }

    fn accepted(&mut self, key: u64) -> &mut Self {
        self.event(Event::Accepted { key, task: format!("t{key}") })
    }

    fn read(&mut self, key: u64, status: &str, result: &str) -> &mut Self {
        let (task, status, result) = (format!("t{key}"), status.to_owned(), result.to_owned());
        let asked_us = self.now_us + 500;
        self.event(Event::Read { task, status, result, asked_us })
    }

    fn execution(&mut self, key: u64, run: &str, phase: Phase) -> &mut Self {
        let execution = Execution { key, run: run.to_owned(), pid: 7, phase, at_us: self.now_us };
        self.history.executions.as_mut().expect("executions").push(execution);
        self
    }

    fn ran(&mut self, key: u64, run: &str) -> &mut Self {
        self.execution(key, run, Phase::Start).execution(key, run, Phase::End)
    }

    fn completed(&mut self, key: u64, run: &str) -> &mut Self {
        self.read(key, "COMPLETED", &result(&format!("{key} {run}")))
    }

    fn fault(&mut self, bound_ms: u64) -> &mut Self {
        self.event(Event::Fault { what: "a kill".to_owned(), bound_ms })
    }

    fn report(&self) -> CheckReport {
        check(&self.history)
    }

    /// The only finding breaks this rule and names this task.
    fn breaks(&self, rule: Rule, id: &str) {
        let report = self.report();
        let rules: Vec<_> = report.findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, [rule], "{report:?}");
        assert!(report.findings[0].evidence.contains(id), "{report:?}");
    }
}

/// Two tasks that complete, the second after a fault and a second execution.
fn correct() -> HistoryBuilder {
    let mut builder = HistoryBuilder::new();
    builder.accepted(1).read(1, "QUEUED", "").ran(1, "a.1").completed(1, "a.1");
    builder.accepted(2).execution(2, "a.2", Phase::Start).read(2, "RUNNING", "");
    builder.fault(3000).read(2, "QUEUED", "").ran(2, "b.1");
    builder.wait(Duration::from_millis(900)).completed(2, "b.1").completed(2, "b.1");
    builder.event(Event::Attempts { task: "t2".to_owned(), attempts: 2 });
    builder
}

#[test]
fn a_correct_history_has_no_findings() {
    let mut builder = correct();
    builder.event(Event::Audit { consistent: true, accepted: 2, ended: 2 });
    let report = builder.report();
    assert_eq!(report.findings, []);
    assert_eq!((report.accepted, report.faults, report.reruns), (2, 1, 1));
    assert_eq!(report.recovery(0.5), Duration::from_millis(902));
}

#[test]
fn lost_tasks_are_found() {
    correct().accepted(3).read(3, "RUNNING", "").breaks(Rule::Lost, "t3");
    correct().accepted(3).breaks(Rule::Lost, "never read");
}

#[test]
fn duplicated_tasks_are_found() {
    let mut builder = correct();
    builder.accepted(3).ran(3, "a.3").completed(3, "a.3");
    builder.event(Event::Accepted { key: 3, task: "t33".to_owned() });
    let (task, status) = ("t33".to_owned(), "COMPLETED".to_owned());
    let read = Event::Read { task, status, result: result("3 a.3"), asked_us: builder.now_us };
    builder.event(read).breaks(Rule::Duplicated, "t33");

    let mut builder = correct();
    builder.ran(2, "b.2").breaks(Rule::Duplicated, "t2");
}

#[test]
fn changed_results_are_found() {
    correct().ran(1, "c.1").completed(1, "c.1").breaks(Rule::Changed, "t1");
    correct().read(1, "FAILED", "").breaks(Rule::Changed, "t1");
}

#[test]
fn a_status_that_goes_backwards_is_found() {
    correct().read(1, "RUNNING", "").breaks(Rule::Backwards, "t1");
}

#[test]
fn overlapping_answers_tell_nothing_about_order() {
    let mut builder = correct();
    let end = builder.history.lines.iter().position(|line| {
        matches!(&line.event, Event::Read { task, status, .. } if task == "t1" && status == "COMPLETED")
    });
    let asked_us = builder.history.lines[end.expect("read")].at_us - 1;
    let (task, status, result) = ("t1".to_owned(), "RUNNING".to_owned(), String::new());
    builder.event(Event::Read { task, status, result, asked_us });
    assert_eq!(builder.report().findings, []);
}

#[test]
fn results_of_no_execution_are_found() {
    // No execution has the name that the result gives.
    correct().accepted(3).completed(3, "a.3").breaks(Rule::Unfounded, "t3");
    // It started and never ended.
    let mut builder = correct();
    builder
        .accepted(3)
        .execution(3, "a.3", Phase::Start)
        .completed(3, "a.3")
        .breaks(Rule::Unfounded, "t3");
    // It is another task's.
    let mut builder = correct();
    builder.accepted(3).ran(3, "a.3").read(3, "COMPLETED", &result("1 a.1"));
    builder.breaks(Rule::Unfounded, "t3");
}

#[test]
fn failures_are_found() {
    correct().accepted(3).ran(3, "a.3").read(3, "FAILED", "").breaks(Rule::Failed, "t3");
}

#[test]
fn late_recoveries_are_found_and_counted_from_the_end_of_the_fault() {
    let mut builder = correct();
    builder.accepted(3).fault(2000).wait(Duration::from_secs(4)).ran(3, "a.3").completed(3, "a.3");
    builder.breaks(Rule::Late, "t3");

    let mut builder = correct();
    builder.accepted(3).fault(2000).wait(Duration::from_secs(4)).event(Event::FaultEnded);
    builder.ran(3, "a.3").completed(3, "a.3");
    assert_eq!(builder.report().findings, []);
}

#[test]
fn an_inconsistent_audit_is_found() {
    let mut builder = correct();
    builder.event(Event::Audit { consistent: false, accepted: 2, ended: 2 });
    builder.breaks(Rule::Inconsistent, "queues");
    let mut builder = correct();
    builder.event(Event::Audit { consistent: true, accepted: 3, ended: 2 });
    builder.breaks(Rule::Inconsistent, "3 accepted");
}

#[test]
fn time_in_which_everything_stood_still_is_no_recovery() {
    for (stopped, is_late) in [(Duration::from_secs(8), false), (Duration::from_secs(2), true)] {
        let mut builder = HistoryBuilder::new();
        builder.accepted(1).ran(1, "a").fault(3000).wait(Duration::from_secs(9));
        builder.event(Event::Stopped { for_us: stopped.as_micros() as u64 }).completed(1, "a");
        assert_eq!(builder.report().count(Rule::Late), usize::from(is_late), "{stopped:?}");
    }
}

#[test]
fn a_result_that_stays_with_the_service_is_known_once_it_is_read() {
    let left = |read: &dyn Fn(&mut HistoryBuilder)| {
        let mut builder = HistoryBuilder::new();
        builder.accepted(1).ran(1, "a").read(1, "COMPLETED", "");
        read(&mut builder);
        builder.report().findings.first().map(|finding| finding.rule)
    };
    assert_eq!(
        left(&|builder| {
            builder.completed(1, "a");
        }),
        None
    );
    assert_eq!(left(&|_| {}), Some(Rule::Unfounded), "it was never read");
    let changed = |builder: &mut HistoryBuilder| {
        builder.completed(1, "a").read(1, "FAILED", "");
    };
    assert_eq!(left(&changed), Some(Rule::Changed));
}

#[test]
fn a_result_that_is_named_and_not_there_dangles() {
    let mut report = correct().report();
    report.allow_none_dangling(&["t1: 500".to_owned()]);
    assert_eq!(report.count(Rule::Dangling), 1, "{report:?}");
}

#[test]
fn a_history_is_read_as_it_was_written() {
    let directory = tempfile::tempdir().expect("made");
    let (lines, executions) = (directory.path().join("lines"), directory.path().join("executions"));
    let recorder = Recorder::create(&lines).expect("made");
    let written = correct().history;
    for line in &written.lines {
        recorder.record(line.event.clone()).expect("written");
    }
    recorder.flush().expect("written");
    let text: Vec<_> = written
        .executions
        .iter()
        .flatten()
        .map(|execution| serde_json::to_string(execution).expect("json"))
        .collect();
    std::fs::write(&executions, text.join("\n")).expect("written");
    let read = History::read(&lines, Some(&executions)).expect("read");
    assert_eq!(read.executions, written.executions);
    let events = |history: &History| -> Vec<Event> {
        history.lines.iter().map(|line| line.event.clone()).collect()
    };
    assert_eq!(events(&read), events(&written));
}

#[test]
fn a_file_that_stays_is_leaked() {
    let mut report = correct().report();
    report.allow_no_leaks(&[]);
    assert_eq!(report.findings, []);
    report.allow_no_leaks(&["held-0-t1".to_owned()]);
    assert_eq!(report.count(Rule::Leaked), 1);
    assert!(report.findings[0].evidence.contains("held-0-t1"), "{report:?}");
}
