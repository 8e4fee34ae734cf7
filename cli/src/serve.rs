//! `belljar gateway` and `belljar dispatcher`: one service in this process, until a signal.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use belljar_core::message::{DeliveryMode, Secret};
use belljar_core::task::{TaskLimits, PythonVersion, TaskClass};
use belljar_dispatcher::config::{RemoteConfig, Workers};
use belljar_store::Store;
use belljar_wire::{Callers, ConnectConfig, Endpoint, ListenConfig};
use belljar_worker::config::PoolConfig;
use belljar_worker::transport::WorkerConfig;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::{
    DispatcherArgs, ExecutorArgs, GatewayArgs, Runtimes, SecretArgs, WorkerArgs, WorkerMode,
};
use crate::exit;
use crate::install;

/// Begins the line by which `up` and scripts learn the address.
pub(crate) const LISTENING: &str = "belljar gateway listens at ";

/// Begins the line by which `up` and scripts learn where workers connect.
pub(crate) const WORKERS_AT: &str = "belljar dispatcher takes workers at ";

pub(crate) fn gateway(args: GatewayArgs) -> Result<()> {
    raise_descriptor_limit();
    runtime()?.block_on(async {
        let listener = TcpListener::bind(args.listen).await.with_context(|| {
            format!(
                "cannot listen on {}\n  hint: --listen 127.0.0.1:0 takes a free port",
                args.listen
            )
        })?;
        let address = listener.local_addr().context("the listener has no address")?;
        let store = Store::connect(args.store.keeping.store_config(&args.store.redis)).await?;
        announce(&format!("{LISTENING}http://{address}"));
        let defaults = args.defaults;
        let class = TaskClass { runtime: args.runtime, python: defaults.python_version };
        let config = belljar_gateway::Config {
            default_limits: TaskLimits {
                timeout_ms: defaults.timeout * 1000,
                memory_mb: defaults.memory_mb,
                max_retries: defaults.max_retries,
            },
            max_body_bytes: defaults.max_body_mb << 20,
            max_connections: defaults.max_connections,
            allowed_hosts: defaults.allowed_host,
            keep_awake: defaults.keep_awake,
            ..belljar_gateway::Config::new(class)
        };
        belljar_gateway::run(config, listener, store, until_signal()?).await?;
        Ok(())
    })
}

pub(crate) fn dispatcher(args: DispatcherArgs) -> Result<()> {
    raise_descriptor_limit();
    runtime()?.block_on(async {
        let store = Store::connect(args.store.keeping.store_config(&args.store.redis)).await?;
        let workers = match args.mode.remote() {
            None => Workers::Local(pool_config(args.slots, args.runtime, &args.executors)?),
            Some(mode) => Workers::Remote(Box::new(remote(&args, mode)?)),
        };
        let drain_timeout = Duration::from_secs(args.executors.drain_timeout);
        let config = belljar_dispatcher::Config { workers, host: host(), drain_timeout };
        belljar_dispatcher::run(config, store, until_signal()?).await?;
        Ok(())
    })
}

/// The port for workers, announced once it is open.
fn remote(args: &DispatcherArgs, mode: DeliveryMode) -> Result<RemoteConfig> {
    let endpoint = Endpoint::new(args.bind.clone(), args.port);
    let secret = secret(&args.secret)?;
    let callers = if secret.is_some() { Callers::WithSecret } else { Callers::Anyone };
    let listen = ListenConfig { tls: args.tls.files(), ..ListenConfig::new(endpoint, callers) };
    let heartbeat = args.heartbeat;
    let mut config = RemoteConfig { heartbeat, ..RemoteConfig::new(listen, mode, secret) };
    let (listening, address) = tokio::sync::oneshot::channel();
    config.listening = Some(listening);
    tokio::spawn(async move {
        if let Ok(address) = address.await {
            announce(&format!("{WORKERS_AT}tcp://{address}"));
        }
    });
    Ok(config)
}

pub(crate) fn worker(args: WorkerArgs) -> Result<()> {
    runtime()?.block_on(async {
        let tls = args.tls.files();
        let config = WorkerConfig {
            endpoint: ConnectConfig { tls, ..ConnectConfig::new(args.dispatcher) },
            mode: match args.mode {
                WorkerMode::Pull => DeliveryMode::Pull,
                WorkerMode::Push => DeliveryMode::Push,
            },
            secret: secret(&args.secret)?,
            pool: pool_config(Some(args.slots), args.runtime, &args.executors)?,
            host: host(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            drain_timeout: Duration::from_secs(args.executors.drain_timeout),
        };
        belljar_worker::transport::run(config, until_signal()?).await?;
        Ok(())
    })
}

fn secret(args: &SecretArgs) -> Result<Option<Secret>> {
    let secret = args.secret.as_deref().map(Secret::new).transpose();
    secret.context("--secret\n  hint: `openssl rand -hex 32` makes one")
}

/// A pool with an executor for each runtime that is wanted, and each Python. Where others would do, one that
/// is not installed is left out with a warning.
fn pool_config(
    slots: Option<usize>,
    runtimes: Runtimes,
    args: &ExecutorArgs,
) -> Result<PoolConfig> {
    let slots = match slots {
        Some(slots) => slots,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let mut executors = Vec::new();
    for (class, executor) in install::executors(runtimes, &install::installation(args)?) {
        match executor {
            Ok(executor) => executors.push(executor),
            Err(missing)
                if class.python == PythonVersion::default() && runtimes != Runtimes::All =>
            {
                return Err(missing.into());
            }
            Err(missing) => {
                let missing = anyhow::Error::from(missing);
                tracing::warn!("functions for `{class}` will wait: {missing:#}");
            }
        }
    }
    if executors.is_empty() {
        bail!("no runtime is installed\n  hint: `belljar doctor` says what is missing");
    }
    Ok(PoolConfig { slots, executors })
}

/// What can be served here.
pub(crate) fn installed(args: &ExecutorArgs) -> Result<Vec<TaskClass>> {
    let executors = install::executors(Runtimes::All, &install::installation(args)?);
    let installed = executors.into_iter().filter(|(_, executor)| executor.is_ok());
    Ok(installed.map(|(class, _)| class).collect())
}

/// Takes all the descriptors that the system allows: a connection is one, and the usual soft limit of
/// 1,024 stands for programs that use `select`.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // The soft limit may always be raised to the hard one.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// One thread: a service spends a few microseconds on a task and much of the rest on waking others, and
/// waking a thread of its own for it costs more than the work. More processors are used by more
/// services; large bodies are handled on threads of their own anyway.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the async runtime cannot start")
}

/// A token that the first SIGINT or SIGTERM cancels. The second ends the process at once.
pub(crate) fn until_signal() -> Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot hear SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot hear SIGTERM")?;
    let asked = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked.is_cancelled() {
                std::process::exit(exit::FAILED.into());
            }
            asked.cancel();
        }
    });
    Ok(token)
}

/// One line on standard output, for people and scripts.
pub(crate) fn announce(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // A reader that has left does not stop the service.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
