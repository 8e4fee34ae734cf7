//! A private `redis-server` on a unix socket.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::process::{cpu_time, eventually};
use crate::program::Program;

/// How long it may take to load what it kept.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a replica may take to have the data.
const SYNC_TIMEOUT: Duration = Duration::from_secs(30);

/// A `redis-server` that listens on a unix socket only. Dropping it kills it.
#[derive(Debug)]
pub struct Redis {
    program: Program,
    dir: PathBuf,
    _scratch: Option<TempDir>,
}

impl Redis {
    /// Options of a server that keeps what it has for its next start, as that of `belljar up` does.
    pub const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "everysec"];

    /// Starts one in a directory of its own and waits until it answers.
    ///
    /// # Errors
    /// It does not answer; the error shows its log.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts one with further options.
    ///
    /// # Errors
    /// It does not answer.
    pub fn start_with(options: &[&str]) -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let redis = Self::start_in(scratch.path(), options)?;
        Ok(Self { _scratch: Some(scratch), ..redis })
    }

    /// Starts one that keeps its files in `dir`, whose path must be short enough for a socket.
    ///
    /// # Errors
    /// It does not answer.
    pub fn start_in(dir: &Path, options: &[&str]) -> Result<Self> {
        let log = dir.join("redis.log");
        let mut argv: Vec<OsString> = vec![server(), "--dir".into(), dir.into()];
        argv.extend(["--unixsocket".into(), socket(dir).into()]);
        argv.extend(["--logfile".into(), log.clone().into()]);
        argv.extend(["--port", "0", "--save", ""].map(OsString::from));
        argv.extend(["--maxmemory-policy", "noeviction"].map(OsString::from));
        argv.extend(options.iter().map(OsString::from));
        let program = Program::start(argv, Vec::new(), Some(log))?;
        let mut redis = Self { program, dir: dir.to_owned(), _scratch: None };
        redis.wait_until_loaded()?;
        Ok(redis)
    }

    /// Its directory, which holds its files and its socket; a test may add files of its own.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(&self.dir)
    }

    /// The same as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Sends a command, as a line, and returns the answer as the server writes it.
    ///
    /// # Errors
    /// It does not answer.
    pub fn tell(&self, command: &str) -> Result<String> {
        let mut stream = UnixStream::connect(self.socket())?;
        write!(stream, "{command}\r\n")?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The port at which it listens; 0 for none.
    ///
    /// # Errors
    /// It does not answer.
    pub fn port(&self) -> Result<u16> {
        let told = self.tell("CONFIG GET port")?;
        told.lines().last().and_then(|port| port.parse().ok()).context("no port")
    }

    /// Starts a replica of it, with further options, and waits until it has the data.
    ///
    /// # Errors
    /// There is no port for it, or the replica gets no data.
    pub fn replica(&self, options: &[&str]) -> Result<Self> {
        let port = match self.port()? {
            0 => free_port()?,
            port => port,
        };
        let port = port.to_string();
        for (name, value) in [("port", &*port), ("repl-diskless-sync-delay", "0")] {
            let set = self.tell(&format!("CONFIG SET {name} {value}"))?;
            ensure!(set == "+OK\r\n", "{name} {value}: {set}");
        }
        let replica =
            Self::start_with(&[&["--replicaof", "127.0.0.1", &*port][..], options].concat())?;
        replica.wait_until_synced()?;
        self.wait_until_confirmed()?;
        Ok(replica)
    }

    /// Waits until each of its replicas has confirmed that it has all data.
    ///
    /// A replica's first confirmation may come before the server knows that the data were sent, and then does not count: the
    /// next one comes a second later.
    fn wait_until_confirmed(&self) -> Result<()> {
        let confirmed = eventually(SYNC_TIMEOUT, || {
            let told = self.tell("INFO replication").unwrap_or_default();
            let all = told.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
            let mut replicas = told.lines().filter(|line| line.starts_with("slave"));
            all.is_some_and(|all| replicas.all(|it| it.contains(&format!("online,offset={all},"))))
        });
        ensure!(confirmed, "a replica confirms nothing; {}", self.program.evidence());
        Ok(())
    }

    /// Waits until this replica has the data of its primary.
    ///
    /// # Errors
    /// It does not get them.
    pub fn wait_until_synced(&self) -> Result<()> {
        let synced = eventually(SYNC_TIMEOUT, || {
            let told = self.tell("INFO replication").unwrap_or_default();
            told.contains("master_link_status:up")
        });
        ensure!(synced, "the replica has no data; {}", self.program.evidence());
        Ok(())
    }

    /// The process.
    #[must_use]
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// The process, to kill it by other ways than [`Self::kill`].
    pub const fn program_mut(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Starts it again over the same files and waits until it answers.
    ///
    /// # Errors
    /// It does not answer.
    pub fn restart(&mut self) -> Result<()> {
        self.program.restart()?;
        self.wait_until_loaded()
    }

    /// The processor time that it has used. One that nobody uses wakes ten times a second; what that costs
    /// says how expensive waking is on this machine: 0.2 % of a processor on an idle one, five times that
    /// on a crowded one.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Duration> {
        cpu_time(self.program.pid().cast_signed())
    }

    fn wait_until_loaded(&mut self) -> Result<()> {
        let socket = self.socket();
        let mut exited = false;
        let answers = eventually(LOAD_TIMEOUT, || {
            exited = !matches!(self.program.exit_status(), Ok(None));
            exited || ping(&socket).is_some()
        });
        if exited || !answers {
            bail!("redis-server does not answer; {}", self.program.evidence());
        }
        Ok(())
    }
}

/// The program: `BELLJAR_TEST_REDIS_SERVER`, else that of the system.
pub(crate) fn server() -> OsString {
    std::env::var_os("BELLJAR_TEST_REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

/// A port of this machine that nobody listens on, for servers that take none of their own choice.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("redis.sock")
}

/// Answers once the server has loaded its files.
fn ping(socket: &Path) -> Option<()> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.write_all(b"PING\r\n").ok()?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).ok()?;
    // One that wants a password has loaded its files too.
    matches!(&answer, b"+PONG" | b"-NOAU").then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durable_one_keeps_what_it_has_when_it_is_killed() {
        let options = ["--appendonly", "yes", "--appendfsync", "always"];
        let mut redis = Redis::start_with(&options).expect("redis-server is installed");
        assert_eq!(redis.tell("SET colour blue").expect("answered"), "+OK\r\n");
        redis.kill();
        assert!(UnixStream::connect(redis.socket()).is_err());
        redis.restart().expect("it starts again");
        assert_eq!(redis.tell("GET colour").expect("answered"), "$4\r\nblue\r\n");
    }

    #[test]
    fn one_that_does_not_start_shows_why() {
        let error = Redis::start_with(&["--no-such-option", "1"]).expect_err("it ends");
        assert!(error.to_string().contains("no-such-option"), "{error}");
    }
}
