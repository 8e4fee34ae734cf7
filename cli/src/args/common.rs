//! Options that more than one command takes.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use belljar_core::labels::Labels;
use belljar_core::limits::MAX_RESULT_MB;
use belljar_core::task::{PythonVersion, Runtime, TaskLimits};
use belljar_store::{BlobConfig, StoreConfig, StoreTls};
use belljar_wire::TlsFiles;
use belljar_worker::http_proxy::Network;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::blobs;
use super::durability::Durability;
use crate::exit::WithHint as _;

/// The longest time limit that the gateway accepts.
const MAX_TIMEOUT_S: u64 = 86_400;

/// Parses a whole number that is not zero.
pub(super) fn positive<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| *number >= T::from(1));
    number.ok_or_else(|| "it must be a whole number, 1 or more".to_owned())
}

fn timeout(text: &str) -> Result<u64, String> {
    let seconds = positive(text).ok().filter(|seconds| *seconds <= MAX_TIMEOUT_S);
    seconds.ok_or_else(|| format!("it must be a whole number of seconds, 1 to {MAX_TIMEOUT_S}"))
}

fn max_result_mb(text: &str) -> Result<u32, String> {
    let mib = positive(text).ok().filter(|mib| *mib <= MAX_RESULT_MB);
    mib.ok_or_else(|| format!("it must be a whole number of MiB, 1 to {MAX_RESULT_MB}"))
}

/// How many workers there are: a number, or at least and at most so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkerRange {
    /// The fewest.
    pub(crate) min: usize,
    /// The most.
    pub(crate) max: usize,
}

impl WorkerRange {
    /// Whether the number never changes.
    pub(crate) const fn is_fixed(self) -> bool {
        self.min == self.max
    }
}

impl FromStr for WorkerRange {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let range = positive(min).and_then(|min| Ok(Self { min, max: positive(max)? }));
        range.ok().filter(|range| range.min <= range.max).ok_or_else(|| {
            "it must be a whole number, 1 or more, or two as in `1..4`, the smaller one first"
                .to_owned()
        })
    }
}

/// Where `belljar up` keeps its data.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataArgs {
    /// The data directory of `belljar up`, with its private Redis [default: `$XDG_DATA_HOME/belljar`, else
    /// `~/.local/share/belljar`].
    #[arg(long, global = true, env = "BELLJAR_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

impl DataArgs {
    /// The directory.
    ///
    /// # Errors
    /// None is named, and the user has no home.
    pub(crate) fn dir(&self) -> Result<PathBuf> {
        let variable =
            |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let share = || variable("HOME").map(|home| home.join(".local/share"));
        let usual = || Some(variable("XDG_DATA_HOME").or_else(share)?.join("belljar"));
        let dir = self.data.clone().or_else(usual);
        dir.context("neither HOME nor XDG_DATA_HOME is set")
            .hint("--data DIR names the data directory")
    }
}

/// Which runtimes a worker serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtimes {
    /// Whatever is installed.
    All,
    Only(Runtime),
}

impl Runtimes {
    /// The word for all of them.
    pub(crate) const ALL: &str = "both";

    pub(crate) fn contains(self, runtime: Runtime) -> bool {
        self == Self::All || self == Self::Only(runtime)
    }

    /// Reads the name of one runtime, or the word for all.
    pub(super) fn parser() -> impl TypedValueParser<Value = Self> {
        let names = Runtime::ALL.into_iter().map(Runtime::as_str).chain([Self::ALL]);
        PossibleValuesParser::new(names).map(|word| word.parse().map_or(Self::All, Self::Only))
    }
}

/// Where the store is, and what it keeps.
#[derive(Debug, Clone, Args)]
pub(crate) struct StoreArgs {
    /// The Redis server, as `redis://HOST:PORT/DB`, `rediss://...` for TLS, `redis+unix:///PATH`, or, where sentinels name it,
    /// `redis+sentinel://HOST:PORT,HOST:PORT/NAME/DB`.
    #[arg(
        long,
        env = "BELLJAR_REDIS",
        value_name = "URL",
        default_value = "redis://127.0.0.1:6379/0"
    )]
    pub(crate) redis: String,
    #[command(flatten)]
    pub(crate) retention: RetentionArgs,
}

