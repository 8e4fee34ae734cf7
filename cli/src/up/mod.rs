//! `belljar up`: everything on this machine from one command.
//!
//! Starts a private Redis unless one is named, the gateway, the dispatcher and its workers, each a process
//! that is started again if it dies, and reports when they are ready. The first Ctrl-C drains, the second
//! cuts. Everything that this process starts ends with it, even if it is killed: each child has asked the
//! kernel for that.
//!
//! # Layout
//!
//! * here: the order of start, supervision and stop.
//! * `parts`: the processes.
//! * `redis`, `sync`: the private Redis, and its data on disk.
//! * `workers`: those that run the calls; `scaling`: how many there are.
//! * `service`: one supervised process.
//! * `readiness`: when the service takes calls.
//! * `welcome`: the text for the user.

mod parts;
mod readiness;
mod redis;
mod scaling;
mod service;
mod sync;
mod welcome;
mod workers;

use std::time::Duration;

use anyhow::{Context, Error, Result};
use belljar_core::task::{Runtime, TaskClass};
use belljar_store::{Store, StoreConfig, StoreError};
use tokio_util::sync::CancellationToken;

use crate::args::{Durability, Runtimes, UpArgs};
use crate::{install, listen, serve};
use parts::Parts;

/// How long each process may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause between two looks at whether Redis takes writes, while the service starts.
const WRITES_PAUSE: Duration = Duration::from_millis(250);
/// How long Redis may take to answer at the start.
const REDIS_TIMEOUT: Duration = Duration::from_millis(1_500);

pub(crate) fn run(args: &UpArgs) -> Result<()> {
    // The kernel tells the children when the thread that started them ends: it must be the main thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the async runtime cannot start")?.block_on(async {
        let shutdown = serve::until_signal()?;
        let until_shutdown = async |address: String, metrics: Vec<String>| {
            let requires_keys = listen::requires_keys(&args.listen).await?;
            welcome::print(&address, &metrics, args, requires_keys);
            shutdown.cancelled().await;
            Ok(())
        };
        host(args, &shutdown, until_shutdown).await?;
        Ok(())
    })
}

/// Starts everything, does `work` with the address, and those of metrics, while it runs, and stops everything. `None` if `shutdown`
/// comes before the service is ready.
pub(crate) async fn host<T>(
    args: &UpArgs,
    shutdown: &CancellationToken,
    work: impl AsyncFnOnce(String, Vec<String>) -> Result<T>,
) -> Result<Option<T>> {
    let Checked { default, installed } = check(args).await?;
    let starting = async {
        if let Some(url) = &args.redis {
            connect(args, url).await?.check_writes().await?;
        }
        Parts::start(args, default.runtime, &installed, START_TIMEOUT).await
    };
    let mut parts = tokio::select! {
        parts = starting => parts?,
        () = shutdown.cancelled() => return Ok(None),
    };
    let refusing = store_refuses(parts.store());
    let ready = tokio::select! {
        ready = parts.ready(default, &installed, START_TIMEOUT) => Some(ready?),
        refused = refusing => return Err(refused),
        () = shutdown.cancelled() => None,
    };
    let mut done = None;
    if ready.is_some() {
        let working = work(parts.address().to_owned(), parts.metrics_urls().to_vec());
        tokio::select! {
            ended = working => done = Some(ended),
            never = parts.supervise() => match never {},
        }
    }
    parts.stop(Duration::from_secs(args.executors.drain_timeout)).await;
    done.transpose()
}

/// Waits until Redis refuses writes, as on a full disk: then the service never becomes ready.
async fn store_refuses(store: Store) -> Error {
    loop {
        tokio::time::sleep(WRITES_PAUSE).await;
        if let Err(error @ StoreError::Unsuitable { .. }) = store.check_writes().await {
            return error.into();
        }
    }
}

/// What this machine can run.
struct Checked {
    /// The class of functions that name neither runtime nor Python.
    default: TaskClass,
    installed: Vec<TaskClass>,
}

/// Checks everything that can be checked before a process starts.
async fn check(args: &UpArgs) -> Result<Checked> {
    let found = install::executors(Runtimes::All, &install::installation(&args.executors)?);
    let (mut installed, mut missing) = (Vec::new(), Vec::new());
    for (class, found) in found {
        match found {
            Ok(_) => installed.push(class),
            Err(reason) => missing.push((class, reason)),
        }
    }
    let python = args.defaults.python_version;
    let class = |runtime| TaskClass::new(runtime, python);
    let (native, sandbox) = (class(Runtime::Native), class(Runtime::Sandbox));
    let default = match args.runtime {
        Some(runtime) => class(runtime),
        // The safer of the two can stand in for the other.
        None if !installed.contains(&native) && installed.contains(&sandbox) => sandbox,
        None => native,
    };
    if let Some(at) = missing.iter().position(|(class, _)| *class == default) {
        return Err(install::with_hint(missing.swap_remove(at).1));
    }
    args.labels.labels()?;
    listen::check(&args.listen).await?;
    Ok(Checked { default, installed })
}

/// Connects to Redis for what `up` itself wants to know: soon, or not at all.
async fn connect(args: &UpArgs, url: &str) -> Result<Store> {
    let config = args.retention.store_config(url, Durability::Process);
    Ok(Store::connect(StoreConfig { timeout: REDIS_TIMEOUT, blobs: None, ..config }).await?)
}
