//! The checker finds what is broken in a history, and nothing in one that is whole.

#![expect(clippy::expect_used, reason = "tests end at the first surprise")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use belljar_faults::checker::{Rule, Verdict, check};
use belljar_faults::history::{Event, History, Line, Note, Phase, Recorder};

/// A result as the service gives it: `pickle.dumps(text, 4)`.
fn result(text: &str) -> String {
    let mut bytes = b"\x80\x04\x95\0\0\0\0\0\0\0\0\x8c".to_vec();
    bytes.push(u8::try_from(text.len()).expect("short"));
    bytes.extend(text.as_bytes());
    bytes.extend(b"\x94.");
    STANDARD.encode(bytes)
}

/// A history in the making. A task's id is `t` and its key.
struct Story {
    history: History,
    now_us: u64,
}

impl Story {
    fn new() -> Self {
        let history = History { lines: Vec::new(), notes: Some(Vec::new()) };
        Self { history, now_us: 0 }
    }

    fn tell(&mut self, event: Event) -> &mut Self {
        self.now_us += 1000;
        self.history.lines.push(Line { at_us: self.now_us, event });
        self
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        self.now_us += time.as_micros() as u64;
        self
    }

    fn accepted(&mut self, key: u64) -> &mut Self {
        self.tell(Event::Accepted { key, task: format!("t{key}") })
    }

    fn seen(&mut self, key: u64, status: &str, result: &str) -> &mut Self {
        let (task, status, result) = (format!("t{key}"), status.to_owned(), result.to_owned());
        let asked_us = self.now_us + 500;
        self.tell(Event::Seen { task, status, result, asked_us })
    }

    fn note(&mut self, key: u64, run: &str, phase: Phase) -> &mut Self {
        let note = Note { key, run: run.to_owned(), pid: 7, phase, at_us: self.now_us };
        self.history.notes.as_mut().expect("notes").push(note);
        self
    }

    fn ran(&mut self, key: u64, run: &str) -> &mut Self {
        self.note(key, run, Phase::Start).note(key, run, Phase::End)
    }

    fn completed(&mut self, key: u64, run: &str) -> &mut Self {
        self.seen(key, "COMPLETED", &result(&format!("{key} {run}")))
    }

    fn fault(&mut self, bound_ms: u64) -> &mut Self {
        self.tell(Event::Fault { what: "a kill".to_owned(), bound_ms })
    }

    fn verdict(&self) -> Verdict {
        check(&self.history)
    }

    /// Only this is wrong, and it is said of this task.
    fn breaks(&self, rule: Rule, id: &str) {
        let verdict = self.verdict();
        let rules: Vec<_> = verdict.findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, [rule], "{verdict:?}");
        assert!(verdict.findings[0].evidence.contains(id), "{verdict:?}");
    }
}

/// Two tasks that go well, the second through a fault and a second execution.
fn whole() -> Story {
    let mut story = Story::new();
    story.accepted(1).seen(1, "QUEUED", "").ran(1, "a.1").completed(1, "a.1");
    story.accepted(2).note(2, "a.2", Phase::Start).seen(2, "RUNNING", "");
    story.fault(3000).seen(2, "QUEUED", "").ran(2, "b.1");
    story.wait(Duration::from_millis(900)).completed(2, "b.1").completed(2, "b.1");
    story.tell(Event::Attempts { task: "t2".to_owned(), attempts: 2 });
    story
}

#[test]
fn a_whole_history_has_no_findings() {
    let mut story = whole();
    story.tell(Event::Books { consistent: true, accepted: 2, ended: 2 });
    let verdict = story.verdict();
    assert_eq!(verdict.findings, []);
    assert_eq!((verdict.accepted, verdict.faults, verdict.again), (2, 1, 1));
    assert_eq!(verdict.recovery(0.5), Duration::from_millis(902));
}

#[test]
fn lost_tasks_are_found() {
    whole().accepted(3).seen(3, "RUNNING", "").breaks(Rule::Lost, "t3");
    whole().accepted(3).breaks(Rule::Lost, "never seen");
}

