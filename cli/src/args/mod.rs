//! The command line. Every option has an environment variable; no other file reads the environment.

mod bench;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use belljar_core::task::{Limits, PythonVersion, Runtime};
use belljar_store::StoreConfig;
use belljar_wire::TlsFiles;
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use bench::{BenchAction, BenchArgs, BenchOptions};

/// Runs Python functions that arrive over REST: natively, or isolated under a WebAssembly jar.
#[derive(Debug, Parser)]
#[command(name = "belljar", version, propagate_version = true)]
pub(crate) struct Cli {
    /// What to log, as `error`, `warn`, `info`, `debug` or a filter such as `belljar_store=debug`.
    #[arg(long, global = true, env = "BELLJAR_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// The socket of the fault harness, which stops this process at fail points.
    #[cfg(feature = "failpoints")]
    #[arg(long, global = true, hide = true, env = "BELLJAR_FAULT_SOCKET", value_name = "PATH")]
    pub(crate) fault_socket: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything on this machine: Redis, gateway, dispatcher, workers.
    Up(UpArgs),
    /// Serve the REST interface.
    Gateway(GatewayArgs),
    /// Hand stored tasks to workers.
    Dispatcher(DispatcherArgs),
    /// Run the tasks of a dispatcher, here or on another machine.
    Worker(WorkerArgs),
    /// Show what is installed, what is missing, and how to install it.
    Doctor(DoctorArgs),
    /// Show, check and build the sandbox's Pythons.
    Guest(GuestArgs),
    /// Call a function of a Python file, on a service named by --url or else on one of its own.
    #[command(disable_help_flag = true)]
    Run(ClientArgs),
    /// Show the newest tasks.
    #[command(disable_help_flag = true)]
    Tasks(ClientArgs),
    /// Show what a task wrote, and why it failed.
    #[command(disable_help_flag = true)]
    Logs(ClientArgs),
    /// Show the workers.
    #[command(disable_help_flag = true)]
    Workers(ClientArgs),
    /// Cancel tasks.
    #[command(disable_help_flag = true)]
    Cancel(ClientArgs),
    /// Measure, report, and compare reports.
    Bench(BenchArgs),
}

/// How workers and dispatcher work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// A pool of slots inside the dispatcher.
    Local,
    /// Workers ask for tasks, each as soon as it has room.
    Pull,
    /// The dispatcher sends tasks to the worker with most room.
    Push,
}

impl Mode {
    /// How worker processes are served; `None` where there are none.
    pub(crate) const fn remote(self) -> Option<belljar_core::message::Mode> {
        match self {
            Self::Local => None,
            Self::Pull => Some(belljar_core::message::Mode::Pull),
            Self::Push => Some(belljar_core::message::Mode::Push),
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

/// How worker processes get their tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorkerMode {
    /// The worker asks for tasks.
    Pull,
    /// The dispatcher sends them.
    Push,
}

/// Which runtimes a worker serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtimes {
    Native,
    Sandbox,
    Both,
}

impl Runtimes {
    pub(crate) fn contains(self, runtime: Runtime) -> bool {
        match self {
            Self::Native => runtime == Runtime::Native,
            Self::Sandbox => runtime == Runtime::Sandbox,
            Self::Both => true,
        }
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
    #[arg(long, env = "BELLJAR_TIMEOUT", value_name = "SECONDS", default_value_t = Limits::DEFAULT.timeout_ms / 1000)]
    pub(crate) timeout: u64,
    /// The memory limit of a call whose function sets none, in MiB.
    #[arg(long, env = "BELLJAR_MEMORY_MB", value_name = "MIB", default_value_t = Limits::DEFAULT.memory_mb)]
    pub(crate) memory_mb: u32,
    /// How often a call is tried again whose executor or worker died.
    #[arg(long, env = "BELLJAR_MAX_RETRIES", value_name = "N", default_value_t = Limits::DEFAULT.max_retries)]
    pub(crate) max_retries: u32,
    /// The Python of functions that neither name nor show one.
    #[arg(long, env = "BELLJAR_PYTHON_VERSION", value_name = "X.Y", default_value = "3.11")]
    pub(crate) python_version: PythonVersion,
    /// The largest request body, in MiB.
    #[arg(long, env = "BELLJAR_MAX_BODY_MB", value_name = "MIB", default_value_t = 32)]
    pub(crate) max_body_mb: usize,
    /// How many connections the gateway holds at once.
    #[arg(long, env = "BELLJAR_MAX_CONNECTIONS", value_name = "N", default_value_t = 4096)]
    pub(crate) max_connections: usize,
    /// A further name under which clients reach the gateway, as in their Host header; repeatable.
    #[arg(long, env = "BELLJAR_ALLOWED_HOST", value_name = "NAME", value_delimiter = ',')]
    pub(crate) allowed_host: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "BELLJAR_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8000")]
    pub(crate) listen: SocketAddr,
    /// Where functions run that name no runtime.
    #[arg(long, env = "BELLJAR_RUNTIME", value_name = "RUNTIME", default_value = "native")]
    pub(crate) runtime: Runtime,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) defaults: DefaultsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DispatcherArgs {
    /// How tasks reach workers.
    #[arg(short, long, env = "BELLJAR_MODE", value_enum, default_value_t = Mode::Local)]
    pub(crate) mode: Mode,
    /// How many tasks run at once, each in a process of its own; one per processor unless given.
    #[arg(short = 'w', long, env = "BELLJAR_SLOTS", value_name = "N")]
    pub(crate) slots: Option<usize>,
    /// Which runtimes to serve.
    #[arg(long, env = "BELLJAR_RUNTIMES", value_enum, default_value_t = Runtimes::Both)]
    pub(crate) runtime: Runtimes,
    /// The port for workers (pull and push); 0 takes a free one.
    #[arg(short, long, env = "BELLJAR_PORT", value_name = "PORT", default_value_t = 5555)]
    pub(crate) port: u16,
    /// The address for workers. Beyond loopback, a secret is needed.
    #[arg(long, env = "BELLJAR_BIND", value_name = "ADDR", default_value = "127.0.0.1")]
    pub(crate) bind: String,
    /// After how many seconds of silence dispatcher and workers tell each other that they live (pull and
    /// push). A worker that is silent for three times as long is lost, and its tasks run again.
    #[arg(long, env = "BELLJAR_HEARTBEAT", value_name = "SECONDS", default_value = "1", value_parser = heartbeat)]
    pub(crate) heartbeat: Duration,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) executors: ExecutorArgs,
}

