//! Redis: one server, or a primary and its replica behind sentinels. And a bucket.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use belljar_testkit::program::Environment;
use belljar_testkit::redis::free_port;
use belljar_testkit::{Program, Redis, Sentinels, binary, eventually};
use serde_json::Value;

/// How long sentinels may take to promote a replica, or to make a server one that was the primary. They look at it every ten
/// seconds.
const SENTINEL_TIMEOUT: Duration = Duration::from_secs(40);

/// The servers of a cluster.
#[derive(Debug)]
pub(crate) struct Servers {
    /// The primary, and the replica where there is one.
    servers: Vec<Redis>,
    sentinels: Option<Sentinels>,
}

impl Servers {
    /// Starts them: the primary in `dir`.
    pub(crate) fn start(dir: &Path, has_replica: bool) -> Result<Self> {
        if !has_replica {
            let servers = vec![Redis::start_in(dir, Redis::DURABLE)?];
            return Ok(Self { servers, sentinels: None });
        }
        let ports = [free_port()?, free_port()?];
        let [one, other] = ports.map(|port| port.to_string());
        let primary = Redis::start_in(dir, &options(&one))?;
        let replica = primary.replica(&options(&other))?;
        let sentinels = Some(Sentinels::start(ports[0], ports[1])?);
        Ok(Self { servers: vec![primary, replica], sentinels })
    }

    pub(crate) fn has_replica(&self) -> bool {
        self.sentinels.is_some()
    }

    /// What `--redis` takes.
    pub(crate) fn url(&self) -> String {
        self.sentinels.as_ref().map_or_else(|| self.primary().url(), Sentinels::url)
    }

    pub(crate) fn primary(&self) -> &Redis {
        &self.servers[0]
    }

    pub(crate) fn primary_mut(&mut self) -> &mut Redis {
        &mut self.servers[0]
    }

    /// Kills the primary and waits until its replica has taken over; then starts it again and waits until it has the data of
    /// the new one.
    pub(crate) fn fail_over(
        &mut self,
        killing: impl FnOnce(&str) -> Result<()>,
        over: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let Some(sentinels) = &self.sentinels else { bail!("there is one server") };
        killing(&format!("primary {} killed", self.primary().program().pid()))?;
        self.servers[0].kill();
        self.servers.rotate_left(1);
        let port = self.servers[0].port()?;
        let promoted = eventually(SENTINEL_TIMEOUT, || sentinels.agree_on(port));
        ensure!(promoted, "the replica was not promoted");
        over()?;
        // It still believes that it is the primary.
        self.servers[1].restart()?;
        ensure!(has_role(&self.servers[1], "slave"), "the old primary is no replica");
        self.servers[1].wait_until_synced()
    }
}

fn options(port: &str) -> Vec<&str> {
    [Redis::DURABLE, &["--repl-diskless-sync-delay", "0", "--port", port]].concat()
}

fn has_role(server: &Redis, role: &str) -> bool {
    let line = format!("role:{role}\r\n");
    eventually(SENTINEL_TIMEOUT, || {
        server.tell("INFO replication").is_ok_and(|told| told.contains(&line))
    })
}

/// A bucket of large values.
#[derive(Debug)]
pub(crate) struct BucketServer {
    program: Program,
    url: String,
    /// How it is reached.
    environment: Environment,
    address: SocketAddr,
}

impl BucketServer {
    /// Starts one with its objects in `directory`, and its log beside that.
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let argv =
            vec![binary("belljar-bucket").into(), directory.into(), address.to_string().into()];
        let log = directory.with_extension("log");
        let program = Program::start(argv, Vec::new(), Some(log))?;
        let told: Value = serde_json::from_str(&program.line_after("")?)?;
        let url = told["url"].as_str().context("no URL")?.to_owned();
        let named = told["env"].as_object().context("no variables")?.iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().into();
        let environment = named.map(|(name, value)| (name.into(), text(value))).collect();
        Ok(Self { program, url, environment, address })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is reached, at this address.
    pub(crate) fn environment(&self, at: SocketAddr) -> Environment {
        let mut environment = self.environment.clone();
        environment.push(("AWS_ENDPOINT_URL".into(), format!("http://{at}").into()));
        environment
    }

    pub(crate) const fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) const fn program_mut(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Starts it again over the same objects.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.program.restart()?;
        self.program.line_after("").map(drop)
    }
}
