//! The processes of one service. Each can be killed and restarted on its own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use belljar_testkit::Program;
use belljar_testkit::process::{self, eventually};
use belljar_testkit::program::Environment;
use belljar_tests::Client;
use rustix::process::Signal;
use serde_json::json;
use tokio::runtime::Handle;

use crate::control::Control;
use crate::proxy::{Proxy, Target};
use crate::scenario::{Connection, DispatchMode, Fault, Scenario, Stage, ValuePlace, Victim};
use crate::servers::{BucketServer, Servers};

/// How many worker processes there are in pull and push, and how many slots each has.
const WORKERS: usize = 2;
const SLOTS: usize = 2;
/// How long a process may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// After how long files of values are removed that nobody needs: long after a killed Redis is back.
const COLLECTED_AFTER: Duration = Duration::from_secs(4);
/// Where values are, below the directory of a cluster.
pub(crate) const VALUES: &str = "values";
/// The pause before a dead process is restarted, as `belljar up` makes it.
const RESTART_PAUSE: Duration = Duration::from_millis(50);

/// A service of several processes over a Redis of its own.
#[derive(Debug)]
pub struct Cluster {
    // They are dropped in this order: workers end before what they are connected to.
    workers: Vec<Program>,
    dispatchers: Vec<Program>,
    gateways: Vec<Program>,
    redis: Servers,
    bucket: Option<BucketServer>,
    control: Control,
    proxies: Vec<(Connection, Proxy)>,
    bases: Vec<String>,
}

/// What a cluster that is being started has so far.
struct Builder<'a> {
    dir: &'a Path,
    redis: Servers,
    control: Control,
    scenario: Scenario,
    runtime: &'a Handle,
    proxies: Vec<(Connection, Proxy)>,
    /// Where large values are; empty where tasks have none.
    values: String,
    /// How the bucket is reached, if that is one.
    bucket: Environment,
}

