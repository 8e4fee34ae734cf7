//! How `belljar up` starts: over any backlog, and with one sentence where it cannot.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use belljar_testkit::process::eventually;
use belljar_testkit::{Program, Redis, binary, paths};
use belljar_tests::disk::small_disk;
use belljar_tests::{Client, Service};
use rustix::process::Signal;
use serde_json::json;

/// No wrong start takes longer; most take milliseconds.
const AT_ONCE: Duration = Duration::from_secs(8);

/// A command that must fail: its exit code, and its standard error.
fn failure(args: &[&str]) -> Result<(i32, String)> {
    let begun = Instant::now();
    let mut command = Command::new(binary("belljar"));
    let Output { status, stderr, .. } =
        command.args(args).env("BELLJAR_SITE", paths::site()).env_remove("BELLJAR_LOG").output()?;
    let text = String::from_utf8(stderr)?;
    ensure!(begun.elapsed() < AT_ONCE, "{args:?} took {:?}: {text}", begun.elapsed());
    Ok((status.code().with_context(|| format!("{args:?}: {status}"))?, text))
}

/// `up` with these options must fail, with exactly this sentence and a hint that contains `hint`, if any.
fn up_fails(options: &[&str], sentence: &str, hint: Option<&str>) -> Result<()> {
    let data = tempfile::tempdir()?;
    let dir = data.path().to_str().context("no UTF-8")?;
    let listen: &[&str] =
        if options.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
    let args = [&["up", "--data", dir], listen, options].concat();
    let (code, text) = failure(&args)?;
    let mut lines = text.lines();
    ensure!(code == 1, "{options:?}: {code}: {text}");
    ensure!(lines.next() == Some(&format!("belljar: {sentence}")), "{options:?}: {text}");
    let last = lines.next();
    ensure!(last.is_some() == hint.is_some() && lines.next().is_none(), "{options:?}: {text}");
    let fits =
        hint.zip(last).is_none_or(|(hint, last)| last.starts_with("hint: ") && last.contains(hint));
    ensure!(fits, "{options:?}: {text}");
    Ok(())
}

#[test]
fn a_wrong_option_ends_up_at_once_with_one_sentence() -> Result<()> {
    let no_directory = "--python-path `/nope`: no such directory";
    up_fails(&["--python-path", "/nope"], no_directory, None)?;
    up_fails(&["--site", "/nope"], "--site `/nope`: no such directory", None)?;
    up_fails(&["--site", "/usr/lib"], "--site `/usr/lib`: there is no dill in it", Some("pip"))?;
    let no_directory = "--grant-read `/nope`: no such directory";
    up_fails(&["--grant-read", "/nope"], no_directory, None)?;
    let no_guest = "there is no guest at `/nope/3.11`";
    up_fails(&["--runtime", "sandbox", "--guest-dir", "/nope"], no_guest, Some("make guest"))?;
    let no_address = "cannot listen on 192.0.2.1:1: this machine has no such address";
    up_fails(&["--listen", "192.0.2.1:1"], no_address, Some("--listen"))?;
    for (address, host) in
        [("0.0.0.0:0", "0.0.0.0"), ("[::]:0", "::"), ("127.0.0.1:0,0.0.0.0:0", "0.0.0.0")]
    {
        let reached =
            format!("other machines reach {host}: there a gateway speaks TLS and requires keys");
        up_fails(&["--listen", address], &reached, Some("--tls-cert FILE"))?;
        up_fails(&["--listen", address, "--keys", "required"], &reached, Some("--insecure"))?;
        let (code, text) =
            failure(&["gateway", "--listen", address, "--redis", "redis://127.0.0.1:1"])?;
        ensure!(code == 1 && text.contains(&reached), "{code}: {text}");
    }
    Ok(())
}