/// Shorter ones cost processor time, longer ones let tasks of lost workers wait.
const HEARTBEATS: std::ops::RangeInclusive<f64> = 0.1..=60.0;

fn heartbeat(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| HEARTBEATS.contains(seconds));
    let seconds = seconds.ok_or_else(|| {
        format!("a number of seconds from {} to {}", HEARTBEATS.start(), HEARTBEATS.end())
    })?;
    Ok(Duration::from_secs_f64(seconds))
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

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// How tasks get here; the dispatcher's mode.
    #[arg(value_enum)]
    pub(crate) mode: WorkerMode,
    /// How many tasks run at once, each in a process of its own.
    #[arg(value_name = "N")]
    pub(crate) slots: usize,
    /// The dispatcher, as `tcp://HOST:PORT`.
    pub(crate) dispatcher: belljar_wire::Endpoint,
    /// Which runtimes to serve.
    #[arg(long, env = "BELLJAR_RUNTIMES", value_enum, default_value_t = Runtimes::Both)]
    pub(crate) runtime: Runtimes,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) executors: ExecutorArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// How tasks reach workers.
    #[arg(short, long, env = "BELLJAR_MODE", value_enum, default_value_t = Mode::Local)]
    pub(crate) mode: Mode,
    /// How many tasks a worker runs at once, each in a process of its own; one per processor unless
    /// given.
    #[arg(short = 'w', long, env = "BELLJAR_SLOTS", value_name = "N")]
    pub(crate) slots: Option<usize>,
    /// How many worker processes to start (pull and push).
    #[arg(long, env = "BELLJAR_WORKERS", value_name = "K", default_value_t = 1)]
    pub(crate) workers: usize,
    /// Where functions run that name no runtime.
    #[arg(long, env = "BELLJAR_RUNTIME", value_name = "RUNTIME", default_value = "native")]
    pub(crate) runtime: Runtime,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "BELLJAR_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8000")]
    pub(crate) listen: SocketAddr,
    /// Where the private Redis keeps its files.
    #[arg(long, env = "BELLJAR_DATA", value_name = "DIR", default_value = ".belljar/data")]
    pub(crate) data: PathBuf,
    /// Use this Redis server instead of a private one.
    #[arg(long, env = "BELLJAR_REDIS", value_name = "URL")]
    pub(crate) redis: Option<String>,
    #[command(flatten)]
    pub(crate) keeping: KeepingArgs,
    #[command(flatten)]
    pub(crate) defaults: DefaultsArgs,
    #[command(flatten)]
    pub(crate) executors: ExecutorArgs,
    /// What the parts log, if not what suits them or the environment says.
    #[arg(skip)]
    pub(crate) parts_log: Option<&'static str>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) executors: ExecutorArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GuestArgs {
    /// The directory that holds the guests, one below it for each Python; the user's cache unless
    /// given.
    #[arg(long, global = true, env = "BELLJAR_GUEST_DIR", value_name = "DIR")]
    pub(crate) guest_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) action: GuestAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GuestAction {
    /// Show which guests there are.
    List,
    /// Start each guest and run a call in it.
    Check {
        /// Only the guest of this Python.
        #[arg(value_name = "X.Y")]
        python: Option<PythonVersion>,
    },
    /// Build a guest from the checkout of this binary, unless it is there: some ten minutes.
    Build {
        /// The guest's Python.
        #[arg(value_name = "X.Y", default_value = "3.11")]
        python: PythonVersion,
    },
}

/// The words of a command that the Python client carries out, which alone knows what they mean.
#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    /// Options and arguments; --help shows them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
    pub(crate) words: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_has_an_environment_variable() {
        check_options(&Cli::command());
    }

    #[test]
    fn a_heartbeat_is_a_number_of_seconds_within_its_bounds() {
        assert_eq!(heartbeat("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(heartbeat("60"), Ok(Duration::from_secs(60)));
        for wrong in ["0", "0.09", "61", "-1", "NaN", "inf", "1s", ""] {
            assert!(heartbeat(wrong).is_err_and(|why| why.contains("0.1 to 60")), "{wrong}");
        }
    }

    fn check_options(command: &clap::Command) {
        let options = command.get_arguments().filter(|arg| arg.get_long().is_some());
        for option in options.filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version")) {
            let variable = option.get_env().unwrap_or_default().to_string_lossy();
            let (name, id) = (command.get_name(), option.get_id());
            assert!(variable.starts_with("BELLJAR_"), "{name} {id}");
        }
        command.get_subcommands().for_each(check_options);
    }
}
