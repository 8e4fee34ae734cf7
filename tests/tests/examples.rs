//! `guest-examples/`: each has the outcomes that its docstring states, natively and in the sandbox, and a
//! hostile one leaves nothing behind.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use belljar_testkit::{Python, paths};
use belljar_tests::Service;
use belljar_tests::examples::{Example, Expected, compare, examples, expected, outcome};
use serde_json::json;

/// How much longer than its time limit a call may take, with submission and answer.
const GRACE: Duration = Duration::from_secs(1);

/// Runs an example, unless it is unsafe in this runtime.
fn run(service: &Service, example: &Example, runtime: &str, python: &str) -> Result<()> {
    let expected = match runtime {
        "native" => &example.native,
        _ => example.elsewhere.get(python).unwrap_or(&example.sandbox),
    };
    if *expected == Expected::Unsafe {
        return Ok(());
    }
    let function = service.python.dumps(&example.source, &example.name)?;
    let args = service.python.dumps("", &example.args)?;
    let mut more = example.limits.clone();
    more["runtime"] = json!(runtime);
    more["python"] = json!(python);
    let limit = Duration::from_secs_f64(more["timeout_s"].as_f64().context("a time limit")?);
    let start = Instant::now();
    let got = outcome(service, &function, &args, more)?;
    ensure!(start.elapsed() < limit + GRACE, "{:?} of {limit:?}", start.elapsed());
    compare(expected, got)
}

/// Returns what an earlier call could have left behind, and the result of some work.
const INSPECT: &str = "
def inspect(n):
    import json, math, os, sys
    left = [os.environ.get('LEFT_BEHIND'), math.pi > 3, len('four'), os.getcwd(), sys.getrecursionlimit()]
    return json.dumps([left, sorted(os.listdir('/lib'))[:3], sum(range(n))])
";

/// Inspects a runtime in its only slot.
fn inspect(service: &Service, runtime: &str) -> Result<Expected> {
    let function = service.python.dumps(INSPECT, "inspect")?;
    let args = service.python.dumps("", "((1000,), {})")?;
    let (seen, said) = outcome(service, &function, &args, json!({"runtime": runtime}))?;
    ensure!(matches!(&seen, Expected::Value(text) if text.contains("499500")), "{said}");
    Ok(seen)
}

