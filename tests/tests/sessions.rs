//! Sessions in every mode: what a call leaves is there in the next, on whatever worker, and never half of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belljar_testkit::python::Namespace;
use belljar_testkit::{eventually, process};
use belljar_tests::{Service, Session, belljar};
use rustix::process::Signal;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);
const MODES: [&[&str]; 3] =
    [&["-m", "local"], &["-m", "pull", "--workers", "2"], &["-m", "push", "--workers", "2"]];

#[test]
fn calls_go_on_where_the_one_before_has_ended_in_every_mode() -> Result<()> {
    for mode in MODES {
        let service = Service::start(mode)?;
        goes_on(&service).with_context(|| format!("{mode:?}"))?;
    }
    Ok(())
}

fn goes_on(service: &Service) -> Result<()> {
    let session = Session::new(service)?;
    let steps = ["import math; x = [1]", "open('/tmp/kept', 'w').write('text')"];
    for step in steps {
        session.value(step)?;
    }
    ensure!(session.value("x.append(math.pi > 3); x")? == "[1, True]");
    ensure!(session.value("open('/tmp/kept').read()")? == "'text'");
    // Functions of a script have its names, and what the session has stays.
    let count = "count = 0\ndef f(n):\n  global count\n  count += n\n  return count, x";
    let payload = service.python.dumps_by("cloudpickle", Namespace::Main, count, "f")?;
    let function = session.client.register(&payload, json!({"runtime": "sandbox"}))?;
    let args = service.python.dumps("", "((2,), {})")?;
    for expected in ["(2, [1, True])", "(4, [1, True])"] {
        let task = session.client.submit(&function, &args, json!({"session_id": session.id}))?;
        ensure!(session.ended(&task)? == expected);
    }
    // What is raised leaves what was done before it.
    let task = session.submit("x = 7; 1 / 0")?;
    ensure!(session.client.wait(&task, 60)?.0 == "FAILED");
    // Many at once: each runs alone, in the order of submission.
    let tasks: Vec<_> = (0..6)
        .map(|n| session.submit(&format!("x = x * 2 % 1000003 + {n}; x")))
        .collect::<Result<_>>()?;
    let mut expected = 7;
    for (n, task) in tasks.iter().enumerate() {
        expected = expected * 2 % 1_000_003 + n;
        ensure!(session.ended(task)? == expected.to_string(), "call {n}");
    }
    let record = session.record()?;
    ensure!(
        record["ended_tasks"] == 13 && record["stored_bytes"].as_u64() > Some(1000),
        "{record}"
    );
    ensure!(record["active_task"].is_null() && record["expires_at"].is_string(), "{record}");
    let (status, fork) = session.client.post(&format!("{}/fork", session.path()), &json!({}))?;
    ensure!(status == 200, "{fork}");
    let id = fork["session_id"].as_str().context("an id")?.to_owned();
    let fork = session.with_id(id);
    ensure!(fork.value("x += 1; x")? == (expected + 1).to_string());
    ensure!(session.value("x")? == expected.to_string(), "it does not see the other one");
    ensure!(session.client.delete(&session.path())?.0 == 200);
    ensure!(session.client.get(&session.path())?.0 == 404 && session.submit("x").is_err());
    Ok(())
}

