//! `guest-examples/`: each does natively and in the sandbox what its docstring says, and what a hostile
//! one does is over with its call.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use belljar_tests::Service;
use serde_json::{Value, json};

/// A file of `guest-examples/`: a function of the file's name, and what its docstring says of it.
struct Example {
    name: String,
    source: String,
    hostile: bool,
    args: String,
    native: Expected,
    sandbox: Expected,
    limits: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    /// A value of this `repr`.
    Value(String),
    /// An exception of this class whose `repr` or notes hold this text.
    Raises(String, String),
    /// It cannot be registered: the answer holds this text.
    Refused(String),
    /// It is not run there.
    Unsafe,
}

fn expected(text: &str, native: Option<&Expected>) -> Result<Expected> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    Ok(match (verb, native) {
        ("value", _) if !rest.is_empty() => Expected::Value(rest.to_owned()),
        ("raises", _) if !rest.is_empty() => {
            let (class, text) = rest.split_once(" containing ").unwrap_or((rest, ""));
            Expected::Raises(class.to_owned(), text.to_owned())
        }
        ("refused", _) if !rest.is_empty() => Expected::Refused(rest.to_owned()),
        ("unsafe", None) => Expected::Unsafe,
        ("same", Some(native)) if *native != Expected::Unsafe => native.clone(),
        _ => bail!("no expectation: `{text}`"),
    })
}

fn example(path: &Path, hostile: bool) -> Result<Example> {
    let source = fs::read_to_string(path)?;
    let name = path.file_stem().and_then(|stem| stem.to_str()).context("a name")?.to_owned();
    ensure!(source.contains(&format!("\ndef {name}(")), "no function `{name}`");
    let docstring = source.strip_prefix("\"\"\"").and_then(|rest| rest.split_once("\"\"\""));
    let (said, _) = docstring.context("no docstring")?;
    let (what, fields) = said.split_once("\n\n").context("no fields")?;
    ensure!(what.ends_with('.'), "no sentence: `{what}`");
    let fields: BTreeMap<&str, &str> =
        fields.lines().filter_map(|line| line.split_once(": ")).collect();
    let field = |key: &str| fields.get(key).copied().with_context(|| format!("no `{key}`"));
    let native = expected(field("native")?, None)?;
    let sandbox = expected(field("sandbox")?, Some(&native))?;
    // What ends its executor would only do it again.
    let mut limits = json!({"timeout_s": 10, "memory_mb": 128, "max_retries": 0});
    for limit in field("limits").unwrap_or_default().split_whitespace() {
        let (key, value) = limit.split_once('=').context("a limit without a value")?;
        limits[key] = serde_json::from_str(value)?;
    }
    let args = field("args")?.to_owned();
    Ok(Example { name, source, hostile, args, native, sandbox, limits })
}

fn examples() -> Result<Vec<Example>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-examples");
    let mut found = Vec::new();
    for (directory, hostile) in [("useful", false), ("hostile", true)] {
        for entry in fs::read_dir(root.join(directory))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "py") {
                let read = example(&path, hostile);
                found.push(read.with_context(|| path.display().to_string())?);
            }
        }
    }
    found.sort_by(|one, other| (one.hostile, &one.name).cmp(&(other.hostile, &other.name)));
    Ok(found)
}

/// What became of a call, in the words of an expectation.
fn outcome(
    service: &Service,
    function: &str,
    args: &str,
    more: Value,
) -> Result<(Expected, String)> {
    let function = match service.client.register(function, more) {
        Ok(function) => function,
        Err(refused) => return Ok((Expected::Refused(String::new()), format!("{refused:#}"))),
    };
    let task = match service.client.submit(&function, args, json!({})) {
        Ok(task) => task,
        Err(refused) => return Ok((Expected::Refused(String::new()), format!("{refused:#}"))),
    };
    let (status, result) = service.client.wait(&task, 60)?;
    let loaded = service.python.loads(&result).with_context(|| status.clone())?;
    let said = format!("{} {}", loaded.repr, loaded.notes.join("\n"));
    Ok(match status.as_str() {
        "COMPLETED" => (Expected::Value(loaded.repr), said),
        _ => (Expected::Raises(loaded.class, String::new()), said),
    })
}

