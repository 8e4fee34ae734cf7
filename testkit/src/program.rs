//! A program under test: started, watched, killed, started again.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::paths::{binary, site};

/// How long a program may take to print a line. CI machines are slow.
const LINE_TIMEOUT: Duration = Duration::from_secs(60);

/// Names and values of environment variables.
pub type Environment = Vec<(OsString, OsString)>;

/// A running program, and how to start it again. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    argv: Vec<OsString>,
    environment: Environment,
    log: Option<PathBuf>,
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    /// Starts a command line. Its standard error is appended to `log`; without one, the test's own is used.
    ///
    /// # Errors
    /// There is no such program.
    pub fn start(
        argv: Vec<OsString>,
        environment: Environment,
        log: Option<PathBuf>,
    ) -> Result<Self> {
        let (child, lines) = spawn(&argv, &environment, log.as_deref())?;
        Ok(Self { argv, environment, log, child, lines })
    }

    /// Starts a subcommand of `belljar`.
    ///
    /// # Errors
    /// `belljar` was not built.
    pub fn belljar(
        args: &[&str],
        mut environment: Environment,
        log: Option<PathBuf>,
    ) -> Result<Self> {
        let mut argv: Vec<OsString> = vec![binary("belljar").into()];
        argv.extend(args.iter().map(OsString::from));
        environment.push(("BELLJAR_SITE".into(), site().into()));
        environment.push(("BELLJAR_LOG".into(), "info".into()));
        Self::start(argv, environment, log)
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system does not know.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Starts the same command line again.
    ///
    /// # Errors
    /// The program is gone.
    pub fn restart(&mut self) -> Result<()> {
        let (child, lines) = spawn(&self.argv, &self.environment, self.log.as_deref())?;
        (self.child, self.lines) = (child, lines);
        Ok(())
    }

    /// The next line on its standard output. `None` if none comes in time.
    #[must_use]
    pub fn next_line(&self) -> Option<String> {
        self.lines.recv_timeout(LINE_TIMEOUT).ok()
    }

    /// The rest of the next line on its standard output, which begins with `start`: an address, as a rule.
    ///
    /// # Errors
    /// It prints something else, or nothing.
    pub fn line_after(&self, start: &str) -> Result<String> {
        let line = self.next_line();
        let rest = line.as_deref().and_then(|line| line.strip_prefix(start));
        rest.map(str::to_owned)
            .with_context(|| format!("no line `{start}...` but {line:?}; {}", self.evidence()))
    }

    /// Changes the value of an option for the next start.
    pub fn replace_option(&mut self, name: &str, value: &str) {
        let at = self.argv.iter().position(|word| word == name);
        if let Some(word) = at.and_then(|at| self.argv.get_mut(at + 1)) {
            *word = value.into();
        }
    }

    /// What it has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        let text = self.log.as_ref().map(|log| std::fs::read_to_string(log).unwrap_or_default());
        text.unwrap_or_else(|| "(its standard error is the test's own)".to_owned())
    }

    /// Its command line and its log, for the text of an error.
    #[must_use]
    pub fn evidence(&self) -> String {
        format!("{:?} wrote:\n{}", self.argv, self.log())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(
    argv: &[OsString],
    environment: &[(OsString, OsString)],
    log: Option<&Path>,
) -> Result<(Child, Receiver<String>)> {
    let (program, args) = argv.split_first().context("an empty command")?;
    // It ends with the thread that started it, also if that thread is killed.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    if let Some(log) = log {
        let file = OpenOptions::new().create(true).append(true).open(log);
        command.stderr(file.with_context(|| format!("cannot write `{}`", log.display()))?);
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let shown = program.to_string_lossy();
    let mut child = command.spawn().with_context(|| {
        format!("cannot start `{shown}`\n  hint: cargo build --workspace --bins")
    })?;
    let stdout = child.stdout.take().context("no standard output")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        // It is read to the end; otherwise the pipe would fill.
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    Ok((child, lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, log: PathBuf) -> Program {
        let argv = ["sh", "-c", script, "--port", "1"].map(OsString::from).to_vec();
        Program::start(argv, vec![("COLOUR".into(), "blue".into())], Some(log)).expect("started")
    }

    #[test]
    fn it_prints_its_address_and_can_be_started_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut program =
            shell("echo listens at $1 in $COLOUR; exec sleep 60", dir.path().join("log"));
        assert_eq!(program.line_after("listens at ").expect("its address"), "1 in blue");
        assert_eq!(program.exit_status().expect("known"), None);
        program.kill();
        assert!(program.exit_status().expect("known").is_some());
        program.replace_option("--port", "2");
        program.restart().expect("started again");
        assert_eq!(program.line_after("listens at ").expect("its address"), "2 in blue");
    }

    #[test]
    fn what_it_wrote_is_shown_where_it_prints_no_address() {
        let dir = tempfile::tempdir().expect("a directory");
        let program = shell("echo it is broken >&2; echo sorry", dir.path().join("log"));
        let error = program.line_after("listens at ").expect_err("no address").to_string();
        assert!(error.contains("it is broken") && error.contains("sorry"), "{error}");
    }
}