#[test]
fn twenty_clients_at_once_are_served_one_after_the_other() -> Result<()> {
    let service = Service::start(&["-m", "push", "--workers", "2"])?;
    let session = Session::new(&service)?;
    session.value("seen = []; running = 0")?;
    let sources = (0..20)
        .map(|n| format!("running += 1; assert running == 1; seen.append({n}); running -= 1"));
    let args: Vec<_> = sources
        .map(|source| service.python.dumps("", &format!("(({},), {{}})", json!(source))))
        .collect::<Result<_>>()?;
    let (failed, fields) = (AtomicUsize::new(0), json!({"session_id": session.id}));
    thread::scope(|scope| {
        for args in &args {
            let (client, run) = (session.client.clone(), session.run.clone());
            let (failed, fields) = (&failed, fields.clone());
            scope.spawn(move || {
                let ended =
                    client.submit(&run, args, fields).and_then(|task| client.wait(&task, 60));
                if !ended.is_ok_and(|(status, _)| status == "COMPLETED") {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    ensure!(failed.into_inner() == 0);
    ensure!(session.value("sorted(seen) == list(range(20))")? == "True");
    Ok(())
}

#[test]
fn a_worker_that_is_killed_loses_nothing_and_adds_nothing() -> Result<()> {
    let service = Service::start(&["-m", "push", "--workers", "2"])?;
    let session = Session::new(&service)?;
    ensure!(session.value("x = 1; x")? == "1");
    let kill_workers = || {
        let workers =
            || service.processes().into_iter().filter(|it| it.command.contains(" worker "));
        workers().for_each(|worker| process::kill(worker.pid, Signal::KILL));
    };
    // Between two calls.
    kill_workers();
    ensure!(session.value("x += 1; x")? == "2");
    // During one: it is tried again, from where it began.
    let task = session.submit("x += 1\nimport time; time.sleep(1.5)\nx")?;
    ensure!(eventually(PATIENCE, || session
        .client
        .record(&task)
        .is_ok_and(|it| it["status"] == "RUNNING")));
    kill_workers();
    ensure!(session.ended(&task)? == "3");
    ensure!(session.value("x")? == "3");
    Ok(())
}

#[test]
fn a_session_outlives_the_service() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let mut service = Service::start_over(data.clone(), &[])?;
    let session = Session::new(&service)?;
    session.value("x = {'kept': 1}")?;
    let (run, id) = (session.run.clone(), session.id.clone());
    service.signal(Signal::INT);
    service.ended(PATIENCE)?;
    let service = Service::start_over(data, &[])?;
    let session = Session { run, id, client: service.client.clone(), service: &service };
    ensure!(session.value("x")? == "{'kept': 1}");
    Ok(())
}

#[test]
fn tenants_do_not_see_each_others_sessions_and_are_held_to_quotas() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (file, log) = (dir.path().join("tenants.toml"), dir.path().join("audit"));
    std::fs::write(&file, "[tenant.acme.quotas]\nsessions = 2\n")?;
    let (file, log) = (file.display().to_string(), log.display().to_string());
    let options = ["--keys", "required", "--tenants", &file, "--audit-log", &log];
    let service = Service::start(&options)?;
    let data = service.data.display().to_string();
    let key = |tenant: &str, scopes: &[&str]| -> Result<String> {
        let words = ["key", "create", "k", "--tenant", tenant, "--data", &data];
        let (done, said) = belljar(&[&words[..], scopes].concat())?;
        ensure!(done, "{said}");
        Ok(said.trim().to_owned())
    };
    let client = |key: &str| service.client.with_key(key);
    let acme = client(&key("acme", &[])?);
    let session = Session::of(&service, acme.clone(), json!({"name": "mine", "ttl_s": 3600}))?;
    ensure!(session.value("x = 1; x")? == "1");
    let other = client(&key("other", &[])?);
    let (status, reply) = other.get(&session.path())?;
    ensure!(status == 404 && reply["code"] == "unknown_session", "{reply}");
    ensure!(other.delete(&session.path())?.0 == 404);
    ensure!(other.post(&format!("{}/fork", session.path()), &json!({}))?.0 == 404);
    ensure!(other.get("/v1/sessions")?.1["items"] == json!([]));
    let foreign = Session {
        client: other,
        id: session.id.clone(),
        ..Session::of(&service, client(&key("other", &[])?), json!({}))?
    };
    let refused = foreign.submit("x").expect_err("of another tenant").to_string();
    ensure!(refused.contains("404") && refused.contains("unknown_session"), "{refused}");

    let second = Session::of(&service, acme.clone(), json!({"ttl_s": 1}))?;
    ensure!(second.value("y = 1; y")? == "1");
    let (status, reply) = acme.post("/v1/sessions", &json!({}))?;
    ensure!(status == 429 && reply["detail"].to_string().contains("has 2 sessions"), "{reply}");
    let listed = acme.get("/v1/sessions?limit=1")?.1;
    ensure!(
        listed["items"][0]["session_id"] == second.id.as_str() && listed["next"].is_string(),
        "{listed}"
    );
    // An idle one is forgotten after its time.
    ensure!(eventually(PATIENCE, || second
        .record()
        .is_ok_and(|it| it["code"] == "unknown_session")));
    ensure!(acme.post("/v1/sessions", &json!({}))?.0 == 200);

    let reader = client(&key("acme", &["--scope", "read"])?);
    ensure!(reader.get(&session.path())?.0 == 200 && reader.delete(&session.path())?.0 == 403);
    ensure!(acme.delete(&session.path())?.0 == 200);
    for (action, result, object) in [
        ("create_session", "ok", &session.id),
        ("delete_session", "ok", &session.id),
        ("delete_session", "scope_missing", &String::new()),
        ("delete_session", "unknown_session", &session.id),
    ] {
        is_recorded(&log, action, result, object)?;
    }
    Ok(())
}

/// Waits for a record of the audit log.
fn is_recorded(log: &str, action: &str, result: &str, object: &str) -> Result<()> {
    let parts =
        [format!("\"action\":\"{action}\""), format!("\"result\":\"{result}\""), object.to_owned()];
    let is_told = || {
        let written = std::fs::read_to_string(log).unwrap_or_default();
        written.lines().any(|line| parts.iter().all(|part| line.contains(part)))
    };
    ensure!(eventually(PATIENCE, is_told), "{parts:?}: {}", std::fs::read_to_string(log)?);
    Ok(())
}

#[test]
fn what_no_session_takes_is_refused_in_words() -> Result<()> {
    let service = Service::start(&["-m", "local"])?;
    let session = Session::new(&service)?;
    let args = service.python.dumps("", "(('1',), {})")?;
    for (more, word) in [
        (json!({"session_id": "0f8fad5b-d9cb-469f-a165-70867728950e"}), "no session has the id"),
        (json!({"session_id": "x"}), "session_id"),
    ] {
        let mut body =
            json!({"function_id": session.run, "payload": args, "session_id": session.id});
        body.as_object_mut().context("an object")?.extend(more.as_object().context("one")?.clone());
        let (status, reply) = service.client.post("/execute_function", &body)?;
        ensure!([404, 422].contains(&status) && reply.to_string().contains(word), "{reply}");
    }
    let native =
        service.client.register(&service.python.dumps("", "len")?, json!({"runtime": "native"}))?;
    let body = json!({"function_id": native, "payload": args, "session_id": session.id, "runtime": "native"});
    let (status, reply) = service.client.post("/execute_function", &body)?;
    ensure!(status == 422 && reply.to_string().contains("run in the sandbox"), "{reply}");
    for wrong in [
        json!({"ttl_s": 0}),
        json!({"ttl_s": 99_999_999}),
        json!({"python": "2.7"}),
        json!({"nam": "x"}),
    ] {
        let (status, reply) = service.client.post("/v1/sessions", &wrong)?;
        ensure!(status == 422, "{wrong}: {reply}");
    }
    Ok(())
}
