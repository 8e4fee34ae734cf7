//! What a sandbox promises, asked of a real one: needs the guest, see `guest/build.sh`.

#[expect(dead_code, reason = "shared with tests that use other parts of it")]
mod common;

use belljar_core::outcome::FailureKind;
use common::SandboxChild;

#[track_caller]
#[expect(clippy::expect_used, reason = "what does not fail here fails the test")]
fn fails(sandbox: &mut SandboxChild, kind: FailureKind, source: &str) {
    let raised = sandbox.call(source).result.expect_err(source);
    assert_eq!(raised.kind, kind, "{source}: {}", raised.message);
    sandbox.is_right();
}

#[test]
fn it_says_what_it_is_and_answers() {
    let mut sandbox = SandboxChild::start(&[]);
    assert_eq!(sandbox.ready().python, "3.11.2");
    sandbox.is_right();
    let done = sandbox.call_within("def f(a, b): return a * b", "[6, 7]", 64);
    assert!(done.result.is_ok() && done.peak_memory_bytes > 0);
}

#[test]
fn what_a_function_raises_is_its_answer() {
    let mut sandbox = SandboxChild::start(&[]);
    let raised = sandbox.call("def f(): return 1 / 0").result.expect_err("raises");
    assert_eq!(raised.kind, FailureKind::Exception);
    assert_eq!(raised.message, "ZeroDivisionError: division by zero");
    assert!(raised.traceback.contains("<source>"), "{}", raised.traceback);
    fails(&mut sandbox, FailureKind::Exception, "def f(): import sys; sys.exit(3)");
}

#[test]
fn a_call_sees_nothing_of_the_one_before() {
    let mut sandbox = SandboxChild::start(&[]);
    let leave = "import sys, math\ndef f(): sys.secret = math.pi = 1; sys.modules['x'] = sys";
    sandbox.value(leave);
    let look = "import sys, math\ndef f(): return [hasattr(sys, 'secret'), math.pi > 3, 'x' in sys.modules]";
    assert_eq!(sandbox.value(look), "[false, true, false]");
}

/// Looks through all objects that it can find and through fresh heap; the whole memory is looked through
/// from outside, in the crate's own tests.
const SCAN: &str = "
def f(secret):
    # The needle must not lie in memory in one piece.
    needle = bytes(b ^ 1 for b in bytes(secret))
    import gc
    found = 0
    for thing in gc.get_objects():
        if isinstance(thing, (bytes, bytearray)) and needle in thing: found += 1
    heap = [bytearray(1 << 16) for _ in range(200)]
    return found + sum(needle in piece for piece in heap)
";

#[test]
fn a_secret_of_one_call_is_not_in_the_memory_of_the_next() {
    let mut sandbox = SandboxChild::start(&[]);
    let secret = b"correct horse battery staple 7261";
    let masked = secret.iter().map(|b| (b ^ 1).to_string()).collect::<Vec<_>>().join(",");
    let keep = "def f(s):\n    import sys\n    k = bytes(b ^ 1 for b in s)\n    sys.kept = [bytearray(k * 500) for _ in range(300)]\n    return len(sys.kept)";
    let done = sandbox.call_within(keep, &format!("[[{masked}]]"), 256);
    assert!(done.result.is_ok());
    let done = sandbox.call_within(SCAN, &format!("[[{masked}]]"), 256);
    let pickle = done.result.unwrap_or_else(|raised| panic!("{}", raised.traceback));
    assert_eq!(belljar_sandbox::source::json(&pickle), Some("0"));
}

#[test]
fn randomness_differs_from_call_to_call() {
    let mut sandbox = SandboxChild::start(&[]);
    for expression in
        ["random.random()", "os.urandom(8).hex()", "str(uuid.uuid4())", "secrets.token_hex(8)"]
    {
        let source = format!("import random, os, uuid, secrets\ndef f(): return {expression}");
        assert_ne!(sandbox.value(&source), sandbox.value(&source), "{expression}");
    }
}

#[test]
fn compression_and_the_library_work() {
    let mut sandbox = SandboxChild::start(&[]);
    let source = "
import zlib, gzip, zipfile, io, decimal, csv, re, datetime, hashlib, statistics
def f():
    data = b'abc' * 1000
    box = io.BytesIO()
    with zipfile.ZipFile(box, 'w', zipfile.ZIP_DEFLATED) as z: z.writestr('a', data)
    assert zipfile.ZipFile(box).read('a') == data
    assert gzip.decompress(gzip.compress(data)) == zlib.decompress(zlib.compress(data)) == data
    import smtplib, ftplib, configparser, sched
    return [len(zlib.compress(data)) < 100, hashlib.sha256(data).hexdigest()[:8], datetime.datetime.now().year >= 2024]
";
    let value = sandbox.value(source);
    assert!(value.starts_with("[true, ") && value.ends_with(", true]"), "{value}");
}

