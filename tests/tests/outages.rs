//! A full disk, and a bucket that is away, cost the calls that need them, and nothing else.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use belljar_testkit::{Bucket, eventually};
use belljar_tests::Service;
use belljar_tests::disk::{fill, small_disk};
use serde_json::json;

const RUNTIMES: [&str; 2] = ["native", "sandbox"];
const MODES: [&[&str]; 3] =
    [&["-m", "local"], &["-m", "pull", "--workers", "1"], &["-m", "push", "--workers", "1"]];

/// Returns so many KiB; or else how much it got.
const SOURCE: &str = "def f(value, kib): return bytes(kib << 10) or len(value)";
/// The same once a file is there.
const HELD: &str = "import os, time\n\
def f(go, kib):\n  while not os.path.exists(go): time.sleep(0.01)\n  return bytes(kib << 10)";

/// A service, and a function of it.
struct Calls<'a> {
    service: &'a Service,
    function: String,
}

impl<'a> Calls<'a> {
    fn of(service: &'a Service, source: &str, runtime: &str) -> Result<Self> {
        let payload = service.python.dumps(source, "f")?;
        let wanted = json!({"runtime": runtime, "memory_mb": 512});
        let function = service.client.register(&payload, wanted)?;
        Ok(Self { service, function })
    }

    fn args(&self, value: &str, kib: u32) -> Result<String> {
        self.service.python.dumps("", &format!("(({value}, {kib}), {{}})"))
    }

    /// Submits a call after so many seconds.
    fn submit(&self, value: &str, kib: u32, delay: u32) -> Result<String> {
        let more = if delay > 0 { json!({"delay_s": delay}) } else { json!({}) };
        self.service.client.submit(&self.function, &self.args(value, kib)?, more)
    }

    /// How a task ends, and what failed.
    fn end(&self, task: &str) -> Result<(String, String)> {
        let (status, _) = self.service.client.wait(task, 30)?;
        let record = self.service.client.record(task)?;
        Ok((status, record["failure"]["message"].as_str().unwrap_or_default().to_owned()))
    }

    /// A call that completes.
    fn completes(&self, value: &str, kib: u32) -> Result<()> {
        let (status, why) = self.end(&self.submit(value, kib, 0)?)?;
        ensure!(status == "COMPLETED", "{value} {kib}: {status}: {why}");
        Ok(())
    }

    /// One that fails and says so.
    fn fails(&self, value: &str, kib: u32, said: &str) -> Result<()> {
        let (status, why) = self.end(&self.submit(value, kib, 0)?)?;
        ensure!(status == "FAILED" && why.contains(said), "{value} {kib}: {status}: {why}");
        Ok(())
    }

    /// One that is refused.
    fn is_refused(&self, value: &str, code: &str) -> Result<()> {
        let body = json!({"function_id": self.function, "payload": self.args(value, 0)?});
        let (status, reply) = self.service.client.post("/execute_function", &body)?;
        ensure!(status == 503 && reply["code"] == code, "{status} {reply}");
        Ok(())
    }
}