#[test]
fn doubled_tasks_are_found() {
    let mut story = whole();
    story.accepted(3).ran(3, "a.3").completed(3, "a.3");
    story.tell(Event::Accepted { key: 3, task: "t33".to_owned() });
    let (task, status) = ("t33".to_owned(), "COMPLETED".to_owned());
    let seen = Event::Seen { task, status, result: result("3 a.3"), asked_us: story.now_us };
    story.tell(seen).breaks(Rule::Doubled, "t33");

    let mut story = whole();
    story.ran(2, "b.2").breaks(Rule::Doubled, "t2");
}

#[test]
fn changed_results_are_found() {
    whole().ran(1, "c.1").completed(1, "c.1").breaks(Rule::Changed, "t1");
    whole().seen(1, "FAILED", "").breaks(Rule::Changed, "t1");
}

#[test]
fn a_status_that_goes_backwards_is_found() {
    whole().seen(1, "RUNNING", "").breaks(Rule::Backwards, "t1");
}

#[test]
fn answers_that_crossed_say_nothing_about_order() {
    let mut story = whole();
    let end = story.history.lines.iter().position(|line| {
        matches!(&line.event, Event::Seen { task, status, .. } if task == "t1" && status == "COMPLETED")
    });
    let asked_us = story.history.lines[end.expect("seen")].at_us - 1;
    let (task, status, result) = ("t1".to_owned(), "RUNNING".to_owned(), String::new());
    story.tell(Event::Seen { task, status, result, asked_us });
    assert_eq!(story.verdict().findings, []);
}

#[test]
fn results_of_no_execution_are_found() {
    // The attempt that is said to have given the result is missing.
    whole().accepted(3).completed(3, "a.3").breaks(Rule::Unfounded, "t3");
    // It began and never ended.
    let mut story = whole();
    story
        .accepted(3)
        .note(3, "a.3", Phase::Start)
        .completed(3, "a.3")
        .breaks(Rule::Unfounded, "t3");
    // It is another task's.
    let mut story = whole();
    story.accepted(3).ran(3, "a.3").seen(3, "COMPLETED", &result("1 a.1"));
    story.breaks(Rule::Unfounded, "t3");
}

#[test]
fn failures_are_found() {
    whole().accepted(3).ran(3, "a.3").seen(3, "FAILED", "").breaks(Rule::Failed, "t3");
}

#[test]
fn late_recoveries_are_found_and_counted_from_the_end_of_the_fault() {
    let mut story = whole();
    story.accepted(3).fault(2000).wait(Duration::from_secs(4)).ran(3, "a.3").completed(3, "a.3");
    story.breaks(Rule::Late, "t3");

    let mut story = whole();
    story.accepted(3).fault(2000).wait(Duration::from_secs(4)).tell(Event::Healed);
    story.ran(3, "a.3").completed(3, "a.3");
    assert_eq!(story.verdict().findings, []);
}

#[test]
fn books_that_disagree_are_found() {
    let mut story = whole();
    story.tell(Event::Books { consistent: false, accepted: 2, ended: 2 });
    story.breaks(Rule::Unbalanced, "queues");
    let mut story = whole();
    story.tell(Event::Books { consistent: true, accepted: 3, ended: 2 });
    story.breaks(Rule::Unbalanced, "3 accepted");
}

#[test]
fn a_history_comes_back_from_its_files() {
    let directory = tempfile::tempdir().expect("made");
    let (lines, notes) = (directory.path().join("lines"), directory.path().join("notes"));
    let recorder = Recorder::create(&lines).expect("made");
    let told = whole().history;
    for line in &told.lines {
        recorder.note(line.event.clone()).expect("noted");
    }
    recorder.flush().expect("written");
    let text: Vec<_> = told
        .notes
        .iter()
        .flatten()
        .map(|note| serde_json::to_string(note).expect("json"))
        .collect();
    std::fs::write(&notes, text.join("\n")).expect("written");
    let read = History::read(&lines, Some(&notes)).expect("read");
    assert_eq!(read.notes, told.notes);
    let events = |history: &History| -> Vec<Event> {
        history.lines.iter().map(|line| line.event.clone()).collect()
    };
    assert_eq!(events(&read), events(&told));
}
