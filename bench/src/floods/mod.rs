//! `belljar-bench floods`: what polite tenants notice while another one floods the service.
//!
//! # Layout
//!
//! * here: the service, the floods one after another, and the table.
//! * `polite`: tenants that call no-ops, and their times.
//! * `attacker`: the tenant that floods, in a thread of its own.
//! * `attacks`: the floods.

mod attacker;
mod attacks;
mod polite;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::args::Flood;
use crate::context::Context;
use crate::service::{Service, ServiceMode, Setup};
use attacker::Attacker;
use polite::{Polite, Times};

/// Tenants that call no-ops.
const POLITE: [&str; 3] = ["ann", "bob", "cleo"];
/// How often a polite tenant's slowest calls may take what they take in quiet.
const GOAL: f64 = 3.0;
/// Prints what three polite tenants notice of each flood.
pub(crate) async fn run(cx: &mut Context, only: &[Flood]) -> Result<()> {
    say(&format!(
        "Three tenants call no-ops while a fourth floods the service; goal: p99 within {GOAL}x of quiet\n"
    ));
    say("| flood | quiet p50 | quiet p99 | p50 | p99 | x | calls | failed | the attacker got |");
    say("|---|---|---|---|---|---|---|---|---|");
    let floods = if only.is_empty() { Flood::ALL } else { only };
    let mut beyond = Vec::new();
    for &flood in floods {
        if !is_within(cx, flood).await? {
            beyond.push(flood.as_str());
        }
    }
    ensure!(beyond.is_empty(), "beyond the goal: {}", beyond.join(", "));
    Ok(())
}

/// Floods a service of its own: what one flood leaves in the queue is no part of the next one's quiet.
async fn is_within(cx: &mut Context, flood: Flood) -> Result<bool> {
    let setup = Setup::slots(ServiceMode::Local, cx.slots);
    let service = cx.launcher.start_with(&setup, &["--keys", "required"]).await?;
    let polite = Polite::new(cx, &service).await?;
    let attacker = Attacker::prepare(cx, &service).await?;
    let window = Duration::from_secs(cx.profile.pick(10, 4));
    // The first calls start interpreters.
    polite.call(window / 4).await?;
    let quiet = polite.call(window).await?;
    let attack = attacker.start(flood).await?;
    let flooded = polite.call(window).await?;
    let got = attack.stop()?;
    let factor = flooded.quantile_ms(0.99) / quiet.quantile_ms(0.99);
    say(&row(flood, &quiet, &flooded, factor, &got));
    Ok(factor <= GOAL && flooded.failed == 0)
}

fn row(flood: Flood, quiet: &Times, flooded: &Times, factor: f64, got: &str) -> String {
    format!(
        "| {} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms | {factor:.1} | {} | {} | {got} |",
        flood.about(),
        quiet.quantile_ms(0.5),
        quiet.quantile_ms(0.99),
        flooded.quantile_ms(0.5),
        flooded.quantile_ms(0.99),
        flooded.latencies_ms.len(),
        flooded.failed,
    )
}

/// Makes a key of a tenant.
fn key(cx: &Context, service: &Service, tenant: &str) -> Result<String> {
    let data = service.data().context("floods are for a service that is started here")?;
    let mut command = Command::new(&cx.launcher.belljar);
    command.args(["key", "create", tenant, "--tenant", tenant, "--data"]).arg(data);
    let output = command.output()?;
    ensure!(output.status.success(), "no key: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn say(line: &str) {
    println!("{line}");
}
