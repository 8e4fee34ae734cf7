//! `belljar doctor`: what is installed, what is missing, and how to install it.

use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use belljar_core::task::{PythonVersion, Runtime};
use belljar_worker::executor::{Executor, NativeExecutor, RUNTIMES, SandboxExecutor, Started};
use belljar_worker::install::Installation;

use crate::args::DoctorArgs;
use crate::exit::{WithHint, causes};
use crate::serve::announce;
use crate::{install, redis_server};

/// The server of `belljar up`.
const REDIS: &str = "redis-server";

/// What keeps the sandbox's processes from this machine.
const WALLS: &str = "walls of the sandbox";

/// What happens without a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Something does not run.
    Required,
    /// Everything runs, but slower or without some Python.
    Optional,
}

/// One part of an installation.
struct Finding {
    part: String,
    need: Need,
    /// What was found, or why nothing was.
    state: Result<String>,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<()> {
    let mut missing = Vec::new();
    for Finding { part, need, state } in findings(args)? {
        let (word, text) = match (&state, need) {
            (Ok(found), _) => ("ok     ", found.clone()),
            (Err(error), Need::Required) => ("missing", causes(error)),
            (Err(error), Need::Optional) => ("without", causes(error)),
        };
        announce(&format!("{word}  {part}\n         {}", text.replace('\n', "\n         ")));
        if state.is_err() && need == Need::Required {
            missing.push(part);
        }
    }
    let count = match missing.len() {
        0 => return Ok(()),
        1 => "1 part is missing".to_owned(),
        count => format!("{count} parts are missing"),
    };
    Err(anyhow!(count)).hint(remedy(&missing))
}

/// One way to get everything that is missing.
fn remedy(missing: &[String]) -> String {
    if missing.iter().any(|part| part == WALLS) {
        return install::WALLS_REMEDY.to_owned();
    }
    if let Some(checkout) = install::checkout() {
        return format!("`make build` in `{}` installs what is missing", checkout.display());
    }
    match missing {
        [part] if part.starts_with(REDIS) => redis_server::REMEDY.to_owned(),
        _ => "install belljar again: its programs lie in one directory, --site names a directory with dill, and \
              --guest-dir that of the guests"
            .to_owned(),
    }
}

/// All parts.
fn findings(args: &DoctorArgs) -> Result<Vec<Finding>> {
    let installation = install::installation(&args.executors)?;
    let required = |part: String, state| Finding { part, need: Need::Required, state };
    // A package has what runs natively where this machine has that Python.
    let native_need = if install::checkout().is_some() { Need::Required } else { Need::Optional };
    let mut findings = vec![required(
        format!("{REDIS} (for `belljar up` without --redis)"),
        output_of(Command::new(redis_server::find()).arg("--version")),
    )];
    for support in RUNTIMES {
        let program = installation.program(support.program).map_err(Into::into);
        let part = format!("{} ({} runtime)", support.program, support.runtime);
        findings.push(required(part, program.map(|path| path.display().to_string())));
        for python in (support.pythons)(&installation) {
            let executor = (support.executor)(&installation, python).map_err(Into::into);
            let need = match support.runtime {
                _ if python != PythonVersion::default() => Need::Optional,
                Runtime::Native => native_need,
                Runtime::Sandbox => Need::Required,
            };
            let part = format!("{} runtime, Python {python}", support.runtime);
            findings.push(Finding { part, need, state: executor.and_then(start) });
        }
    }
    findings.push(Finding {
        part: WALLS.to_owned(),
        need: if args.executors.allow_weak_sandbox { Need::Optional } else { Need::Required },
        state: SandboxExecutor::walls(&installation).map_err(Into::into),
    });
    findings.push(Finding {
        part: "native interpreter".to_owned(),
        need: native_need,
        state: native(&installation),
    });
    findings.push(Finding {
        part: "low latency (processors stay awake between calls)".to_owned(),
        need: Need::Optional,
        state: low_latency(),
    });
    Ok(findings)
}

fn low_latency() -> Result<String> {
    belljar_gateway::can_limit_cpu_latency().with_context(
        || "run the gateway as root, or allow its user: setfacl -m u:USER:w /dev/cpu_dma_latency",
    )?;
    Ok("by /dev/cpu_dma_latency".to_owned())
}

/// What an instance of the executor reports, started and ended.
fn start(executor: Arc<dyn Executor>) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the async runtime cannot start")?.block_on(async {
        let Started { instance, info } = executor.start().await?;
        instance.end().await;
        Ok(format!("Python {}, dill {}", info.python, info.dill))
    })
}

/// What the default native interpreter reports: its libpython, version and dill.
fn native(installation: &Installation) -> Result<String> {
    let site = installation.site_of(PythonVersion::default())?;
    let mut command = Command::new(installation.program(NativeExecutor::PROGRAM)?);
    output_of(command.env_clear().arg("--describe").arg("--site").arg(site))
}

fn output_of(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || text.is_empty() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(text)
}
