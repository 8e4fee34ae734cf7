//! `belljar guest build`: runs the build of the checkout that this binary was built in.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use belljar_core::task::PythonVersion;

use crate::install;

/// The build, below the checkout.
const SCRIPT: &str = "sandbox/guest/build.sh";

/// Builds the guest of `python` below `dir`; what is there already is not built again.
pub(super) fn run(dir: &Path, python: PythonVersion) -> Result<()> {
    let own = install::own_binary()?;
    let mut scripts = own.ancestors().skip(1).map(|dir| dir.join(SCRIPT));
    let script = scripts.find(|script| script.is_file()).with_context(|| {
        format!(
            "`{}` lies in no checkout of belljar, and a guest is built from one\n  \
             hint: run `make guest` there, and name its result with --guest-dir DIR",
            own.display()
        )
    })?;
    let mut command = Command::new(&script);
    command.arg(python.to_string()).env("BELLJAR_GUEST_DIR", dir);
    let status = command.status().with_context(|| format!("cannot run `{}`", script.display()))?;
    if !status.success() {
        bail!("`{}` failed: {status}", script.display());
    }
    Ok(())
}
