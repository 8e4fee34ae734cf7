//! How the command ends: its exit codes, and the one place that prints an error.

use std::process::ExitCode;

/// The command did what it was asked.
pub(crate) const DONE: u8 = 0;
/// The command failed. Wrong usage ends with 2, by clap.
pub(crate) const FAILED: u8 = 1;

/// Prints an error with all its causes, each once.
pub(crate) fn report(ended: anyhow::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::from(DONE),
        Err(error) => {
            say_error(&format!("{error:#}"));
            ExitCode::from(FAILED)
        }
    }
}

#[expect(clippy::print_stderr, reason = "the command's word to its user")]
fn say_error(text: &str) {
    eprintln!("belljar: {text}");
}
