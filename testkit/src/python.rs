//! A Python that serializes and deserializes as clients do.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::paths::interpreter;

/// A deserialized value, as far as Rust can see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The name of its class.
    pub class: String,
    /// Its `repr`.
    pub repr: String,
    /// Its notes, if it is an exception.
    pub notes: Vec<String>,
}

/// Where source code runs before an expression of it is serialized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// In a namespace of its own, so that functions take along the globals that they use.
    Fresh,
    /// In `__main__`, as in a client's script: dill lets functions refer to the globals of `__main__`.
    Main,
}

/// One interpreter. It answers one request after another.
#[derive(Debug)]
pub struct Python {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Python {
    /// Starts the interpreter of the tests.
    ///
    /// # Errors
    /// It is missing.
    pub fn start() -> Result<Self> {
        Self::start_with(&interpreter(), &[])
    }

    /// Starts an interpreter, which has dill and cloudpickle. It can import from `paths`.
    ///
    /// # Errors
    /// It is missing.
    pub fn start_with(interpreter: &Path, paths: &[&Path]) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/pickler.py");
        let mut command = Command::new(interpreter);
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env("PYTHONPATH", std::env::join_paths(paths)?);
        // It ends at the end of its standard input, so also with a test that is killed.
        let mut child = command.spawn().with_context(|| {
            format!("no Python `{}`\n  hint: make setup installs it", interpreter.display())
        })?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, pipes: Mutex::new((stdin, stdout)) })
    }

    /// The payload of `expression`, evaluated after `source` has run, serialized by dill.
    ///
    /// # Errors
    /// The source is wrong or the value cannot be serialized.
    pub fn dumps(&self, source: &str, expression: &str) -> Result<String> {
        self.dumps_by("dill", Namespace::Fresh, source, expression)
    }

    /// The same by `dill`, `dill-recurse`, `cloudpickle` or `pickle`.
    ///
    /// # Errors
    /// The source is wrong or the value cannot be serialized.
    pub fn dumps_by(
        &self,
        pickler: &str,
        namespace: Namespace,
        source: &str,
        expression: &str,
    ) -> Result<String> {
        let in_main = namespace == Namespace::Main;
        let request = json!({"dumps": source, "of": expression, "by": pickler, "main": in_main});
        let reply = self.ask(&request)?;
        Ok(reply["text"].as_str().context("no text")?.to_owned())
    }

    /// What a payload is.
    ///
    /// # Errors
    /// It cannot be deserialized.
    pub fn loads(&self, payload: &str) -> Result<Loaded> {
        let reply = self.ask(&json!({"loads": payload}))?;
        let text = |name: &str| reply[name].as_str().unwrap_or_default().to_owned();
        let notes = reply["notes"].as_array().into_iter().flatten();
        let notes = notes.map(|note| note.as_str().unwrap_or_default().to_owned()).collect();
        Ok(Loaded { class: text("type"), repr: text("repr"), notes })
    }

    /// Checks that a script compiles; it may await at its top.
    ///
    /// # Errors
    /// It does not compile.
    pub fn compiles(&self, script: &str) -> Result<()> {
        self.ask(&json!({"compile": script})).map(drop)
    }

    fn ask(&self, request: &Value) -> Result<Value> {
        let mut pipes = self.pipes.lock().map_err(|_| anyhow!("a test panicked here"))?;
        writeln!(pipes.0, "{request}")?;
        let mut line = String::new();
        pipes.1.read_line(&mut line)?;
        let reply: Value = serde_json::from_str(&line).context("Python has ended")?;
        match reply["error"].as_str() {
            Some(error) => bail!("{error}"),
            None => Ok(reply),
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_serializes_it_can_read() {
        let python = Python::start().expect("a Python");
        for pickler in ["dill", "dill-recurse", "cloudpickle", "pickle"] {
            let dumps = |of| python.dumps_by(pickler, Namespace::Main, "x = 20", of);
            let loaded = python.loads(&dumps("x + 1").expect("a payload")).expect("a value");
            assert_eq!((&*loaded.class, &*loaded.repr), ("int", "21"));
        }
    }

    #[test]
    fn what_python_says_is_the_error() {
        let python = Python::start().expect("a Python");
        let error = python.dumps("", "1 / 0").expect_err("no value").to_string();
        assert_eq!(error, "ZeroDivisionError: division by zero");
        python.compiles("async def f(): pass").expect("Python");
        let error = python.compiles("def f(:").expect_err("no Python").to_string();
        assert!(error.starts_with("SyntaxError"), "{error}");
    }
}
