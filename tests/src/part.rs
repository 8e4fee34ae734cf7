//! One process of a service that a test puts together itself: Redis, gateway, dispatcher or worker.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::eventually;
use crate::python;
use crate::service::binary;

/// How long a process may take to say that it is there; CI machines are slow.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A process, and how to start it again. Dropping it kills it.
#[derive(Debug)]
pub struct Part {
    words: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    log: PathBuf,
    child: Child,
    lines: Receiver<String>,
}

impl Part {
    /// Starts a command line. What it says on standard error is added to `log`.
    ///
    /// # Errors
    /// There is no such program.
    pub fn start(
        words: Vec<OsString>,
        environment: Vec<(OsString, OsString)>,
        log: PathBuf,
    ) -> Result<Self> {
        let (child, lines) = spawn(&words, &environment, &log)?;
        Ok(Self { words, environment, log, child, lines })
    }

    /// Starts a subcommand of `belljar`.
    ///
    /// # Errors
    /// The program was not built.
    pub fn belljar(
        words: &[&str],
        mut environment: Vec<(OsString, OsString)>,
        log: PathBuf,
    ) -> Result<Self> {
        let mut all: Vec<OsString> = vec![binary("belljar").into()];
        all.extend(words.iter().map(OsString::from));
        environment.push(("BELLJAR_SITE".into(), python::site().into()));
        environment.push(("BELLJAR_LOG".into(), "info".into()));
        Self::start(all, environment, log)
    }

    /// Starts a `redis-server` that keeps its files in `dir` and listens at `dir/redis.sock` alone, and
    /// waits until it answers.
    ///
    /// # Errors
    /// It does not.
    pub fn redis(dir: &Path) -> Result<Self> {
        let mut words: Vec<OsString> = vec!["redis-server".into(), "--dir".into(), dir.into()];
        words.extend(["--unixsocket".into(), redis_socket(dir).into()]);
        words.extend(["--port", "0", "--save", "", "--appendonly", "yes"].map(OsString::from));
        words.extend(["--appendfsync", "everysec"].map(OsString::from));
        words.extend(["--maxmemory-policy", "noeviction"].map(OsString::from));
        let redis = Self::start(words, Vec::new(), dir.join("redis.log"))?;
        await_redis(dir)?;
        Ok(redis)
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How it has ended, if it has.
    ///
    /// # Errors
    /// The system does not know.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Starts the same command line again.
    ///
    /// # Errors
    /// The program is gone.
    pub fn start_again(&mut self) -> Result<()> {
        let (child, lines) = spawn(&self.words, &self.environment, &self.log)?;
        (self.child, self.lines) = (child, lines);
        Ok(())
    }

    /// The rest of its first line on standard output, which begins with `start`.
    ///
    /// # Errors
    /// It says something else, or nothing.
    pub fn first_line(&self, start: &str) -> Result<String> {
        let line = self.lines.recv_timeout(START_TIMEOUT).ok();
        let rest = line.as_deref().and_then(|line| line.strip_prefix(start));
        rest.map(str::to_owned)
            .with_context(|| format!("no line `{start}...` but {line:?}; {}", self.evidence()))
    }

    /// Changes the word behind an option for the next start.
    pub fn replace_option(&mut self, name: &str, value: &str) {
        let at = self.words.iter().position(|word| word == name);
        if let Some(word) = at.and_then(|at| self.words.get_mut(at + 1)) {
            *word = value.into();
        }
    }

    /// What it has said on standard error.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it was asked and what it has said, for the text of an error.
    #[must_use]
    pub fn evidence(&self) -> String {
        format!("{:?} said:\n{}", self.words, self.log())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(
    words: &[OsString],
    environment: &[(OsString, OsString)],
    log: &Path,
) -> Result<(Child, Receiver<String>)> {
    let (program, args) = words.split_first().context("an empty command")?;
    let log = OpenOptions::new().create(true).append(true).open(log).context("no log")?;
    // Ends with the thread that started it, also where that is killed.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let shown = program.to_string_lossy();
    let mut child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
    let stdout = child.stdout.take().context("no standard output")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        // Read to the end, or the pipe would fill.
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    Ok((child, lines))
}

/// Where the Redis of a directory listens.
#[must_use]
pub fn redis_socket(dir: &Path) -> PathBuf {
    dir.join("redis.sock")
}

/// Waits until the Redis of a directory has loaded what it kept.
///
/// # Errors
/// It does not answer.
pub fn await_redis(dir: &Path) -> Result<()> {
    let socket = redis_socket(dir);
    let answers = || {
        let mut stream = UnixStream::connect(&socket).ok()?;
        stream.write_all(b"PING\r\n").ok()?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).ok()?;
        (&answer == b"+PONG").then_some(())
    };
    if !eventually(START_TIMEOUT, || answers().is_some()) {
        bail!("redis-server does not answer at `{}`", socket.display());
    }
    Ok(())
}
