//! `guest-examples/`: functions, and the outcomes that their docstrings state.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::Service;

/// A file of `guest-examples/`: a function of the same name, and what its docstring states.
#[derive(Debug)]
pub struct Example {
    /// The name of the file and of the function.
    pub name: String,
    /// The text of the file.
    pub source: String,
    /// Whether it is an attack.
    pub hostile: bool,
    /// A Python expression for its `(args, kwargs)`.
    pub args: String,
    /// Its outcome in the native runtime.
    pub native: Expected,
    /// Its outcome in the sandbox.
    pub sandbox: Expected,
    /// Its outcome in the sandbox of other Pythons, if it differs.
    pub elsewhere: BTreeMap<String, Expected>,
    /// The limits that it is registered with.
    pub limits: Value,
}

/// The outcome of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// A value of this `repr`.
    Value(String),
    /// An exception of this class whose `repr` or notes hold this text.
    Raises(String, String),
    /// Its registration is refused with this text.
    Refused(String),
    /// It does not run in this runtime.
    Unsafe,
}

/// Parses an expectation. `same` refers to the native one.
///
/// # Errors
/// It is not an expectation.
pub fn expected(text: &str, native: Option<&Expected>) -> Result<Expected> {
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
    let of_guest =
        fields.iter().filter_map(|(key, said)| Some((key.strip_prefix("sandbox-")?, said)));
    let of_guest =
        of_guest.map(|(python, said)| Ok((python.into(), expected(said, Some(&native))?)));
    let elsewhere = of_guest.collect::<Result<_>>()?;
    // A function that ends its executor would only end the next one too.
    let mut limits = json!({"timeout_s": 10, "memory_mb": 128, "max_retries": 0});
    for limit in field("limits").unwrap_or_default().split_whitespace() {
        let (key, value) = limit.split_once('=').context("a limit without a value")?;
        limits[key] = serde_json::from_str(value)?;
    }
    let args = field("args")?.to_owned();
    Ok(Example { name, source, hostile, args, native, sandbox, elsewhere, limits })
}

/// All examples, the hostile ones last.
///
/// # Errors
/// An example cannot be read or states no outcome.
pub fn examples() -> Result<Vec<Example>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-examples");
    let mut found = Vec::new();
    for (directory, hostile) in [("useful", false), ("public", false), ("hostile", true)] {
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

/// The outcome of a call as an expectation, and the text of its value or exception.
///
/// # Errors
/// The service does not answer.
pub fn outcome(
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

/// Checks that a call has the expected outcome.
///
/// # Errors
/// It has another one.
pub fn compare(expected: &Expected, (got, said): (Expected, String)) -> Result<()> {
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
