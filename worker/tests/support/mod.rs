//! What every test of the pool needs: pickles made by a real Python, a pool of real children, and a
//! look into the process table.
#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(clippy::expect_used, reason = "a test that cannot go on shall stop")]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use belljar_core::grants::Offers;
use belljar_core::id::TaskId;
use belljar_core::invocation::{Function, Invocation};
use belljar_core::outcome::{Failure, FailureKind, Outcome, Verdict};
use belljar_core::payload;
use belljar_core::task::{Attempt, CodeHash, Limits, TaskClass};
use belljar_worker::config::{ExecutorConfig, PoolConfig};
use belljar_worker::pool::{Pool, PoolEvent};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The Python that makes pickles: of the minor that `belljar-python` embeds, with dill.
fn test_python() -> PathBuf {
    std::env::var_os("BELLJAR_TEST_PYTHON")
        .map_or_else(|| root().join(".belljar/venv/bin/python"), PathBuf::from)
}

/// Beside the test binary's directory, where `cargo build -p belljar-interpreter` leaves it.
pub(crate) fn belljar_python() -> PathBuf {
    let test = std::env::current_exe().expect("a test binary");
    let directory = test.ancestors().nth(2).expect("target/debug");
    let program = directory.join("belljar-python");
    assert!(program.exists(), "run `cargo build -p belljar-interpreter` first");
    program
}

pub(crate) fn native() -> TaskClass {
    "native:3.11".parse().expect("a class")
}

pub(crate) fn executor() -> ExecutorConfig {
    let mut config = ExecutorConfig::new(native(), belljar_python());
    let python = test_python();
    let venv = python.ancestors().nth(2).expect("a virtual environment");
    config.args = vec!["--site".into(), venv.join("lib/python3.11/site-packages").into()];
    config
}

/// A pool of native slots.
pub(crate) fn pool(slots: usize) -> PoolConfig {
    PoolConfig { slots, executors: vec![executor()], offers: Offers::default() }
}

/// A Python process that pickles: one for all tests of a binary.
struct Pickler {
    _process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    known: HashMap<String, Bytes>,
}

const PICKLER: &str = r#"
import sys, base64, json, pickle, dill, cloudpickle
import __main__
globals_of = {"dill": dill, "pickle": pickle, "cloudpickle": cloudpickle}
for line in sys.stdin:
    how, source, what = json.loads(line)
    space = __main__.__dict__
    if how == "read":
        data = repr(dill.loads(base64.b64decode(what))).encode()
    else:
        exec(source, space)
        value = eval(what, space)
        data = dill.dumps(value, recurse=True) if how == "recurse" else globals_of[how].dumps(value)
    print(base64.b64encode(data).decode(), flush=True)
"#;

