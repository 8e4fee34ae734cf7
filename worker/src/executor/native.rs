//! The native runtime: CPython in a child process.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use belljar_core::grants::GrantPolicy;
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
        installation.pythons_in(&installation.programs, NativeExecutor::PROGRAM)
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
        let class = TaskClass { runtime: Runtime::Native, python };
        let command = ChildCommand { has_supervisor: true, ..command };
        Self(Processes { class, command, grant_policy })
    }

    fn installed(installation: &Installation, python: PythonVersion) -> Result<Self, NotInstalled> {
        let command = installation.command(program(installation, python)?)?;
        let command = command.option("--site", installation.site_of(python)?);
        Ok(Self::new(python, command, installation.grant_policy.clone()))
    }
}

fn program(installation: &Installation, python: PythonVersion) -> Result<PathBuf, NotInstalled> {
    if python == PythonVersion::default() {
        installation.program(NativeExecutor::PROGRAM)
    } else {
        installation.program(&format!("{}{python}", NativeExecutor::PROGRAM))
    }
}

#[async_trait]
impl Executor for NativeExecutor {
    fn class(&self) -> TaskClass {
        self.0.class
    }

    async fn start(&self) -> Result<Started, StartError> {
        self.0.start().await
    }
}