/// Certificates for a Redis that is reached by `rediss://`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RedisTlsArgs {
    /// Certificates of the authorities that Redis' is checked against, in PEM form [default: the system's].
    #[arg(long, global = true, env = "BELLJAR_REDIS_CA", value_name = "FILE")]
    pub(crate) redis_ca: Option<PathBuf>,
    /// The certificate to show to Redis, in PEM form.
    #[arg(
        long,
        global = true,
        env = "BELLJAR_REDIS_CERT",
        value_name = "FILE",
        requires = "redis_key"
    )]
    pub(crate) redis_cert: Option<PathBuf>,
    /// Its private key.
    #[arg(
        long,
        global = true,
        env = "BELLJAR_REDIS_KEY",
        value_name = "FILE",
        requires = "redis_cert"
    )]
    pub(crate) redis_key: Option<PathBuf>,
}

impl RedisTlsArgs {
    pub(crate) fn files(&self) -> StoreTls {
        let own = self.redis_cert.clone().zip(self.redis_key.clone());
        StoreTls { ca: self.redis_ca.clone(), own }
    }
}

/// What the store keeps.
#[derive(Debug, Clone, Args)]
pub(crate) struct RetentionArgs {
    /// Seconds to keep the result of a task after its end.
    #[arg(long, env = "BELLJAR_RESULT_TTL", value_name = "SECONDS", default_value_t = 86_400, value_parser = positive::<u64>)]
    pub(crate) result_ttl: u64,
    /// Number of waiting tasks from which on submissions are refused.
    #[arg(long, env = "BELLJAR_MAX_QUEUED", value_name = "TASKS", default_value_t = belljar_store::MAX_QUEUED, value_parser = positive::<u64>)]
    pub(crate) max_queued: u64,
    /// What the names of all keys and channels in Redis begin with. Deployments with different prefixes
    /// share nothing.
    #[arg(long, env = "BELLJAR_REDIS_PREFIX", value_name = "PREFIX", default_value = belljar_store::PREFIX)]
    pub(crate) redis_prefix: String,
    /// Where arguments and results of more than 64 KiB are, in place of Redis: a directory where gateways and dispatchers are on one
    /// machine, or `s3://BUCKET/PREFIX`, which `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID` and their like say how to
    /// reach. All name the same [default: of `up` with its private Redis, `blobs` in the data directory; else none].
    #[arg(long, env = "BELLJAR_BLOBS", value_name = "PLACE", value_parser = blobs::parse)]
    pub(crate) blobs: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: RedisTlsArgs,
}

impl RetentionArgs {
    /// What is kept where, so that it survives what it should.
    pub(crate) fn store_config(&self, url: &str, durability: Durability) -> StoreConfig {
        let blobs = self.blobs.as_deref().map(|place| BlobConfig::at(blobs::place(place)));
        #[cfg(feature = "failpoints")]
        let blobs = blobs.map(|blobs| {
            let grace = crate::faults::collected_after().unwrap_or(blobs.grace);
            BlobConfig { grace, part_ttl: grace, ..blobs }
        });
        StoreConfig {
            replicas: durability.replicas(),
            blobs: blobs
                .map(|blobs| BlobConfig { is_synced: durability == Durability::Disk, ..blobs }),
            result_ttl: Duration::from_secs(self.result_ttl),
            max_queued: self.max_queued,
            prefix: self.redis_prefix.clone(),
            tls: self.tls.files(),
            ..StoreConfig::new(url.to_owned())
        }
    }
}

/// How tenants share slots.
#[derive(Debug, Clone, Args)]
pub(crate) struct ShareArgs {
    /// Number of slots, of those that serve the same runtimes, that only a tenant gets of which nothing runs: so
    /// that long calls of others cannot take them all. Smaller than the number of slots.
    #[arg(long, env = "BELLJAR_RESERVED_SLOTS", value_name = "N", default_value_t = 0)]
    pub(crate) reserved_slots: usize,
}

/// Where packages come from that functions ask for.
#[derive(Debug, Clone, Args)]
pub(crate) struct RequirementsArgs {
    /// The package index, such as `https://pypi.org/simple/`, from which functions may require packages; none unless given. The gateway chooses
    /// versions when a function is registered, and workers install these: both need it, and a Python with pip.
    #[arg(long, env = "BELLJAR_REQUIREMENTS", value_name = "URL", value_parser = index, hide_env_values = true)]
    pub(crate) requirements: Option<String>,
}

