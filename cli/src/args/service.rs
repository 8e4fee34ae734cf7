//! The options of the gateway, the dispatcher and the worker.

use std::net::SocketAddr;
use std::time::Duration;

use belljar_core::task::Runtime;
use clap::{Args, ValueEnum};

use super::common::{DefaultsArgs, ExecutorArgs, Runtimes, SecretArgs, StoreArgs, TlsArgs};

/// How workers and dispatcher work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// A pool of slots inside the dispatcher.
    Local,
    /// Workers ask for tasks, each as soon as it has room.
    Pull,
    /// The dispatcher sends tasks to the worker with most room.
    Push,
}

impl Mode {
    /// How worker processes are served; `None` where there are none.
    pub(crate) const fn remote(self) -> Option<belljar_core::message::DeliveryMode> {
        match self {
            Self::Local => None,
            Self::Pull => Some(belljar_core::message::DeliveryMode::Pull),
            Self::Push => Some(belljar_core::message::DeliveryMode::Push),
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

/// How worker processes get their tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorkerMode {
    /// The worker asks for tasks.
    Pull,
    /// The dispatcher sends them.
    Push,
}

#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "BELLJAR_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8000")]
    pub(crate) listen: SocketAddr,
    /// Where functions run that name no runtime.
    #[arg(long, env = "BELLJAR_RUNTIME", value_name = "RUNTIME", default_value = "native")]
    pub(crate) runtime: Runtime,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) defaults: DefaultsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DispatcherArgs {
    /// How tasks reach workers.
    #[arg(short, long, env = "BELLJAR_MODE", value_enum, default_value_t = Mode::Local)]
    pub(crate) mode: Mode,
    /// How many tasks run at once, each in a process of its own; one per processor unless given.
    #[arg(short = 'w', long, env = "BELLJAR_SLOTS", value_name = "N")]
    pub(crate) slots: Option<usize>,
    /// Which runtimes to serve.
    #[arg(long, env = "BELLJAR_RUNTIMES", value_parser = Runtimes::parser(), default_value = Runtimes::ALL)]
    pub(crate) runtime: Runtimes,
    /// The port for workers (pull and push); 0 takes a free one.
    #[arg(short, long, env = "BELLJAR_PORT", value_name = "PORT", default_value_t = 5555)]
    pub(crate) port: u16,
    /// The address for workers. Beyond loopback, a secret is needed.
    #[arg(long, env = "BELLJAR_BIND", value_name = "ADDR", default_value = "127.0.0.1")]
    pub(crate) bind: String,
    /// After how many seconds of silence dispatcher and workers tell each other that they live (pull and
    /// push). A worker that is silent for three times as long is lost, and its tasks run again.
    #[arg(long, env = "BELLJAR_HEARTBEAT", value_name = "SECONDS", default_value = "1", value_parser = heartbeat)]
    pub(crate) heartbeat: Duration,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) executors: ExecutorArgs,
}

/// Shorter ones cost processor time, longer ones let tasks of lost workers wait.
const HEARTBEATS: std::ops::RangeInclusive<f64> = 0.1..=60.0;

fn heartbeat(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| HEARTBEATS.contains(seconds));
    let seconds = seconds.ok_or_else(|| {
        format!("a number of seconds from {} to {}", HEARTBEATS.start(), HEARTBEATS.end())
    })?;
    Ok(Duration::from_secs_f64(seconds))
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// How tasks get here; the dispatcher's mode.
    #[arg(value_enum)]
    pub(crate) mode: WorkerMode,
    /// How many tasks run at once, each in a process of its own.
    #[arg(value_name = "N")]
    pub(crate) slots: usize,
    /// The dispatcher, as `tcp://HOST:PORT`.
    pub(crate) dispatcher: belljar_wire::Endpoint,
    /// Which runtimes to serve.
    #[arg(long, env = "BELLJAR_RUNTIMES", value_parser = Runtimes::parser(), default_value = Runtimes::ALL)]
    pub(crate) runtime: Runtimes,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
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
