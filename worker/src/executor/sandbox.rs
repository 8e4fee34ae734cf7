//! The sandbox runtime: CPython for WASI in a child process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use belljar_core::grants::GrantPolicy;
use belljar_core::guest::GuestModules;
use belljar_core::limits::MAX_SANDBOX_RESULT_BYTES;
use belljar_core::requirements::PackageLock;
use belljar_core::task::{PythonVersion, Runtime, TaskClass};
use serde::Deserialize;

use super::process::Processes;
use super::{Executor, RuntimeSupport, Started};
use crate::child::ChildCommand;
use crate::error::{NotInstalled, StartError};
use crate::http_proxy::HttpProxy;
use crate::install::Installation;

pub(super) const SUPPORT: RuntimeSupport = RuntimeSupport {
    runtime: Runtime::Sandbox,
    program: SandboxExecutor::PROGRAM,
    remedy: "make build guest, with MINOR=X.Y for a Python that is not the default",
    pythons: |installation| match &installation.guests {
        Some(guests) => installation.pythons_in(guests, ""),
        None => vec![PythonVersion::default()],
    },
    executor: |installation, python| {
        Ok(Arc::new(SandboxExecutor::installed(installation, python)?))
    },
};

/// Runs calls in `belljar-sandbox`, each in a fresh interpreter.
#[derive(Debug)]
pub struct SandboxExecutor {
    processes: Processes,
    /// The list of modules that the build left beside the guest.
    modules: PathBuf,
}

/// The part of the list that matters here.
#[derive(Deserialize)]
struct ModuleList {
    missing: Vec<String>,
    #[serde(default)]
    added: BTreeMap<String, String>,
}

impl SandboxExecutor {
    /// The program; one for all Pythons.
    pub const PROGRAM: &str = "belljar-sandbox";
    /// Its option to serve also where the kernel does not keep it from the files of its user.
    pub const ALLOW_WEAK: &str = "--allow-weak-sandbox";

    /// What holds a process of the sandbox on this machine, in words.
    ///
    /// # Errors
    /// The program is not there, or the kernel does not keep it from the files of its user.
    pub fn walls(installation: &Installation) -> Result<String, NotInstalled> {
        let mut command = Command::new(installation.program(Self::PROGRAM)?);
        let output = command.env_clear().arg("--walls").stdin(Stdio::null()).output();
        let output = output.map_err(|error| NotInstalled::Walls(error.to_string()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match (output.status.success(), text(&output.stderr)) {
            (true, _) => Ok(text(&output.stdout)),
            (false, words) if words.is_empty() => {
                Err(NotInstalled::Walls(output.status.to_string()))
            }
            (false, words) => {
                let words = words.trim_start_matches("belljar-sandbox: ");
                Err(NotInstalled::Walls(words.to_owned()))
            }
        }
    }

    /// The executor over children of `command` with the guest in the directory `guest`. It grants what
    /// `grant_policy` holds.
    #[must_use]
    pub fn new(
        python: PythonVersion,
        command: ChildCommand,
        guest: PathBuf,
        grant_policy: GrantPolicy,
    ) -> Self {
        let class = TaskClass::new(Runtime::Sandbox, python);
        let modules = guest.join("modules.json");
        let mut command = command.option("--guest", guest);
        for dir in &grant_policy.read {
            command = command.option("--grant-read", dir);
        }
        let most = MAX_SANDBOX_RESULT_BYTES as usize;
        command.max_result_bytes = command.max_result_bytes.min(most);
        let scratch_mb = grant_policy.default_scratch_mb();
        let command = command.option("--scratch-mb", scratch_mb.to_string());
        let processes = Processes { class, command, grant_policy, http: None, packages: None };
        Self { processes, modules }
    }

    /// The same with a way to make HTTP requests. Without it calls make none, whatever they are granted.
    #[must_use]
    pub fn with_http(mut self, proxy: Option<Arc<HttpProxy>>) -> Self {
        self.processes.http = proxy;
        self
    }

    fn installed(installation: &Installation, python: PythonVersion) -> Result<Self, NotInstalled> {
        let command = installation.command(installation.program(SandboxExecutor::PROGRAM)?)?;
        let mut command = command.option("--warm-mb", installation.warm_mb.to_string());
        if installation.allow_weak_sandbox {
            command.args.push(Self::ALLOW_WEAK.into());
        } else {
            Self::walls(installation)?;
        }
        let guest = installation.guest_of(python)?;
        let mut executor = Self::new(python, command, guest, installation.grant_policy.clone());
        executor.processes.class.labels = installation.labels;
        executor.processes.packages.clone_from(&installation.packages);
        Ok(executor.with_http(installation.http.clone()))
    }
}

impl SandboxExecutor {
    /// What the guest lacks and has; `None` for a guest without a list.
    fn modules(&self) -> Option<GuestModules> {
        let list = std::fs::read(&self.modules).ok()?;
        let ModuleList { mut missing, added } = serde_json::from_slice(&list).ok()?;
        missing.sort_unstable();
        Some(GuestModules { python: self.class().python, missing, added })
    }
}

#[async_trait]
impl Executor for SandboxExecutor {
    fn class(&self) -> TaskClass {
        self.processes.class
    }

    async fn start(&self) -> Result<Started, StartError> {
        let mut started = self.processes.start().await?;
        started.info.guest = self.modules();
        Ok(started)
    }

    async fn start_with(&self, packages: &PackageLock) -> Result<Started, StartError> {
        self.processes.start_with(packages).await
    }
}