#[test]
fn a_value_out_of_range_is_wrong_usage() -> Result<()> {
    for (args, part) in [
        (&["up", "--timeout", "0"][..], "1 to 86400"),
        (&["up", "-w", "0"], "1 or more"),
        (&["up", "--workers", "0"], "1 or more"),
        (&["dispatcher", "-w", "0"], "1 or more"),
        (&["worker", "pull", "0", "tcp://127.0.0.1:1"], "1 or more"),
        (&["worker", "push", "tcp://127.0.0.1:1"], "the number of tasks goes before the address"),
    ] {
        let (code, text) = failure(args)?;
        ensure!(code == 2 && text.contains(part), "{args:?}: {code}: {text}");
    }
    Ok(())
}

#[test]
fn a_taken_port_is_named_with_one_hint() -> Result<()> {
    let service = Service::start(&[])?;
    let address = service.client.base().trim_start_matches("http://").to_owned();
    let sentence = format!("cannot listen on {address}: the address is in use");
    up_fails(&["--listen", &address], &sentence, Some("--listen 127.0.0.1:0"))
}

#[test]
fn a_second_up_on_a_data_directory_ends_at_once() -> Result<()> {
    let service = Service::start(&["-w", "1"])?;
    let dir = service.data.to_str().context("no UTF-8")?;
    let (code, text) = failure(&["up", "--listen", "127.0.0.1:0", "--data", dir])?;
    ensure!(code == 1 && text.starts_with("belljar: another `belljar up` uses `"), "{text}");
    ensure!(text.contains("\nhint: --data DIR") && text.lines().count() == 2, "{text}");
    ensure!(service.client.get("/healthz")?.0 == 200, "the first one goes on");
    Ok(())
}

#[test]
fn a_redis_that_cannot_be_used_is_named() -> Result<()> {
    let no_url = "`nonsense` is no Redis URL: expected \
                  redis://HOST:PORT/DB, rediss://HOST:PORT/DB, redis+unix:///PATH or \
                  redis+sentinel://HOST:PORT,HOST:PORT/NAME/DB";
    up_fails(&["--redis", "nonsense"], no_url, None)?;
    let begun = Instant::now();
    let (code, text) =
        failure(&["up", "--listen", "127.0.0.1:0", "--redis", "redis://127.0.0.1:1/0"])?;
    ensure!(code == 1 && begun.elapsed() < Duration::from_secs(3), "{text}");
    ensure!(
        text.starts_with("belljar: Redis at `redis://127.0.0.1:1/0` does not answer"),
        "{text}"
    );
    let redis = Redis::start_with(&["--min-replicas-to-write", "1", "--appendonly", "yes"])?;
    let (_, text) = failure(&["up", "--listen", "127.0.0.1:0", "--redis", &redis.url()])?;
    ensure!(text.contains("refuses writes: fewer replicas than `min-replicas-to-write`"), "{text}");
    ensure!(text.lines().count() == 1, "{text}");
    let redis = Redis::start_with(&["--requirepass", "right"])?;
    let url = redis.url();
    let (_, text) = failure(&["up", "--listen", "127.0.0.1:0", "--redis", &url])?;
    ensure!(text.contains("wants a password"), "{text}");
    let (_, text) =
        failure(&["up", "--listen", "127.0.0.1:0", "--redis", &format!("{url}?pass=wrong")])?;
    ensure!(text.contains("refuses this password"), "{text}");
    Ok(())
}

