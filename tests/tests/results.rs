//! Results as a plain REST client reads them: what loading them runs, and how large they may be. The same in
//! every mode and runtime.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use belljar_testkit::process::{self, eventually};
use belljar_tests::Service;
use rustix::process::Signal;
use serde_json::{Value, json};

const RUNTIMES: [&str; 2] = ["native", "sandbox"];
const MODES: [&[&str]; 3] =
    [&["-m", "local"], &["-m", "pull", "--workers", "1"], &["-m", "push", "--workers", "1"]];

/// A class whose instances run code where they are loaded.
const HOSTILE: &str = "class Hostile:\n  def __reduce__(self): return eval, ('6 * 7',)\n";

/// Source, arguments, status, and what the result names beside data.
const KINDS: [(&str, &str, &[&str]); 7] = [
    ("def f(): return {'a': [1, 2.5, None, b'x', {1}, 3j, ...]}", "COMPLETED", &[]),
    (
        "import datetime, decimal\ndef f(): return datetime.date(2020, 1, 1), decimal.Decimal('1.5')",
        "COMPLETED",
        &[],
    ),
    ("def f(): return bytes(300_000)", "COMPLETED", &[]),
    ("def f(): return 1 / 0", "FAILED", &[]),
    ("def f(): return Hostile()", "COMPLETED", &["builtins.eval"]),
    ("def f(): return [bytes(300_000), Hostile()]", "COMPLETED", &["builtins.eval"]),
    ("def f(): raise ValueError(Hostile())", "FAILED", &["builtins.eval"]),
];

/// A service in a mode, with results of at most a MiB.
fn service(mode: &[&str]) -> Result<Service> {
    Service::start(&[mode, &["--max-result-mb", "1"]].concat())
}

/// Calls `f` of a script and returns the answer of the result route, and the record.
fn call(service: &Service, runtime: &str, source: &str) -> Result<(Value, Value)> {
    let payload = service.python.dumps(&format!("{HOSTILE}{source}"), "f")?;
    let function = service.client.register(&payload, json!({"runtime": runtime}))?;
    let args = service.python.dumps("", "((), {})")?;
    let task = service.client.submit(&function, &args, json!({}))?;
    let (code, reply) = service.client.get(&format!("/result/{task}?wait=60"))?;
    ensure!(code == 200, "{code} {reply}");
    Ok((reply, service.client.record(&task)?))
}

/// The fields that say what loading a result runs.
fn kind(of: &Value) -> Value {
    let names = ["result_kind", "result_globals", "result_unreadable"];
    names.iter().filter_map(|name| Some(((*name).to_owned(), of.get(*name)?.clone()))).collect()
}

#[test]
fn replies_and_records_say_what_loading_a_result_runs() -> Result<()> {
    for mode in MODES {
        let service = service(mode)?;
        for runtime in RUNTIMES {
            for (source, status, globals) in KINDS {
                says(&service, runtime, source, (status, globals))
                    .with_context(|| format!("{mode:?} {runtime}: {source}"))?;
            }
        }
    }
    Ok(())
}

fn says(
    service: &Service,
    runtime: &str,
    source: &str,
    (status, globals): (&str, &[&str]),
) -> Result<()> {
    let (reply, record) = call(service, runtime, source)?;
    ensure!(reply["status"] == status, "{reply}");
    let expected = match globals {
        [] => json!({"result_kind": "data"}),
        globals => json!({"result_kind": "objects", "result_globals": globals}),
    };
    ensure!(kind(&reply) == expected, "{reply}");
    ensure!(kind(&record) == expected, "{record}");
    let ids = json!({"task_ids": [reply["task_id"]]});
    let (_, many) = service.client.post("/v1/results", &ids)?;
    ensure!(kind(&many["results"][0]) == expected, "{many}");
    ensure!(many["results"][0]["result"] == reply["result"]);
    Ok(())
}

#[test]
fn a_class_of_the_function_is_an_object() -> Result<()> {
    let service = service(MODES[0])?;
    for runtime in RUNTIMES {
        let source = "class Odd(Exception): pass\ndef f(): raise Odd('why')";
        let (reply, _) = call(&service, runtime, source)?;
        ensure!(reply["result_kind"] == "objects", "{reply}");
        let globals = reply["result_globals"].to_string();
        ensure!(globals.contains("dill._dill."), "{globals}");
    }
    Ok(())
}

#[test]
fn results_over_the_limit_fail_alike_everywhere() -> Result<()> {
    for mode in MODES {
        let service = service(mode)?;
        for runtime in RUNTIMES {
            limited(&service, runtime).with_context(|| format!("{mode:?} {runtime}"))?;
        }
    }
    Ok(())
}

#[test]
fn results_over_the_limit_of_the_tenant_fail_alike_everywhere() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("tenants.toml");
    std::fs::write(&file, "[tenant.default.limits]\nmax_result_mb = 1\n")?;
    let file = file.to_str().context("a path is not UTF-8")?;
    for mode in MODES {
        // Of the two limits the smaller one counts.
        let service =
            Service::start(&[mode, &["--max-result-mb", "2", "--tenants", file]].concat())?;
        for runtime in RUNTIMES {
            let (_, record) = call(&service, runtime, "def f(): pass")?;
            ensure!(record["limits"]["max_result_mb"] == 1, "{record}");
            limited(&service, runtime).with_context(|| format!("{mode:?} {runtime}"))?;
        }
    }
    Ok(())
}

