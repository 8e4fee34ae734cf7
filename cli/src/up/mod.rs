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
//! * `service`: one supervised process.
//! * `readiness`: when the service takes calls.
//! * `welcome`: the text for the user.

mod parts;
mod readiness;
mod redis;
mod service;
mod sync;
mod welcome;

use std::time::Duration;

use anyhow::{Context, Error, Result};
use belljar_core::task::TaskClass;
use belljar_store::{Store, StoreConfig, StoreError};
use tokio_util::sync::CancellationToken;

use crate::args::{Runtimes, UpArgs};
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
        let until_shutdown = async |address: String| {
            welcome::print(&address, args, listen::requires_keys(&args.listen).await?);
            shutdown.cancelled().await;
            Ok(())
        };
        host(args, &shutdown, until_shutdown).await?;
        Ok(())
    })
}

/// Starts everything, does `work` with the address while it runs, and stops everything. `None` if `shutdown`
/// comes before the service is ready.
pub(crate) async fn host<T>(
    args: &UpArgs,
    shutdown: &CancellationToken,
    work: impl AsyncFnOnce(String) -> Result<T>,
) -> Result<Option<T>> {
    let installed = check(args).await?;
    let starting = async {
        if let Some(url) = &args.redis {
            connect(args, url).await?.check_writes().await?;
        }
        Parts::start(args, &installed, START_TIMEOUT).await
    };
    let mut parts = tokio::select! {
        parts = starting => parts?,
        () = shutdown.cancelled() => return Ok(None),
    };
    let refusing = store_refuses(parts.store());
    let ready = tokio::select! {
        ready = parts.ready(default_class(args), &installed, START_TIMEOUT) => Some(ready?),
        refused = refusing => return Err(refused),
        () = shutdown.cancelled() => None,
    };
    let mut done = None;
    if ready.is_some() {
        let working = work(parts.address().to_owned());
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

/// Checks everything that can be checked before a process starts; returns the installed classes.
async fn check(args: &UpArgs) -> Result<Vec<TaskClass>> {
    let mut installed = Vec::new();
    for (class, found) in
        install::executors(Runtimes::All, &install::installation(&args.executors)?)
    {
        match found {
            Ok(_) => installed.push(class),
            Err(missing) if class == default_class(args) => {
                return Err(install::with_hint(missing));
            }
            Err(_) => {}
        }
    }
    listen::check(&args.listen).await?;
    Ok(installed)
}

/// Connects to Redis for what `up` itself wants to know: soon, or not at all.
async fn connect(args: &UpArgs, url: &str) -> Result<Store> {
    let config = StoreConfig { timeout: REDIS_TIMEOUT, ..args.retention.store_config(url) };
    Ok(Store::connect(config).await?)
}

const fn default_class(args: &UpArgs) -> TaskClass {
    TaskClass { runtime: args.runtime, python: args.defaults.python_version }
}
