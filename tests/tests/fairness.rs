//! Two tenants share a service: what one of them floods, the other hardly notices.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use belljar_testkit::binary;
use belljar_tests::{Client, Service};
use serde_json::json;

/// How long a call of the attacker takes.
const LONG: Duration = Duration::from_millis(1500);
/// How many calls the attacker submits: minutes of work.
const FLOOD: usize = 2000;
/// How many calls the other tenant makes, one after the other.
const CALLS: usize = 20;

/// A client with a key of a tenant.
fn client_of(service: &Service, tenant: &str) -> Result<Client> {
    let mut create = Command::new(binary("belljar"));
    create.args(["key", "create", tenant, "--tenant", tenant, "--data"]).arg(&service.data);
    let output = create.output()?;
    let key = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(service.client.with_key(key.trim()))
}

/// The times of no-ops of one tenant, sorted, before and while another one floods the service with long calls at high
/// priority.
fn times(options: &[&str]) -> Result<[Vec<Duration>; 2]> {
    let service = Service::start(&[&["-w", "4", "--keys", "required"], options].concat())?;
    let (attacker, polite) = (client_of(&service, "attacker")?, client_of(&service, "polite")?);
    let no_op = polite.register(&service.python.dumps("", "abs")?, json!({}))?;
    let args = service.python.dumps("", "((-7,), {})")?;
    let measure = || -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        for _ in 0..CALLS {
            let begin = Instant::now();
            let task = polite.submit(&no_op, &args, json!({"priority": "low"}))?;
            let (status, result) = polite.wait(&task, 60)?;
            times.push(begin.elapsed());
            ensure!(status == "COMPLETED", "{status}: {result}");
        }
        times.sort_unstable();
        Ok(times)
    };
    let quiet = measure()?;

    let source = format!("import time\ndef long(_):\n    time.sleep({})", LONG.as_secs_f64());
    let long = attacker.register(&service.python.dumps(&source, "long")?, json!({}))?;
    let body = json!({"function_id": long, "payloads": vec![&args; FLOOD], "priority": "high"});
    let (status, reply) = attacker.post("/v1/tasks", &body)?;
    let first = reply["task_ids"][0].as_str().with_context(|| format!("{status}: {reply}"))?;
    let (status, result) = attacker.wait(first, 60)?;
    ensure!(status == "COMPLETED", "{status}: {result}");
    Ok([quiet, measure()?])
}

#[test]
fn a_flood_of_long_calls_delays_another_tenant_by_less_than_one_of_them() -> Result<()> {
    let [quiet, flooded] = times(&[])?;
    let worst = flooded[CALLS - 1];
    ensure!(worst < LONG + Duration::from_millis(500), "{worst:?}; quiet {:?}", quiet[CALLS - 1]);
    Ok(())
}

#[test]
fn a_reserved_slot_keeps_another_tenant_from_waiting_for_long_calls() -> Result<()> {
    let [quiet, flooded] = times(&["--reserved-slots", "1"])?;
    let (worst, quiet) = (flooded[CALLS - 1], quiet[CALLS - 1]);
    println!("p99 of no-ops beside a flood of {LONG:?} sleeps: {worst:?}; quiet {quiet:?}");
    ensure!(worst < LONG / 3, "{worst:?}; quiet {quiet:?}");
    Ok(())
}
