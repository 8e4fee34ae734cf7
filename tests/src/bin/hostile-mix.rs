//! Runs the hostile examples in the sandbox in random order at full rate. Each must have the outcome that its
//! docstring states, the dispatcher must survive, and its memory must not grow.
//!
//!     cargo run --release -p belljar-tests --bin hostile-mix -- --minutes 20 [--seed N] [--strace]
//!
//! With `--strace` every file name that a hardened sandbox process passes to the kernel is checked too: each
//! must be opened beneath a directory that is open already.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use belljar_testkit::process;
use belljar_tests::Service;
use belljar_tests::examples::{Expected, compare, examples};
use serde_json::json;

/// How many calls are in flight; two of them run.
const IN_FLIGHT: usize = 16;
/// By what factor the memory of the service may grow.
const KEPT_MOST: f64 = 1.05;
/// Growth that is no leak in a small process: pages of an allocator.
const KEPT_BYTES: u64 = 8 << 20;

struct Options {
    time: Duration,
    seed: u64,
    strace: bool,
}

/// A hostile example, registered.
struct Hostile {
    name: String,
    function: String,
    args: String,
    expected: Expected,
}

#[derive(Default)]
struct Tally {
    calls: BTreeMap<String, u64>,
    wrong: Vec<String>,
}

fn main() -> Result<()> {
    let options = options()?;
    let service = Service::start(&["-m", "local", "-w", "2", "--runtime", "sandbox"])?;
    let hostile = register(&service)?;
    let dispatcher = service.process("dispatcher")?;
    // Once each, so that all caches are filled.
    let mut tally = Tally::default();
    run(&service, &mut hostile.iter(), &mut tally)?;
    let before = resident(&service);
    let trace = options.strace.then(|| trace(dispatcher.pid)).transpose()?;
    // A call may still be in a sandbox that was killed for the trace.
    run(&service, &mut hostile.iter().take(IN_FLIGHT), &mut Tally::default())?;

    let (mut random, start) = (options.seed, Instant::now());
    let mut endless = std::iter::from_fn(|| {
        (start.elapsed() < options.time).then(|| &hostile[next(&mut random) % hostile.len()])
    });
    run(&service, &mut endless, &mut tally)?;

    let traced = trace.map(|trace| trace.finish()).transpose()?;
    report(&options, &tally, before, resident(&service), traced);
    ensure!(service.process("dispatcher")?.pid == dispatcher.pid, "the dispatcher died");
    ensure!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
    let after = resident(&service);
    let kept = after as f64 / before as f64;
    ensure!(
        kept < KEPT_MOST || after - before < KEPT_BYTES,
        "{before} bytes before, {after} after"
    );
    Ok(())
}

fn options() -> Result<Options> {
    let mut options = Options { time: Duration::from_secs(60), seed: 1, strace: false };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next().with_context(|| format!("`{name}` needs a number"));
        match name.as_str() {
            "--minutes" => options.time = Duration::from_secs_f64(60.0 * value()?.parse::<f64>()?),
            "--seed" => options.seed = value()?.parse()?,
            "--strace" => options.strace = true,
            _ => bail!("`{name}` is no option; use --minutes N, --seed N, --strace"),
        }
    }
    Ok(options)
}

/// SplitMix64: the same seed gives the same order.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as usize
}

fn register(service: &Service) -> Result<Vec<Hostile>> {
    let mut hostile = Vec::new();
    for example in examples()?.into_iter().filter(|example| example.hostile) {
        let code = service.python.dumps(&example.source, &example.name)?;
        // Those that cannot be registered are the gateway's business.
        if let Ok(function) = service.client.register(&code, example.limits) {
            let args = service.python.dumps("", &example.args)?;
            let (name, expected) = (example.name, example.sandbox);
            hostile.push(Hostile { name, function, args, expected });
        }
    }
    ensure!(!hostile.is_empty(), "no example can be registered");
    Ok(hostile)
}

/// Submits `calls`, several at a time, and looks at what each comes to.
fn run(
    service: &Service,
    calls: &mut dyn Iterator<Item = &Hostile>,
    tally: &mut Tally,
) -> Result<()> {
    let mut pending: HashMap<String, &Hostile> = HashMap::new();
    loop {
        for hostile in calls.take(IN_FLIGHT - pending.len()) {
            let task = service.client.submit(&hostile.function, &hostile.args, json!({}))?;
            pending.insert(task, hostile);
        }
        if pending.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = pending.keys().collect();
        let ask = json!({"task_ids": ids, "wait": 30});
        let (status, reply) = service.client.post("/v1/results", &ask)?;
        ensure!(status == 200, "{status}: {reply}");
        for ended in reply["results"].as_array().context("a list")? {
            let id = ended["task_id"].as_str().context("an id")?;
            let hostile = pending.remove(id).context("asked for")?;
            *tally.calls.entry(hostile.name.clone()).or_default() += 1;
            let loaded = service.python.loads(ended["result"].as_str().context("a result")?)?;
            let said = format!("{} {}", loaded.repr, loaded.notes.join("\n"));
            let got = match ended["status"].as_str() {
                Some("COMPLETED") => Expected::Value(loaded.repr),
                _ => Expected::Raises(loaded.class, String::new()),
            };
            if let Err(why) = compare(&hostile.expected, (got, said)) {
                tally.wrong.push(format!("{}: {why:#}", hostile.name));
            }
        }
    }
}

