//! Measures the sandbox, without a service around it: `target/release/belljar-sandbox-bench`. A program of its
//! own and no example, which would build wasmtime once more, with other features.
//!
//! A call is: an interpreter in which nothing was ever run, a small function as dill sends it,
//! its result, the interpreter's end and the preparation of the next one.
//!
//! usage: belljar-sandbox-bench [json | sessions] [X.Y [PYTHON]]
//!   json    every sample is printed for programs, among them `belljar bench`
//!   sessions  how long a call of a session takes to go on where the one before has ended
//!   X.Y     whose guest is measured: the default of pythons.toml unless given
//!   PYTHON  what it is measured beside: /usr/bin/pythonX.Y unless said otherwise

#![expect(clippy::print_stdout, reason = "figures are for people")]
#![expect(clippy::cast_precision_loss, reason = "counts of calls and bytes, to be read by people")]

mod sessions;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use belljar_core::task::PythonVersion;
use belljar_sandbox::image::default_dir;
use belljar_sandbox::{EngineConfig, GrantedAccess, Image, Limits, Output, Sandbox, source};

type Failure = Box<dyn std::error::Error>;

const SECONDS: f64 = 3.0;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1).peekable();
    let word = args.next_if(|word| !word.contains('.'));
    let minor: PythonVersion =
        args.next().map(|minor| minor.parse()).transpose()?.unwrap_or_default();
    if word.as_deref() == Some("sessions") {
        return sessions::measure(minor);
    }
    let native = args.next().unwrap_or_else(|| format!("/usr/bin/python{minor}"));
    if word.as_deref() == Some("child") {
        println!("{}", calls(minor)?.0.len());
        return Ok(());
    }
    let figures = Figures::measure(minor, &native)?;
    match word.as_deref() {
        Some("json") => println!("{}", serde_json::to_string(&figures)?),
        _ => figures.print(),
    }
    Ok(())
}

/// All that is measured.
#[derive(serde::Serialize)]
struct Figures {
    load_ms: f64,
    first_ms: f64,
    /// Of each call: all of it, and until its answer.
    whole_ms: Vec<f64>,
    answer_ms: Vec<f64>,
    /// Of one call.
    processor_ms: f64,
    page_faults: f64,
    /// What a process with a live instance holds beyond one without.
    instance_kib: u64,
    two_processes_per_s: f64,
    /// Of calls of a function that imports a package of the guest and does nothing with it.
    importing_ms: BTreeMap<String, Vec<f64>>,
    /// The best seconds of each function, natively and in the sandbox.
    suite: BTreeMap<String, [f64; 2]>,
}

impl Figures {
    fn measure(minor: PythonVersion, native: &str) -> Result<Self, Failure> {
        let (load, first) = loading(minor)?;
        let before = usage();
        let (times, instance_kib) = calls(minor)?;
        let after = usage();
        let count = times.len() as f64;
        let ms = |time: &Duration| time.as_secs_f64() * 1e3;
        Ok(Self {
            load_ms: ms(&load),
            first_ms: ms(&first),
            whole_ms: times.iter().map(|(whole, _)| ms(whole)).collect(),
            answer_ms: times.iter().map(|(_, answer)| ms(answer)).collect(),
            processor_ms: (after.1 - before.1) * 1e3 / count,
            page_faults: (after.0 - before.0) as f64 / count,
            instance_kib,
            two_processes_per_s: side_by_side(2, minor)?,
            importing_ms: importing(minor)?,
            suite: suite(minor, native)?,
        })
    }

    fn print(&self) {
        let quantile = |samples: &[f64], percent: usize| {
            let mut sorted = samples.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
        };
        println!("load {:.1} ms, first interpreter {:.1} ms", self.load_ms, self.first_ms);
        println!(
            "no-op: median {:.3} ms, p99 {:.3} ms; until its answer, median {:.3} ms",
            quantile(&self.whole_ms, 50),
            quantile(&self.whole_ms, 99),
            quantile(&self.answer_ms, 50),
        );
        println!(
            "one process: {:.0} calls/s ({:.0} per second of processor time), {:.1} page faults a \
             call, {} KiB for a live instance",
            self.whole_ms.len() as f64 * 1e3 / self.whole_ms.iter().sum::<f64>(),
            1e3 / self.processor_ms,
            self.page_faults,
            self.instance_kib,
        );
        println!("two processes: {:.0} calls/s together", self.two_processes_per_s);
        for (name, samples) in &self.importing_ms {
            let (median, p99) = (quantile(samples, 50), quantile(samples, 99));
            println!("import {name}: median {median:.3} ms, p99 {p99:.3} ms");
        }
        let mut product = 1.0;
        for (name, [native, jailed]) in &self.suite {
            let ratio = jailed / native;
            let (native, jailed) = (native * 1e3, jailed * 1e3);
            println!("{name:8} native {native:6.2} ms, sandbox {jailed:6.2} ms, {ratio:.2}x");
            product *= ratio;
        }
        println!("geometric mean {:.2}x", f64::powf(product, 1.0 / self.suite.len() as f64));
    }
}

/// Calls a second of so many processes together.
fn side_by_side(count: usize, minor: PythonVersion) -> Result<f64, Failure> {
    let start = |_| {
        let program = std::env::current_exe()?;
        Command::new(program).args(["child", &minor.to_string()]).stdout(Stdio::piped()).spawn()
    };
    let children = (0..count).map(start).collect::<Result<Vec<_>, _>>()?;
    let mut total = 0.0;
    for child in children {
        let output = child.wait_with_output()?;
        total += String::from_utf8(output.stdout)?.trim().parse::<f64>()?;
    }
    Ok(total / SECONDS)
}