fn index(text: &str) -> Result<String, String> {
    let is_url = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    (is_url && is_plain).then(|| text.to_owned()).ok_or_else(|| {
        "it must be the URL of a package index, as `https://HOST/simple/`".to_owned()
    })
}

/// What a worker needs to run Python.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExecutorArgs {
    /// A directory that functions can import modules from; repeatable.
    #[arg(long, env = "BELLJAR_PYTHON_PATH", value_name = "DIR", value_delimiter = ':')]
    pub(crate) python_path: Vec<PathBuf>,
    /// The directory with dill and cloudpickle for the native runtime [default: that of the installation].
    #[arg(long, env = "BELLJAR_SITE", value_name = "DIR")]
    pub(crate) site: Option<PathBuf>,
    /// The directory with one guest of the sandbox per Python [default: that of the installation, else ~/.cache/belljar].
    #[arg(long, env = "BELLJAR_GUEST_DIR", value_name = "DIR")]
    pub(crate) guest_dir: Option<PathBuf>,
    /// The directory with packages that functions require [default: ~/.cache/belljar/requirements].
    #[arg(long, env = "BELLJAR_REQUIREMENTS_DIR", value_name = "DIR")]
    pub(crate) requirements_dir: Option<PathBuf>,
    /// An environment variable that functions may request; without VALUE, with its value here; repeatable.
    #[arg(long, env = "BELLJAR_GRANT_ENV", value_name = "NAME[=VALUE]", value_delimiter = ',')]
    pub(crate) grant_env: Vec<String>,
    /// A directory that sandboxed functions may request to read, under its absolute path; repeatable.
    #[arg(long, env = "BELLJAR_GRANT_READ", value_name = "DIR", value_delimiter = ':')]
    pub(crate) grant_read: Vec<String>,
    /// The largest in-memory `/tmp` that a sandboxed function may request, in MiB. Each has up to 16 of it without
    /// asking.
    #[arg(long, env = "BELLJAR_GRANT_SCRATCH_MB", value_name = "MIB", default_value_t = 64)]
    pub(crate) grant_scratch_mb: u32,
    /// HTTP requests that sandboxed functions may request to make, such as `GET https://api.example.com/v1/*`;
    /// repeatable.
    #[arg(long, env = "BELLJAR_GRANT_HTTP", value_name = "PATTERN", value_delimiter = ';')]
    pub(crate) grant_http: Vec<String>,
    /// A file with the secrets that the worker puts into headers of these requests.
    #[arg(long, env = "BELLJAR_GRANT_HTTP_SECRETS", value_name = "FILE")]
    pub(crate) grant_http_secrets: Option<PathBuf>,
    /// A PEM file with authorities that these requests trust besides the machine's; repeatable.
    #[arg(long, env = "BELLJAR_GRANT_HTTP_CA", value_name = "FILE", value_delimiter = ':')]
    pub(crate) grant_http_ca: Vec<PathBuf>,
    /// A network, such as `10.0.0.0/8`, that names of hosts in these requests may lead to although it is not public;
    /// repeatable.
    #[arg(long, env = "BELLJAR_GRANT_HTTP_PRIVATE", value_name = "NETWORK", value_delimiter = ',')]
    pub(crate) grant_http_private: Vec<Network>,
    /// Serve the sandbox also where the kernel does not keep its processes from the files of this user: then
    /// WebAssembly is the only wall. For functions that you trust.
    #[arg(long, env = "BELLJAR_ALLOW_WEAK_SANDBOX", value_name = "true|false", default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub(crate) allow_weak_sandbox: bool,
    /// Memory in which each process of the sandbox keeps functions whose modules are slow to import, in MiB: their next
    /// calls start with the modules imported. 0 keeps none.
    #[arg(long, env = "BELLJAR_WARM_MB", value_name = "MIB", default_value_t = 64)]
    pub(crate) warm_mb: u32,
    /// The largest result of a call, pickled, in MiB, at most 2048 [default: 2048 where there is a place for large values
    /// (`--blobs`), else 60, which is the most then].
    #[arg(long, env = "BELLJAR_MAX_RESULT_MB", value_name = "MIB", value_parser = max_result_mb)]
    pub(crate) max_result_mb: Option<u32>,
    /// Seconds that running calls get to finish after the first Ctrl-C or SIGTERM.
    #[arg(long, env = "BELLJAR_DRAIN_TIMEOUT", value_name = "SECONDS", default_value_t = 30)]
    pub(crate) drain_timeout: u64,
}

