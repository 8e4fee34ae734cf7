//! What a task costs the server: CPU time of a private `redis-server` (append-only file on, fsync every
//! second) for submit, claim and finish of no-ops, in batches of several sizes, beside the time that
//! the client spends; the same where several tenants compete; and what a task takes of its memory. `cargo run --release -p belljar-store --example cost [TASKS [BATCH...]]`.
#![expect(clippy::print_stdout, reason = "it is a report")]

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use belljar_core::id::{DispatcherId, FunctionId, TaskId, WorkerId};
use belljar_core::outcome::{CallVerdict, Outcome, Report};
use belljar_core::task::{CodeHash, Priority, TaskAttempt, TaskLimits, TaskSpec};
use belljar_core::tenant::Tenant;
use belljar_core::warm::WarmMode;
use belljar_store::record::{ClaimedTask, Completion, Demand, NewTask};
use belljar_store::{Store, StoreConfig};
use bytes::Bytes;

/// How many tenants compete.
const TENANTS: [usize; 4] = [1, 2, 10, 1000];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse());
    let total = numbers.next().unwrap_or(Ok(50_000))?;
    let batches: Vec<usize> = numbers.collect::<std::result::Result<_, _>>()?;
    let batches = if batches.is_empty() { vec![1, 10, 100, 500] } else { batches };
    let dir = tempfile::tempdir()?;
    let mut server = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--unixsocket", "redis.sock", "--appendonly", "yes"])
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .spawn()?;
    let url = format!("redis+unix://{}/redis.sock", dir.path().display());
    let report = report(&url, total, &batches).await;
    server.kill()?;
    server.wait()?;
    report
}

async fn report(url: &str, total: usize, batches: &[usize]) -> Result<()> {
    let store = Store::connect(StoreConfig::new(url.to_owned())).await?;
    let plain = plain_set(url, total.min(20_000)).await?;
    println!("us of server CPU a task (us of wall clock in brackets), {total} tasks");
    println!("a plain SET, for comparison: {}", plain.per(total.min(20_000)));
    println!(
        "{:>6} {:>16} | queue as deep as there are tasks: {:>14} {:>14} {:>14}",
        "batch", "steady, all", "submit", "claim", "finish"
    );
    for &batch in batches {
        let rounds = (total / batch).clamp(1, 10_000);
        let steady = steady(&store, url, batch, rounds).await?;
        let [submit, claim, finish] =
            phases(&store, url, batch, rounds, &[Tenant::default()]).await?;
        let [steady, submit, claim, finish] =
            [steady, submit, claim, finish].map(|cost| cost.per(rounds * batch));
        println!("{batch:>6} {steady:>16} | {submit:>49} {claim:>14} {finish:>14}");
    }
    println!("{:>6} {:>16} |", "batch", "tenants");
    for (&batch, tenants) in
        batches.iter().flat_map(|batch| TENANTS.map(|tenants| (batch, tenants)))
    {
        let names: Vec<Tenant> =
            (0..tenants).map(|n| format!("t{n}").parse()).collect::<std::result::Result<_, _>>()?;
        let rounds = (total / batch).clamp(1, 10_000);
        let costs = phases(&store, url, batch, rounds, &names).await?;
        let [submit, claim, finish] = costs.map(|cost| cost.per(rounds * batch));
        println!("{batch:>6} {tenants:>16} | {submit:>49} {claim:>14} {finish:>14}");
    }
    memory(&store, url, total).await?;
    let audit = store.audit().await?;
    if audit.is_consistent() { Ok(()) } else { Err(format!("{audit:?}").into()) }
}

/// The queue stays short: each batch ends before the next comes.
async fn steady(store: &Store, url: &str, batch: usize, rounds: usize) -> Result<Cost> {
    let (me, demands) = (DispatcherId::random(), demand(batch)?);
    let mut clock = Clock::start(url).await?;
    for _ in 0..rounds {
        store.submit((0..batch).map(|_| new_task()).collect::<Result<_>>()?).await?;
        let claimed = store.claim(me, &demands).await?;
        store.complete(me, 0, &finished_all(&claimed)).await?;
    }
    clock.lap().await
}

