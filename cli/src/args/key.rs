//! The options of `belljar key`.

use std::path::PathBuf;
use std::time::Duration;

use belljar_core::api_key::Scope;
use belljar_core::tenant::Tenant;
use clap::{Args, Subcommand};

use super::common::{DataArgs, RedisTlsArgs, Runtimes};

/// The longest lifetime of a key, in years: times beyond cannot be written as dates.
const MAX_YEARS: u64 = 100;

/// Where a service has its data, for the commands of its operator.
#[derive(Debug, Args)]
pub(crate) struct OperatorArgs {
    /// The Redis server of the service, as `redis://HOST:PORT/DB` [default: that of `belljar up` with --data].
    #[arg(long, global = true, env = "BELLJAR_REDIS", value_name = "URL")]
    pub(crate) redis: Option<String>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// What the names of all keys and channels in Redis begin with.
    #[arg(long, global = true, env = "BELLJAR_REDIS_PREFIX", value_name = "PREFIX", default_value = belljar_store::PREFIX)]
    pub(crate) redis_prefix: String,
    #[command(flatten)]
    pub(crate) tls: RedisTlsArgs,
    /// Print JSON.
    #[arg(long, global = true, env = "BELLJAR_JSON")]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(flatten)]
    pub(crate) service: OperatorArgs,
    /// The audit log in which changes of keys are recorded [default: that of `belljar up` with --data].
    #[arg(long, global = true, env = "BELLJAR_AUDIT_LOG", value_name = "FILE")]
    pub(crate) audit_log: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) action: KeyAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Make a key and print it, this once.
    Create(NewKeyArgs),
    /// List all keys, newest first.
    List,
    /// Refuse keys from now on.
    Revoke {
        /// The ids or names of the keys.
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<String>,
    },
    /// Replace a key by a new one of the same name, tenant and scopes.
    Rotate {
        /// The id or name of the key.
        #[arg(value_name = "KEY")]
        key: String,
        /// How long the old key is still taken, such as `1h` or `0s`.
        #[arg(long, env = "BELLJAR_KEY_OVERLAP", value_name = "TIME", default_value = "1h", value_parser = lifetime)]
        overlap: Duration,
        /// When the new key ends, such as `90d` [default: after as long as the old one had].
        #[arg(long, env = "BELLJAR_KEY_EXPIRES", value_name = "TIME", value_parser = lifetime)]
        expires: Option<Duration>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewKeyArgs {
    /// What to call it, such as the person or program that gets it.
    #[arg(value_name = "NAME", value_parser = name)]
    pub(crate) name: String,
    /// Whose functions and tasks its holder sees and makes.
    #[arg(long, env = "BELLJAR_KEY_TENANT", value_name = "TENANT", default_value = Tenant::DEFAULT)]
    pub(crate) tenant: Tenant,
    /// What its holder may do: `submit`, `read`, `cancel`, `register`, or `admin` for everything; repeatable.
    #[arg(
        long,
        env = "BELLJAR_KEY_SCOPE",
        value_name = "SCOPE",
        value_delimiter = ',',
        default_value = "submit,read,cancel,register"
    )]
    pub(crate) scope: Vec<Scope>,
    /// Where functions of its holder may run.
    #[arg(long, env = "BELLJAR_KEY_RUNTIME", value_parser = Runtimes::parser(), default_value = Runtimes::ALL)]
    pub(crate) runtime: Runtimes,
    /// When it ends, such as `90d` [default: never].
    #[arg(long, env = "BELLJAR_KEY_EXPIRES", value_name = "TIME", value_parser = lifetime)]
    pub(crate) expires: Option<Duration>,
    /// The common name of client certificates that stand for it: then nothing is shown, and nothing printed.
    #[arg(long, env = "BELLJAR_KEY_CERTIFICATE", value_name = "NAME", value_parser = name)]
    pub(crate) certificate: Option<String>,
}

/// The longest name, in bytes.
const MAX_NAME: usize = 128;

fn name(text: &str) -> Result<String, String> {
    let is_name = (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control);
    // A key among the arguments would stay in the shell's history, and in lists for all to see.
    if !is_name || text.starts_with("bj_") {
        return Err(format!("a name has 1 to {MAX_NAME} bytes and is no key"));
    }
    Ok(text.to_owned())
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time > Duration::from_secs(MAX_YEARS * 365 * 86_400) {
        return Err(format!("it may be at most {MAX_YEARS} years"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_names_are_checked() {
        assert_eq!(lifetime("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(lifetime("0s"), Ok(Duration::ZERO));
        for wrong in ["", "90", "x", "101y"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
        assert!(name("Ann's laptop").is_ok());
        for wrong in ["", "a\nb", "bj_x", &"a".repeat(MAX_NAME + 1)] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
