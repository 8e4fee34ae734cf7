//! `belljar gateway`, `belljar dispatcher` and `belljar worker`: one service in this process, until a signal.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use belljar_core::limits::MAX_SENT_ARGS_BYTES;
use belljar_core::message::{DeliveryMode, Secret};
use belljar_core::task::{TaskClass, TaskLimits};
use belljar_dispatcher::config::{RemoteConfig, Workers};
use belljar_gateway::audit_log::{AuditLog, AuditTargets};
use belljar_gateway::policy::Tenants;
use belljar_gateway::requirements::Resolver;
use belljar_store::{NamedArgs, Store, StoreConfig};
use belljar_traces::Traces;
use belljar_wire::{Authentication, ConnectConfig, Endpoint, ListenConfig};
use belljar_worker::transport::{WorkerConfig, WorkerMetrics};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::{
    DispatcherArgs, GatewayArgs, MetricsArgs, SecretArgs, TraceArgs, WorkerArgs, WorkerMode,
    shared_blobs,
};
use crate::executors::{pool_config, slots};
use crate::exit::{self, WithHint};
use crate::install;
use crate::listen::{self, Opened};

/// The start of the line that tells `up` and scripts the address.
pub(crate) const LISTENING: &str = "belljar gateway listens at ";

/// The start of the line that tells `up` and scripts where workers connect.
pub(crate) const WORKERS_AT: &str = "belljar dispatcher takes workers at ";

/// The start of the line that tells `up` and scripts where a dispatcher or worker shows its metrics.
pub(crate) const METRICS_AT: &str = "belljar metrics are at ";

pub(crate) fn gateway(args: GatewayArgs) -> Result<()> {
    raise_descriptor_limit();
    runtime()?.block_on(async {
        let tenants = args.listen.tenants.clone().map(Tenants::load).transpose();
        let tenants = tenants.hint("`belljar tenant check FILE` reads a file without a service")?;
        let Opened { listeners, require_keys, urls } = listen::open(&args.listen).await?;
        let durability = args.durability.durability;
        let config = args.store.retention.store_config(&args.store.redis, durability);
        let plain = StoreConfig { replicas: 0, blobs: None, ..config.clone() };
        let stream = args.listen.audit_stream.map(|keep| (plain, keep));
        let targets = AuditTargets { file: args.listen.audit_log.clone(), stream };
        let audit_log = AuditLog::open_all(targets).await?;
        let store = Store::connect(config).await?;
        for url in &urls {
            announce(&format!("{LISTENING}{url}"));
            tracing::info!(%url, "listening");
        }
        let defaults = args.defaults;
        let class = TaskClass::new(args.runtime, defaults.python_version);
        let traces = traces(&args.traces, "belljar-gateway")?;
        let config = belljar_gateway::Config {
            traces: traces.clone(),
            default_limits: TaskLimits {
                timeout_ms: defaults.timeout * 1000,
                memory_mb: defaults.memory_mb,
                max_retries: defaults.max_retries,
                max_result_mb: None,
            },
            max_body_bytes: defaults.max_body_mb << 20,
            max_value_bytes: defaults.max_value_mb << 20,
            max_connections: defaults.max_connections,
            require_keys,
            proxies: args.listen.proxies(),
            public_url: args.listen.public_url,
            cors_origins: args.listen.cors_origin,
            oidc: args.listen.oidc.config(),
            tenants: tenants.map(Arc::new),
            resolver: args.requirements.requirements.map(|index| resolver(index).into()),
            audit_log: audit_log.map(Arc::new),
            allowed_hosts: defaults.allowed_host,
            low_latency: defaults.low_latency,
            ..belljar_gateway::Config::new(class)
        };
        #[cfg(feature = "failpoints")]
        let config = match crate::faults::collected_after() {
            // All directories are looked through in that time.
            Some(after) => belljar_gateway::Config { expire_every: after / 16, ..config },
            None => config,
        };
        let served = belljar_gateway::run(config, listeners, store, until_signal()?).await;
        close(traces);
        served?;
        Ok(())
    })
}

/// Chooses packages from the index.
fn resolver(index: String) -> Resolver {
    Resolver::new(install::pip(None), index)
}

