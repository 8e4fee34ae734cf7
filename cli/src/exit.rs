//! How the command ends: exit codes, hints, and the one place that prints an error.

use std::fmt::{self, Display};
use std::process::ExitCode;

use anyhow::{Error, Result};

/// The command did what it was asked.
pub(crate) const DONE: u8 = 0;
/// The command failed. Wrong usage ends with 2, by clap.
pub(crate) const FAILED: u8 = 1;

/// Marks a line of an error's text as a way out instead of a cause.
const HINT: &str = "hint: ";

/// Adds a way out to an error. [`report`] prints it last, however many causes are added later.
pub(crate) trait WithHint<T> {
    /// Adds `hint`, unless it succeeded.
    fn hint(self, hint: impl Display) -> Result<T>;
}

impl<T, E> WithHint<T> for Result<T, E>
where
    Self: anyhow::Context<T, E>,
{
    fn hint(self, hint: impl Display) -> Result<T> {
        anyhow::Context::with_context(self, || Hint(hint.to_string()))
    }
}

/// An error with a way out.
pub(crate) fn hinted(error: Error, hint: impl Display) -> Error {
    error.context(Hint(hint.to_string()))
}

/// A way out, as a link of an error's chain.
#[derive(Debug)]
struct Hint(String);

impl Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HINT}{}", self.0)
    }
}

/// Prints an error: all its causes in one line, each once, then the hint.
pub(crate) fn report(ended: Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::from(DONE),
        Err(error) => {
            let (causes, hint) = sentences(&error);
            say_error(&format!("belljar: {causes}"));
            if let Some(hint) = hint {
                say_error(&hint);
            }
            ExitCode::from(FAILED)
        }
    }
}

/// The causes of an error in one line, without its hint.
pub(crate) fn causes(error: &Error) -> String {
    sentences(error).0
}

/// The causes, joined, and the first hint: the one nearest to what the user asked for.
fn sentences(error: &Error) -> (String, Option<String>) {
    let (mut causes, mut hint) = (String::new(), None);
    for link in error.chain() {
        for line in link.to_string().lines().map(str::trim).filter(|line| !line.is_empty()) {
            if line.starts_with(HINT) {
                hint.get_or_insert_with(|| line.to_owned());
            } else if !causes.contains(line) {
                causes += if causes.is_empty() { "" } else { ": " };
                causes += line;
            }
        }
    }
    (causes, hint)
}

#[expect(clippy::print_stderr, reason = "the command's word to its user")]
fn say_error(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn the_hint_comes_after_all_causes() {
        let error = Err::<(), _>(anyhow!("the address is in use"))
            .hint("--listen 127.0.0.1:0 takes a free port")
            .context("cannot listen on 127.0.0.1:8000");
        let error = error.expect_err("an error");
        let (causes, hint) = sentences(&error);
        assert_eq!(causes, "cannot listen on 127.0.0.1:8000: the address is in use");
        assert_eq!(hint.as_deref(), Some("hint: --listen 127.0.0.1:0 takes a free port"));
    }

    #[test]
    fn a_cause_that_repeats_another_is_left_out() {
        let error = anyhow!("connection refused").context("cannot connect: connection refused");
        assert_eq!(sentences(&error), ("cannot connect: connection refused".to_owned(), None));
    }

    #[test]
    fn a_hint_inside_a_text_moves_to_the_end_and_is_printed_once() {
        let error = anyhow!("a\n  hint: one").context("hint: two").context("b");
        assert_eq!(sentences(&error), ("b: a".to_owned(), Some("hint: two".to_owned())));
    }
}
