//! What a call of a session leaves is for the next call of that session, and for nobody else; and a state that was tampered with is
//! refused as a whole.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Result, ensure};
use belljar_tests::{Client, Service, Session, belljar};
use serde_json::json;

/// What is planted, backwards: who looks for it has it nowhere.
const BACKWARDS: &str = "terces-detnalp-eht";

/// Leaves a text in names, objects, modules, files, the environment, freed memory and what was printed.
const PLANT: &str = r"
import os, sys, builtins, types
secret = BACKWARDS[::-1]
kept = [secret + str(n) for n in range(20_000)]
for n in range(20_000): (secret * 3).encode()
builtins.planted = sys.planted = secret
sys.modules['planted'] = types.ModuleType(secret)
os.environ['PLANTED'] = secret
os.makedirs('/tmp/planted'); open('/tmp/planted/file', 'w').write(secret * 1000)
left_open = open('/tmp/planted/file')
print(secret); print(secret, file=sys.stderr)
def mimic(*args): return secret
os.getcwd = len.__class__ and mimic
len(kept)";

/// Where it is found, as a list of places. Memory that was not written comes first: nothing is looked for yet.
const SCAN: &str = r"
import gc, os, sys, builtins
places, raw = [], []
try:
    import numpy
    raw = [numpy.empty(size, 'u1') for size in (1 << 12, 1 << 16, 1 << 20, 1 << 23)]
except ImportError: pass
needle = BACKWARDS[::-1]
seen = lambda text: needle in (text.decode('latin-1') if isinstance(text, (bytes, bytearray)) else text)
if any(seen(block.tobytes()) for block in raw): places.append('raw memory')
del raw
for name, module in list(sys.modules.items()):
    if module is not sys.modules['__main__'] and seen(repr([name, vars(module).get('planted'), module])): places.append('module ' + name)
if any(seen(value) for value in os.environ.values()): places.append('environment')
for folder, _, files in os.walk('/tmp'):
    for file in files:
        if seen(open(os.path.join(folder, file), 'rb').read()): places.append('file')
for number in range(4, 200):
    try: os.fstat(number); places.append('descriptor %d' % number)
    except OSError: pass
names = {id(needle), id(BACKWARDS)}
for one in gc.get_objects():
    for part in gc.get_referents(one):
        if isinstance(part, (str, bytes, bytearray)) and id(part) not in names and seen(part): places.append('object'); break
    if places[-1:] == ['object']: break
if getattr(os.getcwd, '__name__', '') == 'mimic': places.append('function')
places";

fn step(source: &str) -> String {
    format!("BACKWARDS = {BACKWARDS:?}{source}")
}

/// A service with one sandbox, and clients of two tenants.
fn service() -> Result<(Service, [Client; 2])> {
    let service =
        Service::start(&["-m", "local", "-w", "1", "--runtime", "sandbox", "--keys", "required"])?;
    let data = service.data.display().to_string();
    let client = |tenant: &str| -> Result<Client> {
        let words = ["key", "create", "k", "--tenant", tenant, "--data", &data];
        let (done, said) = belljar(&words)?;
        ensure!(done, "{said}");
        Ok(service.client.with_key(said.trim()))
    };
    let clients = [client("acme")?, client("other")?];
    Ok((service, clients))
}

#[test]
fn nothing_of_a_session_is_in_calls_of_another_tenant_or_another_session() -> Result<()> {
    let (service, [acme, other]) = service()?;
    let session = |client: &Client| Session::of(&service, client.clone(), json!({}));
    let planted = session(&acme)?;
    let before = session(&acme)?;
    before.value("x = 1")?;
    let (status, fork) = acme.post(&format!("{}/fork", planted.path()), &json!({}))?;
    ensure!(status == 200, "{fork}");
    let fork = planted.with_id(fork["session_id"].as_str().unwrap_or_default().to_owned());
    let theirs = session(&other)?;
    for round in 0..3 {
        planted.value(
            &step(PLANT)
                .replace("/planted/", &format!("/planted{round}/"))
                .replace("makedirs('/tmp/planted'", &format!("makedirs('/tmp/planted{round}'")),
        )?;
        // Old and new ones, in the one process that has just had the secret.
        for innocent in [&theirs, &session(&other)?, &before, &fork, &session(&acme)?] {
            let found = innocent.value(&step(SCAN))?;
            ensure!(found == "[]", "round {round}: {found}");
        }
        // And calls of no session.
        let args = service.python.dumps("", &format!("(({},), {{}})", json!(step(SCAN))))?;
        let task = other.submit(&theirs.run, &args, json!({}))?;
        ensure!(theirs.ended(&task)? == "[]", "round {round}: in a call of no session");
    }
    // What looks for it finds it where it is.
    let found = planted.value(&step(SCAN))?;
    for place in ["module planted", "environment", "file", "object", "function"] {
        ensure!(found.contains(place), "{place}: {found}");
    }
    Ok(())
}

