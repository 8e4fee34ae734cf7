//! `belljar doctor`: what is installed, what is missing, and the command that installs it.

use std::process::Command;

use anyhow::{Result, bail};

use crate::args::DoctorArgs;
use crate::install;
use crate::serve::{PYTHON, announce};

/// One thing that belljar needs.
struct Finding {
    what: &'static str,
    /// What was found, or why it was not.
    state: Result<String>,
    /// How to get it.
    remedy: &'static str,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<()> {
    let findings = [
        Finding {
            what: "redis-server (for `belljar up` without --redis)",
            state: said_by(Command::new("redis-server").arg("--version")),
            remedy: "apt-get install redis-server",
        },
        Finding {
            what: "belljar-python (native runtime)",
            state: install::sibling("belljar-python").map(|path| path.display().to_string()),
            remedy: "make build",
        },
        Finding {
            what: "site with dill",
            state: install::site(args.executors.site.as_deref())
                .map(|path| path.display().to_string()),
            remedy: "make setup",
        },
        Finding {
            what: "belljar-jar (sandbox runtime)",
            state: install::sibling("belljar-jar").map(|path| path.display().to_string()),
            remedy: "make build",
        },
        Finding {
            what: "guest: CPython for WASI, with dill",
            state: install::guest(&args.executors, PYTHON).map(|path| path.display().to_string()),
            remedy: "make guest",
        },
        Finding { what: "native interpreter", state: native(args), remedy: "make setup build" },
    ];
    let mut missing = 0;
    for Finding { what, state, remedy } in findings {
        match state {
            Ok(found) => announce(&format!(
                "ok       {what}\n         {}",
                found.replace('\n', "\n         ")
            )),
            Err(error) => {
                missing += 1;
                announce(&format!(
                    "missing  {what}\n         {error:#}\n         to install: {remedy}"
                ));
            }
        }
    }
    if missing > 0 {
        bail!("{missing} of the parts are missing");
    }
    Ok(())
}

/// What the native interpreter says of itself: its libpython, version, prefix and dill.
fn native(args: &DoctorArgs) -> Result<String> {
    let site = install::site(args.executors.site.as_deref())?;
    let mut command = Command::new(install::sibling("belljar-python")?);
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
