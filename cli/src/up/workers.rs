//! The worker processes of `up`.

use std::ffi::OsStr;
use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use belljar_store::Store;
use clap::ValueEnum as _;
use futures_util::future::{join_all, select_all};
use tokio::task::JoinSet;

use super::scaling::{Scaling, Step};
use super::service::Service;
use crate::args::UpArgs;
use crate::executors;
use crate::serve::METRICS_AT;

/// Worker processes, which is none in local mode.
pub(super) struct Workers<'a> {
    args: &'a UpArgs,
    runtimes: &'static str,
    /// The address of the dispatcher, and its directory for large values.
    dispatcher: String,
    blobs: Option<PathBuf>,
    timeout: Duration,
    scaling: Scaling,
    running: Vec<Service>,
    /// Those that make no further calls.
    leaving: JoinSet<()>,
}

/// What happened to the workers.
pub(super) enum WorkersEvent {
    /// One has died: how, and which.
    Ended(String, usize),
    /// Another number is needed.
    Step(Step),
}

impl<'a> Workers<'a> {
    /// None yet, for the dispatcher at `port` with this directory for large values.
    pub(super) fn new(
        args: &'a UpArgs,
        runtimes: &'static str,
        (port, blobs): (&str, Option<PathBuf>),
        timeout: Duration,
    ) -> Self {
        let scaling = Scaling::new(args.workers, Duration::from_secs(args.worker_idle));
        let dispatcher = format!("tcp://127.0.0.1:{port}");
        let (running, leaving) = (Vec::new(), JoinSet::new());
        Self { args, runtimes, dispatcher, blobs, timeout, scaling, running, leaving }
    }

    /// Starts another one. Says where it shows its metrics.
    pub(super) async fn start(&mut self) -> Result<Option<String>> {
        let Some(mode) = self.args.mode.to_possible_value() else { return Ok(None) };
        let slots = executors::slots(self.args.slots).to_string();
        let metrics = metrics_address(self.args, self.running.len() + 1)?;
        let runtimes = ("runtimes", OsStr::new(self.runtimes));
        let blobs = self.blobs.as_ref().map(|blobs| ("blobs", blobs.as_os_str()));
        let set = [Some(runtimes), metrics_option(&metrics), blobs];
        let set: Vec<_> = set.into_iter().flatten().collect();
        let positional = [mode.get_name(), &slots, &self.dispatcher];
        let command = self.args.argv.forward("worker", &set, &positional);
        let mut worker = Service::start("worker", command, &self.args.log)?;
        let url = shown_metrics(&mut worker, &metrics, self.timeout).await?;
        self.running.push(worker);
        Ok(url)
    }

    /// The process ids.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.running.iter().filter_map(Service::pid).collect()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// One of them.
    pub(super) fn get(&mut self, index: usize) -> &mut Service {
        &mut self.running[index]
    }

    /// Waits for the end of one. Cancel safe.
    pub(super) async fn ended(&mut self) -> (String, usize) {
        any_ended(&mut self.running).await
    }

    /// Waits until one has ended or another number is needed. Cancel safe.
    pub(super) async fn event(&mut self, store: &Store) -> WorkersEvent {
        while self.leaving.try_join_next().is_some() {}
        let count = self.running.len();
        tokio::select! {
            (ended, index) = any_ended(&mut self.running) => WorkersEvent::Ended(ended, index),
            step = self.scaling.step(store, count) => WorkersEvent::Step(step),
        }
    }

    /// Starts one more or lets the last one leave, which does not wait for its calls.
    pub(super) async fn take(&mut self, step: Step) {
        match step {
            Step::Start => match self.start().await {
                Ok(_) => {
                    tracing::info!(workers = self.running.len(), "calls wait: started a worker")
                }
                Err(error) => tracing::warn!("another worker cannot be started: {error:#}"),
            },
            Step::Stop => {
                let Some(mut worker) = self.running.pop() else { return };
                tracing::info!(workers = self.running.len(), "a worker is not needed: it leaves");
                let drain = Duration::from_secs(self.args.executors.drain_timeout);
                self.leaving.spawn(async move { worker.stop(drain).await });
            }
        }
    }

    /// Lets all leave, and waits for them.
    pub(super) async fn stop(&mut self, timeout: Duration) {
        join_all(self.running.iter_mut().map(|worker| worker.stop(timeout))).await;
        while self.leaving.join_next().await.is_some() {}
    }
}

async fn any_ended(workers: &mut [Service]) -> (String, usize) {
    if workers.is_empty() {
        return pending().await;
    }
    let endings = workers.iter_mut().map(|worker| Box::pin(worker.ended()));
    let (ended, index, _) = select_all(endings).await;
    (ended, index)
}

/// Where the dispatcher (0) or a worker (1 and so on) shows its metrics.
pub(super) fn metrics_address(args: &UpArgs, number: usize) -> Result<Option<String>> {
    let Some(first) = &args.metrics.metrics_listen else { return Ok(None) };
    let address = first.behind(number);
    let address = address.with_context(|| format!("--metrics-listen {first}: no port is left"))?;
    Ok(Some(address.to_string()))
}

pub(super) fn metrics_option(address: &Option<String>) -> Option<(&'static str, &OsStr)> {
    address.as_ref().map(|address| ("metrics_listen", OsStr::new(address)))
}

/// The address at which a service has said that it shows its metrics, which it keeps when it is started again.
pub(super) async fn shown_metrics(
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
