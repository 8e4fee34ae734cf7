//! `belljar up`: everything on this machine from one command.
//!
//! Starts a private Redis unless one is named, the gateway and the dispatcher, each a process of its
//! own that is started again should it die; runs a call through all of them; says that it is ready.
//! The first Ctrl-C drains, the second cuts. Whatever this process started ends with it, also when it
//! is killed: each child has asked the kernel for that.

mod redis;
pub(crate) mod selfcheck;
mod service;
mod sync;
mod welcome;

use std::convert::Infallible;
use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio_util::sync::CancellationToken;

use crate::args::UpArgs;
use crate::install;
use crate::serve::{self, LISTENING, WORKERS_AT};
use redis::Redis;
use service::{Service, Supervised};

/// How long each part may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the gateway and Redis may take to stop, after the dispatcher has drained.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &UpArgs) -> Result<()> {
    // One thread, the main one: children are told when the thread that started them ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the async runtime cannot start")?.block_on(up(args))
}

async fn up(args: &UpArgs) -> Result<()> {
    let shutdown = serve::until_signal()?;
    let until_asked = async |address: String| {
        welcome::print(&address, args);
        shutdown.cancelled().await;
        Ok(())
    };
    host(args, &shutdown, until_asked).await?;
    Ok(())
}

/// Starts everything, does `work` with the address while it runs, and ends everything. `None` when
/// `shutdown` came before it was ready.
pub(crate) async fn host<T>(
    args: &UpArgs,
    shutdown: &CancellationToken,
    work: impl AsyncFnOnce(String) -> Result<T>,
) -> Result<Option<T>> {
    let mut redis = match &args.redis {
        Some(_) => None,
        None => Some(Redis::start(&args.data).await?),
    };
    let url = redis.as_ref().map(Redis::url).or(args.redis.clone()).unwrap_or_default();

    let mut gateway = Service::start("gateway", gateway_command(args, &url)?).await?;
    let address = gateway.first_line(START_TIMEOUT).await?;
    let Some(address) = address.strip_prefix(LISTENING).map(str::to_owned) else {
        bail!("the gateway said `{address}` instead of its address");
    };
    gateway.replace_option("--listen", address.trim_start_matches("http://"));
    let mut dispatcher = Service::start("dispatcher", dispatcher_command(args, &url)?).await?;
    let mut workers = start_workers(args, &mut dispatcher).await?;

    let installed = serve::installed(&args.executors)?;
    let ready = tokio::select! {
        checked = selfcheck::run(address.clone(), START_TIMEOUT, installed) => {
            checked.context("the service does not run calls")?;
            true
        }
        ended = dispatcher.ended() => bail!("the dispatcher {ended}"),
        ended = gateway.ended() => bail!("the gateway {ended}"),
        () = shutdown.cancelled() => false,
    };
    let mut done = None;
    if ready {
        let services = Services { gateway: &mut gateway, dispatcher: &mut dispatcher };
        let working = work(address);
        tokio::select! {
            ended = working => done = Some(ended),
            never = supervise(&mut redis, services, &mut workers) => match never {},
        }
    }
    let drain = Duration::from_secs(args.executors.drain_timeout) + STOP_TIMEOUT;
    dispatcher.stop(drain).await;
    futures_util::future::join_all(workers.iter_mut().map(|worker| worker.stop(STOP_TIMEOUT)))
        .await;
    gateway.stop(STOP_TIMEOUT).await;
    if let Some(redis) = &mut redis {
        redis.stop(STOP_TIMEOUT).await;
    }
    done.transpose()
}

/// The worker processes of pull and push, once the dispatcher has said where they are to connect.
async fn start_workers(args: &UpArgs, dispatcher: &mut Service) -> Result<Vec<Service>> {
    let mut workers = Vec::new();
    if args.mode.remote().is_none() {
        return Ok(workers);
    }
    let line = dispatcher.first_line(START_TIMEOUT).await?;
    let Some((_, port)) =
        line.strip_prefix(WORKERS_AT).and_then(|address| address.rsplit_once(':'))
    else {
        bail!("the dispatcher said `{line}` instead of its address");
    };
    dispatcher.replace_option("--port", port);
    for _ in 0..args.workers.max(1) {
        workers.push(Service::start("worker", worker_command(args, port)?).await?);
    }
    Ok(workers)
}

