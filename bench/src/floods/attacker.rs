//! The tenant that floods: what it needs, and the thread in which it does it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::nice;
use serde_json::json;
use tokio::sync::oneshot;

use super::key;
use crate::api::{Client, MAX_BATCH};
use crate::args::Flood;
use crate::context::Context;
use crate::http::{Connection, Origin};
use crate::python::Call;
use crate::service::Service;

/// Another address of loopback, as an attacker has another one.
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// The size of the result that deaf readers ask for.
const LARGE_BYTES: usize = 20 << 20;
/// How long a flood rises before the others are measured.
const RISE: Duration = Duration::from_secs(2);
/// The least of the processors, if others want them: an attacker's own work is done on its own machine.
const NICE: i32 = 19;
/// Tasks that the attacker waits for do not end before that.
const DELAY_S: u32 = 3_600;

/// What an attack needs. A cheap clone.
#[derive(Clone)]
pub(super) struct Attacker {
    pub(super) address: SocketAddr,
    pub(super) origin: Origin,
    /// A no-op, and a call of it.
    pub(super) function: String,
    pub(super) call: Call,
    /// Tasks that wait for an hour.
    pub(super) tasks: Arc<[String]>,
    /// A task with a large result.
    pub(super) large: String,
    pub(super) count: Arc<Counts>,
}

/// What the service answers to the attacker.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) done: AtomicUsize,
    pub(super) refused: AtomicUsize,
    pub(super) open: AtomicUsize,
}

impl Counts {
    /// Counts an answer.
    pub(super) fn answer<T>(&self, answer: &Result<T>) {
        let count = if answer.is_ok() { &self.done } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self) -> String {
        let of = |count: &AtomicUsize| count.swap(0, Ordering::Relaxed);
        let (done, refused, open) = (of(&self.done), of(&self.refused), of(&self.open));
        format!("{done} answers, {refused} refused or cut, {open} connections")
    }
}

/// A flood that is under way.
pub(super) struct Attack {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<()>>,
    count: Arc<Counts>,
}

impl Attacker {
    pub(super) async fn prepare(cx: &mut Context, service: &Service) -> Result<Self> {
        let origin = Origin { key: Some(key(cx, service, "mallory")?), from: Some(FROM) };
        let connection = Connection::open_as(service.address, &origin).await?;
        let mut client = Client::new(connection);
        let function = client.register("noop", &cx.python.function("noop")?, "native").await?;
        let call = cx.python.numbered("noop", 0, 1)?.pop().context("no call")?;
        let payloads = vec![&call.args; MAX_BATCH];
        let body = json!({"function_id": function, "delay_s": DELAY_S, "payloads": payloads});
        let tasks = client.submit_body(body.to_string()).await?.into();
        let echo = client.register("echo", &cx.python.function("echo")?, "native").await?;
        let data = cx.python.echoes(LARGE_BYTES, 1)?.pop().context("no call")?;
        let (large, checked) = client.call(&echo, &data.args, &data.expected).await?;
        if let Err(wrong) = checked {
            bail!("the large result is wrong: {}", &wrong[..wrong.len().min(200)]);
        }
        let (address, count) = (service.address, Arc::default());
        Ok(Self { address, origin, function, call, tasks, large, count })
    }

    /// Starts a flood, and returns once it had time to rise.
    pub(super) async fn start(&self, flood: Flood) -> Result<Attack> {
        let (attacker, count) = (self.clone(), Arc::clone(&self.count));
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("attacker".to_owned()).spawn(move || {
            // Of this thread alone; it may be refused.
            let _ = nice(NICE);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => Ok(()),
                    ended = flood.run(&attacker) => ended,
                }
            })
        })?;
        tokio::time::sleep(RISE).await;
        Ok(Attack { stop, thread, count })
    }
}

impl Attack {
    /// Ends it: what it got.
    pub(super) fn stop(self) -> Result<String> {
        // It may have ended by an error, which is told below.
        let _ = self.stop.send(());
        match self.thread.join() {
            Ok(ended) => ended.map(|()| self.count.take()),
            Err(_) => bail!("the attacker panicked"),
        }
    }
}
