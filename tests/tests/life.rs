//! The life of a service: ready, a first function, drain, cut, and no process left.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use belljar_testkit::process::{self, Process};
use belljar_testkit::{binary, paths};
use belljar_tests::Service;
use rustix::process::Signal;
use serde_json::json;

const SLEEP: &str =
    "import time\ndef f(started, s):\n  open(started, 'w').close()\n  time.sleep(s)";

/// Submits a call that sleeps and waits until its code runs.
fn submit_sleep(service: &Service, seconds: u32) -> Result<String> {
    let started = service.data.join("started");
    let function = service.client.register(&service.python.dumps(SLEEP, "f")?, json!({}))?;
    let args = service.python.dumps("", &format!("(({started:?}, {seconds}), {{}})"))?;
    let task = service.client.submit(&function, &args, json!({}))?;
    ensure!(process::eventually(Duration::from_secs(10), || started.exists()), "it does not run");
    Ok(task)
}

fn all_gone(processes: &[Process], within: Duration) -> Result<()> {
    let alive = || -> Vec<Process> {
        process::all()
            .into_iter()
            .filter(|p| processes.iter().any(|was| was.pid == p.pid && was.command == p.command))
            .collect()
    };
    ensure!(process::eventually(within, || alive().is_empty()), "still there: {:?}", alive());
    Ok(())
}

