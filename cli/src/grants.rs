//! What an operator lets functions ask for, from the command line.

use anyhow::{Context, Result, bail};
use belljar_core::grants::{GrantPolicy, check_name, check_path};

use crate::args::ExecutorArgs;

/// The grants that `args` names, each of them there.
pub(crate) fn grant_policy(args: &ExecutorArgs) -> Result<GrantPolicy> {
    let env = args.grant_env.iter().map(|given| variable(given)).collect::<Result<_>>()?;
    for dir in &args.grant_read {
        check_path(dir).with_context(|| format!("--grant-read `{dir}`"))?;
        if !std::path::Path::new(dir).is_dir() {
            bail!("--grant-read `{dir}`: there is no such directory");
        }
    }
    Ok(GrantPolicy { env, read: args.grant_read.clone(), scratch_mb: args.grant_scratch_mb })
}

/// `NAME=VALUE`, or `NAME` with the value that it has in this process.
fn variable(given: &str) -> Result<(String, String)> {
    let (name, value) = match given.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => {
            let value = std::env::var(given).with_context(|| {
                format!(
                    "--grant-env `{given}`: it has no value here\n  hint: --grant-env {given}=VALUE"
                )
            })?;
            (given, value)
        }
    };
    check_name(name).with_context(|| format!("--grant-env `{given}`"))?;
    if value.contains('\0') {
        bail!("--grant-env `{name}`: its value holds a zero byte");
    }
    Ok((name.to_owned(), value))
}