#[test]
fn a_full_disk_is_named_at_once() -> Result<()> {
    for (kib, part) in [(64, "No space left on device"), (56, "refuses writes: it cannot write")] {
        small_disk(64, |dir| {
            std::fs::write(dir.join("filler"), vec![0; kib << 10])?;
            let data = dir.join("data");
            let data = data.to_str().context("no UTF-8")?;
            let (code, text) = failure(&["up", "--listen", "127.0.0.1:0", "--data", data])?;
            ensure!(code == 1 && text.contains(part), "{kib}: {text}");
            ensure!(text.lines().count() <= 2, "{text}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Submits calls that sleep for longer than a start may take: natively, in the sandbox, delayed, and behind
/// others. Returns the first, which runs.
fn submit_backlog(service: &Service) -> Result<String> {
    let source = "import time\ndef f(s):\n  time.sleep(s)";
    let payload = service.python.dumps(source, "f")?;
    let args = service.python.dumps("", "((20,), {})")?;
    let native = service.client.register(&payload, json!({}))?;
    let sandboxed = service.client.register(&payload, json!({"runtime": "sandbox"}))?;
    let first = service.client.submit_batch(&native, &vec![args.clone(); 45])?.remove(0);
    service.client.submit_batch(&sandboxed, &vec![args.clone(); 10])?;
    for more in [json!({"delay_s": 1}), json!({"delay_s": 3600}), json!({"priority": "low"})] {
        service.client.submit(&native, &args, more)?;
    }
    service.client.submit(&native, &args, json!({"priority": "high"}))?;
    service.client.submit(&native, &args, json!({"idempotency_key": "once"}))?;
    Ok(first)
}

fn stop(mut service: Service) -> Result<()> {
    service.signal(Signal::TERM);
    ensure!(service.ended(Duration::from_secs(20))? == Some(0));
    Ok(())
}

#[test]
fn a_backlog_does_not_delay_the_start_and_the_start_leaves_no_task() -> Result<()> {
    let kept = tempfile::tempdir()?;
    let data = kept.path().join("data");
    for mode in ["local", "pull", "push"] {
        let data = data.join(mode);
        let options = ["-w", "2", "--mode", mode, "--drain-timeout", "0", "--max-queued", "60"];
        let service = Service::start_over(data.clone(), &options)?;
        let first = submit_backlog(&service)?;
        let is_running =
            || service.client.record(&first).is_ok_and(|record| record["status"] == "RUNNING");
        ensure!(eventually(Duration::from_secs(10), is_running));
        // A full queue would refuse one more.
        stop(service)?;
        let begun = Instant::now();
        let again = Service::start_over(data, &options)?;
        let took = begun.elapsed();
        ensure!(took < Duration::from_secs(15), "{mode}: ready after {took:?}");
        let (_, audit) = again.client.get("/v1/audit")?;
        ensure!(audit["consistent"] == true && audit["accepted"] == 60, "{mode}: {audit}");
        again.signal(Signal::KILL);
    }
    Ok(())
}

#[test]
fn up_prints_nothing_but_its_welcome() -> Result<()> {
    let data = tempfile::tempdir()?;
    let mut command = Command::new(binary("belljar"));
    command.args(["up", "--listen", "127.0.0.1:0", "-w", "1", "--data"]).arg(data.path());
    command.env("BELLJAR_SITE", paths::site()).env_remove("BELLJAR_LOG");
    let log = data.path().join("log");
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::fs::File::create(&log)?)
        .spawn()?;
    let mut text = String::new();
    let stdout = std::io::BufReader::new(child.stdout.take().context("no standard output")?);
    for line in std::io::BufRead::lines(stdout) {
        let line = line?;
        text += &format!("{line}\n");
        if line.starts_with("Ctrl-C") {
            break;
        }
    }
    belljar_testkit::process::kill(child.id().cast_signed(), Signal::TERM);
    child.wait()?;
    ensure!(
        std::fs::read_to_string(log)?.is_empty(),
        "{}",
        std::fs::read_to_string(data.path().join("log"))?
    );
    let (sdk, rest) = (text.find("import belljar"), text.find("import codecs"));
    ensure!(sdk.zip(rest).is_some_and(|(sdk, rest)| sdk < rest), "{text}");
    Ok(())
}

/// Else what lies in the directory where it is started would run.
#[test]
fn without_a_home_no_guest_is_looked_for_where_it_is_started() -> Result<()> {
    let started_in = tempfile::tempdir()?;
    let guest = started_in.path().join(".cache/belljar/3.11");
    std::fs::create_dir_all(&guest)?;
    std::fs::write(guest.join("guest.json"), r#"{"python": "3.11.2", "dill": "1"}"#)?;
    let list = |more: &[&str]| {
        let mut command = Command::new(binary("belljar"));
        command.args(["guest", "list"]).args(more);
        command.current_dir(started_in.path()).env_clear().output()
    };
    let without = list(&[])?;
    let said = String::from_utf8(without.stderr)?;
    ensure!(!without.status.success() && said.contains("HOME is not set"), "{said}");
    // Named, it is found: what was looked for is there.
    let found = list(&["--guest-dir", ".cache/belljar"])?;
    ensure!(String::from_utf8_lossy(&found.stdout).contains("3.11.2"), "{found:?}");
    Ok(())
}

/// As where a package is installed and no Python is: the safer runtime stands in for the other, unless that was asked for.
#[test]
fn without_a_native_python_functions_run_in_the_sandbox() -> Result<()> {
    /// `pickle.dumps(len, 4)` and `pickle.dumps((("belljar",), {}), 4)` in base64.
    const LEN: &str = "gASVFAAAAAAAAACMCGJ1aWx0aW5zlIwDbGVulJOULg==";
    const ARGS: &str = "gASVEQAAAAAAAACMB2JlbGxqYXKUhZR9lIaULg==";
    let prefix = tempfile::tempdir()?;
    let programs = prefix.path().join("bin");
    std::fs::create_dir(&programs)?;
    for name in ["belljar", "belljar-sandbox"] {
        let (from, to) = (binary(name), programs.join(name));
        std::fs::hard_link(&from, &to).or_else(|_| std::fs::copy(from, to).map(drop))?;
    }
    let data = prefix.path().join("data");
    let belljar = programs.join("belljar");
    let mut argv = vec![belljar.clone().into(), "up".into(), "--data".into(), data.clone().into()];
    argv.extend(["-w", "1", "--listen", "127.0.0.1:0"].map(Into::into));
    let up = Program::start(argv, Vec::new(), None)?;
    let client = Client::new(&up.line_after("belljar is ready at ")?);
    let function = client.register(LEN, json!({}))?;
    let (_, record) = client.get(&format!("/v1/functions/{function}"))?;
    ensure!(record["runtime"] == "sandbox", "{record}");
    let task = client.submit(&function, ARGS, json!({}))?;
    ensure!(client.wait(&task, 30)?.0 == "COMPLETED", "{}", client.record(&task)?);
    let native =
        Command::new(belljar).args(["up", "--runtime", "native", "--data"]).arg(data).output()?;
    let said = String::from_utf8(native.stderr)?;
    ensure!(
        native.status.code() == Some(1) && said.contains("belljar-python` does not exist"),
        "{said}"
    );
    Ok(())
}

/// Functions that ask for labels run where workers have them, in every mode.
#[test]
fn calls_run_on_workers_with_the_labels_that_they_ask_for() -> Result<()> {
    for mode in ["local", "pull", "push"] {
        let options = ["-w", "1", "--mode", mode, "--label", "gpu=a100", "--label", "region=eu"];
        let service = Service::start(&options)?;
        let function = service.python.dumps("", "abs")?;
        let wanted = json!({"labels": {"gpu": "a100"}});
        let [with, without] =
            [wanted, json!({})].map(|more| service.client.register(&function, more));
        let args = service.python.dumps("", "((-7,), {})")?;
        for function in [with?, without?] {
            let task = service.client.submit(&function, &args, json!({}))?;
            let (status, result) = service.client.wait(&task, 30)?;
            ensure!(status == "COMPLETED", "{mode}: {status} {result}");
        }
        let other = service.client.register(&function, json!({"labels": {"gpu": "h100"}}));
        let told = other.err().context("no worker has it")?.to_string();
        ensure!(told.contains("no live worker") && told.contains("`gpu=a100,region=eu`"), "{told}");
        let (_, workers) = service.client.get("/v1/workers")?;
        let classes = workers["items"][0]["classes"].to_string();
        ensure!(classes.contains("native:3.11/gpu=a100,region=eu"), "{classes}");
    }
    Ok(())
}
