//! Calls, followed by OpenTelemetry: a collector gets the spans of every part, and they hang together.

mod receiver;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use belljar_tests::Service;
use rustix::process::Signal;
use serde_json::{Value, json};

use receiver::{Receiver, Span, Trace};

const MODES: [&str; 3] = ["local", "pull", "push"];
const SPAN: &str = "00f067aa0ba902b7";
/// What a call that ended is made of.
const PARTS: [&str; 8] = ["task", "queue", "attempt", "record", "run", "decode", "call", "encode"];

/// A service whose spans go to `url`.
fn traced(url: &str, options: &[&str]) -> Result<Service> {
    Service::start(&[&["-w", "1", "--otlp-endpoint", url], options].concat())
}

/// A trace id that no other call of the test has.
fn trace(number: u32) -> String {
    format!("4bf92f3577b34da6a3ce929d{number:08x}")
}

/// Registers a function `f`.
fn register(service: &Service, source: &str, more: Value) -> Result<String> {
    service.client.register(&service.python.dumps(source, "f")?, more)
}

/// Submits calls with these headers, and waits until they have ended.
fn call(service: &Service, route: &str, body: &Value, headers: &[(&str, &str)]) -> Result<Value> {
    let mut request = ureq::post(format!("{}{route}", service.client.base()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.send_json(body)?.body_mut().read_json()?)
}

/// Calls a function once with a `traceparent`; the id of the task, which has ended.
fn call_under(service: &Service, function: &str, traceparent: &str) -> Result<String> {
    let args = service.python.dumps("", "((), {})")?;
    let body = json!({"function_id": function, "payload": args});
    let headers = [("traceparent", traceparent), ("tracestate", "vendor=1")];
    let reply = call(service, "/execute_function?wait=60", &body, &headers)?;
    let task = reply["task_id"].as_str().with_context(|| reply.to_string())?;
    ensure!(reply["status"] == "COMPLETED" || reply["status"] == "FAILED", "{reply}");
    Ok(task.to_owned())
}

#[test]
fn one_trace_leads_from_the_client_to_the_child_in_every_mode_and_runtime() -> Result<()> {
    for (mode, first) in MODES.into_iter().zip([0, 10, 20]) {
        let receiver = Receiver::start()?;
        let service = traced(&receiver.url, &["-m", mode])?;
        for (runtime, number) in ["native", "sandbox"].into_iter().zip(first..) {
            follow(&receiver, &service, (mode, runtime), &trace(number))
                .with_context(|| format!("{mode} {runtime}"))?;
        }
        // The client has not asked for these, or not in a way that can be understood.
        let function = register(&service, "def f(): return 1", json!({}))?;
        let (unsampled, last) = (trace(first + 2), trace(first + 3));
        for header in [format!("00-{unsampled}-{SPAN}-00"), format!("00-{unsampled}-{SPAN}")] {
            let task = call_under(&service, &function, &header)?;
            let record = service.client.record(&task)?;
            ensure!(record.get("trace_id").is_none(), "{record}");
        }
        // What was sent before this has arrived too.
        call_under(&service, &function, &format!("00-{last}-{SPAN}-01"))?;
        receiver.trace(&last, &PARTS)?;
        let expected = [trace(first), trace(first + 1), last];
        let others: Vec<_> =
            receiver.all().into_iter().filter(|it| !expected.contains(&it.trace)).collect();
        ensure!(others.is_empty(), "{others:#?}");
    }
    Ok(())
}

/// Makes a call and looks at its spans.
fn follow(
    receiver: &Receiver,
    service: &Service,
    (mode, runtime): (&str, &str),
    trace: &str,
) -> Result<()> {
    let function = register(service, "def f(): return 1", json!({"runtime": runtime}))?;
    let task = call_under(service, &function, &format!("00-{trace}-{SPAN}-01"))?;
    let request = "POST /execute_function";
    let spans = receiver.trace(trace, &[&[request][..], &PARTS].concat())?;
    hangs_together(&spans, request)?;
    let worker = if mode == "local" { "belljar-dispatcher" } else { "belljar-worker" };
    for (name, service) in [
        (request, "belljar-gateway"),
        ("task", "belljar-dispatcher"),
        ("attempt", "belljar-dispatcher"),
        ("run", worker),
        ("call", worker),
    ] {
        ensure!(spans.one(name)?.service == service, "{name}: {:#?}", spans.0);
    }
    let whole = spans.one("task")?;
    let class = format!("{runtime}:3.11");
    for (name, value) in [
        ("belljar.task_id", &*task),
        ("belljar.function_id", &function),
        ("belljar.class", &class),
        ("belljar.outcome", "COMPLETED"),
    ] {
        let found = whole.attributes.get(name).map(String::as_str);
        ensure!(found == Some(value), "{name}: {whole:#?}");
    }
    ensure!(spans.0.iter().all(|span| span.state == "vendor=1" && span.error.is_none()));
    ensure!(spans.one(request)?.attributes["http.response.status_code"] == "200");
    let record = service.client.record(&task)?;
    ensure!(record["trace_id"] == trace, "{record}");
    Ok(())
}

/// Each span of a call that ended at the first attempt lies within its parent, and the client's is at the root.
fn hangs_together(spans: &Trace, request: &str) -> Result<()> {
    let root = spans.one(request)?;
    ensure!(root.parent == SPAN, "{root:#?}");
    for (name, parent) in [
        ("task", request),
        ("queue", "task"),
        ("attempt", "task"),
        ("record", "attempt"),
        ("run", "attempt"),
        ("decode", "run"),
        ("call", "run"),
        ("encode", "run"),
    ] {
        let (span, parent) = (spans.one(name)?, spans.one(parent)?);
        ensure!(span.parent == parent.id, "{name}: {:#?}", spans.0);
        let is_within = parent.times.0 <= span.times.0 && span.times.1 <= parent.times.1;
        // The request's span ends with its answer, which the task may outlive.
        ensure!(is_within || parent.name == request, "{name}: {:#?}", spans.0);
    }
    let order = ["queue", "decode", "call", "encode", "record"];
    let order = order.into_iter().map(|name| spans.one(name)).collect::<Result<Vec<_>>>()?;
    let follows = |pair: &[&Span]| pair[0].times.1 <= pair[1].times.0;
    ensure!(order.windows(2).all(follows), "{order:#?}");
    Ok(())
}

#[test]
fn a_second_attempt_is_linked_to_the_first() -> Result<()> {
    for mode in MODES {
        let receiver = Receiver::start()?;
        let service = traced(&receiver.url, &["-m", mode])?;
        let source = "import os\ndef f(): os.kill(os.getpid(), 9)";
        let function = register(&service, source, json!({"max_retries": 1}))?;
        call_under(&service, &function, &format!("00-{}-{SPAN}-01", trace(1)))?;
        let spans = receiver.trace(&trace(1), &["task"])?;
        let attempts = spans.named("attempt");
        let [first, second] = attempts.as_slice() else { panic!("{:#?}", spans.0) };
        ensure!(first.links.is_empty() && second.links == [first.id.clone()], "{attempts:#?}");
        let whole = spans.one("task")?;
        ensure!(first.parent == whole.id && second.parent == whole.id, "{:#?}", spans.0);
        ensure!(first.attributes["belljar.outcome"] == "died", "{first:#?}");
        let why = [first.error.as_ref(), second.error.as_ref(), whole.error.as_ref()];
        let is_signal = |why: &Option<&String>| why.is_some_and(|why| why.contains("SIGKILL"));
        ensure!(why.iter().all(is_signal), "{why:?}");
    }
    Ok(())
}

#[test]
fn without_a_client_the_service_begins_traces_for_a_part_of_the_submissions() -> Result<()> {
    let receiver = Receiver::start()?;
    let service = traced(&receiver.url, &["--trace-sample", "1"])?;
    let function = register(&service, "def f(x): return x", json!({}))?;
    let args: Vec<_> = (0..3)
        .map(|x| service.python.dumps("", &format!("(({x},), {{}})")))
        .collect::<Result<_>>()?;
    let tasks = service.client.submit_batch(&function, &args)?;
    for task in &tasks {
        ensure!(service.client.wait(task, 60)?.0 == "COMPLETED");
    }
    let trace = service.client.record(&tasks[0])?["trace_id"].clone();
    let trace = trace.as_str().context("it is not traced")?;
    let spans = receiver.trace(trace, &["POST /v1/tasks", "task", "encode"])?;
    let root = spans.one("POST /v1/tasks")?;
    ensure!(root.parent.is_empty() && root.attributes["belljar.tasks"] == "3", "{root:#?}");
    let is_whole = || spans_of(&receiver, trace, "task").len() == 3;
    ensure!(belljar_testkit::eventually(Duration::from_secs(30), is_whole), "{:#?}", spans.0);
    for span in spans_of(&receiver, trace, "task") {
        ensure!(span.parent == root.id, "{span:#?}");
        ensure!(tasks.contains(&span.attributes["belljar.task_id"]), "{span:#?}");
    }
    Ok(())
}

fn spans_of(receiver: &Receiver, trace: &str, name: &str) -> Vec<Span> {
    let all = receiver.all().into_iter();
    all.filter(|span| span.trace == trace && span.name == name).collect()
}

#[test]
fn without_a_collector_calls_go_on() -> Result<()> {
    // Nothing listens there, or somebody who never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let silent = format!("http://{}", silent.local_addr()?);
    for url in ["http://127.0.0.1:1", &silent] {
        let mut service = traced(url, &["--trace-sample", "1"])?;
        let function = register(&service, "def f(): return 1", json!({}))?;
        let args = vec![service.python.dumps("", "((), {})")?; 2_000];
        for task in service.client.submit_batch(&function, &args)? {
            ensure!(service.client.wait(&task, 60)?.0 == "COMPLETED", "{url}");
        }
        // The last spans are given up soon.
        let begun = Instant::now();
        service.signal(Signal::INT);
        ensure!(service.ended(Duration::from_secs(30))? == Some(0), "{url}");
        ensure!(begun.elapsed() < Duration::from_secs(10), "{url}: {:?}", begun.elapsed());
    }
    Ok(())
}