/// Memory of the gateway and the dispatcher: the sandbox processes come and go.
fn resident(service: &Service) -> u64 {
    let parts = ["gateway", "dispatcher"].map(|part| {
        let pid = service.process(part).map_or(0, |process| process.pid);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    });
    1024 * parts.iter().sum::<u64>()
}

/// `strace` beside the dispatcher and all that it starts from now on.
struct Trace {
    strace: Child,
    file: tempfile::NamedTempFile,
}

fn trace(pid: i32) -> Result<Trace> {
    let file = tempfile::NamedTempFile::new()?;
    let mut strace = Command::new("strace");
    // The sandbox processes that run now are killed, so that each is seen from its start.
    strace.args(["-f", "-qq", "-s", "256", "-e", "trace=%file,seccomp,execve", "-o"]);
    strace.arg(file.path()).args(["-p", &pid.to_string()]).stderr(Stdio::null());
    let strace = strace.spawn().context("strace: apt-get install strace")?;
    std::thread::sleep(Duration::from_millis(500));
    let old = process::descendants(pid);
    old.iter().for_each(|child| process::kill(child.pid, rustix::process::Signal::KILL));
    let gone = process::eventually(Duration::from_secs(30), || {
        let children = process::descendants(pid);
        children.iter().all(|child| old.iter().all(|old| old.pid != child.pid))
    });
    ensure!(gone, "the sandbox processes do not die");
    Ok(Trace { strace, file })
}

impl Trace {
    /// What the sandbox processes did once they were hardened.
    fn finish(mut self) -> Result<String> {
        let pid = rustix::process::Pid::from_child(&self.strace);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        self.strace.wait()?;
        check(self.file.path())
    }
}

/// Checks that every file that a hardened process names is opened beneath an open directory or refused. The
/// standard library and the allocator ask for files about the system, which are refused.
fn check(log: &Path) -> Result<String> {
    let log = std::fs::read_to_string(log)?;
    // The thread that applies the filter is the one that runs the guest.
    let (mut filtered, mut unfinished) = (HashSet::new(), HashMap::new());
    let (mut processes, mut beneath, mut by_descriptor, mut refused) = (0, 0, 0, 0);
    let mut beyond = Vec::new();
    for line in log.lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let mut call = call.trim_start().to_owned();
        if let Some(begin) = call.strip_suffix("<unfinished ...>") {
            unfinished.insert(pid, begin.to_owned());
            continue;
        }
        if call.starts_with("<... ") {
            let end = call.split_once(" resumed>").map_or("", |(_, end)| end);
            call = unfinished.remove(pid).unwrap_or_default() + end;
        }
        if call.starts_with("execve(") {
            filtered.remove(pid);
        } else if call.starts_with("seccomp(") {
            processes += 1;
            filtered.insert(pid);
        } else if filtered.contains(pid) && !call.starts_with(['+', '-']) {
            if call.contains(" = -1 ") {
                refused += 1;
            } else if call.starts_with("openat2(") && call.contains("RESOLVE_BENEATH") {
                beneath += 1;
            } else if call.contains(", \"\", ") {
                by_descriptor += 1;
            } else {
                beyond.push(call);
            }
        }
    }
    ensure!(beyond.is_empty(), "outside the granted directories:\n{}", beyond.join("\n"));
    ensure!(beneath > 0, "strace saw no sandbox open a file: {} lines", log.lines().count());
    Ok(format!(
        "{processes} hardened processes; {beneath} files opened beneath granted directories, \
         {by_descriptor} read by descriptor, {refused} refused, 0 otherwise"
    ))
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn report(options: &Options, tally: &Tally, before: u64, after: u64, traced: Option<String>) {
    let calls: u64 = tally.calls.values().sum();
    println!("seed {}: {calls} hostile calls of {} kinds", options.seed, tally.calls.len());
    println!("not as their docstrings say: {}", tally.wrong.len());
    println!("resident bytes of gateway and dispatcher: {before} before, {after} after");
    if let Some(traced) = traced {
        println!("{traced}");
    }
}