fn limited(service: &Service, runtime: &str) -> Result<()> {
    let (reply, _) = call(service, runtime, "def f(): return bytes((1 << 20) - 20)")?;
    ensure!(reply["status"] == "COMPLETED", "{}", reply["status"]);
    for (source, what) in [
        ("def f(): return bytes(1 << 20)", "the result has 10485"),
        ("def f(): raise KeyError('x' * 2_000_000)", "the exception `KeyError: 'xxx"),
    ] {
        let (reply, record) = call(service, runtime, source)?;
        ensure!(reply["status"] == "FAILED" && record["failure"]["kind"] == "limit", "{record}");
        let result = reply["result"].as_str().context("a result")?;
        let loaded = service.python.loads(result)?;
        ensure!(loaded.class == "RuntimeError", "{loaded:?}");
        for said in [what, "the limit is 1 MiB", "--max-result-mb"] {
            ensure!(loaded.repr.contains(said), "no {said:?} in {loaded:?}");
        }
    }
    let (reply, record) = call(service, runtime, "def f(): raise ValueError('x' * 300_000)")?;
    ensure!(reply["status"] == "FAILED" && record["failure"]["kind"] == "exception", "{record}");
    let length = |name: &str| record["failure"][name].as_str().map_or(0, str::len);
    ensure!((1000..=8 << 10).contains(&length("message")), "{}", length("message"));
    ensure!((1000..=64 << 10).contains(&length("traceback")), "{}", length("traceback"));
    Ok(())
}

/// A native function that writes to its worker itself.
const FLOOD: &str = "
def f():
    import os, stat, struct, time
    for name in os.listdir('/proc/self/fd'):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                os.write(int(name), struct.pack('<I', 512 << 20) + bytes(1000))
        except OSError:
            pass
    time.sleep(60)
";

#[test]
fn a_child_that_claims_a_huge_answer_is_refused_by_its_header() -> Result<()> {
    let service = service(MODES[0])?;
    let start = Instant::now();
    let (reply, record) = call(&service, "native", FLOOD)?;
    ensure!(reply["status"] == "FAILED" && record["failure"]["kind"] == "limit", "{record}");
    ensure!(record["attempts"] == 1, "{record}");
    ensure!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    let (reply, _) = call(&service, "native", "def f(): return 1")?;
    ensure!(reply["status"] == "COMPLETED", "{reply}");
    Ok(())
}

#[test]
fn large_values_are_in_a_bucket_in_every_mode() -> Result<()> {
    for mode in MODES {
        let bucket = belljar_testkit::Bucket::start()?;
        let url = bucket.url();
        let options = [mode, &["--blobs", &url]].concat();
        let service = Service::start_in(bucket.env(), &options)?;
        let value = [&b"\x80\x04B\0\0\x20\0"[..], &[7; 2 << 20], b"."].concat();
        let (status, kept) = service.client.put("/v1/blobs", &value)?;
        ensure!(status == 201, "{status} {kept}");
        let id = format!("blob:{}", kept["blob_id"].as_str().context("no id")?);
        // `((the value,), {})`.
        let length = u32::try_from(id.len())?.to_le_bytes();
        let args = [&b"\x80\x04X"[..], &length, id.as_bytes(), b"Q\x85}\x86."].concat();
        let payload = service.python.dumps("def f(value): return value + b'x' * (9 << 20)", "f")?;
        for runtime in RUNTIMES {
            let function = service.client.register(&payload, json!({"runtime": runtime}))?;
            let task = service.client.submit(&function, &STANDARD.encode(&args), json!({}))?;
            let (status, result) = service.client.wait(&task, 60)?;
            ensure!(status == "COMPLETED", "{mode:?} {runtime}: {status}");
            let joined: String = result.split_whitespace().collect();
            let result = STANDARD.decode(joined)?;
            let content = [&[7; 2 << 20][..], &[b'x'; 9 << 20]].concat();
            ensure!(result.windows(content.len()).any(|it| it == content), "{mode:?} {runtime}");
            let names = objects(bucket.directory())?;
            // What a slot has written itself is named by its attempt alone.
            ensure!(names.contains(&format!("result-1-{task}")), "{mode:?}: {names:?}");
        }
    }
    Ok(())
}

/// The names of all files below a directory.
fn objects(directory: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(objects(&path)?);
        } else {
            found.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    Ok(found)
}

#[test]
fn a_worker_that_is_killed_at_an_upload_leaves_no_result() -> Result<()> {
    let bucket = belljar_testkit::Bucket::start()?;
    let url = bucket.url();
    let service = Service::start_in(bucket.env(), &[MODES[2], &["--blobs", &url]].concat())?;
    let payload = service.python.dumps("def f(): return b'x' * (160 << 20)", "f")?;
    let wanted = json!({"runtime": "native", "max_retries": 2, "memory_mb": 1024});
    let function = service.client.register(&payload, wanted)?;
    let args = service.python.dumps("", "((), {})")?;
    let task = service.client.submit(&function, &args, json!({}))?;
    let is_on_its_way = || {
        let names = objects(bucket.directory()).unwrap_or_default();
        names.iter().any(|name| name.contains(".part-"))
    };
    ensure!(eventually(Duration::from_secs(60), is_on_its_way), "no part of it in time");
    process::kill(service.process(" worker ")?.pid, Signal::KILL);
    let is_over = || service.client.record(&task).is_ok_and(|it| it["status"] == "COMPLETED");
    ensure!(eventually(Duration::from_secs(60), is_over), "{}", service.client.record(&task)?);
    let record = service.client.record(&task)?;
    ensure!(record["attempts"] == 2, "{record}");
    let mut names = objects(bucket.directory())?;
    names.retain(|name| name.starts_with("result-"));
    ensure!(names == [format!("result-2-{task}")], "{names:?}");
    Ok(())
}
