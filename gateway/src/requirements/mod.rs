//! Chooses packages for functions that ask for some, once, when a function is registered: pip resolves, in a process of its own,
//! against the one package index that the operator offers, and only wheels count, so that no code of a package runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use belljar_core::requirements::{InvalidWheel, PIP_ENVIRONMENT, PackageLock, Requirement, Wheel};
use belljar_core::task::PythonVersion;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

const SCRIPT: &str = include_str!("resolve.py");
/// How long one choice may take.
const TIME: Duration = Duration::from_secs(60);
/// How many are made at once.
const AT_ONCE: usize = 2;
/// How many are kept, and for how long: clients register the same function again and again.
const KEPT: usize = 256;
const FRESH: Duration = Duration::from_secs(300);

/// Chooses packages from one index.
#[derive(Debug)]
pub struct Resolver {
    python: PathBuf,
    index: String,
    running: Semaphore,
    kept: Cache<String, (Instant, PackageLock)>,
}

/// Why none were chosen.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// There are none that will do; the sentence names the package.
    #[error("{0}")]
    Wrong(String),
    /// The index or pip failed.
    #[error("no packages can be chosen at present: {0}")]
    Failed(String),
}

impl From<InvalidWheel> for ResolveError {
    fn from(error: InvalidWheel) -> Self {
        Self::Wrong(error.to_string())
    }
}

/// What is asked of the script.
#[derive(Serialize)]
struct Request<'a> {
    requirements: Vec<&'a str>,
    index: &'a str,
    python: String,
    provided: Option<&'a BTreeMap<String, String>>,
}

/// What it answers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Chosen { wheels: Vec<(String, String)> },
    Refused { error: String, is_wrong: bool },
}

impl Resolver {
    /// Chooses from the index at the URL `index`, by the pip of `python`.
    #[must_use]
    pub fn new(python: PathBuf, index: String) -> Self {
        Self { python, index, running: Semaphore::new(AT_ONCE), kept: Cache::new(KEPT) }
    }

    /// The wheels for `requirements` in a native Python, or in the sandbox that has packages of its own.
    ///
    /// # Errors
    /// There are none, or the index does not say.
    pub async fn resolve(
        &self,
        requirements: &[Requirement],
        python: PythonVersion,
        provided: Option<&BTreeMap<String, String>>,
    ) -> Result<PackageLock, ResolveError> {
        let mut requirements: Vec<_> = requirements.iter().map(Requirement::as_str).collect();
        requirements.sort_unstable();
        let (index, python) = (&*self.index, python.to_string());
        let request = Request { requirements, index, python, provided };
        let key = serde_json::to_string(&request).map_err(failed)?;
        if let Some((at, lock)) = self.kept.get(&key)
            && at.elapsed() < FRESH
        {
            return Ok(lock);
        }
        let answer = timeout(TIME, self.run(&key)).await;
        let slow = |_| ResolveError::Failed(format!("they were not chosen within {TIME:?}"));
        let answer = answer.map_err(slow)??;
        let lock = match answer {
            Answer::Chosen { wheels } => {
                let wheels = wheels.iter().map(|(file, hash)| Wheel::new(file, hash));
                PackageLock::new(wheels.collect::<Result<_, _>>()?)?
            }
            Answer::Refused { error, is_wrong: true } => return Err(ResolveError::Wrong(error)),
            Answer::Refused { error, is_wrong: false } => return Err(ResolveError::Failed(error)),
        };
        self.kept.insert(key, (Instant::now(), lock.clone()));
        Ok(lock)
    }

    async fn run(&self, request: &str) -> Result<Answer, ResolveError> {
        let _running = self.running.acquire().await.map_err(failed)?;
        let mut command = Command::new(&self.python);
        command.args(["-I", "-c", SCRIPT]).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_clear().env("PIP_CONFIG_FILE", "/dev/null");
        command
            .envs(PIP_ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(request.as_bytes()).await.map_err(failed)?;
        }
        let output = child.wait_with_output().await.map_err(failed)?;
        serde_json::from_slice(&output.stdout).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            failed(said.lines().last().unwrap_or("pip said nothing"))
        })
    }
}

fn failed(why: impl std::fmt::Display) -> ResolveError {
    ResolveError::Failed(why.to_string())
}
