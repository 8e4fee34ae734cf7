//! The hostile examples of `guest-examples/`: in fresh interpreters, in those that start warm, and in sessions.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use belljar_tests::examples::{Expected, compare, examples};
use belljar_tests::{Service, Session};
use serde_json::json;

use crate::Row;

/// How many calls are in flight; two of them run.
pub(crate) const IN_FLIGHT: usize = 16;

/// What a call is told that leaves more to its session than may be.
const SESSION_LIMIT: &str = "it stays as it was before this call";

/// A hostile example, registered.
pub(crate) struct Hostile {
    name: String,
    function: String,
    args: String,
    expected: Expected,
    /// Whether each call of it is the first of a session of its own.
    in_session: bool,
}

/// Registers all that can be.
pub(crate) fn register(service: &Service) -> Result<Vec<Hostile>> {
    let mut hostile = Vec::new();
    for example in examples()?.into_iter().filter(|example| example.hostile) {
        let code = service.python.dumps(&example.source, &example.name)?;
        let args = service.python.dumps("", &example.args)?;
        for (how, warm, in_session) in
            [("", "auto", false), (", warm", "always", false), (", in a session", "auto", true)]
        {
            let mut fields = example.limits.clone();
            fields["warm"] = json!(warm);
            // Those that cannot be registered are the gateway's business.
            if let Ok(function) = service.client.register(&code, fields) {
                let (name, args) = (format!("{}{how}", example.name), args.clone());
                let expected = example.sandbox.clone();
                hostile.push(Hostile { name, function, args, expected, in_session });
            }
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
    let mut pending: HashMap<String, (&Hostile, Option<Session<'_>>)> = HashMap::new();
    loop {
        for hostile in calls.take(IN_FLIGHT - pending.len()) {
            let session = hostile.in_session.then(|| Session::new(service)).transpose()?;
            let fields = session.as_ref().map_or(json!({}), |it| json!({"session_id": it.id}));
            let task = service.client.submit(&hostile.function, &hostile.args, fields)?;
            pending.insert(task, (hostile, session));
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
            let (hostile, session) = pending.remove(id).context("asked for")?;
            row.tries += 1;
            let loaded = service.python.loads(ended["result"].as_str().context("a result")?)?;
            let said = format!("{} {}", loaded.repr, loaded.notes.join("\n"));
            let got = match ended["status"].as_str() {
                Some("COMPLETED") => Expected::Value(loaded.repr),
                _ => Expected::Raises(loaded.class, String::new()),
            };
            // What a session may have is a limit of its own.
            let is_held = hostile.in_session && said.contains(SESSION_LIMIT);
            if let Some(why) = compare(&hostile.expected, (got, said)).err().filter(|_| !is_held) {
                row.got_through.push(format!("{}: {why:#}", hostile.name));
            }
            if let Some(session) = session {
                let (status, reply) = service.client.delete(&session.path())?;
                ensure!(status == 200, "{status}: {reply}");
            }
        }
    }
}