/// What `belljar doctor` prints, and whether it finds no problem.
fn doctor() -> Result<(bool, String)> {
    let mut doctor = Command::new(binary("belljar"));
    let output = doctor.arg("doctor").env("BELLJAR_SITE", paths::site()).output()?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[test]
fn the_doctor_finds_everything() -> Result<()> {
    let (is_well, said) = doctor()?;
    ensure!(is_well && !said.contains("missing"), "{said}");
    for part in ["Redis server v=", "libpython3.11", "dill 0.4.1", "belljar-sandbox"] {
        ensure!(said.contains(part), "no `{part}` in {said}");
    }
    Ok(())
}

/// What a piece of Python prints, run as a script from standard input.
fn printed(snippet: &str, service: &Service) -> Result<String> {
    let mut command = Command::new(paths::interpreter());
    command.arg("-").env("BELLJAR_URL", service.client.base());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("stdin")?.write_all(snippet.as_bytes())?;
    let output = child.wait_with_output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[test]
fn the_printed_snippets_run_unchanged() -> Result<()> {
    let service = Service::start(&[])?;
    let welcome = service.welcome();
    let snippets: Vec<_> = welcome.split("<<'EOF'\n").skip(1).collect();
    ensure!(snippets.len() == 2, "{welcome}");
    for (snippet, expected) in snippets.into_iter().zip(["42", "COMPLETED 42"]) {
        let (snippet, _) = snippet.split_once("\nEOF\n").context(welcome.clone())?;
        let said = printed(snippet, &service)?;
        ensure!(said == expected, "{said}");
    }
    Ok(())
}

#[test]
fn the_snippets_of_the_readme_run_in_the_sandbox() -> Result<()> {
    let service = Service::start(&[])?;
    let readme = std::fs::read_to_string(paths::root().join("README.md"))?;
    let blocks: Vec<_> = readme.split("```python\n").skip(1).collect();
    ensure!(blocks.len() == 2, "README.md has {} blocks of Python", blocks.len());
    for (block, expected) in blocks.into_iter().zip(["42 [0, 2, 4, 6, 8]", "COMPLETED 42"]) {
        let (snippet, _) = block.split_once("\n```").context("the block does not end")?;
        let snippet = snippet.replace("http://127.0.0.1:8000", service.client.base());
        let said = printed(&snippet, &service)?;
        ensure!(said == expected, "{said}");
    }
    Ok(())
}

#[test]
fn the_first_ctrl_c_lets_running_calls_finish() -> Result<()> {
    let mut service = Service::start(&["-w", "1"])?;
    let processes = service.processes();
    let task = submit_sleep(&service, 1)?;
    let waiting = service.client.clone();
    let waiter = std::thread::spawn(move || waiting.wait(&task, 30));
    service.signal(Signal::INT);
    let (status, _) = waiter.join().map_err(|_| anyhow::anyhow!("the waiter panicked"))??;
    ensure!(status == "COMPLETED", "{status}");
    ensure!(service.ended(Duration::from_secs(15))? == Some(0));
    all_gone(&processes, Duration::from_secs(2))
}

#[test]
fn the_second_ctrl_c_cuts_and_the_call_runs_again_after_the_next_start() -> Result<()> {
    let kept = tempfile::tempdir()?;
    let data = kept.path().join("data");
    let mut service = Service::start_over(data.clone(), &["-w", "1"])?;
    let processes = service.processes();
    let task = submit_sleep(&service, 2)?;
    service.signal(Signal::INT);
    let draining = service.process("dispatcher")?;
    ensure!(draining.pid > 0);
    std::thread::sleep(Duration::from_millis(50)); // Two signals of one kind at once are one.
    let cut = Instant::now();
    service.signal(Signal::INT);
    ensure!(service.ended(Duration::from_secs(5))? == Some(1));
    ensure!(cut.elapsed() < Duration::from_secs(1), "{:?}", cut.elapsed());
    all_gone(&processes, Duration::from_secs(5))?;
    drop(service);
    let again = Service::start_over(data, &["-w", "1"])?;
    let (status, _) = again.client.wait(&task, 30)?;
    ensure!(status == "COMPLETED", "{status}");
    ensure!(again.client.record(&task)?["attempts"] == 2);
    Ok(())
}

#[test]
fn kill_9_of_up_leaves_no_process_behind() -> Result<()> {
    let mut service = Service::start(&["-w", "2"])?;
    // A call that sleeps, and one that has started a daemon.
    let daemon = "import subprocess, time\ndef f(s):\n  subprocess.Popen(['sleep', '4321'], start_new_session=True)\n  time.sleep(s)";
    submit_sleep(&service, 100)?;
    let function = service.client.register(&service.python.dumps(daemon, "f")?, json!({}))?;
    let args = service.python.dumps("", "((100,), {})")?;
    service.client.submit(&function, &args, json!({}))?;
    service.process("sleep 4321")?;
    let processes = service.processes();
    ensure!(processes.iter().any(|p| p.command.contains("redis-server")), "{processes:?}");
    service.signal(Signal::KILL);
    service.ended(Duration::from_secs(5))?;
    all_gone(&processes, Duration::from_secs(5))
}

#[test]
fn a_taken_port_and_a_taken_directory_are_clear_errors() -> Result<()> {
    let service = Service::start(&[])?;
    let port = service.client.base().rsplit(':').next().context("a port")?.to_owned();
    let program = binary("belljar");
    let other = tempfile::tempdir()?;
    let mut up = Command::new(program);
    up.args(["up", "--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(other.path());
    let output = up.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{:?}", output.status);
    ensure!(said.contains("cannot listen on") && said.contains("hint:"), "{said}");
    Ok(())
}

/// How long processors may take to wake up, in microseconds.
const CPU_LATENCY: &str = "/dev/cpu_dma_latency";

fn keeps_device_open(service: &Service) -> Result<bool> {
    let gateway = service.process("belljar gateway")?;
    let open = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid))?.flatten();
    Ok(open.into_iter().any(|fd| {
        std::fs::read_link(fd.path()).is_ok_and(|target| target == Path::new(CPU_LATENCY))
    }))
}

#[test]
fn latency_is_low_while_calls_come_where_the_kernel_permits() -> Result<()> {
    let is_possible = doctor()?.1.contains("by /dev/cpu_dma_latency");
    let service = Service::start(&["-w", "1"])?;
    ensure!(keeps_device_open(&service)? == is_possible);
    if is_possible {
        let function = service.client.register(&service.python.dumps("", "abs")?, json!({}))?;
        let args = service.python.dumps("", "((-7,), {})")?;
        let is_awake = || -> Result<bool> {
            let task = service.client.submit(&function, &args, json!({}))?;
            service.client.wait(&task, 10)?;
            let mut allowed = [0; 4];
            std::fs::File::open(CPU_LATENCY)?.read_exact(&mut allowed)?;
            Ok(i32::from_ne_bytes(allowed) < 1000)
        };
        ensure!(process::eventually(Duration::from_secs(10), || is_awake().unwrap_or(false)));
    }
    let saving = Service::start(&["-w", "1", "--low-latency", "false"])?;
    ensure!(!keeps_device_open(&saving)?);
    Ok(())
}

fn redis_setting(service: &Service, name: &str) -> Result<String> {
    let mut redis = UnixStream::connect(service.data.join("redis.sock"))?;
    write!(redis, "CONFIG GET {name}\r\n")?;
    let mut answer = [0; 256];
    let length = redis.read(&mut answer)?;
    let answer = std::str::from_utf8(&answer[..length])?;
    Ok(answer.lines().last().context("an empty answer")?.to_owned())
}

/// `--durability` says what the private Redis does before it answers.
#[test]
fn what_is_accepted_is_on_the_disk_where_that_is_asked_for() -> Result<()> {
    for (durability, sync) in [("process", "no"), ("disk", "always")] {
        let service = Service::start(&["-w", "1", "--durability", durability])?;
        let function = service.client.register(&service.python.dumps("", "abs")?, json!({}))?;
        let args = service.python.dumps("", "((-7,), {})")?;
        let task = service.client.submit(&function, &args, json!({}))?;
        ensure!(service.client.wait(&task, 60)?.0 == "COMPLETED");
        let set = redis_setting(&service, "appendfsync")?;
        ensure!(set == sync, "{durability}: {set}");
    }
    Ok(())
}