pub(crate) fn dispatcher(args: DispatcherArgs) -> Result<()> {
    raise_descriptor_limit();
    runtime()?.block_on(async {
        let config =
            args.store.retention.store_config(&args.store.redis, args.durability.durability);
        // What replicas must have, submissions wait for.
        // Those in one message to a worker go there as they are, unless it shares the directory or bucket.
        let from = if args.mode.remote().is_some() { MAX_SENT_ARGS_BYTES + 1 } else { 0 };
        let named_args = Some(NamedArgs::from(from));
        let config = StoreConfig { replicas: 0, named_args_from: named_args.clone(), ..config };
        let store = Store::connect(config).await?;
        let metrics = metrics_listener(&args.metrics).await?;
        let mut workers = match args.mode.remote() {
            None => {
                let labels = args.labels.labels()?;
                Workers::Local(pool_config(
                    slots(args.slots),
                    args.runtimes,
                    (labels, &args.requirements),
                    &args.executors,
                    shared_blobs(args.store.retention.blobs.as_deref())?,
                )?)
            }
            Some(mode) => {
                let blobs = store.blob_owner().await?;
                Workers::Remote(Box::new(RemoteConfig {
                    blobs,
                    named_args,
                    ..remote(&args, mode)?
                }))
            }
        };
        let drain_timeout = Duration::from_secs(args.executors.drain_timeout);
        let reserved_slots = args.shares.reserved_slots;
        let metrics = metrics.map(|listener| {
            let local = match &mut workers {
                Workers::Local(pool) => Some(pool),
                Workers::Remote(_) => None,
            };
            let metrics = belljar_dispatcher::Metrics::of(local, store.clone());
            tokio::spawn(belljar_metrics::serve(listener, metrics.clone()));
            metrics
        });
        let traces = traces(&args.traces, "belljar-dispatcher")?;
        if let Workers::Local(pool) = &mut workers {
            pool.traces.clone_from(&traces);
        }
        let config = belljar_dispatcher::Config {
            workers,
            host: host(),
            reserved_slots,
            drain_timeout,
            metrics,
            traces: traces.clone(),
        };
        let served = belljar_dispatcher::run(config, store, until_signal()?).await;
        close(traces);
        served?;
        Ok(())
    })
}

/// The port for workers, announced once it is open.
fn remote(args: &DispatcherArgs, mode: DeliveryMode) -> Result<RemoteConfig> {
    let endpoint = Endpoint::new(args.bind.clone(), args.port);
    let secret = secret(&args.secret)?;
    let authentication =
        if secret.is_some() { Authentication::SharedSecret } else { Authentication::None };
    let listen =
        ListenConfig { tls: args.tls.files(), ..ListenConfig::new(endpoint, authentication) };
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
        let listener = metrics_listener(&args.metrics).await?;
        let offered = (args.labels.labels()?, &args.requirements);
        let blobs = shared_blobs(args.blobs.as_deref())?;
        let mut pool =
            pool_config(args.slots, args.runtimes, offered, &args.executors, blobs.clone())?;
        let metrics = listener.map(|listener| {
            let metrics = WorkerMetrics::of(&mut pool);
            tokio::spawn(belljar_metrics::serve(listener, metrics.clone()));
            metrics
        });
        let traces = traces(&args.traces, "belljar-worker")?;
        pool.traces.clone_from(&traces);
        let tls = args.tls.files();
        let config = WorkerConfig {
            endpoint: ConnectConfig { tls, ..ConnectConfig::new(args.dispatcher) },
            mode: match args.mode {
                WorkerMode::Pull => DeliveryMode::Pull,
                WorkerMode::Push => DeliveryMode::Push,
            },
            secret: secret(&args.secret)?,
            blobs,
            pool,
            metrics,
            host: host(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            drain_timeout: Duration::from_secs(args.executors.drain_timeout),
        };
        let served = belljar_worker::transport::run(config, until_signal()?).await;
        close(traces);
        served?;
        Ok(())
    })
}

/// Exports spans as a service, where that is wanted.
fn traces(args: &TraceArgs, service: &'static str) -> Result<Option<Traces>> {
    let config = args.config(service, host()).map_err(Error::msg)?;
    Ok(config.as_ref().map(Traces::start).transpose()?)
}

/// Sends the spans that are left.
fn close(traces: Option<Traces>) {
    if let Some(traces) = traces {
        traces.close();
    }
}

/// The socket for metrics, announced, where one is asked for.
async fn metrics_listener(args: &MetricsArgs) -> Result<Option<TcpListener>> {
    let Some(address) = &args.metrics_listen else { return Ok(None) };
    let listener = listen::open_tcp(address).await.context("--metrics-listen")?;
    let address = listener.local_addr().context("the socket for metrics has no address")?;
    announce(&format!("{METRICS_AT}http://{address}"));
    Ok(Some(listener))
}

fn secret(args: &SecretArgs) -> Result<Option<Secret>> {
    let secret = args.secret.as_deref().map(Secret::new).transpose();
    secret.context("--secret").hint("`openssl rand -hex 32` makes one")
}

/// Raises the limit of open files as far as the system allows: each connection is one, and the default of
/// 1,024 is meant for programs that use `select`.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // A process may always raise the soft limit to the hard one.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// One thread: a service works a few microseconds on a task, and waking another thread costs more than
/// that. More services use more processors; large bodies have threads of their own.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the async runtime cannot start")
}

/// A token that the first SIGINT or SIGTERM cancels. The second ends the process at once.
pub(crate) fn until_signal() -> Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
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
    // A closed pipe does not stop the service.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