#[test]
fn files_beyond_the_library_are_out_of_reach() {
    let mut sandbox = SandboxChild::start(&[]);
    for attempt in [
        "open('/etc/passwd')",
        "open('/lib/../etc/passwd')",
        "open('/lib/../../etc/passwd')",
        "open('../etc/passwd')",
        "open('/proc/self/environ')",
        "open('/dev/zero')",
        "os.listdir('/')",
        "open('/lib/x.py', 'w')",
        "os.remove('/lib/os.py')",
        "os.mkdir('/lib/x')",
        "os.rename('/lib/os.py', '/lib/so.py')",
        "os.symlink('/etc', '/lib/etc')",
        "os.fdopen(7).read()",
        "os.read(17, 10)",
        "socket.create_connection(('127.0.0.1', 1))",
        "socket.getaddrinfo('localhost', 80)",
        "subprocess.run(['true'])",
        "os.system('true')",
        "os.fork()",
        "multiprocessing.Process(target=len).start()",
        "threading.Thread(target=len).start()",
    ] {
        let source = format!(
            "import os\ndef f():\n    import socket, subprocess, multiprocessing, threading\n    try:\n        {attempt}\n    except Exception as e: return type(e).__name__\n    return 'reached'"
        );
        let answer = sandbox.call(&source);
        if let Ok(pickle) = answer.result {
            assert_ne!(belljar_sandbox::source::json(&pickle), Some("\"reached\""), "{attempt}");
        }
    }
    assert_eq!(sandbox.value("import os\ndef f(): return dict(os.environ)"), "{}");
}

#[test]
fn granted_directories_can_be_imported_from_and_only_read() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("mine.py"), "def double(x): return 2 * x").expect("written");
    std::os::unix::fs::symlink("/etc", dir.path().join("etc")).expect("linked");
    let mut sandbox = SandboxChild::start(&[dir.path()]);
    let seen =
        sandbox.value("import sys, os\ndef f(): return [sys.path, sorted(os.listdir('/path/0'))]");
    assert_eq!(seen, r#"[["/path/0", "/lib", "/site"], ["etc", "mine.py"]]"#);
    assert_eq!(sandbox.value("def f():\n    import mine; return mine.double(4)"), "8");
    let escape = "def f():\n    try: open('/path/0/etc/passwd')\n    except PermissionError: return 'refused'";
    assert_eq!(sandbox.value(escape), "\"refused\"");
    let write =
        "def f():\n    try: open('/path/0/new', 'w')\n    except PermissionError: return 'refused'";
    assert_eq!(sandbox.value(write), "\"refused\"");
}

#[test]
fn memory_is_bounded() {
    let mut sandbox = SandboxChild::start(&[]);
    fails(&mut sandbox, FailureKind::Memory, "def f(): return len(bytearray(10**9))");
    fails(&mut sandbox, FailureKind::Memory, "def f(): return len('ab' * 10**9)");
    let grow = "def f():\n    kept = []\n    while True: kept.append(bytearray(1 << 20))";
    fails(&mut sandbox, FailureKind::Memory, grow);
    fails(
        &mut sandbox,
        FailureKind::Memory,
        "def f():\n    kept = []\n    while True: kept.append([kept])",
    );
}

#[test]
fn the_stack_is_bounded() {
    let mut sandbox = SandboxChild::start(&[]);
    let deep = "def f():\n    def g(n): return g(n + 1)\n    g(0)";
    fails(&mut sandbox, FailureKind::Recursion, deep);
    let json = "def f():\n    import json; json.loads('[' * 100000)";
    fails(&mut sandbox, FailureKind::Recursion, json);
    let repr = "def f():\n    x = []\n    for _ in range(100000): x = [x]\n    repr(x)";
    fails(&mut sandbox, FailureKind::Recursion, repr);
    for limit in ["100000", "10**9"] {
        let raised = format!(
            "import sys\ndef f():\n    sys.setrecursionlimit({limit})\n    class A:\n        def __repr__(self): return repr(A())\n    repr(A())"
        );
        fails(&mut sandbox, FailureKind::Recursion, &raised);
    }
}

#[test]
fn an_ended_interpreter_costs_its_call_only() {
    let mut sandbox = SandboxChild::start(&[]);
    fails(&mut sandbox, FailureKind::ExecutorDied, "import os\ndef f(): os.abort()");
    fails(&mut sandbox, FailureKind::ExecutorDied, "import os\ndef f(): os._exit(0)");
}

#[test]
fn endings_are_as_fast_as_answers() {
    let mut sandbox = SandboxChild::start(&[]);
    let mut fifty = |source: &str, ok| {
        let start = std::time::Instant::now();
        for _ in 0..50 {
            assert_eq!(sandbox.call(source).result.is_ok(), ok);
        }
        start.elapsed()
    };
    fifty("def f(): return 1", true);
    let answers = fifty("def f(): return 1", true);
    let endings = fifty("import os\ndef f(): os.abort()", false);
    assert!(endings < 3 * answers, "{endings:?} against {answers:?}");
}

#[test]
fn output_goes_to_the_process_and_is_bounded_by_its_reader() {
    let mut sandbox = SandboxChild::start(&[]);
    assert_eq!(sandbox.value("def f():\n    print('x' * 50_000_000)"), "null");
    sandbox.is_right();
}
