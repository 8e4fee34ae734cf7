//! What a person sees while measurements run: a bar for each experiment; plain lines where standard
//! error is no terminal.

use std::io::IsTerminal as _;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

/// The bar of the experiment that runs.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    name: String,
    begun: Instant,
}

impl Progress {
    pub(crate) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), name: String::new(), begun: Instant::now() }
    }

    /// Begins the bar of an experiment with so many steps.
    pub(crate) fn begin(&mut self, name: &str, steps: usize) {
        self.name = name.to_owned();
        self.begun = Instant::now();
        self.bar = ProgressBar::new(steps as u64);
        let style =
            ProgressStyle::with_template("{prefix:12} [{bar:30}] {pos}/{len} {elapsed} {msg}");
        if let Ok(style) = style {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.bar.set_prefix(self.name.clone());
        self.bar.tick();
    }

    /// Says what comes now.
    pub(crate) fn step(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
        self.bar.inc(1);
    }

    /// Ends the bar.
    pub(crate) fn end(&self) {
        self.bar.finish_with_message("");
        if !std::io::stderr().is_terminal() {
            say_on_stderr(&format!("{}: {:.0} s", self.name, self.begun.elapsed().as_secs_f64()));
        }
    }
}

#[expect(clippy::print_stderr, reason = "the command's word to its user")]
fn say_on_stderr(text: &str) {
    eprintln!("{text}");
}
