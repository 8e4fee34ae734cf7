//! The options of the gateway, the dispatcher and the worker.

use std::path::PathBuf;
use std::time::Duration;

use belljar_core::task::Runtime;
use clap::{Args, ValueEnum};

use super::common::{
    DefaultsArgs, ExecutorArgs, LabelArgs, RequirementsArgs, Runtimes, SecretArgs, ShareArgs,
    StoreArgs, TlsArgs, positive,
};
use super::durability::DurabilityArgs;
use super::listen::{ListenArgs, MetricsArgs};
use super::trace::TraceArgs;

/// How tasks reach workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// The dispatcher runs them itself.
    Local,
    /// Workers request tasks when they have room.
    Pull,
    /// The dispatcher sends tasks to the worker with the most free slots.
    Push,
}

impl Mode {
    /// The mode of worker processes; `None` where there are none.
    pub(crate) const fn remote(self) -> Option<belljar_core::message::DeliveryMode> {
        match self {
            Self::Local => None,
            Self::Pull => Some(belljar_core::message::DeliveryMode::Pull),
            Self::Push => Some(belljar_core::message::DeliveryMode::Push),
        }
    }
}

/// How worker processes get their tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorkerMode {
    /// The worker requests tasks.
    Pull,
    /// The dispatcher sends them.
    Push,
}

#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    /// The runtime of functions that name none: `native` or `sandbox`.
    #[arg(long, env = "BELLJAR_RUNTIME", value_name = "RUNTIME", default_value = "native")]
    pub(crate) runtime: Runtime,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) durability: DurabilityArgs,
    #[command(flatten)]
    pub(crate) requirements: RequirementsArgs,
    #[command(flatten)]
    pub(crate) defaults: DefaultsArgs,
    #[command(flatten)]
    pub(crate) traces: TraceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DispatcherArgs {
    /// How tasks reach workers.
    #[arg(short, long, env = "BELLJAR_MODE", value_enum, default_value_t = Mode::Local)]
    pub(crate) mode: Mode,
    /// Number of tasks to run at once, each in its own process [default: number of processors].
    #[arg(short = 'w', long, env = "BELLJAR_SLOTS", value_name = "N", value_parser = positive::<usize>)]
    pub(crate) slots: Option<usize>,
    #[command(flatten)]
    pub(crate) shares: ShareArgs,
    /// The runtimes to serve.
    #[arg(long = "runtime", env = "BELLJAR_RUNTIMES", value_parser = Runtimes::parser(), default_value = Runtimes::ALL)]
    pub(crate) runtimes: Runtimes,
    /// The port for workers in modes pull and push; 0 takes a free port.
    #[arg(short, long, env = "BELLJAR_PORT", value_name = "PORT", default_value_t = 5555)]
    pub(crate) port: u16,
    /// The address for workers; an address other than loopback needs a secret.
    #[arg(long, env = "BELLJAR_BIND", value_name = "ADDR", default_value = "127.0.0.1")]
    pub(crate) bind: String,
    /// Seconds between heartbeats of dispatcher and workers; after three without one, a worker counts as lost
    /// and its tasks run again.
    #[arg(long, env = "BELLJAR_HEARTBEAT", value_name = "SECONDS", default_value = "1", value_parser = heartbeat)]
    pub(crate) heartbeat: Duration,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) traces: TraceArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) durability: DurabilityArgs,
    #[command(flatten)]
    pub(crate) labels: LabelArgs,
    #[command(flatten)]
    pub(crate) requirements: RequirementsArgs,
    #[command(flatten)]
    pub(crate) executors: ExecutorArgs,
}

/// A shorter interval costs processor time; a longer one delays the tasks of lost workers.
const HEARTBEATS: std::ops::RangeInclusive<f64> = 0.1..=60.0;

fn heartbeat(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| HEARTBEATS.contains(seconds));
    let seconds = seconds.ok_or_else(|| {
        format!("a number of seconds from {} to {}", HEARTBEATS.start(), HEARTBEATS.end())
    })?;
    Ok(Duration::from_secs_f64(seconds))
}

/// Parses a worker's number of slots; users of other systems tend to leave it out.
fn worker_slots(text: &str) -> Result<usize, String> {
    match text.contains("://") {
        true => {
            Err("the number of tasks goes before the address, as in `4 tcp://HOST:PORT`".into())
        }
        false => positive(text),
    }
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// How tasks reach this worker; the mode of the dispatcher.
    #[arg(value_enum)]
    pub(crate) mode: WorkerMode,
    /// Number of tasks to run at once, each in its own process.
    #[arg(value_name = "N", value_parser = worker_slots)]
    pub(crate) slots: usize,
    /// The dispatcher, as `tcp://HOST:PORT`.
    pub(crate) dispatcher: belljar_wire::Endpoint,
    /// Where the dispatcher's large values are, its directory on its machine or its `s3://BUCKET/PREFIX`: large arguments and results pass
    /// there, also of more than 60 MiB.
    #[arg(long, env = "BELLJAR_BLOBS", value_name = "PLACE", value_parser = super::blobs::parse)]
    pub(crate) blobs: Option<PathBuf>,
    /// The runtimes to serve.
    #[arg(long = "runtime", env = "BELLJAR_RUNTIMES", value_parser = Runtimes::parser(), default_value = Runtimes::ALL)]
    pub(crate) runtimes: Runtimes,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) traces: TraceArgs,
    #[command(flatten)]
    pub(crate) labels: LabelArgs,
    #[command(flatten)]
    pub(crate) requirements: RequirementsArgs,
    #[command(flatten)]
    pub(crate) executors: ExecutorArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_a_number_of_seconds_within_its_bounds() {
        assert_eq!(heartbeat("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(heartbeat("60"), Ok(Duration::from_secs(60)));
        for wrong in ["0", "0.09", "61", "-1", "NaN", "inf", "1s", ""] {
            assert!(heartbeat(wrong).is_err_and(|why| why.contains("0.1 to 60")), "{wrong}");
        }
    }
}
