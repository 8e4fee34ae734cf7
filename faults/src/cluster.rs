//! The processes of one service, each started, killed and started again by itself.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use belljar_testkit::process::{self, eventually};
use belljar_testkit::{Program, Redis};
use rustix::process::Signal;
use tokio::runtime::Handle;

use crate::cell::{Cell, Fault, Link, Mode, Stage, Victim};
use crate::control::Control;
use crate::proxy::{Proxy, Target};

/// How many worker processes there are in pull and push, and how many slots each has.
const WORKERS: usize = 2;
const SLOTS: usize = 2;
/// How long a process may take to say that it is there.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause before a process that died is started again, as `belljar up` makes it.
const RESTART_PAUSE: Duration = Duration::from_millis(50);

/// A service of several processes over a Redis of its own.
#[derive(Debug)]
pub struct Cluster {
    // Workers end before what they are connected to: dropped in this order.
    workers: Vec<Program>,
    dispatcher: Program,
    gateway: Program,
    redis: Redis,
    control: Control,
    proxies: Vec<(Link, Proxy)>,
    base: String,
}

/// The parts of a cluster that is being started.
struct Builder<'a> {
    dir: &'a Path,
    redis: Redis,
    control: Control,
    cell: Cell,
    runtime: &'a Handle,
    proxies: Vec<(Link, Proxy)>,
}

impl Builder<'_> {
    fn belljar(&self, name: &str, words: &[&str]) -> Result<Program> {
        let log = self.dir.join(format!("{name}.log"));
        let environment = vec![("BELLJAR_FAULT_SOCKET".into(), self.control.socket().into())];
        let part = Program::belljar(words, environment, Some(log))?;
        await_control(&part, &self.control)?;
        Ok(part)
    }

    /// Where a process is to connect: past the proxy, if this connection is to be broken.
    fn by(&mut self, link: Link, target: Target) -> Result<Option<SocketAddr>> {
        if !matches!(self.cell.fault, Fault::Network(broken, _) if broken == link) {
            return Ok(None);
        }
        let proxy = Proxy::start(self.runtime, target)?;
        let address = proxy.address();
        self.proxies.push((link, proxy));
        Ok(Some(address))
    }

    fn redis_url(&mut self, link: Link) -> Result<String> {
        let socket = self.redis.socket();
        let by = self.by(link, Target::Unix(socket))?;
        let direct = || self.redis.url();
        Ok(by.map_or_else(direct, |address| format!("redis://{address}")))
    }
}

impl Cluster {
    /// Starts everything below `dir`, whose path must be short enough for sockets.
    ///
    /// # Errors
    /// A part does not start, or was built without fail points.
    pub fn start(dir: &Path, cell: Cell, runtime: &Handle) -> Result<Self> {
        let redis = Redis::start_in(dir, Redis::DURABLE)?;
        let control = Control::listen(&dir.join("faults.sock"))?;
        let mut builder = Builder { dir, redis, control, cell, runtime, proxies: Vec::new() };

        let url = builder.redis_url(Link::GatewayRedis)?;
        let words = ["gateway", "--listen", "127.0.0.1:0", "--redis", &url];
        let mut gateway = builder.belljar("gateway", &words)?;
        let at = gateway.line_after("belljar gateway listens at http://")?;
        gateway.replace_option("--listen", &at);
        let by = builder.by(Link::ClientGateway, Target::Tcp(at.parse()?))?;
        let base = format!("http://{}", by.map_or(at, |address| address.to_string()));

        let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
        let runtimes = if cell.is_sandboxed() { "sandbox" } else { "native" };
        let executors = ["--runtime", runtimes, "--python-path", modules];
        let url = builder.redis_url(Link::DispatcherRedis)?;
        let mode = cell.mode.as_str();
        let slots = (WORKERS * SLOTS).to_string();
        let mut words = vec!["dispatcher", "-m", mode, "-p", "0", "--redis", &url, "-w", &slots];
        words.extend(executors);
        let mut dispatcher = builder.belljar("dispatcher", &words)?;
        let mut workers = Vec::new();
        if cell.mode != Mode::Local {
            let at = dispatcher.line_after("belljar dispatcher takes workers at tcp://")?;
            let at: SocketAddr = at.parse()?;
            dispatcher.replace_option("-p", &at.port().to_string());
            let by = builder.by(Link::DispatcherWorker, Target::Tcp(at))?.unwrap_or(at);
            let (slots, endpoint) = (SLOTS.to_string(), format!("tcp://{by}"));
            let mut words = vec!["worker", mode, &slots, &endpoint];
            words.extend(executors);
            for number in 0..WORKERS {
                workers.push(builder.belljar(&format!("worker-{number}"), &words)?);
            }
        }
        let Builder { redis, control, proxies, .. } = builder;
        Ok(Self { workers, dispatcher, gateway, redis, control, proxies, base })
    }

