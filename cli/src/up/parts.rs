//! The processes of `belljar up`.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use belljar_core::task::{Runtime, TaskClass};
use belljar_store::Store;
use clap::ValueEnum;
use futures_util::future::{join_all, pending, select_all};

use super::readiness::{self, Wanted};
use super::redis::Redis;
use super::service::{Service, Supervised};
use crate::args::{Runtimes, UpArgs};
use crate::audit;
use crate::executors;
use crate::serve::{LISTENING, METRICS_AT, WORKERS_AT};

/// How long Redis, gateway and workers may take to stop, after the dispatcher has drained.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that `up` starts.
pub(super) struct Parts {
    /// `None` where the user names a Redis.
    redis: Option<Redis>,
    gateway: Service,
    dispatcher: Service,
    /// None in local mode.
    workers: Vec<Service>,
    address: String,
    /// Where dispatcher and workers show their metrics.
    metrics_urls: Vec<String>,
    /// Where workers tell what they serve.
    store: Store,
}

impl Parts {
    /// Starts the processes, each when the one before it has told its address.
    pub(super) async fn start(
        args: &UpArgs,
        default: Runtime,
        installed: &[TaskClass],
        timeout: Duration,
    ) -> Result<Self> {
        let redis = match &args.redis {
            Some(_) => None,
            None => Some(Redis::start(&args.data.dir()?, args.redis_memory_mb).await?),
        };
        if redis.is_some() {
            audit::point(&args.data.dir()?, args.listen.audit_log.as_deref())?;
        }
        let url = redis.as_ref().map(Redis::url).or(args.redis.clone()).unwrap_or_default();
        let redis_url = ("redis", OsStr::new(&url));
        let runtimes = ("runtimes", OsStr::new(runtimes(installed)));

        let default = ("runtime", OsStr::new(default.as_str()));
        let command = args.argv.forward("gateway", &[redis_url, default], &[]);
        let mut gateway = Service::start("gateway", command, &args.log)?;
        let address = gateway.announced(LISTENING, timeout).await?;
        let (_, listen) = address.split_once("://").unwrap_or(("", &address));
        gateway.replace_option("--listen", listen);

        let port = ("port", OsStr::new("0"));
        let metrics = metrics_address(args, 0)?;
        let set = [Some(redis_url), Some(runtimes), Some(port), metrics_option(&metrics)];
        let set: Vec<_> = set.into_iter().flatten().collect();
        let command = args.argv.forward("dispatcher", &set, &[]);
        let mut dispatcher = Service::start("dispatcher", command, &args.log)?;
        let mut metrics_urls = Vec::new();
        metrics_urls.extend(shown_metrics(&mut dispatcher, &metrics, timeout).await?);
        let mut workers = Vec::new();
        if let (Some(_), Some(mode)) = (args.mode.remote(), args.mode.to_possible_value()) {
            let endpoint = dispatcher.announced(WORKERS_AT, timeout).await?;
            let Some((_, port)) = endpoint.rsplit_once(':') else {
                bail!("`{endpoint}` has no port")
            };
            dispatcher.replace_option("--port", port);
            let (slots, dispatcher) =
                (executors::slots(args.slots).to_string(), format!("tcp://127.0.0.1:{port}"));
            for number in 1..=args.workers {
                let positional = [mode.get_name(), &slots, &dispatcher];
                let metrics = metrics_address(args, number)?;
                let set = [Some(runtimes), metrics_option(&metrics)];
                let set: Vec<_> = set.into_iter().flatten().collect();
                let command = args.argv.forward("worker", &set, &positional);
                let mut worker = Service::start("worker", command, &args.log)?;
                metrics_urls.extend(shown_metrics(&mut worker, &metrics, timeout).await?);
                workers.push(worker);
            }
        }
        let store = Store::connect(args.retention.store_config(&url)).await?;
        Ok(Self { redis, gateway, dispatcher, workers, address, metrics_urls, store })
    }

    /// The URL of the gateway.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Where dispatcher and workers show their metrics, in this order.
    pub(super) fn metrics_urls(&self) -> &[String] {
        &self.metrics_urls
    }

