//! The command line. Every option has an environment variable; no other file reads the environment.
//!
//! # Layout
//!
//! * here: the commands, and the options of `up` and of the small ones.
//! * `service`: gateway, dispatcher and worker.
//! * `key`, `tenant`, `audit`: the keys of clients, what tenants may do, and what was done.
//! * `listen`: who reaches the gateway.
//! * `common`: options of more than one command. `blobs`: where large values are.
//! * `trace`: whether spans are exported.
//! * `durability`: what accepted tasks survive.
//! * `argv`: command lines for the processes that `up` starts.

mod argv;
mod audit;
mod blobs;
mod common;
mod durability;
mod key;
mod listen;
mod service;
mod tenant;
mod trace;

use std::ffi::OsString;
use std::path::PathBuf;

use belljar_core::task::{PythonVersion, Runtime};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub(crate) use argv::Argv;
pub(crate) use audit::{AuditAction, AuditArgs};
pub(crate) use blobs::shared as shared_blobs;
pub(crate) use common::WorkerRange;
use common::{DataArgs, LabelArgs, ShareArgs, positive};
pub(crate) use common::{
    DefaultsArgs, ExecutorArgs, RequirementsArgs, RetentionArgs, Runtimes, SecretArgs,
};
pub(crate) use durability::Durability;
use durability::DurabilityArgs;
pub(crate) use key::{KeyAction, KeyArgs, NewKeyArgs, OperatorArgs};
#[cfg(test)]
pub(crate) use listen::HttpTlsArgs;
pub(crate) use listen::{KeyUse, ListenAddress, ListenArgs, MetricsArgs};
pub(crate) use service::{DispatcherArgs, GatewayArgs, Mode, WorkerArgs, WorkerMode};
pub(crate) use tenant::{TenantAction, TenantArgs};
pub(crate) use trace::TraceArgs;

