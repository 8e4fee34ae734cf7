//! What functions may request, by the command line.

use anyhow::{Context, Result, anyhow, bail};
use belljar_core::grants::{GrantPolicy, check_name, check_path};

use crate::args::ExecutorArgs;
use crate::directory::require_dir;
use crate::exit::WithHint;

/// The grants of the command line; all directories exist.
pub(crate) fn grant_policy(args: &ExecutorArgs) -> Result<GrantPolicy> {
    let env = args.grant_env.iter().map(|given| variable(given)).collect::<Result<_>>()?;
    for dir in &args.grant_read {
        check_path(dir).with_context(|| format!("--grant-read `{dir}`"))?;
        require_dir("--grant-read", dir.as_ref())?;
    }
    Ok(GrantPolicy { env, read: args.grant_read.clone(), scratch_mb: args.grant_scratch_mb })
}

/// `NAME=VALUE`, or `NAME` with its value in this process.
fn variable(given: &str) -> Result<(String, String)> {
    let (name, value) = match given.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => {
            let value = std::env::var(given)
                .map_err(|_| anyhow!("--grant-env `{given}`: the variable is not set here"))
                .hint(format!("--grant-env {given}=VALUE sets it"))?;
            (given, value)
        }
    };
    check_name(name).with_context(|| format!("--grant-env `{given}`"))?;
    if value.contains('\0') {
        bail!("--grant-env `{name}`: the value contains a zero byte");
    }
    Ok((name.to_owned(), value))
}
