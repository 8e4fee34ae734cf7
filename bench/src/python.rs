//! The functions that are measured, and the Python that serializes them as clients do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use include_dir::{Dir, include_dir};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The program of the interpreter.
const SERIALIZER: &str = include_str!("../serializer.py");
/// The functions that are measured, in files of their names.
static FUNCTIONS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/functions");
/// The functions that compare the runtimes.
const SUITE: &str = "attributes decimals dicts exceptions fib floats generators hashing jsons lists loops nbody \
                     pickles regexes sorts strings";

/// A serialized call, and its expected serialized result.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Call {
    pub(crate) args: String,
    pub(crate) expected: String,
}

/// One interpreter, which answers one request after another.
#[derive(Debug)]
pub(crate) struct Python {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// What the interpreter reports of itself and of the machine.
#[derive(Debug, Deserialize)]
pub(crate) struct SerializerInfo {
    pub(crate) versions: BTreeMap<String, String>,
    /// The time of a fixed piece of work.
    pub(crate) seconds: f64,
}

/// The names of the functions that compare the runtimes.
pub(crate) fn suite() -> Vec<&'static str> {
    SUITE.split_whitespace().collect()
}

impl Python {
    pub(crate) fn start(interpreter: &Path) -> Result<Self> {
        let mut command = Command::new(interpreter);
        command.args(["-c", SERIALIZER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn();
        let mut child =
            child.with_context(|| format!("cannot start `{}`", interpreter.display()))?;
        let stdin = child.stdin.take().context("no standard input")?;
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, stdin, stdout })
    }

    pub(crate) fn about(&mut self) -> Result<SerializerInfo> {
        Ok(serde_json::from_value(self.ask(&json!({}))?)?)
    }

    /// A function as a client registers it.
    pub(crate) fn function(&mut self, name: &str) -> Result<String> {
        self.part("payload", &json!({"source": source(name)?, "function": name}))
    }

    /// Calls of a function, each with its own arguments.
    pub(crate) fn calls(
        &mut self,
        name: &str,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<Call>> {
        let calls: Vec<Value> = args.into_iter().collect();
        let request = json!({"source": source(name)?, "function": name, "calls": calls});
        self.part("calls", &request)
    }

    /// Calls with the numbers from `first` on as their only arguments.
    pub(crate) fn numbered(&mut self, name: &str, first: usize, count: usize) -> Result<Vec<Call>> {
        self.calls(name, (first..first + count).map(|number| json!([number])))
    }

    /// So many variants of a function, each with its own code: they differ in a number.
    pub(crate) fn variants(
        &mut self,
        name: &str,
        first: usize,
        count: usize,
    ) -> Result<Vec<String>> {
        let request =
            json!({"source": source(name)?, "function": name, "variants": [first, count]});
        self.part("payloads", &request)
    }

    /// Calls of `echo` with blocks of random bytes.
    pub(crate) fn echoes(&mut self, bytes: usize, count: usize) -> Result<Vec<Call>> {
        self.part("calls", &json!({"bytes": bytes, "count": count}))
    }

    fn part<T: DeserializeOwned>(&mut self, name: &str, request: &Value) -> Result<T> {
        Ok(serde_json::from_value(self.ask(request)?[name].take())?)
    }

    fn ask(&mut self, request: &Value) -> Result<Value> {
        writeln!(self.stdin, "{request}")?;
        self.stdin.flush()?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let reply: Value =
            serde_json::from_str(&line).context("the Python that serializes has ended")?;
        match reply["error"].as_str() {
            Some(error) => bail!("Python cannot serialize: {error}"),
            None => Ok(reply),
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn source(name: &str) -> Result<&'static str> {
    let file = FUNCTIONS.get_file(format!("{name}.py")).and_then(include_dir::File::contents_utf8);
    file.with_context(|| format!("no function `{name}` in bench/functions/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_defines_a_function_of_its_name() {
        for file in FUNCTIONS.files() {
            let name = file.path().file_stem().unwrap().to_str().unwrap();
            assert!(source(name).unwrap().contains(&format!("\ndef {name}(")), "{name}");
        }
    }

    #[test]
    fn the_suite_has_a_dozen_functions_at_least() {
        assert!(suite().len() >= 12);
        assert!(suite().into_iter().all(|name| source(name).is_ok()));
    }
}
