//! A service whose dispatcher and workers a test starts itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use belljar_testkit::{Program, Redis};
use serde_json::Value;

use crate::Client;

/// Redis, a gateway and a dispatcher for workers, each a process of its own.
#[derive(Debug)]
pub struct Deployment {
    mode: String,
    endpoint: String,
    /// Asks the gateway.
    pub client: Client,
    /// The dispatcher.
    pub dispatcher: Program,
    _gateway: Program,
    redis: Redis,
}

impl Deployment {
    /// Starts them, the dispatcher with these options.
    ///
    /// # Errors
    /// One of them does not start.
    pub fn start(mode: &str, options: &[String]) -> Result<Self> {
        let redis = Redis::start_with(Redis::DURABLE)?;
        let url = redis.url();
        let args = ["gateway", "--listen", "127.0.0.1:0", "--redis", &url];
        let gateway = Program::belljar(&args, Vec::new(), log(redis.dir(), "gateway"))?;
        let client = Client::new(&gateway.line_after("belljar gateway listens at ")?);
        let mut args = vec!["dispatcher", "-m", mode, "-p", "0", "--redis", &url];
        args.extend(options.iter().map(String::as_str));
        let dispatcher = Program::belljar(&args, Vec::new(), log(redis.dir(), "dispatcher"))?;
        let endpoint = dispatcher.line_after("belljar dispatcher takes workers at ")?;
        let mode = mode.to_owned();
        Ok(Self { mode, endpoint, client, dispatcher, _gateway: gateway, redis })
    }

    /// Where the dispatcher listens: a host and a port.
    #[must_use]
    pub fn address(&self) -> &str {
        self.endpoint.strip_prefix("tcp://").unwrap_or(&self.endpoint)
    }

    /// Starts a worker of one slot, which logs under `name` and serves what `runtime` says.
    ///
    /// # Errors
    /// It does not start.
    pub fn worker_of(&self, runtime: &str, name: &str, options: &[String]) -> Result<Program> {
        let mut args = vec!["worker", &self.mode, "1", &self.endpoint, "--runtime", runtime];
        args.extend(options.iter().map(String::as_str));
        Program::belljar(&args, Vec::new(), log(self.redis.dir(), name))
    }

    /// Starts a worker of native calls.
    ///
    /// # Errors
    /// It does not start.
    pub fn worker(&self, name: &str, options: &[String]) -> Result<Program> {
        self.worker_of("native", name, options)
    }

    /// The workers that the service lists.
    ///
    /// # Errors
    /// The gateway does not answer.
    pub fn workers(&self) -> Result<Vec<Value>> {
        let (_, workers) = self.client.get("/v1/workers?limit=1000")?;
        workers["items"].as_array().cloned().with_context(|| format!("no list: {workers}"))
    }
}

fn log(dir: &Path, name: &str) -> Option<PathBuf> {
    Some(dir.join(format!("{name}.log")))
}
