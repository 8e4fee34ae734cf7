//! The options of `belljar bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to measure, and how.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to do; without a word, all but `peers` is measured.
    #[command(subcommand)]
    pub(crate) action: Option<BenchAction>,
    #[command(flatten)]
    pub(crate) options: BenchOptions,
}

#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// Take a first look, in two minutes.
    #[arg(long, global = true, env = "BELLJAR_BENCH_QUICK")]
    pub(crate) quick: bool,
    /// The directory for samples, plots and report.
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
    /// How many tasks each service runs at once.
    #[arg(
        short = 'w',
        long,
        global = true,
        env = "BELLJAR_SLOTS",
        value_name = "N",
        default_value_t = 2
    )]
    pub(crate) slots: usize,
    /// A Python of the default minor with dill, which serializes as clients do; that of the native interpreter's site
    /// unless given.
    #[arg(long, global = true, env = "BELLJAR_BENCH_PYTHON", value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
    /// The directory that holds dill and cloudpickle for the native interpreter.
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

#[derive(Debug, Subcommand)]
pub(crate) enum BenchAction {
    /// One no-op at a time, in every mode and runtime.
    Latency,
    /// One to sixteen workers, with more work or with the same.
    Scaling,
    /// As many no-ops as go through, and the processor time of each.
    Throughput,
    /// A rate that rises, large payloads, long queues, many functions.
    Stress,
    /// The sandbox beside the native runtime: calls, phases, pure Python, memory, starts.
    Overhead,
    /// The sandbox crate by itself, and beside native over REST.
    Sandbox,
    /// A Python client beside ProcessPoolExecutor.
    Client,
    /// Celery, Huey, Dask, Ray and eryx with the same work; `make bench-peers` installs them.
    Peers,
    /// Make the report of a run again.
    Report {
        /// The directory of the run.
        run: PathBuf,
        /// The documentation that is to hold the report, as DIR/performance.md.
        #[arg(long, env = "BELLJAR_BENCH_PUBLISH", value_name = "DIR")]
        publish: Option<PathBuf>,
    },
    /// Tell what has become worse from run A to run B; ends with 1 if anything has.
    Compare {
        /// The directory of the earlier run.
        #[arg(value_name = "A")]
        before: PathBuf,
        /// The directory of the later run.
        #[arg(value_name = "B")]
        after: PathBuf,
        /// The change that counts, in percent.
        #[arg(
            long,
            env = "BELLJAR_BENCH_TOLERANCE",
            value_name = "PERCENT",
            default_value_t = 5.0
        )]
        tolerance: f64,
    },
}