struct Services<'a> {
    gateway: &'a mut Service,
    dispatcher: &'a mut Service,
}

/// Starts again whatever dies.
async fn supervise(
    redis: &mut Option<Redis>,
    Services { gateway, dispatcher }: Services<'_>,
    workers: &mut [Service],
) -> Infallible {
    loop {
        let died: &mut dyn Supervised = tokio::select! {
            redis = redis_ended(redis) => redis,
            ended = gateway.ended() => { gateway.tell(&ended); gateway }
            ended = dispatcher.ended() => { dispatcher.tell(&ended); dispatcher }
            (ended, index) = any_ended(workers) => { workers[index].tell(&ended); &mut workers[index] }
        };
        died.start_again().await;
    }
}

async fn any_ended(workers: &mut [Service]) -> (String, usize) {
    if workers.is_empty() {
        return std::future::pending().await;
    }
    let endings = workers.iter_mut().map(|worker| Box::pin(worker.ended()));
    let (ended, index, _) = futures_util::future::select_all(endings).await;
    (ended, index)
}

async fn redis_ended(redis: &mut Option<Redis>) -> &mut Redis {
    match redis {
        Some(redis) => {
            redis.ended().await;
            redis
        }
        None => std::future::pending().await,
    }
}

fn gateway_command(args: &UpArgs, url: &str) -> Result<Vec<OsString>> {
    let defaults = &args.defaults;
    let mut command = Words::new("gateway", args)?;
    command.option("--listen", args.listen).option("--runtime", args.runtime);
    command.option("--redis", url).option("--result-ttl", args.keeping.result_ttl);
    command.option("--max-queued", args.keeping.max_queued);
    command.option("--timeout", defaults.timeout).option("--memory-mb", defaults.memory_mb);
    command.option("--max-retries", defaults.max_retries);
    command.option("--python-version", defaults.python_version);
    command.option("--max-body-mb", defaults.max_body_mb);
    command.option("--max-connections", defaults.max_connections);
    command.option("--keep-awake", defaults.keep_awake);
    for host in &defaults.allowed_host {
        command.option("--allowed-host", host);
    }
    Ok(command.0)
}

fn dispatcher_command(args: &UpArgs, url: &str) -> Result<Vec<OsString>> {
    let mut command = Words::new("dispatcher", args)?;
    command.option("--mode", args.mode.as_str()).option("--redis", url);
    command.option("--result-ttl", args.keeping.result_ttl).option("--port", 0);
    if let Some(slots) = args.slots {
        command.option("--slots", slots);
    }
    command.executors(args);
    Ok(command.0)
}

fn worker_command(args: &UpArgs, port: &str) -> Result<Vec<OsString>> {
    let mut command = Words::new("worker", args)?;
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let slots = args.slots.unwrap_or_else(processors);
    let dispatcher = format!("tcp://127.0.0.1:{port}");
    command.0.extend([args.mode.as_str().into(), slots.to_string().into(), dispatcher.into()]);
    command.executors(args);
    Ok(command.0)
}

/// A command line of this program.
struct Words(Vec<OsString>);

impl Words {
    fn new(subcommand: &str, args: &UpArgs) -> Result<Self> {
        let mut words = Self(vec![install::own_binary()?.into(), subcommand.into()]);
        if let Some(filter) = args.parts_log {
            words.option("--log", filter);
        }
        Ok(words)
    }

    fn option(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        self.0.extend([name.into(), value.to_string().into()]);
        self
    }

    /// The options that say how functions run.
    fn executors(&mut self, args: &UpArgs) {
        self.option("--drain-timeout", args.executors.drain_timeout);
        for dir in &args.executors.python_path {
            self.option("--python-path", dir.display());
        }
        for variable in &args.executors.grant_env {
            self.option("--grant-env", variable);
        }
        for dir in &args.executors.grant_read {
            self.option("--grant-read", dir);
        }
        self.option("--grant-scratch-mb", args.executors.grant_scratch_mb);
        if let Some(dir) = &args.executors.guest_dir {
            self.option("--guest-dir", dir.display());
        }
        if let Some(site) = &args.executors.site {
            self.option("--site", site.display());
        }
    }
}
