//! Sessions: each call in an instance of its own, which goes on from what the one before has left.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use belljar_core::outcome::FailureKind;
use belljar_core::task::PythonVersion;
use belljar_core::warm::WarmMode;
use belljar_sandbox::image::default_dir;
use belljar_sandbox::{
    Answer, EngineConfig, Function, GrantedAccess, Image, Limits, Output, Sandbox, source,
};
use bytes::Bytes;

fn image() -> Image {
    let guest = default_dir(PythonVersion::default()).expect("a home");
    Image::load(guest, &EngineConfig::default()).expect("a guest")
}

/// A session, and the process that its next call runs in.
struct Session {
    sandbox: Sandbox,
    state: Bytes,
    limits: Limits,
    /// Bytes of `/tmp`.
    scratch: u64,
}

impl Session {
    fn new() -> Self {
        Self::of(&image())
    }

    fn of(image: &Image) -> Self {
        let sandbox = Sandbox::new(image, &GrantedAccess::none(), Output::Capture(1000));
        let limits = Limits::default();
        let sandbox = sandbox.expect("starts");
        Self { sandbox, state: Bytes::new(), limits, scratch: 1 << 20 }
    }

    fn call(&mut self, code: &[u8], args: &[u8]) -> Answer {
        let function = Function { code, name: None, warm: WarmMode::Auto };
        let grants = GrantedAccess::none().scratch(self.scratch);
        let limits = (&self.limits, &grants);
        let called = self.sandbox.call_in_session(function, args, limits, &self.state);
        let (answer, left) = called.expect("a sandbox");
        if let Some(left) = left {
            self.state = left;
        }
        answer
    }

    fn step(&mut self, source: &str) -> Answer {
        let source = serde_json::to_string(&[source]).expect("a text");
        self.call(b"\x80\x04cbelljar_session\nrun\n.", &source::arguments(&source))
    }

    /// The text of what a step's last expression comes to.
    fn run(&mut self, source: &str) -> String {
        let answer = self.step(&format!("{source}\nstr(_)"));
        let pickle = answer.result.unwrap_or_else(|raised| panic!("{}", raised.traceback));
        source::json(&pickle).expect("a text").to_owned()
    }
}

#[test]
fn names_modules_and_files_are_there_in_the_next_call_in_any_process() {
    let mut session = Session::new();
    let begin = "import colorsys, sys\nx = [1]\ndef add(n): x.append(n); return x\n\
        open('/tmp/kept', 'w').write('text')\n_ = add(2)";
    assert_eq!(session.run(begin), "[1, 2]");
    let state = session.state.clone();
    session = Session { state, ..Session::new() };
    let next = "_ = [add(3), 'colorsys' in sys.modules, open('/tmp/kept').read()]";
    assert_eq!(session.run(next), "[[1, 2, 3], True, 'text']");
    assert_eq!(session.run("_ = x"), "[1, 2, 3]");
    // Another one knows nothing of it, though it has the same process.
    session.state = Bytes::new();
    assert_eq!(session.run("_ = [name for name in globals() if name in ('x', 'add')]"), "[]");
}

#[test]
fn what_raises_leaves_what_it_did_and_what_is_ended_leaves_nothing() {
    let mut session = Session::new();
    session.run("x = 1\n_ = 0");
    let raised = session.step("x = 2\n1 / 0\nx = 3").result.expect_err("raised");
    assert!(raised.message.starts_with("ZeroDivisionError"), "{}", raised.message);
    assert!(raised.traceback.contains("1 / 0"), "the line is shown: {}", raised.traceback);
    assert_eq!(session.run("_ = x"), "2");
    let before = session.state.clone();
    for (ended, kind) in [
        ("x = 4\nimport os; os._exit(1)", FailureKind::ExecutorDied),
        ("x = 5\nimport os; os.abort()", FailureKind::ExecutorDied),
    ] {
        assert_eq!(session.step(ended).result.expect_err("ended").kind, kind);
        assert_eq!(session.state, before);
    }
    assert_eq!(session.run("_ = x"), "2");
}