#[test]
fn a_fork_and_its_origin_know_nothing_of_each_other_from_then_on() -> Result<()> {
    let (service, [acme, other]) = service()?;
    let origin = Session::of(&service, acme.clone(), json!({}))?;
    origin.value("shared = [0]; open('/tmp/f', 'w').write('0')")?;
    let fork = |path: String, client: &Client| client.post(&format!("{path}/fork"), &json!({}));
    ensure!(fork(origin.path(), &other)?.0 == 404, "of another tenant");
    let made = fork(origin.path(), &acme)?.1;
    let fork = origin.with_id(made["session_id"].as_str().unwrap_or_default().to_owned());
    for (one, another) in [(&origin, &fork), (&fork, &origin)] {
        one.value(
            &step(PLANT)
                .replace("makedirs('/tmp/planted')", "makedirs('/tmp/planted', exist_ok=True)"),
        )?;
        if one.id == origin.id {
            let found = another.value(&step(SCAN))?;
            ensure!(found == "[]", "{found}");
        }
        one.value(&format!("shared.append({:?})", one.id))?;
    }
    ensure!(origin.value("shared")? == format!("[0, '{}']", origin.id));
    ensure!(fork.value("shared")? == format!("[0, '{}']", fork.id));
    // The one goes on when the other is gone.
    ensure!(acme.delete(&origin.path())?.0 == 200);
    ensure!(fork.value("len(shared), open('/tmp/f').read()")? == "(2, '0')");
    Ok(())
}

/// Sends a command to the store, as somebody who has got hold of it.
fn tell(service: &Service, command: &str) -> Result<String> {
    let mut redis = UnixStream::connect(service.data.join("redis.sock"))?;
    write!(redis, "{command}\r\n")?;
    let mut answer = String::new();
    BufReader::new(redis).read_line(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_state_that_was_tampered_with_is_refused_and_not_half_applied() -> Result<()> {
    let (service, [acme, other]) = service()?;
    let session = Session::of(&service, acme, json!({}))?;
    let theirs = Session::of(&service, other, json!({}))?;
    session.value("x = list(range(50_000)); open('/tmp/kept', 'w').write('kept')")?;
    theirs.value("y = 'theirs'")?;
    let key = |session: &Session<'_>| format!("{{belljar}}:session_state:{}", session.id);
    let state = key(&session);
    tell(&service, &format!("COPY {state} saved"))?;
    let bytes = session.record()?["stored_bytes"].as_u64().unwrap_or_default();
    let middle = bytes / 2;
    for tampering in [
        format!("SETRANGE {state} {middle} tampered"),
        format!("SETRANGE {state} 0 tampered"),
        format!("SETRANGE {state} {} tampered", bytes - 8),
        format!("APPEND {state} more"),
        format!("SETRANGE {state} {} x", 3 * bytes),
        format!("COPY {} {state} REPLACE", key(&theirs)),
        format!("SET {state} short"),
        format!("DEL {state}"),
    ] {
        tell(&service, &tampering)?;
        let task = session.submit("x.append(1); y = 'half'")?;
        let (status, result) = session.client.wait(&task, 60)?;
        let said = service.python.loads(&result)?.repr;
        ensure!(status == "FAILED" && said.contains("session"), "{tampering}: {status} {said}");
        // It was never begun, and nothing is in the process that refused it.
        ensure!(
            theirs.value("sorted(name for name in globals() if name in 'xyz'), y")?
                == "(['y'], 'theirs')"
        );
        tell(&service, &format!("COPY saved {state} REPLACE"))?;
        ensure!(
            session.value("len(x), 'y' in globals(), open('/tmp/kept').read()")?
                == "(50000, False, 'kept')",
            "{tampering}"
        );
        tell(&service, &format!("COPY {state} saved REPLACE"))?;
    }
    Ok(())
}