fn compare(expected: &Expected, (got, said): (Expected, String)) -> Result<()> {
    let same = match (expected, &got) {
        (Expected::Value(expected), Expected::Value(got)) => expected == got,
        (Expected::Raises(class, text), Expected::Raises(got, _)) => {
            class == got && said.contains(text)
        }
        (Expected::Refused(text), Expected::Refused(_)) => said.contains(text),
        _ => false,
    };
    ensure!(same, "{expected:?} expected, but {got:?}: {said}");
    Ok(())
}

/// How late a call may end, submission and answer included.
const GRACE: Duration = Duration::from_secs(1);

/// Runs an example, unless it is unsafe there.
fn run(service: &Service, example: &Example, runtime: &str) -> Result<()> {
    let expected = if runtime == "native" { &example.native } else { &example.sandbox };
    if *expected == Expected::Unsafe {
        return Ok(());
    }
    let function = service.python.dumps(&example.source, &example.name)?;
    let args = service.python.dumps("", &example.args)?;
    let mut more = example.limits.clone();
    more["runtime"] = json!(runtime);
    let limit = Duration::from_secs_f64(more["timeout_s"].as_f64().context("a time limit")?);
    let start = Instant::now();
    let got = outcome(service, &function, &args, more)?;
    ensure!(start.elapsed() < limit + GRACE, "{:?} of {limit:?}", start.elapsed());
    compare(expected, got)
}

/// What an earlier call could have left behind, and work that must come out right.
const LOOK_ROUND: &str = "
def look_round(n):
    import json, math, os, sys
    left = [os.environ.get('LEFT_BEHIND'), math.pi > 3, len('four'), os.getcwd(), sys.getrecursionlimit()]
    return json.dumps([left, sorted(os.listdir('/lib'))[:3], sum(range(n))])
";

/// Looks round in a runtime, on its only slot.
fn look_round(service: &Service, runtime: &str) -> Result<Expected> {
    let function = service.python.dumps(LOOK_ROUND, "look_round")?;
    let args = service.python.dumps("", "((1000,), {})")?;
    let (seen, said) = outcome(service, &function, &args, json!({"runtime": runtime}))?;
    ensure!(matches!(&seen, Expected::Value(text) if text.contains("499500")), "{said}");
    Ok(seen)
}

/// Pickles that do something while they are read, or claim to: sent as the function and as the
/// arguments. What becomes of them as the function, then as the arguments.
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
        "raises AttributeError containing system",
        "raises AttributeError containing system",
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

/// A payload of these bytes, which `expression` gives.
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
fn every_example_does_what_it_says_and_no_more() -> Result<()> {
    let examples = examples()?;
    let service = Service::start(&["-m", "local", "-w", "1"])?;
    let look = || -> Result<_> {
        let dispatcher = service.process("dispatcher")?;
        Ok((look_round(&service, "native")?, look_round(&service, "sandbox")?, dispatcher))
    };
    let before = look()?;
    let mut wrong = Vec::new();
    let mut note = |name: &str, result: Result<()>| {
        wrong.extend(result.err().map(|why| format!("{name}: {why:#}")));
    };
    for example in &examples {
        note(&format!("{} natively", example.name), run(&service, example, "native"));
        note(&example.name, run(&service, example, "sandbox"));
        if example.hostile {
            let after = look().with_context(|| format!("after {}", example.name))?;
            ensure!(after == before, "{} left {after:?}, not {before:?}", example.name);
        }
    }
    for (name, bytes, as_function, as_args) in PICKLES {
        note(name, attack(&service, bytes, as_function, as_args));
        let after = look().with_context(|| format!("after a pickle that {name}"))?;
        ensure!(after == before, "a pickle that {name} left {after:?}, not {before:?}");
    }
    ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), examples.len(), wrong.join("\n"));
    Ok(())
}
