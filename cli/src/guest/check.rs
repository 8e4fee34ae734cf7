//! `belljar guest check`: starts a sandbox over a guest, as a worker does, and runs one call in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use belljar_core::grants::GrantPolicy;
use belljar_core::invocation::Invocation;
use belljar_core::outcome::{Report, CallVerdict};
use belljar_core::task::{PythonVersion, TaskClass};
use belljar_worker::ChildCommand;
use belljar_worker::config::PoolConfig;
use belljar_worker::executor::{Executor as _, SandboxExecutor};
use belljar_worker::pool::{ExecutorInfo, Pool, PoolEvent};
use tokio::sync::mpsc::Receiver;

use super::{Guest, installed};
use crate::install;
use crate::serve::announce;
use crate::up::selfcheck::{ARGS, LEN, SEVEN};

/// How long start and call of one guest may take together.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// Checks the guest of `python`, or all of them.
pub(super) fn run(dir: &Path, python: Option<PythonVersion>) -> Result<()> {
    let mut guests = installed(dir)?;
    guests.retain(|guest| python.is_none_or(|python| python == guest.python));
    if guests.is_empty() {
        let which = python.map_or_else(String::new, |python| format!(" of Python {python}"));
        bail!("no guest{which} below `{}`\n  hint: `belljar guest build` makes one", dir.display());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the async runtime cannot start")?;
    let mut failed = 0;
    for guest in &guests {
        match runtime.block_on(check(guest)) {
            Ok(ExecutorInfo { class, python, dill, .. }) => {
                announce(&format!("ok      {}  Python {python}  dill {dill}", class.python));
            }
            Err(error) => {
                failed += 1;
                announce(&format!("failed  {}  {error:#}", guest.python));
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} guests failed", guests.len());
    }
    Ok(())
}

/// What the executor over `guest` says of itself, after a call that came to the right answer.
async fn check(guest: &Guest) -> Result<ExecutorInfo> {
    let command = ChildCommand::new(install::program(SandboxExecutor::PROGRAM)?);
    let (python, dir) = (guest.python, guest.dir.clone());
    let executor = Arc::new(SandboxExecutor::new(python, command, dir, GrantPolicy::default()));
    let class = executor.class();
    let (pool, mut events) = Pool::start(PoolConfig { slots: 1, executors: vec![executor] });
    let called = tokio::time::timeout(CHECK_TIMEOUT, call(&pool, &mut events, class)).await;
    // The pool ends once its events are read.
    tokio::join!(pool.kill(), async { while events.recv().await.is_some() {} });
    called.context("no answer in time")?
}

/// Waits for the executor, then calls `len("belljar")`.
async fn call(
    pool: &Pool,
    events: &mut Receiver<PoolEvent>,
    class: TaskClass,
) -> Result<ExecutorInfo> {
    let mut info = None;
    loop {
        match events.recv().await.context("the pool ended")? {
            PoolEvent::ExecutorUp(up) => {
                pool.submit(Invocation::standalone(class, LEN.into(), ARGS.into())).context("the call was refused")?;
                info = Some(up);
            }
            PoolEvent::Resized => {}
            PoolEvent::ExecutorDown { reason, .. } => bail!("the sandbox does not start: {reason}"),
            PoolEvent::Returned(_) => bail!("the call was given back"),
            PoolEvent::Finished(Report { outcome, .. }) => {
                if outcome.verdict != CallVerdict::Completed(SEVEN.into()) {
                    bail!("a call of len('belljar') came to {:?}", outcome.verdict);
                }
                return info.context("an answer came before the executor");
            }
        }
    }
}
