//! `belljar doctor`: what is installed, what is missing, and the command that installs it.

use std::borrow::Cow;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use belljar_core::task::PythonVersion;
use belljar_worker::executor::{Executor, NativeExecutor, RUNTIMES, Started};
use belljar_worker::install::Installation;

use crate::args::DoctorArgs;
use crate::install;
use crate::serve::announce;

/// What is the matter without a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Something does not run.
    Required,
    /// Everything runs, slower.
    Optional,
}

/// One thing that belljar needs.
struct Finding {
    what: Cow<'static, str>,
    need: Need,
    /// What was found, or why it was not.
    state: Result<String>,
    /// How to get it.
    remedy: &'static str,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<()> {
    let mut missing = 0;
    for Finding { what, need, state, remedy } in findings(args)? {
        match state {
            Ok(found) => announce(&format!(
                "ok       {what}\n         {}",
                found.replace('\n', "\n         ")
            )),
            Err(error) => {
                missing += usize::from(need == Need::Required);
                let (word, way_out) = match need {
                    Need::Required => ("missing ", "to install"),
                    Need::Optional => ("without ", "to have it"),
                };
                announce(&format!(
                    "{word} {what}\n         {error:#}\n         {way_out}: {remedy}"
                ));
            }
        }
    }
    if missing > 0 {
        bail!("{missing} of the parts are missing");
    }
    Ok(())
}

/// Everything that is looked at.
fn findings(args: &DoctorArgs) -> Result<Vec<Finding>> {
    let installation = install::installation(&args.executors)?;
    let mut findings = vec![Finding {
        what: "redis-server (for `belljar up` without --redis)".into(),
        need: Need::Required,
        state: said_by(Command::new("redis-server").arg("--version")),
        remedy: "apt-get install redis-server",
    }];
    for support in RUNTIMES {
        let program = installation.program(support.program);
        findings.push(Finding {
            what: format!("{} ({} runtime)", support.program, support.runtime).into(),
            need: Need::Required,
            state: program.map(|path| path.display().to_string()).map_err(Into::into),
            remedy: "make build",
        });
        for python in (support.pythons)(&installation) {
            let is_default = python == PythonVersion::default();
            findings.push(Finding {
                what: format!("{} runtime, Python {python}", support.runtime).into(),
                need: if is_default { Need::Required } else { Need::Optional },
                state: (support.executor)(&installation, python)
                    .map_err(Into::into)
                    .and_then(start),
                remedy: support.remedy,
            });
        }
    }
    findings.push(Finding {
        what: "native interpreter".into(),
        need: Need::Required,
        state: native(&installation),
        remedy: "make setup build",
    });
    findings.push(Finding {
        what: "processors that stay awake while calls come (quicker lone calls)".into(),
        need: Need::Optional,
        state: belljar_gateway::can_keep_awake()
            .map(|()| "by /dev/cpu_dma_latency".to_owned())
            .map_err(Into::into),
        remedy: "run as root, or there: setfacl -m u:USER:w /dev/cpu_dma_latency",
    });
    Ok(findings)
}

/// What an instance of the executor says of itself, started and ended.
fn start(executor: Arc<dyn Executor>) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the async runtime cannot start")?.block_on(async {
        let Started { instance, info } = executor.start().await?;
        instance.end().await;
        Ok(format!("Python {}, dill {}", info.python, info.dill))
    })
}

/// What the default native interpreter says of itself: its libpython, version and dill.
fn native(installation: &Installation) -> Result<String> {
    let site = installation.site_of(PythonVersion::default())?;
    let mut command = Command::new(installation.program(NativeExecutor::PROGRAM)?);
    said_by(command.env_clear().arg("--describe").arg("--site").arg(site))
}

fn said_by(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || said.is_empty() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(said)
}
