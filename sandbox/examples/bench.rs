//! Measures the jar: `cargo run --release -p belljar-sandbox --example bench [GUEST]`.

#![expect(clippy::print_stdout, reason = "examples speak to people")]

use std::path::Path;
use std::time::{Duration, Instant};

use belljar_sandbox::image::default_dir;
use belljar_sandbox::{EngineConfig, Grants, Image, Limits, Output, Sandbox};

/// `lambda: None`-like no-op as dill sends it: see `guest/site/belljar_boot.py`, which keeps one.
const IMPORTABLE: &[u8] = b"\x80\x04cbelljar_boot\n_ordinary\n.";
const NOOP: &[u8] = b"\x80\x04cbuiltins\nlen\n.";
const EMPTY: &[u8] = b"\x80\x04]\x85}\x86.";

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let guest = words.next().map_or_else(|| default_dir("3.11"), Into::into);
    match words.next().as_deref() {
        Some("child") => {
            let seconds = words.next().and_then(|s| s.parse().ok()).unwrap_or(3.0);
            println!("{}", run(&guest, seconds)?.len());
            Ok(())
        }
        _ => report(&guest),
    }
}

fn report(guest: &Path) -> Result<(), Failure> {
    let _ = IMPORTABLE;
    let start = Instant::now();
    let image = Image::load(guest, &EngineConfig::default())?;
    let loaded = start.elapsed();
    let sandbox = Sandbox::new(&image, &Grants::none(), Output::Inherit)?;
    println!("load {loaded:.1?}, first interpreter {:.1?}", start.elapsed() - loaded);
    drop(sandbox);
    drop(image);
    let before = faults();
    let mut times = run(guest, 3.0)?;
    let after = faults();
    times.sort();
    let count = u64::try_from(times.len())?;
    println!(
        "no-op, fresh interpreter: median {:.1?}, p99 {:.1?}, {:.0}/s, {} page faults a call",
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        times.len() as f64 / times.iter().sum::<Duration>().as_secs_f64(),
        (after - before) / count,
    );
    Ok(())
}

fn run(guest: &Path, seconds: f64) -> Result<Vec<Duration>, Failure> {
    let image = Image::load(guest, &EngineConfig::default())?;
    let mut sandbox = Sandbox::new(&image, &Grants::none(), Output::Inherit)?;
    let limits = Limits::default();
    for _ in 0..20 {
        sandbox.call(NOOP, EMPTY, &limits)?.result.map_err(|raised| raised.traceback)?;
        sandbox.prepare()?;
    }
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        sandbox.call(NOOP, EMPTY, &limits)?.result.map_err(|raised| raised.traceback)?;
        sandbox.prepare()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after.split(' ').nth(7).and_then(|text| text.parse().ok()).unwrap_or(0)
}
