//! The command line. Every option has an environment variable; no other file reads the environment.
//!
//! Here: the commands, and `up` and the small ones. `service`: gateway, dispatcher and worker. `common`:
//! options of more than one command. `bench`: what is measured.

mod bench;
mod common;
mod service;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use belljar_core::task::{PythonVersion, Runtime};
use clap::{Args, Parser, Subcommand};

pub(crate) use bench::{BenchAction, BenchArgs, BenchOptions};
pub(crate) use common::{DefaultsArgs, ExecutorArgs, KeepingArgs, Runtimes, SecretArgs};
pub(crate) use service::{DispatcherArgs, GatewayArgs, Mode, WorkerArgs, WorkerMode};

/// Runs Python functions that arrive over REST: natively, or isolated in a WebAssembly sandbox.
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
        #[arg(value_name = "X.Y", default_value_t)]
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
