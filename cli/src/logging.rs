//! Logs go to standard error; standard output carries only what a script may read.

use tracing_subscriber::EnvFilter;

use crate::args::Command;

/// Starts logging at `filter`, else at what suits the command: `up` speaks to a person at a terminal
/// and stays quiet unless something needs attention.
pub(crate) fn start(filter: Option<&str>, command: &Command) {
    let filter = filter.unwrap_or(match command {
        Command::Up(_) | Command::Doctor(_) | Command::Guest(_) | Command::Bench(_) => "warn",
        // Of the service that `run` starts; its own words come from Python.
        Command::Run(_)
        | Command::Tasks(_)
        | Command::Logs(_)
        | Command::Workers(_)
        | Command::Cancel(_) => "error",
        Command::Gateway(_) | Command::Dispatcher(_) | Command::Worker(_) => "info",
    });
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
}
