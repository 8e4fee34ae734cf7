//! What to do, as the command line says it.

use std::path::PathBuf;

/// One call of `belljar bench`.
#[derive(Debug, Clone)]
pub enum Config {
    /// Measure, and report.
    Measure(Measure),
    /// Make the report of a run again.
    Report {
        /// The directory of the run.
        run: PathBuf,
        /// A directory of documentation that is to hold the report as `performance.md`.
        publish: Option<PathBuf>,
    },
    /// Compare two runs.
    Compare {
        /// The directory of the earlier run.
        before: PathBuf,
        /// The directory of the later run.
        after: PathBuf,
        /// The change that counts, as a part of the earlier figure.
        tolerance: f64,
    },
}

/// What to measure, and with what.
#[derive(Debug, Clone)]
pub struct Measure {
    /// In this order.
    pub experiments: Vec<Experiment>,
    /// How thoroughly.
    pub effort: Effort,
    /// The directory that gets samples, plots and report.
    pub out: PathBuf,
    /// The `belljar` binary of the services to start.
    pub belljar: PathBuf,
    /// A Python with dill, of the service's minor.
    pub python: PathBuf,
    /// The packages of the native interpreter of services that are started.
    pub site: PathBuf,
    /// The service to measure, where it runs already: `http://HOST:PORT`.
    pub url: Option<String>,
    /// How many tasks each service runs at once.
    pub slots: usize,
    /// Where the other systems are installed that `peers` measures.
    pub peers: PathBuf,
}

/// How thoroughly to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// All of it, within a quarter of an hour.
    Full,
    /// A first look, within two minutes.
    Quick,
}

impl Effort {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Quick => "quick",
        }
    }

    /// One of two, by the effort.
    pub(crate) fn pick<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}

/// A kind of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Experiment {
    /// One no-op at a time.
    Latency,
    /// More workers, with more work or with the same.
    Scaling,
    /// As many no-ops as go through.
    Throughput,
    /// More than goes through, large payloads, long queues, many functions.
    Stress,
    /// What the sandbox costs.
    Overhead,
    /// The sandbox crate by itself, without a service.
    Sandbox,
    /// A Python client, beside a pool of processes.
    Client,
    /// Other systems with the same work.
    Peers,
}

impl Experiment {
    /// All but the other systems, which have to be installed.
    pub const USUAL: [Self; 7] = [
        Self::Latency,
        Self::Throughput,
        Self::Overhead,
        Self::Sandbox,
        Self::Client,
        Self::Stress,
        Self::Scaling,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Scaling => "scaling",
            Self::Throughput => "throughput",
            Self::Stress => "stress",
            Self::Overhead => "overhead",
            Self::Sandbox => "sandbox",
            Self::Client => "client",
            Self::Peers => "peers",
        }
    }
}
