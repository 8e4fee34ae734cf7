//! The processes of `belljar up`.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::time::Duration;

use anyhow::{Result, bail};
use belljar_core::task::{Runtime, TaskClass};
use belljar_store::{Store, StoreConfig};
use futures_util::future::pending;

use super::readiness::{self, Wanted};
use super::redis::Redis;
use super::service::{Service, Supervised};
use super::workers::{Workers, WorkersEvent, metrics_address, metrics_option, shown_metrics};
use crate::args::{Durability, Runtimes, UpArgs};
use crate::audit;
use crate::serve::{LISTENING, WORKERS_AT};

/// How long Redis, gateway and workers may take to stop, after the dispatcher has drained.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that `up` starts.
pub(super) struct Parts<'a> {
    /// `None` where the user names a Redis.
    redis: Option<Redis>,
    gateway: Service,
    dispatcher: Service,
    /// None in local mode.
    workers: Workers<'a>,
    address: String,
    /// Where dispatcher and workers show their metrics.
    metrics_urls: Vec<String>,
    /// Where workers tell what they serve.
    store: Store,
}

impl<'a> Parts<'a> {
    /// Starts the processes, each when the one before it has told its address.
    pub(super) async fn start(
        args: &'a UpArgs,
        default: Runtime,
        installed: &[TaskClass],
        timeout: Duration,
    ) -> Result<Self> {
        let redis = match &args.redis {
            Some(_) => None,
            None => {
                let (data, durability) = (args.data.dir()?, args.durability.durability);
                Some(Redis::start(&data, args.redis_memory_mb, durability).await?)
            }
        };
        if redis.is_some() {
            audit::point(&args.data.dir()?, args.listen.audit_log.as_deref())?;
        }
        let url = redis.as_ref().map(Redis::url).or(args.redis.clone()).unwrap_or_default();
        let config = args.retention.store_config(&url, Durability::Process);
        let store = Store::connect(StoreConfig { blobs: None, ..config }).await?;
        if redis.is_some() {
            // That of the user has been looked at before.
            store.check_writes().await?;
        }
        let redis_url = ("redis", OsStr::new(&url));
        let blobs = match (&args.retention.blobs, &redis) {
            (Some(named), _) => Some(named.clone()),
            (None, Some(_)) => Some(args.data.dir()?.join("blobs")),
            (None, None) => None,
        };
        let shared = blobs.clone();
        let blobs = blobs.as_ref().map(|blobs| ("blobs", blobs.as_os_str()));
        let runtimes = ("runtimes", OsStr::new(runtimes(installed)));

        let default = ("runtime", OsStr::new(default.as_str()));
        let set: Vec<_> = [redis_url, default].into_iter().chain(blobs).collect();
        let command = args.argv.forward("gateway", &set, &[]);
        let mut gateway = Service::start("gateway", command, &args.log)?;
        let address = gateway.announced(LISTENING, timeout).await?;
        let (_, listen) = address.split_once("://").unwrap_or(("", &address));
        gateway.replace_option("--listen", listen);

        let port = ("port", OsStr::new("0"));
        let metrics = metrics_address(args, 0)?;
        let set = [Some(redis_url), Some(runtimes), Some(port), metrics_option(&metrics), blobs];
        let set: Vec<_> = set.into_iter().flatten().collect();
        let command = args.argv.forward("dispatcher", &set, &[]);
        let mut dispatcher = Service::start("dispatcher", command, &args.log)?;
        let mut metrics_urls = Vec::new();
        metrics_urls.extend(shown_metrics(&mut dispatcher, &metrics, timeout).await?);
        let mut port = String::new();
        if args.mode.remote().is_some() {
            let endpoint = dispatcher.announced(WORKERS_AT, timeout).await?;
            let Some((_, found)) = endpoint.rsplit_once(':') else {
                bail!("`{endpoint}` has no port")
            };
            dispatcher.replace_option("--port", found);
            found.clone_into(&mut port);
        }
        let mut workers = Workers::new(args, self::runtimes(installed), (&port, shared), timeout);
        if args.mode.remote().is_some() {
            for _ in 0..args.workers.min {
                metrics_urls.extend(workers.start().await?);
            }
        }
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
        let pids = if self.workers.is_empty() {
            self.dispatcher.pid().into_iter().collect()
        } else {
            self.workers.pids()
        };
        let wanted = Wanted { pids, default, installed: installed.to_vec() };
        tokio::select! {
            ready = readiness::wait(&self.store, &wanted, timeout) => ready,
            ended = self.dispatcher.ended() => bail!("the dispatcher {ended}"),
            ended = self.gateway.ended() => bail!("the gateway {ended}"),
            (ended, _) = self.workers.ended() => bail!("a worker {ended}"),
        }
    }

    /// Starts again whatever dies.
    pub(super) async fn supervise(&mut self) -> Infallible {
        loop {
            let died: &mut dyn Supervised = tokio::select! {
                redis = redis_ended(&mut self.redis) => redis,
                ended = self.gateway.ended() => { self.gateway.warn(&ended); &mut self.gateway }
                ended = self.dispatcher.ended() => { self.dispatcher.warn(&ended); &mut self.dispatcher }
                event = self.workers.event(&self.store) => match event {
                    WorkersEvent::Step(step) => { self.workers.take(step).await; continue }
                    WorkersEvent::Ended(ended, index) => {
                        self.workers.get(index).warn(&ended);
                        self.workers.get(index)
                    }
                },
            };
            died.start_again().await;
        }
    }

    /// Drains the dispatcher, then stops everything else.
    pub(super) async fn stop(&mut self, drain_timeout: Duration) {
        // Together: the workers report to a dispatcher that is still there, and look for no other.
        let drain = drain_timeout + STOP_TIMEOUT;
        tokio::join!(self.dispatcher.stop(drain), self.workers.stop(drain));
        self.gateway.stop(STOP_TIMEOUT).await;
        if let Some(redis) = &mut self.redis {
            redis.stop(STOP_TIMEOUT).await;
        }
    }
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
