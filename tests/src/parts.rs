//! A service whose dispatcher and workers a test starts itself.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::part::redis_socket;
use crate::{Client, Part};

/// Redis, a gateway and a dispatcher for workers, each a process of its own.
#[derive(Debug)]
pub struct Parts {
    dir: tempfile::TempDir,
    mode: String,
    endpoint: String,
    /// Asks the gateway.
    pub client: Client,
    _running: [Part; 3],
}

impl Parts {
    /// Starts them, the dispatcher with these options.
    ///
    /// # Errors
    /// One of them does not start.
    pub fn start(mode: &str, options: &[String]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let redis = Part::redis(dir.path())?;
        let url = format!("redis+unix://{}", redis_socket(dir.path()).display());
        let words = ["gateway", "--listen", "127.0.0.1:0", "--redis", &url];
        let gateway = Part::belljar(&words, Vec::new(), log(dir.path(), "gateway"))?;
        let client = Client::new(&gateway.first_line("belljar gateway listens at ")?);
        let mut words = vec!["dispatcher", "-m", mode, "-p", "0", "--redis", &url];
        words.extend(options.iter().map(String::as_str));
        let dispatcher = Part::belljar(&words, Vec::new(), log(dir.path(), "dispatcher"))?;
        let endpoint = dispatcher.first_line("belljar dispatcher takes workers at ")?;
        let mode = mode.to_owned();
        Ok(Self { dir, mode, endpoint, client, _running: [gateway, dispatcher, redis] })
    }

    /// Starts a worker of one slot, which logs under `name` and serves what `runtime` says.
    ///
    /// # Errors
    /// It does not start.
    pub fn worker_of(&self, runtime: &str, name: &str, options: &[String]) -> Result<Part> {
        let mut words = vec!["worker", &self.mode, "1", &self.endpoint, "--runtime", runtime];
        words.extend(options.iter().map(String::as_str));
        Part::belljar(&words, Vec::new(), log(self.dir.path(), name))
    }

    /// The same, of native calls.
    ///
    /// # Errors
    /// It does not start.
    pub fn worker(&self, name: &str, options: &[String]) -> Result<Part> {
        self.worker_of("native", name, options)
    }

    /// The workers that the service tells of.
    ///
    /// # Errors
    /// The gateway does not answer.
    pub fn workers(&self) -> Result<Vec<Value>> {
        let (_, workers) = self.client.get("/v1/workers")?;
        workers["items"].as_array().cloned().with_context(|| format!("no list: {workers}"))
    }
}

fn log(dir: &Path, name: &str) -> std::path::PathBuf {
    dir.join(format!("{name}.log"))
}