/// Pickles that do something when they are loaded, or claim to. With the outcome as the function, then as the
/// arguments.
const PICKLES: &[(&str, &str, &str, &str)] = &[
    (
        "calls the shell",
        r#"b'cposix\nsystem\n(S"true"\ntR.'"#,
        "raises AttributeError containing system",
        "raises AttributeError containing system",
    ),
    (
        "reads another pickle",
        r#"b'cpickle\nloads\n(' + pickle.dumps(b'cposix\nsystem\n(S"true"\ntR.', 4)[2:-1] + b'tR.'"#,
        "raises AttributeError containing system",
        "raises AttributeError containing system",
    ),
    (
        "imports the shell",
        r#"b'cbuiltins\ngetattr\n(cimportlib\nimport_module\n(S"os"\ntRS"system"\ntR(S"true"\ntR.'"#,
        "raises OSError containing the sandbox has one process",
        "raises OSError containing the sandbox has one process",
    ),
    (
        "confuses the memo",
        r#"b'\x80\x04\x8c\x04json\x940\x8c\x05posix\x940\x8c\x06system\x940h\x01q\x000h\x00h\x02\x93\x8c\x04true\x85R.'"#,
        "raises AttributeError containing system",
        "raises AttributeError containing system",
    ),
    (
        "sets attributes",
        r#"b'cbuiltins\n__import__\n(S"math"\ntR(N}S"pi"\nI3\nstb.'"#,
        "raises TypeError containing module, which cannot be called",
        "raises TypeError containing must be a pickled pair",
    ),
    (
        "fills the memo from far",
        r#"b'Nr\x00\x00\x00\x10.'"#,
        "refused stores memo 268435456",
        "refused stores memo 268435456",
    ),
    (
        "claims to be long",
        r#"b'\x80\x04\x8e' + struct.pack('<Q', 1 << 62) + b'.'"#,
        "refused truncated",
        "refused truncated",
    ),
    (
        "asks for memory",
        r#"b'cbuiltins\nbytearray\n(I2147483648\ntR.'"#,
        "refused is a bytearray",
        "raises OverflowError containing cannot fit",
    ),
    (
        "is nested deeply",
        r#"b']' * 1_000_000 + b'a' * 999_999 + b'.'"#,
        "refused is a list",
        "raises RecursionError containing maximum",
    ),
    ("is cut off", r#"pickle.dumps(((1,), {}))[:-3]"#, "refused truncated", "refused truncated"),
    (
        "goes on after its end",
        r#"pickle.dumps(((-5,), {})) + b'more'"#,
        "refused 4 bytes follow",
        "refused 4 bytes follow",
    ),
    (
        "has an unknown opcode",
        r#"b'\x80\x04\xff.'"#,
        "refused no pickle opcode",
        "refused no pickle opcode",
    ),
    ("is of protocol 6", r#"b'\x80\x06N.'"#, "refused protocol 6", "refused protocol 6"),
    (
        "has code of Python 3.8",
        r#"b'cdill._dill\n_create_code\n(I0\nI0\nI0\nI0\nI0\nI0\nC\x02d\x00)))S"f"\nS"f"\nI1\nC\x00))tR.'"#,
        "refused python_unserved",
        "raises TypeError containing must be a pickled pair",
    ),
    (
        "is of the wrong type",
        r#"pickle.dumps(42)"#,
        "refused is an int",
        "raises TypeError containing must be a pickled pair",
    ),
];

/// The payload of the bytes that `expression` returns.
fn payload(service: &Service, expression: &str) -> Result<String> {
    let source = "import base64, pickle, struct";
    let text = service.python.dumps(source, &format!("base64.b64encode({expression}).decode()"))?;
    Ok(service.python.loads(&text)?.repr.trim_matches('\'').to_owned())
}

fn attack(service: &Service, bytes: &str, as_function: &str, as_args: &str) -> Result<()> {
    let attack = payload(service, bytes)?;
    let function = service.python.dumps("", "abs")?;
    let args = service.python.dumps("", "((-5,), {})")?;
    let limits = json!({"runtime": "sandbox", "timeout_s": 5, "memory_mb": 128, "max_retries": 0});
    let first = outcome(service, &attack, &args, limits.clone())?;
    let second = outcome(service, &function, &attack, limits)?;
    compare(&expected(as_function, None)?, first).context("as the function")?;
    compare(&expected(as_args, None)?, second).context("as the arguments")
}

#[test]
fn every_example_does_only_what_it_states() -> Result<()> {
    let examples = examples()?;
    let service = Service::start(&["-m", "local", "-w", "1"])?;
    let inspect_both = || -> Result<_> {
        let dispatcher = service.process("dispatcher")?;
        Ok((inspect(&service, "native")?, inspect(&service, "sandbox")?, dispatcher))
    };
    let before = inspect_both()?;
    let mut wrong = Vec::new();
    let mut note = |name: &str, result: Result<()>| {
        wrong.extend(result.err().map(|why| format!("{name}: {why:#}")));
    };
    for example in &examples {
        note(&format!("{} natively", example.name), run(&service, example, "native", "3.11"));
        note(&example.name, run(&service, example, "sandbox", "3.11"));
        if example.hostile {
            let after = inspect_both().with_context(|| format!("after {}", example.name))?;
            ensure!(after == before, "{} left {after:?}, not {before:?}", example.name);
        }
    }
    for (name, bytes, as_function, as_args) in PICKLES {
        note(name, attack(&service, bytes, as_function, as_args));
        let after = inspect_both().with_context(|| format!("after a pickle that {name}"))?;
        ensure!(after == before, "a pickle that {name} left {after:?}, not {before:?}");
    }
    ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), examples.len(), wrong.join("\n"));
    Ok(())
}

/// The same in the sandbox of each other Python that has a guest.
#[test]
fn other_guests_do_what_examples_state() -> Result<()> {
    let examples = examples()?;
    let mut service = Service::start(&["-m", "local", "-w", "1"])?;
    for (version, interpreter) in paths::other_pythons_with_guests()? {
        service.python = Python::start_with(&interpreter, &[])?;
        let ran = examples.iter().map(|it| (&it.name, run(&service, it, "sandbox", &version)));
        let wrong: Vec<_> =
            ran.filter_map(|(name, ran)| ran.err().map(|why| format!("{name}: {why:#}"))).collect();
        let count = examples.len();
        ensure!(wrong.is_empty(), "{version}: {} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    }
    Ok(())
}
