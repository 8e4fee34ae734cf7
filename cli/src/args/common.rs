//! Options that more than one command takes.

use std::path::PathBuf;
use std::time::Duration;

use belljar_core::task::{TaskLimits, PythonVersion, Runtime};
use belljar_store::StoreConfig;
use belljar_wire::TlsFiles;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Which runtimes a worker serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtimes {
    /// Whatever is installed.
    All,
    Only(Runtime),
}

impl Runtimes {
    /// The word for all of them.
    pub(super) const ALL: &str = "both";

    pub(crate) fn contains(self, runtime: Runtime) -> bool {
        self == Self::All || self == Self::Only(runtime)
    }

    /// Reads the name of one runtime, or the word for all.
    pub(super) fn parser() -> impl TypedValueParser<Value = Self> {
        let names = Runtime::ALL.into_iter().map(Runtime::as_str).chain([Self::ALL]);
        PossibleValuesParser::new(names).map(|word| word.parse().map_or(Self::All, Self::Only))
    }
}

/// What the gateway and the dispatcher keep in Redis, and where that is.
#[derive(Debug, Clone, Args)]
pub(crate) struct StoreArgs {
    /// The Redis server: `redis://HOST:PORT/DB` or `redis+unix:///PATH`.
    #[arg(
        long,
        env = "BELLJAR_REDIS",
        value_name = "URL",
        default_value = "redis://127.0.0.1:6379/0"
    )]
    pub(crate) redis: String,
    #[command(flatten)]
    pub(crate) keeping: KeepingArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct KeepingArgs {
    /// How long the result of an ended task is kept, in seconds.
    #[arg(long, env = "BELLJAR_RESULT_TTL", value_name = "SECONDS", default_value_t = 86_400)]
    pub(crate) result_ttl: u64,
    /// How many tasks may wait before submissions are refused.
    #[arg(long, env = "BELLJAR_MAX_QUEUED", value_name = "TASKS", default_value_t = 2_000_000)]
    pub(crate) max_queued: u64,
}

impl KeepingArgs {
    pub(crate) fn store_config(&self, url: &str) -> StoreConfig {
        StoreConfig {
            result_ttl: Duration::from_secs(self.result_ttl),
            max_queued: self.max_queued,
            ..StoreConfig::new(url.to_owned())
        }
    }
}

/// What a worker needs to run Python.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExecutorArgs {
    /// A directory that functions may import from, before the standard library is asked; repeatable.
    #[arg(long, env = "BELLJAR_PYTHON_PATH", value_name = "DIR", value_delimiter = ':')]
    pub(crate) python_path: Vec<PathBuf>,
    /// The directory that holds dill and cloudpickle for the native interpreter.
    #[arg(long, env = "BELLJAR_SITE", value_name = "DIR")]
    pub(crate) site: Option<PathBuf>,
    /// The directory that holds the sandbox's guests, one below it for each Python; the user's cache
    /// unless given.
    #[arg(long, env = "BELLJAR_GUEST_DIR", value_name = "DIR")]
    pub(crate) guest_dir: Option<PathBuf>,
    /// An environment variable that functions may ask for, with its value or else with the one that it
    /// has here; repeatable.
    #[arg(long, env = "BELLJAR_GRANT_ENV", value_name = "NAME[=VALUE]", value_delimiter = ',')]
    pub(crate) grant_env: Vec<String>,
    /// A directory that sandboxed functions may ask to read, under the same absolute path; repeatable.
    #[arg(long, env = "BELLJAR_GRANT_READ", value_name = "DIR", value_delimiter = ':')]
    pub(crate) grant_read: Vec<String>,
    /// The largest `/tmp` in memory that a sandboxed function may ask for, in MiB.
    #[arg(long, env = "BELLJAR_GRANT_SCRATCH_MB", value_name = "MIB", default_value_t = 64)]
    pub(crate) grant_scratch_mb: u32,
    /// How long running calls may go on after the first Ctrl-C or SIGTERM, in seconds.
    #[arg(long, env = "BELLJAR_DRAIN_TIMEOUT", value_name = "SECONDS", default_value_t = 30)]
    pub(crate) drain_timeout: u64,
}

/// What functions get that say nothing themselves.
#[derive(Debug, Clone, Args)]
pub(crate) struct DefaultsArgs {
    /// The time limit of a call whose function sets none, in seconds.
    #[arg(long, env = "BELLJAR_TIMEOUT", value_name = "SECONDS", default_value_t = TaskLimits::DEFAULT.timeout_ms / 1000)]
    pub(crate) timeout: u64,
    /// The memory limit of a call whose function sets none, in MiB.
    #[arg(long, env = "BELLJAR_MEMORY_MB", value_name = "MIB", default_value_t = TaskLimits::DEFAULT.memory_mb)]
    pub(crate) memory_mb: u32,
    /// How often a call is tried again whose executor or worker died.
    #[arg(long, env = "BELLJAR_MAX_RETRIES", value_name = "N", default_value_t = TaskLimits::DEFAULT.max_retries)]
    pub(crate) max_retries: u32,
    /// The Python of functions that neither name nor show one.
    #[arg(long, env = "BELLJAR_PYTHON_VERSION", value_name = "X.Y", default_value_t)]
    pub(crate) python_version: PythonVersion,
    /// The largest request body, in MiB.
    #[arg(long, env = "BELLJAR_MAX_BODY_MB", value_name = "MIB", default_value_t = 32)]
    pub(crate) max_body_mb: usize,
    /// How many connections the gateway holds at once.
    #[arg(long, env = "BELLJAR_MAX_CONNECTIONS", value_name = "N", default_value_t = 4096)]
    pub(crate) max_connections: usize,
    /// Keep processors from falling asleep while calls come and go, which halves the way of a lone call on
    /// virtual machines. Needs write access to /dev/cpu_dma_latency, as root has; `false` saves power.
    #[arg(long, env = "BELLJAR_KEEP_AWAKE", value_name = "true|false", default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) keep_awake: bool,
    /// A further name under which clients reach the gateway, as in their Host header; repeatable.
    #[arg(long, env = "BELLJAR_ALLOWED_HOST", value_name = "NAME", value_delimiter = ',')]
    pub(crate) allowed_host: Vec<String>,
}

/// What dispatchers and workers know each other by.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    /// The secret that dispatcher and workers share, at least 16 characters. Other users of a machine
    /// see options: prefer the variable.
    #[arg(long, env = "BELLJAR_SECRET", value_name = "TEXT", hide_env_values = true)]
    pub(crate) secret: Option<String>,
}

/// TLS between dispatcher and workers, who both show a certificate: all three files or none.
#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    /// The certificate that this side shows, and what stands between it and the authority, as PEM. A
    /// dispatcher's must name the host that workers connect to.
    #[arg(
        long,
        env = "BELLJAR_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key",
        requires = "tls_ca"
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of that certificate, as PEM.
    #[arg(long, env = "BELLJAR_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The certificates of the authority that must have signed the other side's, as PEM.
    #[arg(long, env = "BELLJAR_TLS_CA", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// The files, where TLS is wanted.
    pub(crate) fn files(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            authority: self.tls_ca.clone()?,
            certificate: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
        })
    }
}
