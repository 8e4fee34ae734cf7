//! A Python that serializes and deserializes as clients do.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::service::binary;

/// A deserialized value, as far as a test can see it from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The name of its class.
    pub class: String,
    /// Its `repr`.
    pub repr: String,
    /// The notes on it, if it is an exception.
    pub notes: Vec<String>,
}

/// One interpreter; it answers one request after another.
#[derive(Debug)]
pub struct Python {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

/// The interpreter of the tests: `BELLJAR_TEST_PYTHON`, else the one that `make setup` makes.
#[must_use]
pub fn interpreter() -> PathBuf {
    let made = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.belljar/venv/bin/python");
    std::env::var_os("BELLJAR_TEST_PYTHON").map_or_else(made, PathBuf::from)
}

/// The further Pythons that `make pythons` has built interpreters for: versions, and interpreters with dill.
#[must_use]
pub fn further() -> Vec<(String, PathBuf)> {
    let name = |version: &str| format!("belljar-python{version}");
    set_up().filter(|(version, _)| binary(&name(version)).is_absolute()).collect()
}

/// Those that there is a guest for.
///
/// # Errors
/// The guests cannot be listed.
pub fn further_with_guests() -> Result<Vec<(String, PathBuf)>> {
    let listed = Command::new(binary("belljar")).args(["guest", "list"]).output()?;
    let listed = String::from_utf8(listed.stdout)?;
    let guests: Vec<_> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    Ok(set_up().filter(|(version, _)| guests.contains(&version.as_str())).collect())
}

/// The further Pythons that `make pythons` has installed dill for.
fn set_up() -> impl Iterator<Item = (String, PathBuf)> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.belljar/pythons");
    let dirs = std::fs::read_dir(&made).into_iter().flatten().flatten();
    let versions = dirs.filter_map(|dir| dir.file_name().into_string().ok());
    versions.map(move |version| (version.clone(), made.join(version).join("bin/python")))
}

/// The packages of that interpreter, for the native runtime.
#[must_use]
pub fn site() -> PathBuf {
    let python = interpreter();
    let venv = python.ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    venv.join("lib/python3.11/site-packages")
}

impl Python {
    /// Starts the interpreter.
    ///
    /// # Errors
    /// It is not there: `make setup` makes it.
    pub fn start() -> Result<Self> {
        Self::start_with(&interpreter())
    }

    /// Starts another interpreter, which has dill and cloudpickle.
    ///
    /// # Errors
    /// It is not there.
    pub fn start_with(interpreter: &Path) -> Result<Self> {
        let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/peer.py");
        let mut command = Command::new(interpreter);
        command.arg(peer).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("no Python for tests: `make setup` makes it")?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, pipes: Mutex::new((stdin, stdout)) })
    }

    /// The payload of `expression`, evaluated after `source` has run, serialized by dill.
    ///
    /// # Errors
    /// The source is wrong or the value cannot be serialized.
    pub fn dumps(&self, source: &str, expression: &str) -> Result<String> {
        self.dumps_by("dill", source, expression)
    }

    /// The same by `dill`, `cloudpickle` or `pickle`.
    ///
    /// # Errors
    /// The source is wrong or the value cannot be serialized.
    pub fn dumps_by(&self, pickler: &str, source: &str, expression: &str) -> Result<String> {
        let reply = self.ask(&json!({"dumps": source, "of": expression, "by": pickler}))?;
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

    fn ask(&self, request: &Value) -> Result<Value> {
        let mut pipes = self.pipes.lock().map_err(|_| anyhow::anyhow!("a test panicked here"))?;
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
