//! `belljar guest check`: starts the sandbox with a guest, as a worker does, and runs one call in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use belljar_core::grants::GrantPolicy;
use belljar_core::invocation::Invocation;
use belljar_core::outcome::{CallVerdict, Report};
use belljar_core::task::{PythonVersion, TaskClass};
use belljar_worker::ChildCommand;
use belljar_worker::config::PoolConfig;
use belljar_worker::executor::{Executor as _, SandboxExecutor};
use belljar_worker::pool::{ExecutorInfo, Pool, PoolEvent};
use tokio::sync::mpsc::Receiver;

use super::installed::{Guest, installed};
use crate::exit::{WithHint, causes};
use crate::install;
use crate::serve::announce;

/// `pickle.dumps(len, 4)`: a builtin by reference, which every Python has.
const LEN: &[u8] = b"\x80\x04\x8c\x08builtins\x8c\x03len\x93.";
/// `pickle.dumps((("belljar",), {}), 4)`, without memo.
const ARGS: &[u8] = b"\x80\x04\x8c\x07belljar\x85}\x86.";
/// `pickle.dumps(7, 4)`.
const SEVEN: &[u8] = b"\x80\x04K\x07.";

/// The time limit of start and call together.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// Checks the guest of `python`, or all of them.
pub(super) fn run(dir: &Path, python: Option<PythonVersion>) -> Result<()> {
    let mut guests = installed(dir)?;
    guests.retain(|guest| python.is_none_or(|python| python == guest.python));
    if guests.is_empty() {
        let which = python.map_or_else(String::new, |python| format!(" of Python {python}"));
        return Err(anyhow!("no guest{which} in `{}`", dir.display()))
            .hint("`belljar guest build` builds one");
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
                announce(&format!("failed  {}  {}", guest.python, causes(&error)));
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} guests failed", guests.len());
    }
    Ok(())
}

/// What the executor of `guest` reports, after a call with the right result.
async fn check(guest: &Guest) -> Result<ExecutorInfo> {
    let mut command = ChildCommand::new(install::program(SandboxExecutor::PROGRAM)?);
    // Of the guest, not of the machine.
    command.args.push(SandboxExecutor::ALLOW_WEAK.into());
    let (python, dir) = (guest.python, guest.dir.clone());
    let executor = Arc::new(SandboxExecutor::new(python, command, dir, GrantPolicy::default()));
    let class = executor.class();
    let (pool, mut events) = Pool::start(PoolConfig::new(1, vec![executor]));
    let called = tokio::time::timeout(CHECK_TIMEOUT, call(&pool, &mut events, class)).await;
    // The pool ends when its events are read.
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
                pool.submit(Invocation::standalone(class, LEN.into(), ARGS.into()))
                    .context("the call was refused")?;
                info = Some(up);
            }
            PoolEvent::Resized | PoolEvent::Live(_) => {}
            PoolEvent::ExecutorDown { reason, .. } => bail!("the sandbox does not start: {reason}"),
            PoolEvent::Returned(_) => bail!("the call was returned"),
            PoolEvent::Finished(Report { outcome, .. }) => {
                if outcome.verdict != CallVerdict::Completed(SEVEN.into()) {
                    bail!("a call of len('belljar') gave {:?}", outcome.verdict);
                }
                return info.context("an answer came before the executor");
            }
        }
    }
}