    /// The store that all of them use.
    pub(super) fn store(&self) -> Store {
        self.store.clone()
    }

    /// Waits until calls run; fails if gateway or dispatcher end before.
    pub(super) async fn ready(
        &mut self,
        default: TaskClass,
        installed: &[TaskClass],
        timeout: Duration,
    ) -> Result<()> {
        let run_calls = if self.workers.is_empty() {
            std::slice::from_ref(&self.dispatcher)
        } else {
            &self.workers
        };
        let pids = run_calls.iter().filter_map(Service::pid).collect();
        let wanted = Wanted { pids, default, installed: installed.to_vec() };
        tokio::select! {
            ready = readiness::wait(&self.store, &wanted, timeout) => ready,
            ended = self.dispatcher.ended() => bail!("the dispatcher {ended}"),
            ended = self.gateway.ended() => bail!("the gateway {ended}"),
            (ended, _) = any_ended(&mut self.workers) => bail!("a worker {ended}"),
        }
    }

    /// Starts again whatever dies.
    pub(super) async fn supervise(&mut self) -> Infallible {
        loop {
            let died: &mut dyn Supervised = tokio::select! {
                redis = redis_ended(&mut self.redis) => redis,
                ended = self.gateway.ended() => { self.gateway.warn(&ended); &mut self.gateway }
                ended = self.dispatcher.ended() => { self.dispatcher.warn(&ended); &mut self.dispatcher }
                (ended, index) = any_ended(&mut self.workers) => {
                    self.workers[index].warn(&ended);
                    &mut self.workers[index]
                }
            };
            died.start_again().await;
        }
    }

    /// Drains the dispatcher, then stops everything else.
    pub(super) async fn stop(&mut self, drain_timeout: Duration) {
        // Together: the workers report to a dispatcher that is still there, and look for no other.
        let drain = drain_timeout + STOP_TIMEOUT;
        let workers = join_all(self.workers.iter_mut().map(|worker| worker.stop(drain)));
        tokio::join!(self.dispatcher.stop(drain), workers);
        self.gateway.stop(STOP_TIMEOUT).await;
        if let Some(redis) = &mut self.redis {
            redis.stop(STOP_TIMEOUT).await;
        }
    }
}

/// Where the dispatcher (0) or a worker (1 and so on) shows its metrics.
fn metrics_address(args: &UpArgs, number: usize) -> Result<Option<String>> {
    let Some(first) = &args.metrics.metrics_listen else { return Ok(None) };
    let address = first.behind(number);
    let address = address.with_context(|| format!("--metrics-listen {first}: no port is left"))?;
    Ok(Some(address.to_string()))
}

fn metrics_option(address: &Option<String>) -> Option<(&'static str, &OsStr)> {
    address.as_ref().map(|address| ("metrics_listen", OsStr::new(address)))
}

/// The address at which a service has said that it shows its metrics, which it keeps when it is started again.
async fn shown_metrics(
    service: &mut Service,
    asked: &Option<String>,
    timeout: Duration,
) -> Result<Option<String>> {
    if asked.is_none() {
        return Ok(None);
    }
    let url = service.announced(METRICS_AT, timeout).await?;
    service.replace_option("--metrics-listen", url.trim_start_matches("http://"));
    Ok(Some(url))
}

async fn any_ended(workers: &mut [Service]) -> (String, usize) {
    if workers.is_empty() {
        return pending().await;
    }
    let endings = workers.iter_mut().map(|worker| Box::pin(worker.ended()));
    let (ended, index, _) = select_all(endings).await;
    (ended, index)
}

async fn redis_ended(redis: &mut Option<Redis>) -> &mut Redis {
    match redis {
        Some(redis) => {
            redis.ended().await;
            redis
        }
        None => pending().await,
    }
}

/// The runtimes for which something is installed, as an option says it.
fn runtimes(installed: &[TaskClass]) -> &'static str {
    let mut runtimes = installed.iter().map(|class| class.runtime);
    let first = runtimes.next().unwrap_or(Runtime::Native);
    if runtimes.all(|runtime| runtime == first) { first.as_str() } else { Runtimes::ALL }
}