/// How long the image takes to load, and then the first interpreter.
fn loading(minor: PythonVersion) -> Result<(Duration, Duration), Failure> {
    let start = Instant::now();
    let image = Image::load(default_dir(minor)?, &EngineConfig::default())?;
    let loaded = start.elapsed();
    let _sandbox = Sandbox::new(&image, &GrantedAccess::none(), Output::Inherit)?;
    Ok((loaded, start.elapsed() - loaded))
}

/// Whole times, and times until the answer, of calls for [`SECONDS`]; and the memory that is private
/// to this process because of the instance in use.
fn calls(minor: PythonVersion) -> Result<(Vec<(Duration, Duration)>, u64), Failure> {
    let image = Image::load(default_dir(minor)?, &EngineConfig::default())?;
    let without = private_kib();
    let mut sandbox = Sandbox::new(&image, &GrantedAccess::none(), Output::Inherit)?;
    let limits = Limits::default();
    let ask = source::function("from belljar_boot import ordinary as f", "f");
    let pickles = sandbox.call(&ask, &source::arguments("[]"), &limits)?;
    let pickles = pickles.result.map_err(|raised| raised.traceback)?;
    let pickles = source::json(&pickles).ok_or("no text")?.trim_matches('"').to_owned();
    let (code, args) = pickles.split_once(' ').ok_or("no pair")?;
    let (code, args) = (unhex(code)?, unhex(args)?);
    let mut times = Vec::new();
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < SECONDS {
        sandbox.prepare()?;
        let start = Instant::now();
        let answer = sandbox.call(&code, &args, &limits)?;
        let answered = start.elapsed();
        answer.result.map_err(|raised| raised.traceback)?;
        sandbox.prepare()?;
        times.push((start.elapsed(), answered));
    }
    Ok((times, private_kib().saturating_sub(without)))
}

/// Whole times in milliseconds of calls that import nothing, and of calls that import each package which has an image, by turns.
fn importing(minor: PythonVersion) -> Result<BTreeMap<String, Vec<f64>>, Failure> {
    const PICKLE: &str = "import dill\ndef f(statement):\n    names = {}\n    \
        exec('def g(): ' + statement, names)\n    return dill.dumps(names['g'], recurse=True).hex()";
    const TURN: usize = 200;
    let image = Image::load(default_dir(minor)?, &EngineConfig::default())?;
    let mut sandbox = Sandbox::new(&image, &GrantedAccess::none(), Output::Inherit)?;
    let limits = Limits::default();
    let packages = image.description().packages.iter();
    let packages = packages.flat_map(|image| std::iter::once(&image.name).chain(&image.also));
    let mut functions = Vec::new();
    for name in std::iter::once("nothing".to_owned()).chain(packages.cloned()) {
        let statement = if functions.is_empty() { "pass".into() } else { format!("import {name}") };
        let arguments = source::arguments(&format!("[{statement:?}]"));
        let pickle = sandbox.call(&source::function(PICKLE, "f"), &arguments, &limits)?.result;
        let pickle = pickle.map_err(|raised| raised.traceback)?;
        let pickle = source::json(&pickle).ok_or("no text")?.trim_matches('"').to_owned();
        functions.push((name, unhex(&pickle)?));
    }
    let arguments = unhex("8004297d862e")?;
    let mut times = BTreeMap::<String, Vec<f64>>::new();
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < SECONDS {
        for (name, code) in &functions {
            for _ in 0..TURN {
                let start = Instant::now();
                sandbox
                    .call(code, &arguments, &limits)?
                    .result
                    .map_err(|raised| raised.traceback)?;
                sandbox.prepare()?;
                let took = start.elapsed().as_secs_f64() * 1e3;
                times.entry(name.clone()).or_default().push(took);
            }
        }
    }
    Ok(times)
}

/// The best times of both, measured in turns: what else the machine does then meets both.
fn suite(minor: PythonVersion, native: &str) -> Result<BTreeMap<String, [f64; 2]>, Failure> {
    const TURNS: usize = 6;
    const NATIVELY: &str =
        "import json, runpy, sys; print(json.dumps(runpy.run_path(sys.argv[1])['f']()))";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin/bench/suite.py");
    let image = Image::load(default_dir(minor)?, &EngineConfig::default())?;
    let mut sandbox = Sandbox::new(&image, &GrantedAccess::none(), Output::Inherit)?;
    let code = source::function(&std::fs::read_to_string(path)?, "f");
    let mut best = BTreeMap::<String, [f64; 2]>::new();
    for _ in 0..TURNS {
        let output = Command::new(native).args(["-I", "-c", NATIVELY, path]).output()?;
        let answer = sandbox.call(&code, &source::arguments("[]"), &Limits::default())?;
        let answer = answer.result.map_err(|raised| raised.traceback)?;
        let texts = [std::str::from_utf8(&output.stdout)?, source::json(&answer).ok_or("no text")?];
        for (side, text) in texts.into_iter().enumerate() {
            for (name, seconds) in serde_json::from_str::<BTreeMap<String, f64>>(text)? {
                let fastest = &mut best.entry(name).or_insert([f64::MAX; 2])[side];
                *fastest = fastest.min(seconds);
            }
        }
    }
    Ok(best)
}

fn unhex(text: &str) -> Result<Vec<u8>, Failure> {
    let pairs = (0..text.len() / 2).map(|i| Ok(u8::from_str_radix(&text[2 * i..2 * i + 2], 16)?));
    pairs.collect()
}

/// Page faults and seconds of processor time of this process so far.
fn usage() -> (u64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields = after.split(' ').map(|text| text.parse().unwrap_or(0)).collect::<Vec<u64>>();
    let field = |index: usize| fields.get(index).copied().unwrap_or(0);
    (field(7), (field(11) + field(12)) as f64 / 100.0)
}

fn private_kib() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
