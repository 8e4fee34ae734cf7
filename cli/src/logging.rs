//! Logs go to standard error; standard output is for people and scripts.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::args::Command;

/// Starts logging at `filter`, or else at the default of the command: the services log what they do, other
/// commands only what needs attention.
pub(crate) fn start(filter: Option<&str>, command: &Command) {
    let default = match command {
        Command::Gateway(_) | Command::Dispatcher(_) | Command::Worker(_) => "info",
        // The output is that of Python.
        Command::Run(_)
        | Command::Tasks(_)
        | Command::Logs(_)
        | Command::Workers(_)
        | Command::Cancel(_) => "error",
        _ => "warn",
    };
    // Its warnings concern private unix sockets, whose directory is removed before it removes the socket.
    let default = format!("{default},zeromq=error");
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter.unwrap_or(&default)))
        .with_writer(std::io::stderr)
        // Not to a journal or a file.
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
