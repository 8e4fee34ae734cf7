//! The processes of one service. Each can be killed and restarted on its own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use belljar_testkit::process::{self, eventually};
use belljar_testkit::{Program, Redis};
use rustix::process::Signal;
use tokio::runtime::Handle;

use crate::control::Control;
use crate::proxy::{Proxy, Target};
use crate::scenario::{Connection, DispatchMode, Fault, Scenario, Stage, Victim};

/// How many worker processes there are in pull and push, and how many slots each has.
const WORKERS: usize = 2;
const SLOTS: usize = 2;
/// How long a process may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause before a dead process is restarted, as `belljar up` makes it.
const RESTART_PAUSE: Duration = Duration::from_millis(50);

/// A service of several processes over a Redis of its own.
#[derive(Debug)]
pub struct Cluster {
    // They are dropped in this order: workers end before what they are connected to.
    workers: Vec<Program>,
    dispatcher: Program,
    gateway: Program,
    redis: Redis,
    control: Control,
    proxies: Vec<(Connection, Proxy)>,
    base: String,
}

/// What a cluster that is being started has so far.
struct Builder<'a> {
    dir: &'a Path,
    redis: Redis,
    control: Control,
    scenario: Scenario,
    runtime: &'a Handle,
    proxies: Vec<(Connection, Proxy)>,
}

impl Builder<'_> {
    fn belljar(&self, name: &str, args: &[&str]) -> Result<Program> {
        let log = self.dir.join(format!("{name}.log"));
        let environment = vec![("BELLJAR_FAULT_SOCKET".into(), self.control.socket().into())];
        let part = Program::belljar(args, environment, Some(log))?;
        await_control(&part, &self.control)?;
        Ok(part)
    }

    /// The address of the proxy for this connection, if the scenario breaks it.
    fn proxy(&mut self, connection: Connection, target: Target) -> Result<Option<SocketAddr>> {
        if !matches!(self.scenario.fault, Fault::Network(broken, _) if broken == connection) {
            return Ok(None);
        }
        let proxy = Proxy::start(self.runtime, target)?;
        let address = proxy.address();
        self.proxies.push((connection, proxy));
        Ok(Some(address))
    }

    fn redis_url(&mut self, connection: Connection) -> Result<String> {
        let socket = self.redis.socket();
        let proxy = self.proxy(connection, Target::Unix(socket))?;
        Ok(proxy.map_or_else(|| self.redis.url(), |address| format!("redis://{address}")))
    }
}

impl Cluster {
    /// Starts everything in `dir`, whose path must be short enough for sockets.
    ///
    /// # Errors
    /// A process does not start, or was built without fail points.
    pub fn start(dir: &Path, scenario: Scenario, runtime: &Handle) -> Result<Self> {
        let redis = Redis::start_in(dir, Redis::DURABLE)?;
        let control = Control::listen(&dir.join("faults.sock"))?;
        let mut builder = Builder { dir, redis, control, scenario, runtime, proxies: Vec::new() };

        let url = builder.redis_url(Connection::GatewayRedis)?;
        let args = ["gateway", "--listen", "127.0.0.1:0", "--redis", &url];
        let mut gateway = builder.belljar("gateway", &args)?;
        let at = gateway.line_after("belljar gateway listens at http://")?;
        gateway.replace_option("--listen", &at);
        let proxy = builder.proxy(Connection::ClientGateway, Target::Tcp(at.parse()?))?;
        let base = format!("http://{}", proxy.map_or(at, |address| address.to_string()));

        let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
        let runtimes = if scenario.is_sandboxed() { "sandbox" } else { "native" };
        let executors = ["--runtime", runtimes, "--python-path", modules];
        let url = builder.redis_url(Connection::DispatcherRedis)?;
        let mode = scenario.mode.as_str();
        let slots = (WORKERS * SLOTS).to_string();
        let mut args = vec!["dispatcher", "-m", mode, "-p", "0", "--redis", &url, "-w", &slots];
        args.extend(executors);
        let mut dispatcher = builder.belljar("dispatcher", &args)?;
        let mut workers = Vec::new();
        if scenario.mode != DispatchMode::Local {
            let at = dispatcher.line_after("belljar dispatcher takes workers at tcp://")?;
            let at: SocketAddr = at.parse()?;
            dispatcher.replace_option("-p", &at.port().to_string());
            let proxy = builder.proxy(Connection::DispatcherWorker, Target::Tcp(at))?.unwrap_or(at);
            let (slots, endpoint) = (SLOTS.to_string(), format!("tcp://{proxy}"));
            let mut args = vec!["worker", mode, &slots, &endpoint];
            args.extend(executors);
            for number in 0..WORKERS {
                workers.push(builder.belljar(&format!("worker-{number}"), &args)?);
            }
        }
        let Builder { redis, control, proxies, .. } = builder;
        Ok(Self { workers, dispatcher, gateway, redis, control, proxies, base })
    }

    /// Where clients reach it.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The proxy of the connection that the scenario breaks.
    #[must_use]
    pub fn proxy(&self, connection: Connection) -> Option<&Proxy> {
        self.proxies.iter().find(|(known, _)| *known == connection).map(|(_, proxy)| proxy)
    }

    /// The processes in which tasks reach this stage.
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

    /// Waits until a task reaches `stage`, where its process stops, and kills the victim. `choice` selects one
    /// of several. Calls `killing` with a description first.
    ///
    /// # Errors
    /// No task reaches the stage, or there is no victim.
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
            bail!("process {target} was killed but is still there");
        }
        self.control.release(&pids);
        Ok(())
    }

    /// Restarts what was killed, as a supervisor would; a worker restarts its children itself. Returns once the
    /// service is complete, so that each fault comes alone.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self, victim: Victim) -> Result<()> {
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

/// How often a process has logged that it can run tasks.
fn executors_up(part: &Program) -> usize {
    part.log().matches("executor is up").count()
}

/// Waits until a process is connected and can be stopped at fail points.
fn await_control(part: &Program, control: &Control) -> Result<()> {
    if control.is_connected(part.pid()) {
        return Ok(());
    }
    bail!(
        "no connection from the fail points; {}\n  \
         hint: cargo build --workspace --bins --features belljar/failpoints",
        part.evidence()
    )
}

/// An interpreter of this worker or of another one. An idle worker whose interpreters were killed has none
/// until its next call.
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
