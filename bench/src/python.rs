//! The functions that are measured, and the Python that serializes them as clients do.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the interpreter runs.
const SERIALIZER: &str = include_str!("../serializer.py");

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        /// The functions of `bench/functions/`, by name.
        const SOURCES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../functions/", $name, ".py")))),*];
    };
}

sources![
    "attributes",
    "cpu",
    "decimals",
    "dicts",
    "echo",
    "exceptions",
    "fib",
    "fibonacci",
    "file_io",
    "floats",
    "generators",
    "hashing",
    "jsons",
    "lists",
    "loops",
    "marked",
    "nbody",
    "noop",
    "pickles",
    "regexes",
    "sleep",
    "sorts",
    "strings",
];

/// The functions of the suite that compares runtimes.
pub(crate) const SUITE: &[&str] = &[
    "attributes",
    "decimals",
    "dicts",
    "exceptions",
    "fib",
    "floats",
    "generators",
    "hashing",
    "jsons",
    "lists",
    "loops",
    "nbody",
    "pickles",
    "regexes",
    "sorts",
    "strings",
];

/// A serialized call, and the serialized value that it must give.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Call {
    pub(crate) args: String,
    pub(crate) expected: String,
}

/// One interpreter; it answers one request after another, and ends with this.
#[derive(Debug)]
pub(crate) struct Python {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// What the interpreter says of itself and of the machine.
#[derive(Debug, Deserialize)]
pub(crate) struct About {
    pub(crate) versions: std::collections::BTreeMap<String, String>,
    /// How long a fixed piece of work took.
    pub(crate) seconds: f64,
}

#[derive(Deserialize)]
struct Payload {
    payload: String,
}

#[derive(Deserialize)]
struct Payloads {
    payloads: Vec<String>,
}

#[derive(Deserialize)]
struct Calls {
    calls: Vec<Call>,
}

impl Python {
    pub(crate) fn start(interpreter: &Path) -> Result<Self> {
        let mut command = Command::new(interpreter);
        command.args(["-c", SERIALIZER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| {
            format!("cannot start `{}`\n  hint: `make setup` makes it", interpreter.display())
        })?;
        let stdin = child.stdin.take().context("no standard input")?;
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, stdin, stdout })
    }

    pub(crate) fn about(&mut self) -> Result<About> {
        self.ask(&json!({}))
    }

    /// A function as a client registers it.
    pub(crate) fn function(&mut self, name: &str) -> Result<String> {
        let request = json!({"source": source(name)?, "function": name});
        Ok(self.ask::<Payload>(&request)?.payload)
    }

    /// Calls of a function, each with arguments of its own.
    pub(crate) fn calls(
        &mut self,
        name: &str,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<Call>> {
        let calls: Vec<Value> = args.into_iter().collect();
        let request = json!({"source": source(name)?, "function": name, "calls": calls});
        Ok(self.ask::<Calls>(&request)?.calls)
    }

    /// Calls with the numbers from `first` on as their only arguments.
    pub(crate) fn numbered(&mut self, name: &str, first: usize, count: usize) -> Result<Vec<Call>> {
        self.calls(name, (first..first + count).map(|number| json!([number])))
    }

    /// A function in so many variants, each of code of its own: the mark in it is a number.
    pub(crate) fn variants(
        &mut self,
        name: &str,
        first: usize,
        count: usize,
    ) -> Result<Vec<String>> {
        let request =
            json!({"source": source(name)?, "function": name, "variants": [first, count]});
        Ok(self.ask::<Payloads>(&request)?.payloads)
    }

    /// Calls of `echo` with blocks of random bytes.
    pub(crate) fn echoes(&mut self, bytes: usize, count: usize) -> Result<Vec<Call>> {
        Ok(self.ask::<Calls>(&json!({"bytes": bytes, "count": count}))?.calls)
    }

    fn ask<T: DeserializeOwned>(&mut self, request: &impl Serialize) -> Result<T> {
        serde_json::to_writer(&mut self.stdin, request)?;
        self.stdin.write_all(b"\n")?;
        self.stdin.flush()?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        if let Ok(Refusal { error }) = serde_json::from_str(&line) {
            bail!("Python cannot serialize: {error}");
        }
        serde_json::from_str(&line).context("the Python that serializes has ended")
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn source(name: &str) -> Result<&'static str> {
    let found = SOURCES.iter().find(|(known, _)| *known == name);
    Ok(found.with_context(|| format!("no function `{name}` in bench/functions/"))?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_used_and_defines_what_its_name_says() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions");
        let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
        let python = files.filter(|path| path.extension().is_some_and(|ending| ending == "py"));
        let mut names: Vec<_> =
            python.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        assert_eq!(names, SOURCES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for (name, source) in SOURCES {
            assert!(source.contains(&format!("\ndef {name}(")), "{name}");
        }
    }

    #[test]
    fn the_suite_has_a_dozen_functions_at_least() {
        assert!(SUITE.len() >= 12);
        assert!(SUITE.iter().all(|name| source(name).is_ok()));
    }
}
