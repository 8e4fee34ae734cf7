//! What every test of the pool needs: pickles of a real Python, a pool of real children, and the process
//! table.
#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use belljar_core::grants::GrantPolicy;
use belljar_core::id::TaskId;
use belljar_core::invocation::Invocation;
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome};
use belljar_core::task::{PythonVersion, Runtime, TaskClass};
use belljar_pickle::payload;
use belljar_testkit::process::{self, Process};
use belljar_testkit::python::{Namespace, Python};
pub(crate) use belljar_testkit::root;
use belljar_testkit::{binary, paths};
use belljar_worker::ChildCommand;
use belljar_worker::config::PoolConfig;
use belljar_worker::executor::{Executor, NativeExecutor};
use belljar_worker::pool::{Pool, PoolEvent};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The native executor of this build.
pub(crate) fn belljar_python() -> PathBuf {
    let program = binary("belljar-python");
    assert!(program.exists(), "run `cargo build -p belljar-interpreter` first");
    program
}

pub(crate) fn native() -> TaskClass {
    TaskClass::new(Runtime::Native, PythonVersion::default())
}

/// Starts the children of the native executor.
pub(crate) fn command() -> ChildCommand {
    ChildCommand::new(belljar_python()).option("--site", paths::site())
}

/// A pool of native slots.
pub(crate) fn pool(slots: usize) -> PoolConfig {
    let executor = NativeExecutor::new(PythonVersion::default(), command(), GrantPolicy::default());
    PoolConfig::new(slots, vec![Arc::new(executor)])
}

/// One Python for all tests of a binary.
static PYTHON: LazyLock<Python> = LazyLock::new(|| {
    let paths = [&*root().join("worker/tests/support")];
    Python::start_with(&paths::interpreter(), &paths).expect("make setup installs it")
});

/// The payloads that it has made, so that the same source is the same code to a child's cache.
static PICKLED: Mutex<BTreeMap<[String; 3], Bytes>> = Mutex::new(BTreeMap::new());

/// The pickle by `pickler` of the expression `what` after `source` ran in `__main__`.
pub(crate) fn pickle_by(pickler: &str, source: &str, what: &str) -> Bytes {
    let request = [pickler, source, what].map(str::to_owned);
    let mut pickled = PICKLED.lock().expect("unpoisoned");
    let pickle = pickled.entry(request).or_insert_with(|| {
        let payload = PYTHON.dumps_by(pickler, Namespace::Main, source, what);
        Bytes::from(payload::decode(&payload.expect("a payload")).expect("base64"))
    });
    pickle.clone()
}

/// The `repr` of what is pickled.
pub(crate) fn read(pickle: &[u8]) -> String {
    PYTHON.loads(&payload::encode(pickle)).expect("a value").repr
}

/// The function `f` of `source`, by dill.
pub(crate) fn function(source: &str) -> Bytes {
    pickle_by("dill", source, "f")
}

/// A call of `f` with the globals that it uses, as dill does with `recurse`.
pub(crate) fn call_with_globals(source: &str, args: &str) -> Invocation {
    invocation(pickle_by("dill-recurse", source, "f"), value(args))
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
    within(20_000, Invocation::standalone(native(), code, args))
}

pub(crate) fn within(milliseconds: u64, mut invocation: Invocation) -> Invocation {
    invocation.spec.limits.timeout_ms = milliseconds;
    invocation
}

pub(crate) fn with_memory(mebibytes: u32, mut invocation: Invocation) -> Invocation {
    invocation.spec.limits.memory_mb = mebibytes;
    invocation
}

/// A pool and its events.
pub(crate) struct Rig {
    pub(crate) pool: Pool,
    pub(crate) events: mpsc::Receiver<PoolEvent>,
    /// A variable in the environment of its children and of their children, by which they are found.
    pub(crate) mark: String,
}

impl Rig {
    pub(crate) fn new(slots: usize) -> Self {
        Self::with(slots, command())
    }

    pub(crate) fn with(slots: usize, command: ChildCommand) -> Self {
        Self::of(slots, vec![(PythonVersion::default(), command)])
    }

    pub(crate) fn of(slots: usize, commands: Vec<(PythonVersion, ChildCommand)>) -> Self {
        let mark = TaskId::random().to_string();
        let executor = |(python, mut command): (PythonVersion, ChildCommand)| {
            command.env.push(("BELLJAR_TEST_RIG".into(), mark.clone().into()));
            let executor = NativeExecutor::new(python, command, GrantPolicy::default());
            Arc::new(executor) as Arc<dyn Executor>
        };
        let executors = commands.into_iter().map(executor).collect();
        let (pool, events) = Pool::start(PoolConfig::new(slots, executors));
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

    /// The outcome of the next call that ends.
    pub(crate) async fn finished(&mut self) -> (TaskId, Outcome) {
        loop {
            match self.event().await {
                PoolEvent::Finished(report) => return (report.task.task_id, report.outcome),
                PoolEvent::ExecutorUp(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    pub(crate) async fn run(&mut self, invocation: Invocation) -> Outcome {
        let task_id = invocation.task.task_id;
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

    /// Checks that the slot is in its first state.
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

    /// Ends the pool and checks that no process is left.
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
        CallVerdict::Completed(value) => value.clone(),
        other => panic!("not completed: {other:?} stderr: {:?}", outcome.stderr.bytes),
    }
}

pub(crate) fn failed(outcome: &Outcome) -> Failure {
    match &outcome.verdict {
        CallVerdict::Failed(failure) => failure.clone(),
        other => panic!("not failed: {other:?}"),
    }
}

/// Processes below `root` whose command line holds one of `names`, as `pid: command line`.
pub(crate) fn descendants(root: u32, names: &[&str]) -> Vec<String> {
    let found = process::descendants(root.cast_signed()).into_iter();
    shown(found.filter(|it| names.iter().any(|name| it.command.contains(name))))
}

/// All other processes that have `mark` in their command line or in the environment that they started
/// with, as `pid: command line`.
pub(crate) fn marked(mark: &str) -> Vec<String> {
    shown(process::marked(mark).into_iter())
}

fn shown(processes: impl Iterator<Item = Process>) -> Vec<String> {
    // One that is just ending has no command line any more.
    let alive = processes.filter(|it| !it.command.is_empty());
    alive.map(|it| format!("{}: {}", it.pid, it.command)).collect()
}
