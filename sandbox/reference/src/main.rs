//! `wasi-differential [--minutes N] [--seed N] [--most N]`: random sequences of WASI calls, answered by the
//! sandbox's functions and by `wasmtime-wasi`. Fails where they differ and no row of the table says why.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use belljar_wasi_reference::check;
use belljar_wasi_reference::differences::ALL;
use belljar_wasi_reference::side::Both;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut minutes, mut seed, mut most) = (1.0, now.as_millis() as u64, 1);
    for pair in arguments.chunks(2) {
        let parsed = match pair {
            [name, value] if name == "--minutes" => {
                value.parse().map(|given| minutes = given).is_ok()
            }
            [name, value] if name == "--seed" => value.parse().map(|given| seed = given).is_ok(),
            [name, value] if name == "--most" => value.parse().map(|given| most = given).is_ok(),
            _ => false,
        };
        if !parsed {
            eprintln!("usage: wasi-differential [--minutes N] [--seed N] [--most MISMATCHES]");
            return ExitCode::from(2);
        }
    }
    let both = Both::new();
    let end = Instant::now() + Duration::from_secs_f64(60.0 * minutes);
    let report = check::run(&both, seed, most, |_| Instant::now() >= end);
    println!("| intended difference | times |\n|---|---|");
    for row in ALL {
        println!("| {} | {} |", row.what, report.met.get(row.what).unwrap_or(&0));
    }
    for mismatch in &report.mismatches {
        println!("\n{mismatch}");
    }
    println!("{} tries, {} differ", report.steps, report.mismatches.len());
    if report.mismatches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
