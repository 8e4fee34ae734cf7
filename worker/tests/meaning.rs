//! Functions mean what they mean to their author, however they were pickled.

mod support;

use belljar_core::outcome::FailureKind;
use bytes::Bytes;
use support::{
    Rig, call, call_with_globals, command, completed, failed, invocation, pickle_by, read, root,
    value,
};

/// Source of `f`, its arguments, and the `repr` of what it returns; empty where any will do.
const FUNCTIONS: &[(&str, &str, &str)] = &[
    ("def f(x, y=1): return x * y", "((6,), {'y': 7})", "42"),
    ("f = lambda *a, **k: (a, k)", "((1,), {'b': 2})", "((1,), {'b': 2})"),
    ("def f(n): return 1 if n < 2 else n * f(n - 1)", "((10,), {})", "3628800"),
    ("def make(n):\n  def g(x): return x + n\n  return g\nf = make(5)", "((1,), {})", "6"),
    ("import math\ndef f(x): return math.sqrt(x)", "((9,), {})", "3.0"),
    ("g = 3\ndef f(x): return x + g", "((1,), {})", "4"),
    ("import functools, operator\nf = functools.partial(operator.add, 3)", "((4,), {})", "7"),
    ("f = len", "(([1, 2],), {})", "2"),
    (
        "class C:\n  def __init__(self, n): self.n = n\n  def __call__(self, x): return x * self.n\nf = C(3)",
        "((5,), {})",
        "15",
    ),
    (
        "class C:\n  def __init__(self, n): self.n = n\n  def get(self): return self.n\nf = lambda n: C(n).get()",
        "((8,), {})",
        "8",
    ),
    (
        "def f(): return {'a': [1, (2, 3)], 'b': {4}, 'c': b'5', 'd': None, 'e': 'é'}",
        "((), {})",
        "{'a': [1, (2, 3)], 'b': {4}, 'c': b'5', 'd': None, 'e': 'é'}",
    ),
    ("def f(): return (lambda x: x + 1)", "((), {})", ""),
    (
        "async def g(): return 9\ndef f():\n  import asyncio\n  return asyncio.run(g())",
        "((), {})",
        "9",
    ),
    (
        "def f():\n  from multiprocessing import Pool\n  with Pool(2) as p: return p.map(abs, [-1, -2])",
        "((), {})",
        "[1, 2]",
    ),
    (
        "def f():\n  from multiprocessing import get_context\n  with get_context('spawn').Pool(2) as p: return p.map(abs, [-1])",
        "((), {})",
        "[1]",
    ),
    (
        "def f():\n  import subprocess\n  return subprocess.run(['echo', 'hi'], capture_output=True).stdout",
        "((), {})",
        "b'hi\\n'",
    ),
    (
        "def f():\n  import sys, subprocess\n  return subprocess.check_output([sys.executable, '-c', 'import dill; print(1)'])",
        "((), {})",
        "b'1\\n'",
    ),
];

#[tokio::test]
async fn functions_of_every_kind_return() {
    let mut rig = Rig::new(1);
    for (source, args, expected) in FUNCTIONS {
        let outcome = rig.run(call_with_globals(source, args)).await;
        let text = read(&completed(&outcome));
        assert!(text == *expected || expected.is_empty(), "{source}: {text}");
    }
    // What belongs to `__main__` comes back by value, or nobody else could read it.
    let outcome = rig.run(call("def f(): return [f]", "((), {})")).await;
    assert_eq!(read(&completed(&outcome))[..13].to_owned(), "[<function f ");
    // dill leaves the globals of `__main__` behind unless told otherwise; a function's own name it has.
    let source = "def f(n): return 1 if n < 2 else n * f(n - 1)";
    rig.returns(call(source, "((5,), {})"), "120").await;
    let failure = rig
        .fails(call("import math\ndef f(): return math", "((), {})"), FailureKind::Exception)
        .await;
    assert_eq!(failure.message, "NameError: name 'math' is not defined");
    rig.is_sound().await;
    rig.end().await;
}

#[tokio::test]
async fn every_pickler_will_do() {
    let mut rig = Rig::new(1);
    let source = "def f(x): return x + 1";
    rig.returns(invocation(pickle_by("cloudpickle", source, "f"), value("((1,), {})")), "2").await;
    let plain = pickle_by("pickle", "import operator", "operator.neg");
    rig.returns(invocation(plain, pickle_by("pickle", "", "((3,), {})")), "-3").await;
    rig.end().await;
}

#[tokio::test]
async fn a_function_by_reference_is_imported() {
    let command = command().option("--python-path", root().join("worker/tests/support"));
    let mut rig = Rig::with(1, command);
    let source = "import referred";
    let code = pickle_by("dill", source, "referred.double");
    assert!(code.len() < 60, "by reference");
    rig.returns(invocation(code, value("((21,), {})")), "42").await;
    let code = pickle_by("pickle", source, "referred.Doubler()");
    rig.returns(invocation(code, value("((4,), {})")), "8").await;
    rig.end().await;

    let mut rig = Rig::new(1);
    let code = pickle_by("dill", source, "referred.double");
    let failure = rig.fails(invocation(code, value("((21,), {})")), FailureKind::Decode).await;
    assert!(failure.message.contains("referred"), "{}", failure.message);
    rig.end().await;
}