/// Runs Python functions that arrive over REST, natively or in a WebAssembly sandbox.
#[derive(Debug, Parser)]
#[command(name = "belljar", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// The socket of the fault harness, which stops this process at fail points.
    #[cfg(feature = "failpoints")]
    #[arg(long, global = true, hide = true, env = "BELLJAR_FAULT_SOCKET", value_name = "PATH")]
    pub(crate) fault_socket: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is logged, and how.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LogArgs {
    /// What to log: `error`, `warn`, `info`, `debug`, or a filter such as `belljar_store=debug`.
    #[arg(long = "log", global = true, env = "BELLJAR_LOG", value_name = "FILTER")]
    pub(crate) filter: Option<String>,
    /// How to log: lines for people, in colour on a terminal; or one JSON object a line.
    #[arg(
        long = "log-format",
        global = true,
        env = "BELLJAR_LOG_FORMAT",
        value_enum,
        value_name = "FORMAT",
        default_value_t
    )]
    pub(crate) format: LogFormat,
}

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl Cli {
    /// Parses a command line.
    pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(words)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        if let (Command::Up(up), Some((_, options))) = (&mut cli.command, matches.subcommand()) {
            up.argv = Argv::of(options);
            up.log.clone_from(&cli.log);
            up.durability.check(up.redis.is_some()).map_err(|why| {
                Self::command().error(clap::error::ErrorKind::ArgumentConflict, why)
            })?;
        }
        Ok(cli)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything on this machine: Redis, gateway, dispatcher, workers.
    Up(Box<UpArgs>),
    /// Serve the REST interface.
    Gateway(GatewayArgs),
    /// Distribute queued tasks to workers, or run them itself.
    Dispatcher(DispatcherArgs),
    /// Run the tasks of a dispatcher, on this or another machine.
    Worker(WorkerArgs),
    /// Show what is installed, what is missing, and how to install it.
    Doctor(DoctorArgs),
    /// List, check and build the Pythons of the sandbox.
    Guest(GuestArgs),
    /// Make, list, revoke and rotate the keys of clients.
    Key(KeyArgs),
    /// Show what tenants may do and what they use, and check the file that says so.
    Tenant(TenantArgs),
    /// Check an audit log.
    Audit(AuditArgs),
    /// Call a function of a Python file, on the service at --url or on a temporary one.
    #[command(disable_help_flag = true)]
    Run(ClientArgs),
    /// List the newest tasks.
    #[command(disable_help_flag = true)]
    Tasks(ClientArgs),
    /// Show the output of a task, and why it failed.
    #[command(disable_help_flag = true)]
    Logs(ClientArgs),
    /// List the workers.
    #[command(disable_help_flag = true)]
    Workers(ClientArgs),
    /// Cancel tasks.
    #[command(disable_help_flag = true)]
    Cancel(ClientArgs),
    /// Print the reference of the command line as Markdown.
    #[command(hide = true)]
    Reference,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct UpArgs {
    /// How tasks reach workers.
    #[arg(short, long, env = "BELLJAR_MODE", value_enum, default_value_t = Mode::Local)]
    pub(crate) mode: Mode,
    /// Number of tasks that a worker runs at once, each in its own process [default: number of processors].
    #[arg(short = 'w', long, env = "BELLJAR_SLOTS", value_name = "N", value_parser = positive::<usize>)]
    pub(crate) slots: Option<usize>,
    #[command(flatten)]
    pub(crate) shares: ShareArgs,
    /// Number of worker processes in modes pull and push; MIN..MAX starts more while calls wait, and lets them leave again.
    #[arg(long, env = "BELLJAR_WORKERS", value_name = "K|MIN..MAX", default_value = "1")]
    pub(crate) workers: WorkerRange,
    /// Seconds for which a worker beyond MIN is not needed before it leaves.
    #[arg(long, env = "BELLJAR_WORKER_IDLE", value_name = "SECONDS", default_value_t = 30, value_parser = positive::<u64>)]
    pub(crate) worker_idle: u64,
    /// The runtime of functions that name none: `native` or `sandbox` [default: native, or sandbox where no native
    /// Python is installed].
    #[arg(long, env = "BELLJAR_RUNTIME", value_name = "RUNTIME")]
    pub(crate) runtime: Option<Runtime>,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Memory for the data of the private Redis, in MiB: when it is full, submissions are refused and nothing is lost [default:
    /// half of what the machine has].
    #[arg(long, env = "BELLJAR_REDIS_MEMORY_MB", value_name = "MIB", value_parser = positive::<u64>)]
    pub(crate) redis_memory_mb: Option<u64>,
    #[command(flatten)]
    pub(crate) durability: DurabilityArgs,
    /// A Redis server to use instead of a private one, as `redis://HOST:PORT/DB`, or as gateway and dispatcher take it.
    #[arg(long, env = "BELLJAR_REDIS", value_name = "URL")]
    pub(crate) redis: Option<String>,
    #[command(flatten)]
    pub(crate) retention: RetentionArgs,
    #[command(flatten)]
    pub(crate) defaults: DefaultsArgs,
    #[command(flatten)]
    pub(crate) labels: LabelArgs,
    #[command(flatten)]
    pub(crate) requirements: RequirementsArgs,
    #[command(flatten)]
    pub(crate) executors: ExecutorArgs,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) traces: TraceArgs,
    /// What the processes that it starts log, and how.
    #[arg(skip)]
    pub(crate) log: LogArgs,
    /// All of these options, for those processes.
    #[arg(skip)]
    pub(crate) argv: Argv,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) executors: ExecutorArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GuestArgs {
    /// The directory with one guest per Python [default: that of the installation, else ~/.cache/belljar].
    #[arg(long, global = true, env = "BELLJAR_GUEST_DIR", value_name = "DIR")]
    pub(crate) guest_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) action: GuestAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GuestAction {
    /// List the installed guests.
    List,
    /// Start each guest and run a call in it.
    Check {
        /// Check only the guest of this Python.
        #[arg(value_name = "X.Y")]
        python: Option<PythonVersion>,
    },
    /// Build a guest from the checkout of this program, in about ten minutes, unless it exists.
    Build {
        /// The Python of the guest.
        #[arg(value_name = "X.Y", default_value_t)]
        python: PythonVersion,
    },
}

/// The arguments of a command of the Python client, which parses them.
#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    /// Options and arguments, as --help shows them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
    pub(crate) words: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_has_an_environment_variable() {
        check_options(&Cli::command());
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
