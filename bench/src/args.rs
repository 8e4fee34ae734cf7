//! The command line of `belljar-bench`. Every option has an environment variable.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures belljar over its REST interface, writes a report, and compares reports.
#[derive(Debug, Parser)]
#[command(name = "belljar-bench", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Take a first look, in two minutes.
    #[arg(long, global = true, env = "BELLJAR_BENCH_QUICK")]
    quick: bool,
    /// The directory for samples, plots and the report.
    #[arg(
        long,
        global = true,
        env = "BELLJAR_BENCH_OUT",
        value_name = "DIR",
        default_value = ".belljar/bench"
    )]
    pub(crate) out: PathBuf,
    /// Measure the service at this address instead of starting one.
    #[arg(long, global = true, env = "BELLJAR_BENCH_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Number of tasks that each service runs at once.
    #[arg(
        short = 'w',
        long,
        global = true,
        env = "BELLJAR_SLOTS",
        value_name = "N",
        default_value_t = 2,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..)
    )]
    pub(crate) slots: usize,
    /// A Python 3.11 with dill, which serializes as clients do [default: that of the checkout].
    #[arg(long, global = true, env = "BELLJAR_BENCH_PYTHON", value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
    /// A Python with matplotlib and markdown, which makes reports [default: that of the checkout].
    #[arg(long, global = true, env = "BELLJAR_BENCH_REPORT_PYTHON", value_name = "FILE")]
    pub(crate) report_python: Option<PathBuf>,
    /// The directory with dill and cloudpickle for the native runtime [default: what `belljar` finds].
    #[arg(long, global = true, env = "BELLJAR_SITE", value_name = "DIR")]
    pub(crate) site: Option<PathBuf>,
    /// The environment in which `make bench-peers` installs the other systems.
    #[arg(
        long,
        global = true,
        env = "BELLJAR_BENCH_PEERS",
        value_name = "DIR",
        default_value = ".belljar/peers"
    )]
    pub(crate) peers: PathBuf,
}

impl Options {
    pub(crate) const fn profile(&self) -> Profile {
        if self.quick { Profile::Quick } else { Profile::Full }
    }
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Action {
    /// Measure everything except other systems; this is the default.
    Run,
    /// Measure one no-op at a time, in every mode and runtime.
    Latency,
    /// Measure one to sixteen workers, with more work and with the same work.
    Scaling,
    /// Measure the highest rate of no-ops, and the processor time of each.
    Throughput,
    /// Measure a rising rate, large payloads, long queues and many functions.
    Stress,
    /// Measure the sandbox beside the native runtime: calls, phases, pure Python, memory, starts.
    Overhead,
    /// Measure the sandbox crate by itself, and beside the native runtime over REST.
    Sandbox,
    /// Measure a Python client beside ProcessPoolExecutor.
    Client,
    /// Measure Celery, Huey, Dask, Ray and eryx with the same work; `make bench-peers` installs them.
    Peers,
    /// Show what tenants notice while another one floods the service; exits with 1 if one notices too much.
    Floods {
        /// Only these floods.
        #[arg(value_enum, value_name = "FLOOD")]
        only: Vec<Flood>,
    },
    /// Write the report of a run again.
    Report {
        /// The directory of the run.
        run: PathBuf,
        /// Write the report to DIR/performance.md as well.
        #[arg(long, env = "BELLJAR_BENCH_PUBLISH", value_name = "DIR")]
        publish: Option<PathBuf>,
    },
    /// Show what is worse in run B than in run A; exits with 1 if anything is.
    Compare {
        /// The directory of the earlier run.
        #[arg(value_name = "A")]
        before: PathBuf,
        /// The directory of the later run.
        #[arg(value_name = "B")]
        after: PathBuf,
        /// The smallest change that counts, in percent.
        #[arg(
            long,
            env = "BELLJAR_BENCH_TOLERANCE",
            value_name = "PERCENT",
            default_value_t = 5.0
        )]
        tolerance: f64,
    },
}

/// What an attacker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flood {
    LongPolls,
    Http2Polls,
    ManyIds,
    DeafResults,
    DeafEvents,
    LargeLists,
    LargeBatches,
    NoOps,
    WrongKeys,
    Connections,
}

/// How thoroughly to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Everything, in a quarter of an hour.
    Full,
    /// A first look, in two minutes.
    Quick,
}

impl Profile {
    pub(crate) const fn as_str(self) -> &'static str {
        self.pick("full", "quick")
    }

    /// The value for this profile.
    pub(crate) const fn pick<T: Copy>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}

/// One kind of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Experiment {
    Latency,
    Throughput,
    Overhead,
    Sandbox,
    Client,
    Stress,
    Scaling,
    Peers,
}

impl Experiment {
    /// All but the other systems, which have to be installed.
    const DEFAULT: &[Self] = &[
        Self::Latency,
        Self::Throughput,
        Self::Overhead,
        Self::Sandbox,
        Self::Client,
        Self::Stress,
        Self::Scaling,
    ];

    /// The experiments of an action that measures; empty for the others.
    pub(crate) const fn of(action: &Action) -> &'static [Self] {
        match action {
            Action::Run => Self::DEFAULT,
            Action::Latency => &[Self::Latency],
            Action::Scaling => &[Self::Scaling],
            Action::Throughput => &[Self::Throughput],
            Action::Stress => &[Self::Stress],
            Action::Overhead => &[Self::Overhead],
            // Beside native, over REST: what isolation costs in the end.
            Action::Sandbox => &[Self::Sandbox, Self::Latency, Self::Throughput, Self::Overhead],
            Action::Client => &[Self::Client],
            // belljar's own figures beside theirs, from a client like theirs.
            Action::Peers => &[Self::Client, Self::Peers],
            Action::Floods { .. } | Action::Report { .. } | Action::Compare { .. } => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