static PICKLER_PROCESS: LazyLock<Mutex<Pickler>> = LazyLock::new(|| {
    let mut process = Command::new(test_python())
        .args(["-c", PICKLER])
        .env("PYTHONPATH", root().join("worker/tests/support"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the Python of .belljar/venv; see the Makefile");
    let input = process.stdin.take().expect("piped");
    let output = BufReader::new(process.stdout.take().expect("piped"));
    Mutex::new(Pickler { _process: process, input, output, known: HashMap::new() })
});

/// The pickle by `how` (dill, cloudpickle, pickle) of the expression `what` after `source` ran.
pub(crate) fn pickle_by(how: &str, source: &str, what: &str) -> Bytes {
    let mut pickler = PICKLER_PROCESS.lock().expect("unpoisoned");
    let request = serde_json::to_string(&(how, source, what)).expect("text");
    if let Some(known) = pickler.known.get(&request) {
        return known.clone();
    }
    writeln!(pickler.input, "{request}").expect("a pipe");
    let mut line = String::new();
    pickler.output.read_line(&mut line).expect("a pipe");
    let bytes = Bytes::from(payload::decode(&line).expect("base64"));
    assert!(!bytes.is_empty(), "Python could not pickle {what}");
    pickler.known.insert(request, bytes.clone());
    bytes
}

/// The `repr` of what is pickled.
pub(crate) fn read(pickle: &[u8]) -> String {
    let text = payload::encode(pickle);
    String::from_utf8(pickle_by("read", "", &text).to_vec()).expect("text")
}

/// The function `f` of `source`, by dill.
pub(crate) fn function(source: &str) -> Bytes {
    pickle_by("dill", source, "f")
}

/// A call of `f` that takes along the globals that it uses, as `dill.settings["recurse"]` has it.
pub(crate) fn call_with_globals(source: &str, args: &str) -> Invocation {
    invocation(pickle_by("recurse", source, "f"), value(args))
}

/// The dill of a Python expression.
pub(crate) fn value(expression: &str) -> Bytes {
    pickle_by("dill", "", expression)
}

/// A call of `f` in `source` with the given arguments, an expression such as `((1,), {})`.
pub(crate) fn call(source: &str, args: &str) -> Invocation {
    invocation(function(source), value(args))
}

pub(crate) fn invocation(code: Bytes, args: Bytes) -> Invocation {
    let function = Function { hash: CodeHash::of(&code), code };
    let limits = Limits { timeout_ms: 20_000, ..Limits::DEFAULT };
    let (task_id, attempt) = (TaskId::random(), Attempt(1));
    Invocation { task_id, attempt, class: native(), limits, function, args, grants: None }
}

pub(crate) fn within(milliseconds: u64, mut invocation: Invocation) -> Invocation {
    invocation.limits.timeout_ms = milliseconds;
    invocation
}

pub(crate) fn with_memory(mebibytes: u32, mut invocation: Invocation) -> Invocation {
    invocation.limits.memory_mb = mebibytes;
    invocation
}

/// A pool and its events.
pub(crate) struct Rig {
    pub(crate) pool: Pool,
    pub(crate) events: mpsc::Receiver<PoolEvent>,
    /// In the environment of its children and of all that they start, by which they are found.
    pub(crate) mark: String,
}

impl Rig {
    pub(crate) fn new(slots: usize) -> Self {
        Self::with(slots, executor())
    }

    pub(crate) fn with(slots: usize, executor: ExecutorConfig) -> Self {
        Self::of(PoolConfig { executors: vec![executor], ..pool(slots) })
    }

    pub(crate) fn of(mut config: PoolConfig) -> Self {
        let mark = TaskId::random().to_string();
        for executor in &mut config.executors {
            executor.env.push(("BELLJAR_TEST_RIG".into(), mark.clone().into()));
        }
        let (pool, events) = Pool::start(config);
        Self { pool, events, mark }
    }

    /// The next event about a call or an executor.
    pub(crate) async fn event(&mut self) -> PoolEvent {
        loop {
            match self.any_event().await {
                PoolEvent::Resized => {}
                event => return event,
            }
        }
    }

    pub(crate) async fn any_event(&mut self) -> PoolEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("an event")
    }

    /// The next end of a call, whichever it is.
    pub(crate) async fn finished(&mut self) -> (TaskId, Outcome) {
        loop {
            match self.event().await {
                PoolEvent::Finished(report) => return (report.task_id, report.outcome),
                PoolEvent::ExecutorUp(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    pub(crate) async fn run(&mut self, invocation: Invocation) -> Outcome {
        let task_id = invocation.task_id;
        self.pool.submit(invocation).expect("taken");
        let (id, outcome) = self.finished().await;
        assert_eq!(id, task_id);
        outcome
    }

    pub(crate) async fn returns(&mut self, invocation: Invocation, expected: &str) {
        let outcome = self.run(invocation).await;
        assert_eq!(read(&completed(&outcome)), expected, "{outcome:?}");
    }

    pub(crate) async fn fails(&mut self, invocation: Invocation, kind: FailureKind) -> Failure {
        let outcome = self.run(invocation).await;
        let failure = failed(&outcome);
        assert_eq!(failure.kind, kind, "{outcome:?}");
        failure
    }

    /// The slot is as good as new.
    pub(crate) async fn is_sound(&mut self) {
        let probe = "
def f():
    import os, signal, sys, threading
    print('sound')
    return (os.environ.get('LEFT'), threading.active_count(), signal.getsignal(signal.SIGTERM),
            sys.stdin.read(), 2 + 2)
";
        let outcome = self.run(call(probe, "((), {})")).await;
        let expected = "(None, 1, <Handlers.SIG_DFL: 0>, '', 4)";
        assert_eq!(read(&completed(&outcome)), expected, "{outcome:?}");
        assert_eq!(outcome.stdout.bytes, "sound\n", "{outcome:?}");
    }

    /// Ends the pool and looks whether anything is left of it.
    pub(crate) async fn end(mut self) {
        let drain = self.pool.drain(Duration::ZERO);
        let read = async { while self.events.recv().await.is_some() {} };
        timeout(PATIENCE, async { tokio::join!(drain, read) }).await.expect("an end");
        assert_eq!(
            descendants(std::process::id(), &["belljar-python", "sleep"]),
            Vec::<String>::new()
        );
    }
}

pub(crate) fn completed(outcome: &Outcome) -> Bytes {
    match &outcome.verdict {
        Verdict::Completed(value) => value.clone(),
        other => panic!("not completed: {other:?} stderr: {:?}", outcome.stderr.bytes),
    }
}

pub(crate) fn failed(outcome: &Outcome) -> Failure {
    match &outcome.verdict {
        Verdict::Failed(failure) => failure.clone(),
        other => panic!("not failed: {other:?}"),
    }
}

/// Processes below `root` of which the command line holds one of `names`, as `pid: command line`.
pub(crate) fn descendants(root: u32, names: &[&str]) -> Vec<String> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let Some(parent) = rest.split_ascii_whitespace().nth(1) else { continue };
        parents.push((pid, parent.parse::<u32>().unwrap_or(0)));
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found[1..].iter().filter_map(|&pid| named(pid, names)).collect()
}

/// All processes that have `mark` in their command line or in the environment that they started
/// with, as `pid: command line`.
pub(crate) fn marked(mark: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_marked = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(mark) || named(*pid, &[mark]).is_some()
    };
    let others = pids.filter(|&pid| pid != std::process::id());
    others.filter(is_marked).filter_map(|pid| named(pid, &[""])).collect()
}

fn named(pid: u32, names: &[&str]) -> Option<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    // A process that has ended and was not collected has none.
    let is_alive = !line.is_empty();
    (is_alive && names.iter().any(|name| line.contains(name))).then(|| format!("{pid}: {line}"))
}
