//! Redis: one server, or a primary and its replica behind sentinels.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use belljar_testkit::redis::free_port;
use belljar_testkit::{Redis, Sentinels, eventually};

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
