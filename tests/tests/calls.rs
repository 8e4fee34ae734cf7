//! Calls and their outcomes. One suite runs in every mode and runtime: the same function gives the same answer
//! everywhere.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use belljar_testkit::paths;
use belljar_testkit::python::{Loaded, Namespace, Python};
use belljar_tests::Service;
use serde_json::{Value as Json, json};

/// A function, its arguments, and the outcome.
struct Case {
    name: &'static str,
    source: &'static str,
    function: &'static str,
    args: &'static str,
    pickler: &'static str,
    expected: Expected,
}

enum Expected {
    /// COMPLETED with a value of this `repr`.
    Value(&'static str),
    /// FAILED with an exception of this class whose `repr` or notes hold this text.
    Exception(&'static str, &'static str),
}

use Expected::{Exception, Value};

const fn case(
    name: &'static str,
    source: &'static str,
    function: &'static str,
    args: &'static str,
    expected: Expected,
) -> Case {
    Case { name, source, function, args, pickler: "dill", expected }
}

const CASES: &[Case] = &[
    case("a function", "def f(x): return 2 * x", "f", "((21,), {})", Value("42")),
    case("keywords", "def f(a, *, b=1): return a - b", "f", "((5,), {'b': 3})", Value("2")),
    case("nothing returned", "def f(): pass", "f", "((), {})", Value("None")),
    case("a lambda", "", "lambda x, y: x + y", "((['a'], ['b']), {})", Value("['a', 'b']")),
    case(
        "a closure",
        "def make(n):\n  def f(x): return x + n\n  return f",
        "make(10)",
        "((1,), {})",
        Value("11"),
    ),
    case(
        "recursion",
        "def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)",
        "fib",
        "((15,), {})",
        Value("610"),
    ),
    case(
        "a global helper",
        "import math\ndef g(x): return math.sqrt(x)\ndef f(x): return g(x) + 1",
        "f",
        "((9,), {})",
        Value("4.0"),
    ),
    case(
        "a class",
        "class Adder:\n  def __init__(self, n): self.n = n\n  def __call__(self, x): return self.n + x",
        "Adder(3)",
        "((4,), {})",
        Value("7"),
    ),
    case(
        "a bound method",
        "class C:\n  def m(self, x): return x * 3",
        "C().m",
        "((4,), {})",
        Value("12"),
    ),
    case(
        "a builtin by reference",
        "",
        "sorted",
        "(([3, 1, 2],), {'reverse': True})",
        Value("[3, 2, 1]"),
    ),
    case(
        "a partial",
        "import functools",
        "functools.partial(pow, 2)",
        "((10,), {})",
        Value("1024"),
    ),
    case(
        "an argument of a class of its own",
        "import dataclasses\n@dataclasses.dataclass\nclass P:\n  x: int\ndef f(p): return p.x",
        "f",
        "((P(9),), {})",
        Value("9"),
    ),
    case(
        "bytes and text",
        "def f(b, t): return (b + b'\\xff', t + 'é')",
        "f",
        "((b'\\x00', 'ü'), {})",
        Value("(b'\\x00\\xff', 'üé')"),
    ),
    case(
        "a big integer",
        "def f(n): return 3 ** n",
        "f",
        "((200,), {})",
        Value(
            "265613988875874769338781322035779626829233452653394495974574961739092490901302182994384699044001",
        ),
    ),
    case(
        "a function as the result",
        "def f(n):\n  return lambda x: x + n",
        "lambda n: (lambda x: x + n).__name__",
        "((1,), {})",
        Value("'<lambda>'"),
    ),
    Case {
        pickler: "cloudpickle",
        ..case("cloudpickle", "n = 5\ndef f(x): return x + n", "f", "((1,), {})", Value("6"))
    },
    Case { pickler: "pickle", ..case("plain pickle", "", "len", "(([1, 2],), {})", Value("2")) },
    case(
        "an exception",
        "def f(): return 1 / 0",
        "f",
        "((), {})",
        Exception("ZeroDivisionError", "division by zero"),
    ),
    case(
        "its remote traceback",
        "def inner(): raise KeyError('lost')\ndef f(): inner()",
        "f",
        "((), {})",
        Exception("KeyError", "in inner"),
    ),
    case(
        "an exception of a class of its own",
        "class Odd(Exception): pass\ndef f(): raise Odd('why')",
        "f",
        "((), {})",
        Exception("Odd", "why"),
    ),
    case(
        "an exception with a signature of its own",
        "class Two(Exception):\n  def __init__(self, a, b): super().__init__(f'{a}-{b}')\ndef f(): raise Two(1, 2)",
        "f",
        "((), {})",
        Exception("Two", "1-2"),
    ),
    case(
        "too many arguments",
        "def f(): pass",
        "f",
        "((1,), {})",
        Exception("TypeError", "positional argument"),
    ),
    case(
        "arguments that are no pair",
        "def f(): pass",
        "f",
        "42",
        Exception("TypeError", "(args, kwargs)"),
    ),
    case(
        "not a callable after all",
        "import types\nx = types.SimpleNamespace(a=1)",
        "x",
        "((), {})",
        Exception("TypeError", "cannot be called"),
    ),
    case(
        "a generator",
        "def f():\n  yield 1",
        "f",
        "((), {})",
        Exception("ValueError", "return a list"),
    ),
    case(
        "a result that cannot be pickled",
        "def f(): return memoryview(b'x')",
        "f",
        "((), {})",
        Exception("ValueError", "memoryview"),
    ),
    case(
        "a module that is not there",
        "def f():\n  import no_such_module",
        "f",
        "((), {})",
        Exception("ModuleNotFoundError", "no_such_module"),
    ),
    case(
        "endless recursion",
        "def f(): return f()",
        "f",
        "((), {})",
        Exception("RecursionError", "recursion"),
    ),
    case(
        "sys.exit",
        "import sys\ndef f(): sys.exit(3)",
        "f",
        "((), {})",
        Exception("SystemExit", "3"),
    ),
];

fn check(service: &Service, case: &Case, more: &Json) -> Result<()> {
    let payload = |expression: &str| {
        service.python.dumps_by(case.pickler, Namespace::Fresh, case.source, expression)
    };
    let function = service.client.register(&payload(case.function)?, more.clone())?;
    let task = service.client.submit(&function, &payload(case.args)?, json!({}))?;
    let (status, result) = service.client.wait(&task, 60)?;
    let Loaded { class, repr, notes } = service.python.loads(&result)?;
    match case.expected {
        Value(expected) => {
            ensure!(status == "COMPLETED", "{status}: {repr} {notes:?}");
            ensure!(repr == expected, "{repr} instead of {expected}");
        }
        Exception(expected, text) => {
            ensure!(status == "FAILED", "{status}: {repr}");
            ensure!(class == expected, "{class} instead of {expected}: {repr} {notes:?}");
            let said = format!("{repr} {}", notes.join("\n"));
            ensure!(said.contains(text), "no `{text}` in {said}");
            ensure!(said.contains("Remote traceback"), "no remote traceback in {said}");
        }
    }
    Ok(())
}

/// Runs every case, registered with these fields, and reports those that failed.
fn every_case_of(service: &Service, more: &Json) -> Result<()> {
    let wrong: Vec<_> = CASES
        .iter()
        .filter_map(|case| {
            let checked = check(service, case, more);
            checked.err().map(|why| format!("{}: {why:#}", case.name))
        })
        .collect();
    ensure!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
    Ok(())
}

fn every_case(options: &[&str]) -> Result<()> {
    let service = Service::start(options)?;
    every_case_of(&service, &json!({}))?;
    long_behind_short(&service)
}

/// While calls are short, workers prefetch some; long ones are then returned and run elsewhere.
fn long_behind_short(service: &Service) -> Result<()> {
    let source = "def f(n, s):\n  import time\n  time.sleep(s)\n  return n";
    let function = service.client.register(&service.python.dumps(source, "f")?, json!({}))?;
    for seconds in [0.0, 0.2] {
        let args = |n| service.python.dumps("", &format!("(({n}, {seconds}), {{}})"));
        let args = (0..12).map(args).collect::<Result<Vec<_>>>()?;
        for (n, task) in service.client.submit_batch(&function, &args)?.iter().enumerate() {
            let (status, result) = service.client.wait(task, 20)?;
            ensure!(status == "COMPLETED", "call {n} of {seconds} s is {status}");
            ensure!(service.python.loads(&result)?.repr == n.to_string());
        }
    }
    Ok(())
}

#[test]
fn local_native() -> Result<()> {
    every_case(&["-m", "local", "--runtime", "native"])
}

#[test]
fn local_sandbox() -> Result<()> {
    every_case(&["-m", "local", "--runtime", "sandbox"])
}

#[test]
fn pull_native() -> Result<()> {
    every_case(&["-m", "pull", "--workers", "2", "--runtime", "native"])
}

#[test]
fn pull_sandbox() -> Result<()> {
    every_case(&["-m", "pull", "--workers", "2", "--runtime", "sandbox"])
}

#[test]
fn push_native() -> Result<()> {
    every_case(&["-m", "push", "--workers", "2", "--runtime", "native"])
}

#[test]
fn push_sandbox() -> Result<()> {
    every_case(&["-m", "push", "--workers", "2", "--runtime", "sandbox"])
}

#[test]
fn a_function_of_an_importable_module_travels_by_reference() -> Result<()> {
    let modules = tempfile::tempdir()?;
    std::fs::write(modules.path().join("shop.py"), "def price(n): return n * 7\n")?;
    let path = modules.path().to_str().context("a path")?;
    let service = Service::start(&["--python-path", path])?;
    let source = format!("import sys; sys.path.insert(0, {path:?}); import shop");
    let payload = service.python.dumps(&source, "shop.price")?;
    ensure!(payload.len() < 60, "by value: {payload}");
    let function = service.client.register(&payload, json!({}))?;
    let args = service.python.dumps("", "((6,), {})")?;
    let task = service.client.submit(&function, &args, json!({}))?;
    let (status, result) = service.client.wait(&task, 60)?;
    let value = service.python.loads(&result)?;
    ensure!((status.as_str(), value.repr.as_str()) == ("COMPLETED", "42"), "{status} {value:?}");
    Ok(())
}

/// Each Python that `make pythons` found runs what it serialized, and is recognized by its bytecode.
#[test]
fn other_pythons_native() -> Result<()> {
    other_pythons("native", &paths::other_pythons())
}

/// The same in the sandbox, for each Python that has a guest.
#[test]
fn other_pythons_sandbox() -> Result<()> {
    other_pythons("sandbox", &paths::other_pythons_with_guests()?)
}

fn other_pythons(runtime: &str, pythons: &[(String, PathBuf)]) -> Result<()> {
    let mut service = Service::start(&["--runtime", runtime])?;
    for (version, interpreter) in pythons {
        service.python = Python::start_with(interpreter, &[])?;
        every_case_of(&service, &json!({"python": version}))
            .with_context(|| format!("Python {version}"))?;
        recognized_by_its_bytecode(&service, version)
            .with_context(|| format!("Python {version}"))?;
    }
    Ok(())
}

/// A function that names no Python runs in its own or is refused: what dill writes in 3.9 could also be of 3.10.
fn recognized_by_its_bytecode(service: &Service, version: &str) -> Result<()> {
    let source = "def f():\n  import sys\n  return '%d.%d' % sys.version_info[:2]";
    let body = json!({"name": "f", "payload": service.python.dumps(source, "f")?});
    let (code, reply) = service.client.post("/register_function", &body)?;
    if version == "3.9" {
        ensure!(code == 422 && reply["detail"][0]["type"] == "python_ambiguous", "{code} {reply}");
        return Ok(());
    }
    let function = reply["function_id"].as_str().with_context(|| reply.to_string())?;
    let args = service.python.dumps("", "((), {})")?;
    let task = service.client.submit(function, &args, json!({}))?;
    let (status, result) = service.client.wait(&task, 60)?;
    let said = service.python.loads(&result)?;
    ensure!(said.repr == format!("'{version}'"), "{status} {said:?}");
    Ok(())
}