#[tokio::test]
async fn what_raises_fails_with_the_exception() {
    use FailureKind::{Decode, Encode, Exception, Memory, Recursion};
    let mut rig = Rig::new(1);
    let cases = [
        ("def f(): return 1 / 0", "ZeroDivisionError('division by zero')", Exception),
        ("def f(): raise KeyError('k')", "KeyError('k')", Exception),
        ("class E(Exception): pass\ndef f(): raise E('mine')", "E('mine')", Exception),
        (
            "class E(ValueError):\n  def __init__(self, a, b): super().__init__(f'{a}{b}')\ndef f(): raise E(1, 2)",
            "E('12')",
            Exception,
        ),
        ("def f(): raise SystemExit(3)", "SystemExit(3)", Exception),
        ("def f(): exit(3)", "SystemExit(3)", Exception),
        ("def f(): raise KeyboardInterrupt()", "KeyboardInterrupt()", Exception),
        ("def f(): return f()", "RecursionError(", Recursion),
        ("def f(): raise MemoryError('much')", "MemoryError('much')", Memory),
        ("def f(): return (i for i in [1])", "ValueError(", Encode),
        ("def f():\n  import sys\n  return [sys._getframe()]", "ValueError(", Encode),
        ("def f(x): pass", "TypeError(", Exception),
        ("f = 42", "TypeError('the function unpickled to a int", Decode),
    ];
    for (source, expected, kind) in cases {
        let outcome = rig.run(call_with_globals(source, "((), {})")).await;
        let failure = failed(&outcome);
        assert_eq!(failure.kind, kind, "{source}: {failure:?}");
        let exception = read(&failure.exception);
        assert!(exception.starts_with(expected), "{source}: {exception}");
    }
    // A builtin exception needs no dill to be read, one of the client's own travels by value.
    let failure = rig.fails(call("def f(): return 1 / 0", "((), {})"), Exception).await;
    assert!(!failure.exception.windows(4).any(|bytes| bytes == b"dill"));
    assert!(failure.traceback.contains("line 1, in f"), "{}", failure.traceback);
    // A text of Python's may hold halves of surrogate pairs.
    let odd = call("def f(): raise ValueError('odd \\udcff')", "((), {})");
    let failure = rig.fails(odd, Exception).await;
    assert_eq!(failure.message, "ValueError: odd \\udcff");
    assert!(failure.exception.windows(10).any(|bytes| bytes == b"ValueError"));
    rig.is_sound().await;
    rig.end().await;
}

#[tokio::test]
async fn what_does_not_unpickle_fails_to_decode() {
    let mut rig = Rig::new(1);
    let good = support::function("def f(): return 1");
    for args in ["42", "((1,),)", "([], [])"] {
        rig.fails(invocation(good.clone(), value(args)), FailureKind::Decode).await;
    }
    for code in [&b""[..], b"garbage", b"\x80\x04.", b"\x80\x04K"] {
        let code = Bytes::from_static(code);
        rig.fails(invocation(code, value("((), {})")), FailureKind::Decode).await;
    }
    rig.is_sound().await;
    rig.end().await;
}

#[tokio::test]
async fn output_belongs_to_its_call() {
    let mut rig = Rig::new(1);
    let source = "
def f(n):
    import os, sys
    print('out', n)
    sys.stderr.write('err')
    os.write(1, b'raw')
    os.system('echo shell')
    print('no newline', end='')
";
    for n in 0..50 {
        let outcome = rig.run(call(source, &format!("(({n},), {{}})"))).await;
        completed(&outcome);
        assert_eq!(outcome.stdout.bytes, format!("out {n}\nrawshell\nno newline"));
        assert_eq!(outcome.stderr.bytes, "err");
    }
    rig.returns(call("def f(): return 1", "((), {})"), "1").await;
    let flood = "
def f():
    import sys
    for i in range(200_000): print(i, 'x' * 100)
    sys.stderr.write('y' * 10_000_000 + 'end')
";
    let outcome = rig.run(call(flood, "((), {})")).await;
    completed(&outcome);
    assert_eq!(outcome.stdout.total_bytes, 21_488_890);
    assert_eq!(outcome.stdout.bytes.len(), 16 << 10);
    assert!(outcome.stderr.bytes.ends_with(b"yend"));
    rig.is_sound().await;
    rig.end().await;
}

#[tokio::test]
async fn big_values_pass() {
    let mut rig = Rig::new(1);
    let args = value("((b'x' * 20_000_000,), {})");
    let outcome = rig.run(invocation(support::function("def f(x): return x"), args)).await;
    assert_eq!(completed(&outcome).len(), 20_000_000 + 9);
    rig.is_sound().await;
    rig.end().await;
}