    /// Where clients find it.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The proxy of the connection that is to be broken.
    #[must_use]
    pub fn proxy(&self, link: Link) -> Option<&Proxy> {
        self.proxies.iter().find(|(known, _)| *known == link).map(|(_, proxy)| proxy)
    }

    /// The processes in which a task comes to this stage.
    fn at(&self, stage: Stage) -> Vec<u32> {
        match stage {
            Stage::BeforeEnqueue | Stage::Enqueued => vec![self.gateway.pid()],
            Stage::Leased | Stage::Stored => vec![self.dispatcher.pid()],
            Stage::Sent | Stage::Running | Stage::Computed => self.with_slots(),
        }
    }

    /// The processes that have slots.
    fn with_slots(&self) -> Vec<u32> {
        match self.workers.as_slice() {
            [] => vec![self.dispatcher.pid()],
            workers => workers.iter().map(Program::pid).collect(),
        }
    }

    /// Waits until a task has come to `stage`, and with its process standing still there, kills the
    /// victim; `choice` chooses where there are several. Says who was killed.
    ///
    /// # Errors
    /// No task came there, or the victim is not there.
    pub fn kill_at(
        &mut self,
        stage: Stage,
        victim: Victim,
        choice: usize,
        killing: impl FnOnce(&str) -> Result<()>,
    ) -> Result<()> {
        let pids = self.at(stage);
        let reached = self.control.stop_at(stage.point(), &pids, START_TIMEOUT)?;
        let slots = self.with_slots();
        let chosen = if slots.contains(&reached) { reached } else { slots[choice % slots.len()] };
        let target = match victim {
            Victim::Gateway => self.gateway.pid(),
            Victim::Dispatcher => self.dispatcher.pid(),
            Victim::Redis => self.redis.program().pid(),
            Victim::Worker | Victim::SandboxWorker => chosen,
            Victim::Child => child_of(chosen, &slots, choice)?,
        };
        killing(&format!("{victim:?} {target} killed with {reached} at {}", stage.point()))?;
        process::kill(target.cast_signed(), Signal::KILL);
        let gone = || !process::all().iter().any(|it| it.pid == target.cast_signed());
        if let Some(part) = self.parts().find(|part| part.pid() == target) {
            part.kill();
        } else if !eventually(START_TIMEOUT, gone) {
            bail!("process {target} was killed and is still there");
        }
        self.control.release(&pids);
        Ok(())
    }

    /// Starts again what was killed, as a supervisor would; a worker sees to its children itself. Comes
    /// back once the service is whole: the next fault shall meet it alone.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self, victim: Victim) -> Result<()> {
        if victim == Victim::Child {
            return Ok(());
        }
        std::thread::sleep(RESTART_PAUSE);
        let is_dead = |part: &mut Program| matches!(part.exit_status(), Ok(Some(_)));
        if is_dead(self.redis.program_mut()) {
            self.redis.restart()?;
        }
        let with_slots = self.with_slots();
        let belljars = self.workers.iter_mut().chain([&mut self.dispatcher, &mut self.gateway]);
        for part in belljars.filter_map(|part| is_dead(part).then_some(part)) {
            let has_slots = with_slots.contains(&part.pid());
            let earlier = executors_up(part);
            part.restart()?;
            await_control(part, &self.control)?;
            if has_slots && !eventually(START_TIMEOUT, || executors_up(part) > earlier) {
                bail!("no executor is up; {}", part.evidence());
            }
        }
        Ok(())
    }

    fn parts(&mut self) -> impl Iterator<Item = &mut Program> {
        let others = [&mut self.dispatcher, &mut self.gateway, self.redis.program_mut()];
        self.workers.iter_mut().chain(others)
    }
}

/// How often a process has said that it can run tasks.
fn executors_up(part: &Program) -> usize {
    part.log().matches("executor is up").count()
}

/// Waits until a process can be stopped at fail points.
fn await_control(part: &Program, control: &Control) -> Result<()> {
    if control.knows(part.pid()) {
        return Ok(());
    }
    bail!(
        "no word from the fail points; {}\n  \
         hint: cargo build --workspace --bins --features belljar/failpoints",
        part.evidence()
    )
}

/// An interpreter below a worker, or below another: one that is idle has none left once they were killed,
/// and starts the next when it gets a call.
fn child_of(worker: u32, others: &[u32], choice: usize) -> Result<u32> {
    let mut found = Vec::new();
    let _ = eventually(START_TIMEOUT, || {
        for worker in std::iter::once(&worker).chain(others) {
            found = process::descendants(worker.cast_signed());
            found.retain(|process| process.command.contains("belljar-"));
            if !found.is_empty() {
                return true;
            }
        }
        false
    });
    let child = found.get(choice % found.len().max(1)).context("no worker has children")?;
    Ok(child.pid.cast_unsigned())
}