/// One phase after the other, so that each is measured by itself. Each batch is submitted by the next tenant.
async fn phases(
    store: &Store,
    url: &str,
    batch: usize,
    rounds: usize,
    tenants: &[Tenant],
) -> Result<[Cost; 3]> {
    let (me, demands) = (DispatcherId::random(), demand(batch)?);
    let mut clock = Clock::start(url).await?;
    for tenant in tenants.iter().cycle().take(rounds) {
        store.of(tenant).submit((0..batch).map(|_| new_task()).collect::<Result<_>>()?).await?;
    }
    let submit = clock.lap().await?;
    let mut claimed = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        claimed.push(store.claim(me, &demands).await?);
    }
    let claim = clock.lap().await?;
    for tasks in &claimed {
        store.complete(me, 0, &finished_all(tasks)).await?;
    }
    Ok([submit, claim, clock.lap().await?])
}

/// Bytes of memory that the server takes for each task in a state.
async fn memory(store: &Store, url: &str, total: usize) -> Result<()> {
    const BATCH: usize = 500;
    let (me, demands, rounds) = (DispatcherId::random(), demand(BATCH)?, total / BATCH);
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let mut used = async || -> Result<u64> {
        let info: redis::InfoDict =
            redis::cmd("INFO").arg("memory").query_async(&mut connection).await?;
        Ok(info.get("used_memory").ok_or("the server tells no memory")?)
    };
    let before = used().await?;
    for _ in 0..rounds {
        store.submit((0..BATCH).map(|_| new_task()).collect::<Result<_>>()?).await?;
    }
    let waiting = used().await?;
    let mut claimed = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        claimed.push(store.claim(me, &demands).await?);
    }
    let running = used().await?;
    for tasks in &claimed {
        store.complete(me, 0, &finished_all(tasks)).await?;
    }
    let ended = used().await?;
    let per = |used: u64| used.saturating_sub(before) / (rounds * BATCH) as u64;
    let [waiting, running, ended] = [waiting, running, ended].map(per);
    println!(
        "bytes of memory a task: {waiting} while it waits, {running} while it runs, {ended} once it has ended"
    );
    Ok(())
}

async fn plain_set(url: &str, rounds: usize) -> Result<Cost> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let mut clock = Clock::start(url).await?;
    for _ in 0..rounds {
        redis::cmd("SET").arg("plain").arg("value").exec_async(&mut connection).await?;
    }
    clock.lap().await
}

fn demand(count: usize) -> Result<[Demand; 1]> {
    Ok([Demand { classes: vec!["native:3.11".parse()?], count, reserved: 0 }])
}

fn finished_all(tasks: &[ClaimedTask]) -> Vec<Completion> {
    tasks.iter().map(|task| finished(task.task())).collect()
}

#[derive(Clone, Copy, Default)]
struct Cost {
    /// Seconds of the server's CPU.
    cpu: f64,
    wall: Duration,
}

impl Cost {
    fn per(&self, tasks: usize) -> String {
        let wall = self.wall.as_secs_f64() * 1e6 / tasks as f64;
        format!("{:.1} ({wall:.1})", self.cpu * 1e6 / tasks as f64)
    }
}

/// Reads the server's own account of its CPU time.
struct Clock {
    connection: redis::aio::MultiplexedConnection,
    cpu: f64,
    begin: Instant,
}

impl Clock {
    async fn start(url: &str) -> Result<Self> {
        let connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        let mut clock = Self { connection, cpu: 0.0, begin: Instant::now() };
        clock.lap().await?;
        Ok(clock)
    }

    async fn lap(&mut self) -> Result<Cost> {
        let wall = self.begin.elapsed();
        let info: redis::InfoDict =
            redis::cmd("INFO").arg("cpu").query_async(&mut self.connection).await?;
        let part = |name| info.get::<f64>(name).ok_or("the server counts no CPU time");
        let cpu = part("used_cpu_user")? + part("used_cpu_sys")?;
        let cost = Cost { cpu: cpu - self.cpu, wall };
        (self.cpu, self.begin) = (cpu, Instant::now());
        Ok(cost)
    }
}

fn new_task() -> Result<NewTask> {
    Ok(NewTask {
        id: TaskId::random(),
        spec: TaskSpec {
            function_id: FunctionId::random(),
            code: CodeHash::of(b"code"),
            class: "native:3.11".parse()?,
            limits: TaskLimits::DEFAULT,
            priority: Priority::Normal,
            grants: None,
            packages: None,
            warm: WarmMode::Auto,
        },
        args: Bytes::from_static(&[0x80; 20]),
        delay_ms: 0,
        session: None,
        idempotency: None,
        trace: None,
    })
}

fn finished(task: TaskAttempt) -> Completion {
    let verdict = CallVerdict::Completed(Bytes::from_static(b"\x80\x04N."));
    let outcome = Outcome::bare(verdict, Duration::from_micros(60));
    Completion { worker: WorkerId::random(), report: Report { task, outcome } }
}