#[test]
fn a_full_disk_costs_what_needs_it_and_nothing_else() -> Result<()> {
    for mode in MODES {
        small_disk(32 << 10, |disk| {
            let (blobs, filler) = (disk.join("blobs"), disk.join("filler"));
            let place = ["--blobs", blobs.to_str().context("no UTF-8")?];
            let service = Service::start(&[mode, &place].concat())?;
            for runtime in RUNTIMES {
                let calls = Calls::of(&service, SOURCE, runtime)?;
                let waiting = calls.submit("bytes(2 << 20)", 0, 1)?;
                fill(&filler)?;
                calls.is_refused("bytes(300_000)", "store_refuses_writes")?;
                let (status, reply) = service.client.put("/v1/blobs", &[7; 100_000])?;
                ensure!(status == 503 && reply["code"] == "store_refuses_writes", "{reply}");
                // By way of Redis, and of memory before.
                for kib in [0, 300, 9 << 10] {
                    calls.completes("b'x'", kib)?;
                }
                calls.fails("b'x'", 61 << 10, "cannot be written")?;
                let (status, why) = calls.end(&waiting)?;
                ensure!(status == "COMPLETED", "it was accepted before: {status}: {why}");
                std::fs::remove_file(&filler)?;
                calls.completes("bytes(300_000)", 300)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_full_disk_of_a_worker_with_a_bucket_costs_what_needs_it_and_nothing_else() -> Result<()> {
    for mode in MODES {
        small_disk(32 << 10, |disk| {
            let bucket = Bucket::start()?;
            let (url, filler) = (bucket.url(), disk.join("filler"));
            let scratch = ("TMPDIR", disk.to_string_lossy().into_owned());
            let env = bucket.env().into_iter().chain([scratch]);
            let service = Service::start_in(env, &[mode, &["--blobs", &url]].concat())?;
            for runtime in RUNTIMES {
                let calls = Calls::of(&service, SOURCE, runtime)?;
                calls.completes("bytes(2 << 20)", 9 << 10)?;
                fill(&filler)?;
                calls.fails("bytes(2 << 20)", 0, "cannot be read")?;
                for kib in [0, 300, 9 << 10] {
                    calls.completes("b'x'", kib)?;
                }
                calls.fails("b'x'", 61 << 10, "cannot be written")?;
                std::fs::remove_file(&filler)?;
                calls.completes("bytes(2 << 20)", 9 << 10)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_bucket_that_is_away_costs_what_needs_it_and_nothing_else() -> Result<()> {
    // What needs it waits for five seconds each time.
    for mode in &MODES[2..] {
        let bucket = Bucket::start()?;
        let url = bucket.url();
        let service = Service::start_in(bucket.env(), &[*mode, &["--blobs", &url]].concat())?;
        let calls = Calls::of(&service, SOURCE, "native")?;
        // Its arguments are read by the dispatcher, and by the worker.
        let read = [300_000, 2 << 20].map(|bytes| calls.submit(&format!("bytes({bytes})"), 0, 1));
        bucket.set_away(true);
        for task in read {
            let (status, why) = calls.end(&task?)?;
            ensure!(status == "FAILED" && why.contains(&url), "{mode:?}: {status}: {why}");
        }
        calls.is_refused("bytes(300_000)", "bucket_unreachable")?;
        for kib in [0, 300, 9 << 10] {
            calls.completes("b'x'", kib)?;
        }
        bucket.set_away(false);
        let is_back = || calls.completes("bytes(2 << 20)", 9 << 10).is_ok();
        ensure!(eventually(Duration::from_secs(20), is_back), "{mode:?}: it is not back");
    }
    Ok(())
}

#[test]
fn a_bucket_that_does_not_answer_keeps_no_other_call_waiting() -> Result<()> {
    for mode in MODES {
        let bucket = Bucket::start()?;
        let (url, options) = (bucket.url(), ["-w", "4", "--blobs"]);
        let service = Service::start_in(bucket.env(), &[mode, &options, &[url.as_str()]].concat())?;
        let (held, calls) =
            (Calls::of(&service, HELD, "native")?, Calls::of(&service, SOURCE, "native")?);
        let go = service.data.join("go");
        let leaves = held.submit(&format!("{:?}", go.to_string_lossy()), 300, 0)?;
        let is = |task: &str, status: &str| {
            service.client.record(task).is_ok_and(|record| record["status"] == status)
        };
        ensure!(eventually(Duration::from_secs(20), || is(&leaves, "RUNNING")), "it does not run");
        // Its arguments are read by the dispatcher.
        let reads = calls.submit("bytes(300_000)", 0, 1)?;
        bucket.set_silent(true);
        std::fs::write(go, "")?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(4) || !is(&reads, "RUNNING") {
            let task = calls.submit("b'x'", 2, 0)?;
            let (status, _) = service.client.wait(&task, 3)?;
            ensure!(status == "COMPLETED", "{mode:?}: {status} after {:?}", begun.elapsed());
        }
        ensure!(is(&leaves, "RUNNING"), "{mode:?}: it needs the bucket");
        bucket.set_silent(false);
        for task in [leaves, reads] {
            let (status, why) = calls.end(&task)?;
            ensure!(status == "COMPLETED", "{mode:?}: {status}: {why}");
        }
    }
    Ok(())
}
