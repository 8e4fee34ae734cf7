//! What a task shows while it runs: its output and its progress, the same in every mode and runtime.

use std::io::BufRead;

use anyhow::{Context, Result, ensure};
use belljar_tests::Service;
use serde_json::{Value, json};

const RUNTIMES: [&str; 2] = ["native", "sandbox"];
const MODES: [&[&str]; 3] =
    [&["-m", "local"], &["-m", "pull", "--workers", "2"], &["-m", "push", "--workers", "2"]];

/// It speaks, and goes on until it is cancelled.
const SPEAKER: &str = "import sys\ndef f():\n  import belljar, time\n  print('one €')\n  \
    print('wrong', file=sys.stderr)\n  belljar.progress(1, 4, 'first')\n  time.sleep(60)";

/// It writes more at once than is shown.
const FLOODER: &str =
    "def f():\n  import time\n  print('x' * 3_000_000, flush=True)\n  time.sleep(60)";

/// It ends long before anything of it is shown.
const QUICK: &str = "def f():\n  import belljar\n  print('said')\n  \
    [belljar.progress(i, 3) for i in range(4)]\n  return 7";

fn submit(service: &Service, runtime: &str, source: &str) -> Result<String> {
    let payload = service.python.dumps(source, "f")?;
    let function = service.client.register(&payload, json!({"runtime": runtime}))?;
    let args = service.python.dumps("", "((), {})")?;
    service.client.submit(&function, &args, json!({}))
}

/// An open stream of a task's events.
struct Events<R>(R);

impl<R: BufRead> Events<R> {
    /// The next event: its name and its data.
    fn next(&mut self) -> Result<(String, Value)> {
        let (mut name, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            ensure!(self.0.read_line(&mut line)? > 0, "the stream has ended");
            if let Some(event) = line.strip_prefix("event: ") {
                event.trim_end().clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Ok((name, serde_json::from_str(data)?));
            }
        }
    }

    /// The events up to the end of the task, and its status then.
    fn rest(&mut self) -> Result<(Vec<(String, Value)>, Value)> {
        let mut events = Vec::new();
        loop {
            match self.next()? {
                (name, data) if name == "end" => return Ok((events, data["status"].clone())),
                event => events.push(event),
            }
        }
    }
}

fn follow(service: &Service, task: &str) -> Result<Events<impl BufRead + use<>>> {
    Ok(Events(service.client.stream(&format!("/v1/tasks/{task}/output"))?))
}

#[test]
fn output_and_progress_come_while_a_task_runs() -> Result<()> {
    for mode in MODES {
        let service = Service::start(mode)?;
        for runtime in RUNTIMES {
            speaks(&service, runtime).with_context(|| format!("{mode:?} {runtime}"))?;
        }
    }
    Ok(())
}

fn speaks(service: &Service, runtime: &str) -> Result<()> {
    let task = submit(service, runtime, SPEAKER)?;
    let mut first = follow(service, &task)?;
    let said = [first.next()?, first.next()?, first.next()?];
    let text = |text: &str| json!({ "text": text });
    let progress = json!({"done": 1, "total": 4, "note": "first"});
    for expected in
        [("stdout", text("one €\n")), ("stderr", text("wrong\n")), ("progress", progress.clone())]
    {
        ensure!(
            said.iter().any(|(name, data)| (&**name, data) == (expected.0, &expected.1)),
            "{said:?}"
        );
    }
    // Another one that comes later is told what was written before.
    let mut second = follow(service, &task)?;
    let told = [second.next()?, second.next()?, second.next()?];
    ensure!(said.iter().all(|event| told.contains(event)), "{told:?}");
    ensure!(service.client.record(&task)?["progress"] == progress);

    service.client.post(&format!("/v1/tasks/{task}/cancel"), &json!({}))?;
    for stream in [&mut first, &mut second] {
        let (events, status) = stream.rest()?;
        ensure!(events.is_empty() && status == "CANCELLED", "{events:?} {status}");
    }
    let record = service.client.record(&task)?;
    ensure!(record["progress"] == progress, "it stays: {record}");
    Ok(())
}

#[test]
fn a_flood_is_cut_and_what_is_left_out_is_counted() -> Result<()> {
    let service = Service::start(&["-m", "push", "--workers", "1"])?;
    for runtime in RUNTIMES {
        let task = submit(&service, runtime, FLOODER)?;
        let mut events = follow(&service, &task)?;
        let (mut shown, mut left_out) = (0, 0);
        while shown + left_out < 3_000_001 {
            let (name, data) = events.next()?;
            ensure!(name == "stdout", "{name} {data}");
            let text = data["text"].as_str().context("a text")?.len();
            ensure!(text <= 16 << 10, "{text} at once");
            shown += text;
            left_out += data["skipped"].as_u64().map_or(0, |bytes| bytes as usize);
        }
        ensure!(shown + left_out == 3_000_001 && left_out > 0, "{shown} {left_out}");
        service.client.post(&format!("/v1/tasks/{task}/cancel"), &json!({}))?;
    }
    Ok(())
}

#[test]
fn a_task_that_has_ended_tells_all_at_once() -> Result<()> {
    let service = Service::start(&["-m", "pull", "--workers", "1"])?;
    for runtime in RUNTIMES {
        let task = submit(&service, runtime, QUICK)?;
        let (status, _) = service.client.wait(&task, 60)?;
        ensure!(status == "COMPLETED", "{status}");
        let (events, status) = follow(&service, &task)?.rest()?;
        let last = json!({"done": 3, "total": 3, "note": ""});
        let expected =
            [("stdout".to_owned(), json!({"text": "said\n"})), ("progress".to_owned(), last)];
        ensure!(events == expected && status == "COMPLETED", "{events:?} {status}");
    }
    let unknown = "/v1/tasks/0f8fad5b-d9cb-469f-a165-70867728950e/output";
    ensure!(service.client.get(unknown)?.0 == 404);
    Ok(())
}
