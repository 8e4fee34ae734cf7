//! `belljar doctor`: what is installed, what is missing, and the command that installs it.

use std::borrow::Cow;
use std::process::Command;

use anyhow::{Result, bail};
use belljar_core::task::PythonVersion;

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
    for Finding { what, need, state, remedy } in findings(args) {
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
fn findings(args: &DoctorArgs) -> Vec<Finding> {
    let further = install::pythons().into_iter().skip(1).map(|python| Finding {
        what: format!("native interpreter of Python {python}").into(),
        need: Need::Optional,
        state: native(python, args),
        remedy: "make pythons",
    });
    let guests = install::guests(&args.executors).into_iter().skip(1).map(|python| Finding {
        what: format!("guest of Python {python}").into(),
        need: Need::Optional,
        state: install::guest(&args.executors, python).map(|path| path.display().to_string()),
        remedy: "make guest, with MINOR set to its version",
    });
    let mut findings = parts(args);
    findings.extend(further.chain(guests));
    findings
}

/// What every installation has.
fn parts(args: &DoctorArgs) -> Vec<Finding> {
    vec![
        Finding {
            what: "redis-server (for `belljar up` without --redis)".into(),
            need: Need::Required,
            state: said_by(Command::new("redis-server").arg("--version")),
            remedy: "apt-get install redis-server",
        },
        Finding {
            what: "belljar-python (native runtime)".into(),
            need: Need::Required,
            state: install::interpreter(PythonVersion::default())
                .map(|path| path.display().to_string()),
            remedy: "make build",
        },
        Finding {
            what: "site with dill".into(),
            need: Need::Required,
            state: install::site(args.executors.site.as_deref())
                .map(|path| path.display().to_string()),
            remedy: "make setup",
        },
        Finding {
            what: "belljar-sandbox (sandbox runtime)".into(),
            need: Need::Required,
            state: install::sibling("belljar-sandbox").map(|path| path.display().to_string()),
            remedy: "make build",
        },
        Finding {
            what: "guest: CPython for WASI, with dill".into(),
            need: Need::Required,
            state: install::guest(&args.executors, PythonVersion::default())
                .map(|path| path.display().to_string()),
            remedy: "make guest",
        },
        Finding {
            what: "native interpreter".into(),
            need: Need::Required,
            state: native(PythonVersion::default(), args),
            remedy: "make setup build",
        },
        Finding {
            what: "processors that stay awake while calls come (quicker lone calls)".into(),
            need: Need::Optional,
            state: belljar_gateway::can_keep_awake()
                .map(|()| "by /dev/cpu_dma_latency".to_owned())
                .map_err(Into::into),
            remedy: "run as root, or there: setfacl -m u:USER:w /dev/cpu_dma_latency",
        },
    ]
}

/// What a native interpreter says of itself: its libpython, version and dill.
fn native(python: PythonVersion, args: &DoctorArgs) -> Result<String> {
    let site = install::site_of(python, args.executors.site.as_deref())?;
    let mut command = Command::new(install::interpreter(python)?);
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
