//! Attacks a whole service for some time, and says what got through: hostile functions, malformed requests,
//! junk at the port of the workers, and system calls made in the sandbox's processes. What the service holds of
//! memory must be at the end what it was at the start.
//!
//!     make attack ARGS="--minutes 20 [--seed N] [--strace] [--also COMMAND]"
//!
//! With `--strace` every file name that a hardened sandbox process passes to the kernel is checked too: each
//! must be opened beneath a directory that is open already. No system calls are made in a process then, since it
//! can have one tracer only. `--also` names a program that is run once and must succeed; repeatable.
//!
//! * [`calls`]: the hostile examples. [`http`]: malformed requests. [`wire`]: junk for the dispatcher.
//! * [`memory`]: what the processes hold. [`trace`]: what paths the sandbox processes use.

mod calls;
mod http;
mod memory;
mod trace;
mod wire;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use belljar_testkit::injection::attacks::{self, Wall};
use belljar_tests::Service;

/// Calls of hostile functions in one round.
const CALLS_PER_ROUND: usize = 64;

struct Options {
    time: Duration,
    seed: u64,
    strace: bool,
    also: Vec<String>,
}

/// One kind of attack, and how it went.
pub(crate) struct Row {
    name: String,
    tries: u64,
    got_through: Vec<String>,
}

impl Row {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), tries: 0, got_through: Vec::new() }
    }
}

/// SplitMix64: the same seed gives the same attacks.
pub(crate) struct Random(u64);

impl Random {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % end.max(1)
    }

    /// That many bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

fn main() -> Result<()> {
    let options = options()?;
    let granted = tempfile::tempdir()?;
    std::fs::write(granted.path().join("data"), "untouched")?;
    let dir = granted.path().to_str().context("a path of UTF-8")?;
    let start = ["-m", "push", "-w", "2", "--runtime", "sandbox", "--grant-read", dir];
    let service = Service::start(&start)?;
    let hostile = calls::register(&service)?;
    let parts = ["gateway", "dispatcher", "worker"];
    let pids = || parts.map(|part| service.process(part).map_or(0, |process| process.pid));
    let (pids_before, worker) = (pids(), service.process("worker")?);

    let mut rows = Rows::new();
    // Once each, so that all caches are filled.
    let target = Target { service: &service, granted: granted.path(), inject: true };
    rows.round(&target, &mut hostile.iter(), &mut Random(options.seed))?;
    let trace = options.strace.then(|| trace::trace(worker.pid)).transpose()?;
    // A call may still be in a sandbox that was killed for the trace.
    calls::run(&service, &mut hostile.iter().take(calls::IN_FLIGHT), &mut Row::new(""))?;
    let mut memory = memory::Memory::start(&service);
    let (mut random, start) = (Random(options.seed), Instant::now());
    while start.elapsed() < options.time {
        let chosen: Vec<_> =
            (0..CALLS_PER_ROUND).map(|_| &hostile[random.below(hostile.len())]).collect();
        let target = Target { inject: !options.strace, ..target };
        rows.round(&target, &mut chosen.into_iter(), &mut random)?;
        memory.look(&service);
    }
    let traced = trace.map(trace::Trace::finish).transpose()?;
    rows.0.extend(options.also.iter().map(|command| also(command)));
    report(&options, &rows, &memory, traced);
    ensure!(pids() == pids_before, "a process died: {pids_before:?} before, {:?} after", pids());
    ensure!(std::fs::read(granted.path().join("data"))? == b"untouched", "a granted file changed");
    ensure!(rows.0.iter().all(|row| row.got_through.is_empty()), "an attack got through");
    memory.check()
}

fn options() -> Result<Options> {
    let (strace, also) = (false, Vec::new());
    let mut options = Options { time: Duration::from_secs(60), seed: 1, strace, also };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next().with_context(|| format!("`{name}` needs a value"));
        match name.as_str() {
            "--minutes" => options.time = Duration::from_secs_f64(60.0 * value()?.parse::<f64>()?),
            "--seed" => options.seed = value()?.parse()?,
            "--strace" => options.strace = true,
            "--also" => options.also.push(value()?),
            _ => bail!("`{name}` is no option: --minutes N, --seed N, --strace, --also COMMAND"),
        }
    }
    Ok(options)
}

/// What is attacked.
struct Target<'a> {
    service: &'a Service,
    /// A directory that its functions may be granted.
    granted: &'a Path,
    /// Whether system calls are made in its processes.
    inject: bool,
}

/// The kinds of attacks.
struct Rows(Vec<Row>);

impl Rows {
    fn new() -> Self {
        let names = ["hostile functions", "requests", "junk for the dispatcher", "system calls"];
        Self(names.map(Row::new).into())
    }

    /// Every kind once.
    fn round(
        &mut self,
        target: &Target<'_>,
        calls: &mut dyn Iterator<Item = &calls::Hostile>,
        random: &mut Random,
    ) -> Result<()> {
        let [functions, requests, junk, system_calls, ..] = &mut self.0[..] else { return Ok(()) };
        let service = target.service;
        calls::run(service, calls, functions)?;
        http::run(service, random, requests)?;
        wire::run(service, random, junk)?;
        if target.inject {
            attack_processes(service, target.granted, system_calls)?;
        }
        Ok(())
    }
}

/// Makes system calls in every process of the sandbox.
fn attack_processes(service: &Service, granted: &Path, row: &mut Row) -> Result<()> {
    for process in service.processes() {
        if !process.command.contains("belljar-sandbox") {
            continue;
        }
        match attacks::run(process.pid, granted, &[Wall::Filter, Wall::Files, Wall::Tree]) {
            Ok(outcome) => {
                row.tries += outcome.tries;
                row.got_through.extend(outcome.got_through);
            }
            // It was replaced meanwhile.
            Err(_) if !Path::new(&format!("/proc/{}", process.pid)).exists() => {}
            Err(error) => return Err(error).context("a process cannot be attacked"),
        }
    }
    Ok(())
}

/// Runs a program that must succeed.
fn also(command: &str) -> Row {
    let mut row = Row::new(command);
    row.tries = 1;
    match Command::new("sh").args(["-c", command]).status() {
        Ok(status) if status.success() => {}
        Ok(status) => row.got_through.push(format!("{command}: {status}")),
        Err(error) => row.got_through.push(format!("{command}: {error}")),
    }
    row
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn report(options: &Options, rows: &Rows, memory: &memory::Memory, traced: Option<String>) {
    println!("seed {}, {:?}", options.seed, options.time);
    println!("{:<28}{:>10}{:>14}", "attacks", "tries", "got through");
    for row in &rows.0 {
        println!("{:<28}{:>10}{:>14}", row.name, row.tries, row.got_through.len());
    }
    println!("{memory}");
    if let Some(traced) = traced {
        println!("{traced}");
    }
    for got_through in rows.0.iter().flat_map(|row| &row.got_through) {
        println!("GOT THROUGH  {got_through}");
    }
}
