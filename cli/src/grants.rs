//! What functions may request, by the command line.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use belljar_core::grants::{GrantPolicy, check_name, check_path};
use belljar_worker::http_proxy::{HttpConfig, HttpConfigError, HttpProxy, SecretsError};

use crate::args::ExecutorArgs;
use crate::directory::require_dir;
use crate::exit::{WithHint, hinted};

/// The grants of the command line; all directories exist.
pub(crate) fn grant_policy(args: &ExecutorArgs) -> Result<GrantPolicy> {
    let env = args.grant_env.iter().map(|given| variable(given)).collect::<Result<_>>()?;
    for dir in &args.grant_read {
        check_path(dir).with_context(|| format!("--grant-read `{dir}`"))?;
        require_dir("--grant-read", dir.as_ref())?;
    }
    let pattern = |text: &String| text.parse().context("--grant-http");
    Ok(GrantPolicy {
        env,
        read: args.grant_read.clone(),
        scratch_mb: args.grant_scratch_mb,
        http: args.grant_http.iter().map(pattern).collect::<Result<_>>()?,
    })
}

/// What makes the HTTP requests, where some are offered.
pub(crate) fn http_proxy(args: &ExecutorArgs) -> Result<Option<Arc<HttpProxy>>> {
    let config = HttpConfig {
        secrets: args.grant_http_secrets.clone(),
        authorities: args.grant_http_ca.clone(),
        private: args.grant_http_private.clone(),
    };
    if args.grant_http.is_empty() {
        if config != HttpConfig::default() {
            bail!(
                "--grant-http-secrets, --grant-http-ca and --grant-http-private need --grant-http"
            );
        }
        return Ok(None);
    }
    match HttpProxy::new(&config) {
        Ok(proxy) => Ok(Some(Arc::new(proxy))),
        Err(error @ HttpConfigError::Secrets(SecretsError::Exposed { .. })) => {
            Err(hinted(error.into(), "`chmod 600` and `chown` make it the service's alone"))
        }
        Err(error) => Err(error.into()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};

    /// Why these options are refused.
    fn refused(options: &[&str]) -> String {
        let words = ["belljar", "up"].iter().chain(options).map(Into::into);
        let Command::Up(up) = Cli::read(words).expect("options").command else { panic!("up") };
        let checked = grant_policy(&up.executors).and_then(|_| http_proxy(&up.executors));
        format!("{:#}", checked.expect_err("wrong"))
    }

    #[test]
    fn what_is_offered_as_http_requests_makes_sense() {
        for (options, why) in [
            (&["--grant-http", "https://a/*"][..], "--grant-http: `https://a/*` is no grant of"),
            (&["--grant-http-ca", "/nope"], "need --grant-http"),
            (&["--grant-http-private", "10.0.0.0/8"], "need --grant-http"),
            (
                &["--grant-http", "GET https://a/*", "--grant-http-secrets", "/nope"],
                "the file of secrets `/nope` cannot be read: No such file",
            ),
            (
                &["--grant-http", "GET https://a/*", "--grant-http-ca", "/dev/null"],
                "the certificates in `/dev/null` cannot be used: there are none",
            ),
        ] {
            let text = refused(options);
            assert!(text.contains(why), "{options:?}: {text}");
        }
    }
}
