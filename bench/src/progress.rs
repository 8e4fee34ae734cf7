//! The progress of measurements: a bar for each experiment, or lines where standard error is no terminal.

use std::io::IsTerminal as _;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

/// The bar of the current experiment.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    begun: Instant,
}

impl Progress {
    pub(crate) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), begun: Instant::now() }
    }

    /// Starts the bar of an experiment with so many steps.
    pub(crate) fn begin(&mut self, name: &'static str, steps: usize) {
        let style = "{prefix:12} [{bar:30}] {pos}/{len} {elapsed} {msg}";
        let style = ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar());
        let bar = ProgressBar::new(steps as u64).with_style(style.progress_chars("=> "));
        *self = Self { bar: bar.with_prefix(name), begun: Instant::now() };
        self.bar.tick();
    }

    /// Shows the next step.
    pub(crate) fn step(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
        self.bar.inc(1);
    }

    #[expect(clippy::print_stderr, reason = "the command's word to its user")]
    pub(crate) fn end(&self) {
        self.bar.finish_with_message("");
        if !std::io::stderr().is_terminal() {
            eprintln!("{}: {:.0} s", self.bar.prefix(), self.begun.elapsed().as_secs_f64());
        }
    }
}