/// What functions get that set nothing themselves, and the gateway's limits.
#[derive(Debug, Clone, Args)]
pub(crate) struct DefaultsArgs {
    /// The time limit of a call whose function sets none, in seconds.
    #[arg(long, env = "BELLJAR_TIMEOUT", value_name = "SECONDS", default_value_t = TaskLimits::DEFAULT.timeout_ms / 1000, value_parser = timeout)]
    pub(crate) timeout: u64,
    /// The memory limit of a call whose function sets none, in MiB.
    #[arg(long, env = "BELLJAR_MEMORY_MB", value_name = "MIB", default_value_t = TaskLimits::DEFAULT.memory_mb, value_parser = positive::<u32>)]
    pub(crate) memory_mb: u32,
    /// Retries after an executor or worker dies.
    #[arg(long, env = "BELLJAR_MAX_RETRIES", value_name = "N", default_value_t = TaskLimits::DEFAULT.max_retries)]
    pub(crate) max_retries: u32,
    /// The Python of functions that name none and whose bytecode fits several.
    #[arg(long, env = "BELLJAR_PYTHON_VERSION", value_name = "X.Y", default_value_t)]
    pub(crate) python_version: PythonVersion,
    /// The largest request body, in MiB.
    #[arg(long, env = "BELLJAR_MAX_BODY_MB", value_name = "MIB", default_value_t = 32, value_parser = positive::<usize>)]
    pub(crate) max_body_mb: usize,
    /// The largest value that clients can upload, in MiB.
    #[arg(long, env = "BELLJAR_MAX_VALUE_MB", value_name = "MIB", default_value_t = 2048, value_parser = positive::<u64>)]
    pub(crate) max_value_mb: u64,
    /// The largest number of connections, and of requests, that the gateway serves at once.
    #[arg(long, env = "BELLJAR_MAX_CONNECTIONS", value_name = "N", default_value_t = 4096, value_parser = positive::<usize>)]
    pub(crate) max_connections: usize,
    /// Keep processors awake between calls, which halves the latency of a single call on virtual machines;
    /// needs write access to /dev/cpu_dma_latency.
    #[arg(long, env = "BELLJAR_LOW_LATENCY", value_name = "true|false", default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) low_latency: bool,
    /// A further host name that clients may use for the gateway; repeatable.
    #[arg(long, env = "BELLJAR_ALLOWED_HOST", value_name = "NAME", value_delimiter = ',')]
    pub(crate) allowed_host: Vec<String>,
}

/// What a worker has.
#[derive(Debug, Clone, Args)]
pub(crate) struct LabelArgs {
    /// What this worker has, such as `gpu=a100` or `region=eu`, for functions that ask for it; repeatable. Of a dispatcher it counts in
    /// mode local only.
    #[arg(long, env = "BELLJAR_LABEL", value_name = "KEY=VALUE", value_delimiter = ',')]
    label: Vec<String>,
}

impl LabelArgs {
    /// All of them.
    ///
    /// # Errors
    /// One is no label, or has two values, or they are too long.
    pub(crate) fn labels(&self) -> Result<Labels> {
        self.label.join(",").parse().context("--label")
    }
}

/// How dispatcher and workers authenticate each other.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    /// The secret that dispatcher and workers share, 16 characters or more; prefer the variable, since other
    /// users of the machine can see options.
    #[arg(long, env = "BELLJAR_SECRET", value_name = "TEXT", hide_env_values = true)]
    pub(crate) secret: Option<String>,
}

/// TLS between dispatcher and workers, with a certificate on both sides: all three files or none.
#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    /// The certificate chain of this side, as PEM; a dispatcher's must name the host that workers connect to.
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
    /// The certificates of the authority that signs the other side's certificate, as PEM.
    #[arg(long, env = "BELLJAR_TLS_CA", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// The files, where TLS is configured.
    pub(crate) fn files(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            authority: self.tls_ca.clone()?,
            certificate: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
        })
    }
}
