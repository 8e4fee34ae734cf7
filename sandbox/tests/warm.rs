//! Functions that start warm: with their modules imported, and with nothing of another call.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

#[expect(dead_code, reason = "shared with tests that use other parts of it")]
mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use belljar_core::id::FunctionId;
use belljar_core::task::{CodeHash, PythonVersion};
use belljar_core::warm::{WarmMode, WarmStart};
use belljar_sandbox::image::default_dir;
use belljar_sandbox::{
    Answer, EngineConfig, Function, FunctionName, GrantedAccess, Image, Limits, Output, Sandbox,
    source,
};
use common::SandboxChild;

/// So long takes the import of `slowly`.
const SLOWLY: Duration = Duration::from_millis(20);
/// It also says when it was imported.
const MODULE: &str = "import time; time.sleep(0.02); AT = time.time_ns()";

/// A sandbox that keeps functions warm, and a directory of modules.
struct Warm {
    sandbox: Sandbox,
    grants: GrantedAccess,
    dir: tempfile::TempDir,
    id: FunctionId,
    mode: WarmMode,
}

impl Warm {
    fn new(bytes: usize) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), "slowly", MODULE);
        let guest = default_dir(PythonVersion::default()).expect("a home");
        let image = Image::load(guest, &EngineConfig::default()).expect("a guest");
        let on_path = GrantedAccess::none().python_path(dir.path()).expect("a directory");
        let mut sandbox = Sandbox::new(&image, &on_path, Output::Capture(1000)).expect("starts");
        sandbox.keep_warm(bytes).expect("memory");
        let grants = GrantedAccess::none().scratch(1 << 20);
        Self { sandbox, grants, dir, id: FunctionId::random(), mode: WarmMode::Auto }
    }

    fn answer(&mut self, body: &str, arguments: &str) -> Answer {
        let code = source::function(body, "f");
        let name = Some(FunctionName { id: self.id, code: CodeHash::of(&code) });
        let function = Function { code: &code, name, warm: self.mode };
        let args = source::arguments(arguments);
        let limits = Limits::default();
        self.sandbox.call_granting(function, &args, &limits, &self.grants).expect("a sandbox")
    }

    fn value(&mut self, body: &str, arguments: &str) -> String {
        let answer = self.answer(body, arguments);
        let pickle = answer.result.unwrap_or_else(|raised| panic!("{}", raised.traceback));
        source::json(&pickle).expect("JSON").to_owned()
    }

    /// What several calls of `f` return, of which the first is cold and the second makes the image.
    fn values<const N: usize>(&mut self, body: &str) -> [String; N] {
        std::array::from_fn(|_| self.value(body, "[]"))
    }
}

fn write(dir: &Path, module: &str, text: &str) {
    std::fs::write(dir.join(format!("{module}.py")), text).expect("written");
}

/// The time of import, and what shows that the interpreter is fresh.
const IMPORTED: &str = "import slowly\ndef f():\n    seen = getattr(slowly, 'seen', None)\n    slowly.seen = 1\n    return [slowly.AT, seen]";

#[test]
fn modules_are_imported_once_and_every_call_is_fresh() {
    let mut warm = Warm::new(64 << 20);
    let [cold, second, third, fourth] = warm.values(IMPORTED);
    assert_ne!(cold, second);
    assert_eq!(second, third);
    assert_eq!(third, fourth);
    assert!(fourth.ends_with(", null]"), "{fourth}");
    let start = Instant::now();
    let answer = warm.answer(IMPORTED, "[]");
    assert!(start.elapsed() < SLOWLY, "{:?}", start.elapsed());
    assert!(answer.phases.decode_us < 5000, "{:?}", answer.phases);
    assert_eq!(answer.phases.start, Some(WarmStart::Warm));
    warm.mode = WarmMode::Never;
    assert_ne!(warm.value(IMPORTED, "[]"), third);
    assert_eq!(warm.answer(IMPORTED, "[]").phases.start, Some(WarmStart::Never));
}