#[test]
fn randomness_is_new_in_each_call_and_clocks_go_on() {
    let mut session = Session::new();
    let draw = "import random, os, uuid, time\n_ = [random.random(), os.urandom(4), uuid.uuid4(), time.time_ns()]";
    session.run(draw);
    let state = session.state.clone();
    let start = Instant::now();
    let drawn: Vec<String> = (0..3)
        .map(|_| {
            session.state = state.clone();
            session.run(draw)
        })
        .collect();
    let parts = |text: &String| text.split(", ").map(str::to_owned).collect::<Vec<_>>();
    for (one, other) in [(0, 1), (1, 2), (0, 2)] {
        let (one, other) = (parts(&drawn[one]), parts(&drawn[other]));
        assert!(one.iter().zip(&other).all(|(one, other)| one != other), "{drawn:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_session_does_not_grow_by_calls_and_its_arguments_are_not_kept() {
    let mut session = Session::new();
    let code = source::function("def f(text): return len(text)", "f");
    let args = source::arguments(&format!("[\"{}\"]", "planted ".repeat(20_000)));
    let sizes: Vec<usize> = (0..12)
        .map(|_| {
            session.call(&code, &args).result.expect("a length");
            session.state.len()
        })
        .collect();
    assert!(sizes[11] < sizes[3] + (64 << 10), "{sizes:?}");
    // A text of this many bytes was there; what is compressed has no room for many of it.
    assert!(sizes[11] < 1 << 20, "{sizes:?}");
}

#[test]
fn memory_that_has_grown_is_there_again_and_held_to_the_limit() {
    let mut session = Session::new();
    session.run("part = bytearray(60_000_000); part[59_999_999] = 7\n_ = 0");
    assert_eq!(session.run("_ = [len(part), part[59_999_999], part[1]]"), "[60000000, 7, 0]");
    session.limits.memory_bytes = 64 << 20;
    let refused = session.step("1").result.expect_err("more than the limit");
    assert_eq!(refused.kind, FailureKind::Limit);
    assert!(refused.message.contains("this call may have 64"), "{}", refused.message);
}

#[test]
fn descriptors_are_closed_between_calls_and_their_numbers_not_used_again() {
    let mut session = Session::new();
    session.run("kept = open('/tmp/a', 'w+'); kept.write('a'); kept.flush()\n_ = 0");
    let next = "other = open('/tmp/b', 'w'); other.write('b'); other.close()\n\
        try: kept.write('c'); kept.flush()\nexcept OSError as error: _ = error.errno\n\
        _ = [_, open('/tmp/a').read(), open('/tmp/b').read()]";
    assert_eq!(session.run(next), "[9, 'a', 'b']");
}

#[test]
fn what_is_no_state_of_this_guest_is_refused_in_words() {
    let mut session = Session::new();
    session.run("x = 1\n_ = 0");
    let state = session.state.clone();
    let mut changed = state.to_vec();
    changed[state.len() - 1000] ^= 1;
    for wrong in [
        state.slice(..state.len() / 2),
        changed.into(),
        Bytes::from_static(b"belljar session 1\nx"),
        Bytes::from_static(b"?"),
    ] {
        session.state = wrong;
        let refused = session.step("x").result.expect_err("refused");
        assert_eq!(refused.kind, FailureKind::Limit);
        assert!(refused.message.contains("hint: begin a new session"), "{}", refused.message);
    }
    // Nothing of them is in what comes next in the same process.
    session.state = Bytes::new();
    assert_eq!(session.run("_ = 'x' in globals()"), "False");
    session.state = state;
    assert_eq!(session.run("_ = x"), "1");
}

#[test]
fn files_that_have_no_room_are_refused_in_words() {
    let mut session = Session::new();
    session.run("_ = open('/tmp/a', 'wb').write(bytes(900_000))");
    session.scratch = 1 << 19;
    let refused = session.step("1").result.expect_err("refused");
    assert!(refused.message.contains("as large a `scratch_mb`"), "{}", refused.message);
    session.scratch = 1 << 20;
    assert_eq!(session.run("import os\n_ = os.path.getsize('/tmp/a')"), "900000");
}
