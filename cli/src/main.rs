//! The `belljar` command: parses the command line, runs, prints one error.

mod args;
mod audit;
mod client;
mod directory;
mod doctor;
mod executors;
mod exit;
#[cfg(feature = "failpoints")]
mod faults;
mod grants;
mod guest;
mod install;
mod key;
mod listen;
mod logging;
mod operator;
mod packaged;
mod redis_server;
mod reference;
mod serve;
mod tenant;
mod up;

use std::process::ExitCode;

use args::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    logging::start(&cli.log, &cli.command);
    #[cfg(feature = "failpoints")]
    if let Some(Err(error)) = cli.fault_socket.as_deref().map(faults::listen) {
        return exit::report(Err(error));
    }
    let ended = match cli.command {
        Command::Gateway(args) => serve::gateway(args),
        Command::Dispatcher(args) => serve::dispatcher(args),
        Command::Worker(args) => serve::worker(args),
        Command::Up(args) => up::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Guest(args) => guest::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Tenant(args) => tenant::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Reference => reference::run(),
        Command::Run(args) => return client("run", &args),
        Command::Tasks(args) => return client("tasks", &args),
        Command::Logs(args) => return client("logs", &args),
        Command::Workers(args) => return client("workers", &args),
        Command::Cancel(args) => return client("cancel", &args),
    };
    exit::report(ended)
}

/// Runs a command of the Python client; its exit code is ours.
fn client(name: &str, args: &args::ClientArgs) -> ExitCode {
    match client::run(name, &args.words) {
        Ok(code) => ExitCode::from(code),
        Err(error) => exit::report(Err(error)),
    }
}
