//! The hostile examples of `guest-examples/`.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use belljar_tests::Service;
use belljar_tests::examples::{Expected, compare, examples};
use serde_json::json;

use crate::Row;

/// How many calls are in flight; two of them run.
pub(crate) const IN_FLIGHT: usize = 16;

/// A hostile example, registered.
pub(crate) struct Hostile {
    name: String,
    function: String,
    args: String,
    expected: Expected,
}

/// Registers all that can be.
pub(crate) fn register(service: &Service) -> Result<Vec<Hostile>> {
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
pub(crate) fn run(
    service: &Service,
    calls: &mut dyn Iterator<Item = &Hostile>,
    row: &mut Row,
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
            row.tries += 1;
            let loaded = service.python.loads(ended["result"].as_str().context("a result")?)?;
            let said = format!("{} {}", loaded.repr, loaded.notes.join("\n"));
            let got = match ended["status"].as_str() {
                Some("COMPLETED") => Expected::Value(loaded.repr),
                _ => Expected::Raises(loaded.class, String::new()),
            };
            if let Err(why) = compare(&hostile.expected, (got, said)) {
                row.got_through.push(format!("{}: {why:#}", hostile.name));
            }
        }
    }
}
