//! The native runtime: CPython in a child process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use belljar_core::grants::GrantPolicy;
use belljar_core::requirements::PackageLock;
use belljar_core::task::{PythonVersion, Runtime, TaskClass};

use super::process::Processes;
use super::{Executor, RuntimeSupport, Started};
use crate::child::ChildCommand;
use crate::error::{NotInstalled, StartError};
use crate::install::Installation;

pub(super) const SUPPORT: RuntimeSupport = RuntimeSupport {
    runtime: Runtime::Native,
    program: NativeExecutor::PROGRAM,
    remedy: "make setup build pythons",
    pythons: |installation| {
        let mut found = installation.pythons_in(&installation.programs, NativeExecutor::PROGRAM);
        // A package has programs for every Python; this machine has some of them.
        found.retain(|&python| {
            is_default(python) || missing_library(&path(installation, python)).is_none()
        });
        found
    },
    executor: |installation, python| Ok(Arc::new(NativeExecutor::installed(installation, python)?)),
};

/// Runs calls in `belljar-python`, one CPython a child.
#[derive(Debug)]
pub struct NativeExecutor(Processes);

impl NativeExecutor {
    /// The program for the default Python. That of another minor ends with its version.
    pub const PROGRAM: &str = "belljar-python";

    /// The executor over children of `command`, which grants what `grant_policy` holds.
    #[must_use]
    pub fn new(python: PythonVersion, command: ChildCommand, grant_policy: GrantPolicy) -> Self {
        let class = TaskClass::new(Runtime::Native, python);
        let command = ChildCommand { has_supervisor: true, ..command };
        Self(Processes { class, command, grant_policy, http: None, packages: None })
    }

    fn installed(installation: &Installation, python: PythonVersion) -> Result<Self, NotInstalled> {
        let program = installation.program(&name(python))?;
        if is_default(python)
            && let Some(library) = missing_library(&program)
        {
            return Err(NotInstalled::Library { program, library });
        }
        let command = installation.command(program)?;
        let command = command.option("--site", installation.site_of(python)?);
        let mut executor = Self::new(python, command, installation.grant_policy.clone());
        executor.0.class.labels = installation.labels;
        executor.0.packages.clone_from(&installation.packages);
        Ok(executor)
    }
}

/// The library that the program is linked with and that this machine has not, as `ldd` finds it: an installed
/// program for a Python that is not there.
fn missing_library(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.env_clear().env("LD_TRACE_LOADED_OBJECTS", "1").stdin(Stdio::null());
    let listed = command.output().ok()?.stdout;
    let listed = String::from_utf8_lossy(&listed);
    let missing = |line: &str| Some(line.trim().strip_suffix("=> not found")?.trim().to_owned());
    listed.lines().find_map(missing)
}

fn is_default(python: PythonVersion) -> bool {
    python == PythonVersion::default()
}

fn path(installation: &Installation, python: PythonVersion) -> PathBuf {
    installation.programs.join(name(python))
}

fn name(python: PythonVersion) -> String {
    let program = NativeExecutor::PROGRAM;
    if is_default(python) { program.to_owned() } else { format!("{program}{python}") }
}

#[async_trait]
impl Executor for NativeExecutor {
    fn class(&self) -> TaskClass {
        self.0.class
    }

    async fn start(&self) -> Result<Started, StartError> {
        self.0.start().await
    }

    async fn start_with(&self, packages: &PackageLock) -> Result<Started, StartError> {
        self.0.start_with(packages).await
    }
}