#[test]
fn randomness_is_each_calls_own() {
    let mut warm = Warm::new(64 << 20);
    let body = "import slowly, random, uuid, os, tempfile, secrets\ndef f(): return [slowly.AT, random.random(), \
        str(uuid.uuid4()), os.urandom(8).hex(), secrets.token_hex(), tempfile.mkdtemp()]";
    let values: [String; 4] = warm.values(body);
    let parts = |value: &str| -> Vec<String> { value.split(", ").map(str::to_owned).collect() };
    assert_eq!(parts(&values[2])[0], parts(&values[3])[0], "both started warm");
    for other in [&values[1], &values[3]] {
        let pairs = parts(&values[2]).into_iter().zip(parts(other));
        assert!(pairs.skip(1).all(|(one, other)| one != other), "{values:?}");
    }
}

/// A module whose import does more than to fill memory is imported by every call, as the first time.
#[test]
fn imports_that_do_more_than_fill_memory_are_done_by_every_call() {
    let mut warm = Warm::new(64 << 20);
    let say = "import telling\ndef f(): return telling.AT";
    for (what, line, why) in [
        ("prints", "print('imported')", WarmStart::Prints),
        ("complains", "import sys; print('imported', file=sys.stderr)", WarmStart::Prints),
        ("draws", "import os; os.urandom(1)", WarmStart::Random),
        ("has a generator", "import random; random.Random()", WarmStart::Random),
        ("draws of the common generator", "import random; random.random()", WarmStart::Imports),
        ("writes", "open('/tmp/x', 'w').close()", WarmStart::Files),
        ("keeps a file open", "FILE = open(__file__)", WarmStart::Files),
        ("is refused a file", "try: open('/etc/passwd')\nexcept OSError: pass", WarmStart::Files),
        ("fails", "1 / 0", WarmStart::Imports),
        ("leaves", "import os; os._exit(3)", WarmStart::Imports),
    ] {
        write(warm.dir.path(), "telling", &format!("{MODULE}\n{line}"));
        // Another function for each: what is known of one that changes is another test.
        warm.id = FunctionId::random();
        let answers: Vec<_> = (0..3).map(|_| warm.answer(say, "[]")).collect();
        let results: Vec<_> = answers.iter().map(|answer| &answer.result).collect();
        match results[0] {
            Ok(_) => assert!(results[0] != results[1] && results[1] != results[2], "{what}"),
            Err(first) => {
                let same = |other: &Answer| {
                    other.result.as_ref().is_err_and(|other| other.message == first.message)
                };
                assert!(answers.iter().all(same), "{what}");
            }
        }
        // The interpreter that left says nothing of its phases: it is not known to be slow.
        let start = answers[2].phases.start;
        assert!(start == Some(why) || (start.is_none() && what == "leaves"), "{what}: {start:?}");
        let said = |answer: &Answer| (answer.stdout.clone(), answer.stderr.clone());
        assert!(
            answers.iter().all(|answer| said(answer) == said(&answers[0])),
            "{what}: once each"
        );
    }
}

#[test]
fn a_changed_module_is_imported_anew() {
    let mut warm = Warm::new(64 << 20);
    let body = "import slowly\ndef f(): return getattr(slowly, 'VERSION', 0)";
    assert_eq!(warm.values::<3>(body), ["0", "0", "0"]);
    write(warm.dir.path(), "slowly", &format!("{MODULE}; VERSION = 12"));
    let start = Instant::now();
    while warm.value(body, "[]") == "0" {
        assert!(start.elapsed() < Duration::from_secs(30), "it was never noticed");
    }
    assert_eq!(warm.values::<3>(body), ["12", "12", "12"]);
    // One that comes to stand before what was found.
    std::fs::create_dir(warm.dir.path().join("slowly")).expect("made");
    std::fs::write(warm.dir.path().join("slowly/__init__.py"), "VERSION = 34").expect("written");
    while warm.value(body, "[]") == "12" {
        assert!(start.elapsed() < Duration::from_secs(60), "it was never noticed");
    }
}