impl Builder<'_> {
    fn belljar(&self, name: &str, args: &[&str]) -> Result<Program> {
        let log = self.dir.join(format!("{name}.log"));
        let collected = COLLECTED_AFTER.as_millis().to_string();
        let mut environment = vec![
            ("BELLJAR_FAULT_SOCKET".into(), self.control.socket().into()),
            ("BELLJAR_FAULT_COLLECTED_MS".into(), collected.into()),
        ];
        environment.extend(self.bucket.iter().cloned());
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

    /// A gateway, and where clients reach it.
    fn gateway(&mut self, number: usize) -> Result<(Program, String)> {
        let url = self.redis_url(Connection::GatewayRedis)?;
        let durability = if self.redis.has_replica() { "replica:1" } else { "process" };
        let args = ["gateway", "--listen", "127.0.0.1:0", "--redis", &url];
        let values = self.values();
        let args = [&args[..], &["--durability", durability], &values].concat();
        let mut gateway = self.belljar(&format!("gateway-{number}"), &args)?;
        let at = gateway.line_after("belljar gateway listens at http://")?;
        gateway.replace_option("--listen", &at);
        let proxy = self.proxy(Connection::ClientGateway, Target::Tcp(at.parse()?))?;
        let base = format!("http://{}", proxy.map_or(at, |address| address.to_string()));
        Ok((gateway, base))
    }

    /// A dispatcher, and where workers reach it, if there are any.
    fn dispatcher(&mut self, number: usize) -> Result<(Program, Option<SocketAddr>)> {
        let url = self.redis_url(Connection::DispatcherRedis)?;
        let (mode, slots) = (self.scenario.mode.as_str(), (WORKERS * SLOTS).to_string());
        let args = ["dispatcher", "-m", mode, "-p", "0", "--redis", &url, "-w", &slots];
        let args = [&args[..], &self.executors(), &self.values()].concat();
        let mut dispatcher = self.belljar(&format!("dispatcher-{number}"), &args)?;
        if self.scenario.mode == DispatchMode::Local {
            return Ok((dispatcher, None));
        }
        let at = dispatcher.line_after("belljar dispatcher takes workers at tcp://")?;
        let at: SocketAddr = at.parse()?;
        dispatcher.replace_option("-p", &at.port().to_string());
        let proxy = self.proxy(Connection::DispatcherWorker, Target::Tcp(at))?;
        Ok((dispatcher, Some(proxy.unwrap_or(at))))
    }

    fn worker(&self, number: usize, dispatcher: SocketAddr) -> Result<Program> {
        let (slots, endpoint) = (SLOTS.to_string(), format!("tcp://{dispatcher}"));
        let args = ["worker", self.scenario.mode.as_str(), &slots, &endpoint];
        let args = [&args[..], &self.executors(), &self.values()].concat();
        self.belljar(&format!("worker-{number}"), &args)
    }

    /// Chooses where large values are, if there are some. Starts the bucket.
    fn values_place(&mut self) -> Result<Option<BucketServer>> {
        let place = self.dir.join(VALUES);
        if self.scenario.place == ValuePlace::Directory {
            if self.scenario.has_values() || self.scenario.has_large_tasks() {
                self.values = place.to_string_lossy().into_owned();
            }
            return Ok(None);
        }
        let bucket = BucketServer::start(&place)?;
        let at = self.proxy(Connection::Bucket, Target::Tcp(bucket.address()))?;
        self.bucket = bucket.environment(at.unwrap_or_else(|| bucket.address()));
        self.values = bucket.url().to_owned();
        Ok(Some(bucket))
    }

    /// Where large values are, if there are some.
    fn values(&self) -> Vec<&str> {
        if self.values.is_empty() { Vec::new() } else { vec!["--blobs", &self.values] }
    }

    fn executors(&self) -> [&'static str; 4] {
        let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
        let runtimes = if self.scenario.is_sandboxed() { "sandbox" } else { "native" };
        ["--runtime", runtimes, "--python-path", modules]
    }

    fn redis_url(&mut self, connection: Connection) -> Result<String> {
        let socket = self.redis.primary().socket();
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
        let redis = Servers::start(dir, scenario.fault == Fault::Failover)?;
        let control = Control::listen(&dir.join("faults.sock"))?;
        let (values, proxies, bucket) = (String::new(), Vec::new(), Vec::new());
        let mut builder =
            Builder { dir, redis, control, scenario, runtime, proxies, values, bucket };
        let bucket = builder.values_place()?;
        // Who is restarted leaves another one.
        let each = if scenario.fault == Fault::Rolling { 2 } else { 1 };
        let (mut gateways, mut bases) = (Vec::new(), Vec::new());
        for number in 0..each {
            let (gateway, base) = builder.gateway(number)?;
            gateways.push(gateway);
            bases.push(base);
        }
        let (mut dispatchers, mut workers) = (Vec::new(), Vec::new());
        for number in 0..each {
            let (dispatcher, endpoint) = builder.dispatcher(number)?;
            dispatchers.push(dispatcher);
            let Some(endpoint) = endpoint else { continue };
            for worker in (number..WORKERS).step_by(each) {
                workers.push(builder.worker(worker, endpoint)?);
            }
        }
        let Builder { redis, control, proxies, .. } = builder;
        Ok(Self { workers, dispatchers, gateways, redis, bucket, control, proxies, bases })
    }

    /// Where clients reach its gateways.
    #[must_use]
    pub fn bases(&self) -> &[String] {
        &self.bases
    }

    /// The proxy of the connection that the scenario breaks.
    #[must_use]
    pub fn proxy(&self, connection: Connection) -> Option<&Proxy> {
        self.proxies.iter().find(|(known, _)| *known == connection).map(|(_, proxy)| proxy)
    }

    /// The processes in which tasks reach this stage.
    fn at(&self, stage: Stage) -> Vec<u32> {
        match stage {
            Stage::BeforeEnqueue | Stage::Enqueued => pids(&self.gateways),
            Stage::Uploaded | Stage::UploadNamed | Stage::UploadKept => pids(&self.gateways),
            Stage::ValuesHeld | Stage::Sweeping | Stage::ArgsWritten => pids(&self.gateways),
            Stage::Leased | Stage::Stored => pids(&self.dispatchers),
            Stage::ResultWritten | Stage::ResultKeyed => pids(&self.dispatchers),
            Stage::Sent | Stage::Running | Stage::Computed => self.with_slots(),
            Stage::ArgsComing | Stage::ArgsCome | Stage::ResultSending => self.with_slots(),
            Stage::ResultUnnamed | Stage::ResultNamed => self.with_slots(),
        }
    }

    /// The processes that have slots.
    fn with_slots(&self) -> Vec<u32> {
        match self.workers.as_slice() {
            [] => pids(&self.dispatchers),
            workers => pids(workers),
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
            Victim::Gateway => self.gateways[0].pid(),
            Victim::Dispatcher => self.dispatchers[0].pid(),
            Victim::Redis => self.redis.primary().program().pid(),
            Victim::Bucket => self.bucket.as_ref().context("no bucket")?.program().pid(),
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
        if is_dead(self.redis.primary_mut().program_mut()) {
            self.redis.primary_mut().restart()?;
        }
        if let Some(bucket) = &mut self.bucket
            && is_dead(bucket.program_mut())
        {
            bucket.restart()?;
        }
        let with_slots = self.with_slots();
        let Self { gateways, dispatchers, workers, control, .. } = self;
        let belljars = workers.iter_mut().chain(dispatchers).chain(gateways);
        for part in belljars.filter_map(|part| is_dead(part).then_some(part)) {
            start_again(part, with_slots.contains(&part.pid()))?;
            await_control(part, control)?;
        }
        Ok(())
    }

    /// Kills the primary of Redis, waits until the replica has taken over, starts it again, and waits until sentinels have made it a
    /// replica. Calls `killing` with a description first, and `over` once there is another primary.
    ///
    /// # Errors
    /// One of this does not happen.
    pub fn fail_over(
        &mut self,
        killing: impl FnOnce(&str) -> Result<()>,
        over: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        self.redis.fail_over(killing, over)
    }

    /// Asks every part in turn to leave, and starts it again: gateways, dispatchers, workers. Calls `leaving` with a description
    /// before each, and `back` when it is there again.
    ///
    /// # Errors
    /// A part does not leave by itself, or does not start.
    pub fn roll(
        &mut self,
        mut leaving: impl FnMut(&str) -> Result<()>,
        mut back: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let with_slots = self.with_slots();
        let Self { gateways, dispatchers, workers, control, .. } = self;
        for part in gateways.iter_mut().chain(dispatchers).chain(workers) {
            let pid = part.pid();
            leaving(&format!("process {pid} leaves"))?;
            process::kill(pid.cast_signed(), Signal::TERM);
            follow(part, with_slots.contains(&pid), control)?;
            back()?;
        }
        Ok(())
    }

    /// Takes a worker out of service through the gateway, waits until it has left, and starts it again. Calls `leaving` with a
    /// description first.
    ///
    /// # Errors
    /// The gateway does not know or drain it, or it does not leave by itself.
    pub fn drain(&mut self, choice: usize, leaving: impl FnOnce(&str) -> Result<()>) -> Result<()> {
        let Self { workers, control, bases, .. } = self;
        let at = choice % workers.len().max(1);
        let worker = workers.get_mut(at).context("no worker")?;
        let (pid, client) = (worker.pid(), Client::new(&bases[0]));
        let mut id = None;
        // Its dispatcher tells of it with its next heartbeat.
        let _ = eventually(START_TIMEOUT, || {
            let Ok((_, listed)) = client.get("/v1/workers") else { return false };
            let mut workers = listed["items"].as_array().into_iter().flatten();
            let found = workers.find(|one| one["pid"] == pid && one["draining"] == false);
            id = found.and_then(|one| one["worker_id"].as_str()).map(str::to_owned);
            id.is_some()
        });
        let id = id.with_context(|| format!("no worker with the process {pid} is listed"))?;
        leaving(&format!("worker {id} with the process {pid} is drained"))?;
        let (status, reply) = client.post(&format!("/v1/workers/{id}/drain"), &json!({}))?;
        if status != 202 {
            bail!("worker {id} is not drained: {status} {reply}");
        }
        follow(worker, true, control)
    }

    fn parts(&mut self) -> impl Iterator<Item = &mut Program> {
        let redis = self.redis.primary_mut().program_mut();
        self.workers
            .iter_mut()
            .chain(&mut self.dispatchers)
            .chain(&mut self.gateways)
            .chain([redis])
            .chain(self.bucket.as_mut().map(BucketServer::program_mut))
    }
}

fn is_dead(part: &mut Program) -> bool {
    matches!(part.exit_status(), Ok(Some(_)))
}

fn pids(parts: &[Program]) -> Vec<u32> {
    parts.iter().map(Program::pid).collect()
}

/// Starts a part again, and waits for the executors of one that has slots.
fn start_again(part: &mut Program, has_slots: bool) -> Result<()> {
    let earlier = executors_up(part);
    part.restart()?;
    if has_slots && !eventually(START_TIMEOUT, || executors_up(part) > earlier) {
        bail!("no executor is up; {}", part.evidence());
    }
    Ok(())
}

/// Waits until a part that was asked to has left by itself, and starts it again.
fn follow(part: &mut Program, has_slots: bool, control: &Control) -> Result<()> {
    let mut status = None;
    let left = eventually(START_TIMEOUT, || {
        status = part.exit_status().ok().flatten();
        status.is_some()
    });
    if !left || !status.is_some_and(|status| status.success()) {
        bail!("it should leave: {status:?}; {}", part.evidence());
    }
    start_again(part, has_slots)?;
    await_control(part, control)
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