#[test]
fn functions_of_one_code_and_two_names_share_nothing() {
    let mut warm = Warm::new(64 << 20);
    let [_, one, other] = warm.values(IMPORTED);
    assert_eq!(one, other);
    warm.id = FunctionId::random();
    let [cold, mine, again] = warm.values(IMPORTED);
    assert!(cold != one && mine != one);
    assert_eq!(mine, again);
}

#[test]
fn what_a_call_alone_is_granted_keeps_it_from_starting_warm() {
    let mut warm = Warm::new(64 << 20);
    let body = "import slowly, os\ndef f(): return [slowly.AT, os.environ.get('NAME')]";
    let [_, second, third] = warm.values(body);
    assert_eq!(second, third);
    warm.grants = GrantedAccess::none().env("NAME", "value").expect("a name");
    let granted = warm.value(body, "[]");
    assert!(
        granted.ends_with(r#""value"]"#) && granted.split(',').next() != second.split(',').next()
    );
    warm.grants = GrantedAccess::none();
    assert_eq!(warm.value(body, "[]"), second);
}

#[test]
fn arguments_of_a_call_are_not_in_the_next() {
    let mut warm = Warm::new(64 << 20);
    let body = "import slowly, gc\nKEPT = []\ndef f(text):\n    KEPT.append(text)\n    return [len(KEPT), \
        sum('planted' in part for part in gc.get_objects() if type(part) is list and part and type(part[0]) is str)]";
    for number in 0..5 {
        let value = warm.value(body, &format!("[\"planted {number}\"]"));
        assert!(value.starts_with("[1, "), "{value}");
    }
}

#[test]
fn those_not_used_for_longest_make_room() {
    // Two functions fit.
    let mut warm = Warm::new(8 << 20);
    let functions: Vec<String> = (0..8)
        .map(|number| format!("import slowly\nPART = bytes(range(256)) * 2048\ndef f(): return [{number}, slowly.AT]"))
        .collect();
    for function in &functions {
        let [_, second, third] = warm.values(function);
        assert_eq!(second, third);
    }
    let first = warm.value(&functions[0], "[]");
    assert_ne!(warm.value(&functions[0], "[]"), first, "it had to go, and is cold again");
    let last = warm.value(&functions[7], "[]");
    assert_eq!(warm.value(&functions[7], "[]"), last);
}

#[test]
fn what_is_too_large_is_not_kept_and_no_room_means_cold_starts() {
    for bytes in [1 << 20, 4096] {
        let mut warm = Warm::new(bytes);
        let body = "import slowly\nPART = bytes(range(256)) * 20_000\ndef f(): return [slowly.AT, len(PART)]";
        let [first, second, third] = warm.values(body);
        assert!(first != second && second != third);
        assert_eq!(warm.answer(body, "[]").phases.start, Some(WarmStart::TooLarge));
    }
}

/// The hardened process: it makes no file and writes none, and maps what it had before.
#[test]
fn a_restricted_process_starts_functions_warm() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "slowly", MODULE);
    let mut command = SandboxChild::command(&[dir.path()], &[]);
    command.args(["--warm-mb", "64"]);
    if std::env::var_os("BELLJAR_ALLOW_WEAK_SANDBOX").is_some() {
        command.arg("--allow-weak-sandbox");
    }
    let mut child = SandboxChild::spawn(command);
    let id = FunctionId::random();
    let values: Vec<String> = (0..5).map(|_| child.value_of(id, IMPORTED)).collect();
    assert_ne!(values[0], values[1]);
    assert!(values[2..].iter().all(|value| *value == values[1]), "{values:?}");
}
