//! What every executor must do: one test body, run against each.

#![expect(clippy::expect_used, reason = "a test that cannot go on must stop")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use belljar_core::grants::GrantPolicy;
use belljar_core::invocation::Invocation;
use belljar_core::limits::{SANDBOX_HOST_BYTES, WARM_ADDRESS_BYTES};
use belljar_core::outcome::{CallVerdict, FailureKind, Outcome};
use belljar_core::result_file;
use belljar_core::shared_blobs::SharedBlobs;
use belljar_core::task::{PythonVersion, Runtime};
use belljar_testkit::{binary, paths};
use belljar_worker::ChildCommand;
use belljar_worker::error::NotInstalled;
use belljar_worker::executor::{Executor, Instance, NativeExecutor, RUNTIMES, SandboxExecutor};
use belljar_worker::install::Installation;
use belljar_worker::live::{Live, Watch};
use support::{call, command, completed, failed, read, with_memory, within};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const ENDLESS: &str = "def f():\n  while True: pass";

fn native() -> NativeExecutor {
    native_with(command())
}

fn native_with(command: ChildCommand) -> NativeExecutor {
    NativeExecutor::new(PythonVersion::default(), command, GrantPolicy::default())
}

fn sandbox() -> SandboxExecutor {
    sandbox_with(None)
}

fn sandbox_with(blobs: Option<SharedBlobs>) -> SandboxExecutor {
    let program = binary("belljar-sandbox");
    assert!(program.exists(), "run `cargo build -p belljar-sandbox` first");
    let python = PythonVersion::default();
    let guest = paths::guests().join(python.to_string());
    let mut command = ChildCommand { blobs, ..ChildCommand::new(program) };
    if std::env::var_os("BELLJAR_ALLOW_WEAK_SANDBOX").is_some() {
        command.args.push(SandboxExecutor::ALLOW_WEAK.into());
    }
    SandboxExecutor::new(python, command, guest, GrantPolicy::default())
}

/// An executor, and the instance that the next call goes to.
struct Calls<'a> {
    executor: &'a dyn Executor,
    instance: Option<Box<dyn Instance>>,
    cancel: CancellationToken,
}

impl Calls<'_> {
    async fn run(&mut self, invocation: Invocation) -> Outcome {
        // What the call shows of itself nobody reads.
        let (watch, (events, _shown)) = (Watch::default(), mpsc::channel(16));
        loop {
            let instance = match self.instance.take() {
                Some(instance) if !instance.is_stale() => instance,
                _ => self.executor.start().await.expect("it starts").instance,
            };
            let live = Live::new(invocation.task, &watch, &events);
            let ran = instance.run(&invocation, &self.cancel, &live).await;
            self.instance = ran.instance;
            if let Some(outcome) = ran.outcome {
                return outcome;
            }
        }
    }
}

async fn runs_calls(executor: &dyn Executor) {
    let started = executor.start().await.expect("it starts");
    assert_eq!(started.info.class, executor.class());
    let version = format!("{}.", executor.class().python);
    assert!(started.info.python.starts_with(&version), "{:?}", started.info);
    let instance = Some(started.instance);
    let mut calls = Calls { executor, instance, cancel: CancellationToken::new() };

    let outcome =
        calls.run(call("def f(x, y=1): print(x); return x * y", "((6,), {'y': 7})")).await;
    assert_eq!(read(&completed(&outcome)), "42");
    assert_eq!(outcome.stdout.bytes, "6\n");
    assert!(outcome.elapsed_us > 0);
    assert!(calls.instance.is_some(), "it takes another call");

    let failure = failed(&calls.run(call("def f(): return 1 / 0", "((), {})")).await);
    assert_eq!(failure.kind, FailureKind::Exception);
    assert_eq!(read(&failure.exception), "ZeroDivisionError('division by zero')");
    assert!(calls.instance.is_some(), "an exception is an answer");

    let started = Instant::now();
    let failure = failed(&calls.run(within(300, call(ENDLESS, "((), {})"))).await);
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert!(started.elapsed() >= Duration::from_millis(300));

    let cancel = calls.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel();
    });
    let outcome = calls.run(call(ENDLESS, "((), {})")).await;
    assert_eq!(outcome.verdict, CallVerdict::Cancelled);

    calls.cancel = CancellationToken::new();
    let outcome = calls.run(call("def f(): return 'again'", "((), {})")).await;
    assert_eq!(read(&completed(&outcome)), "'again'");
    calls.instance.expect("it takes another call").end().await;
}

/// GrantRequest are the executor's to give.
async fn denies_what_is_not_offered(executor: &dyn Executor) {
    let instance = Some(executor.start().await.expect("it starts").instance);
    let mut calls = Calls { executor, instance, cancel: CancellationToken::new() };
    let mut asking = call("def f(): return 1", "((), {})");
    let asked =
        belljar_core::grants::GrantRequest { env: vec!["TOKEN".into()], ..Default::default() };
    asking.spec.grants = Some(Box::new(asked));
    assert_eq!(failed(&calls.run(asking).await).kind, FailureKind::Denied);
    calls.instance.expect("nothing has run").end().await;
}

/// A long result goes to the file of its attempt, where there is a directory.
async fn leaves_long_results(executor: &dyn Executor, directory: &Path) {
    let instance = Some(executor.start().await.expect("it starts").instance);
    let mut calls = Calls { executor, instance, cancel: CancellationToken::new() };
    let making = call("def f(n): return b'x' * n", "((9 << 20,), {})");
    let path = directory.join(result_file::path(making.task));
    std::fs::create_dir_all(path.parent().expect("a shard")).expect("made");
    let outcome = calls.run(making).await;
    let CallVerdict::CompletedInFile(bytes) = outcome.verdict else { panic!("{outcome:?}") };
    let pickle = std::fs::read(&path).expect("a file");
    assert_eq!(pickle.len() as u64, bytes);
    let inside = belljar_pickle::result_kind(&pickle);
    assert_eq!(inside, belljar_core::outcome::ResultKind::Data);
    assert_eq!(pickle.iter().filter(|&&byte| byte == b'x').count(), 9 << 20);
    let outcome = calls.run(call("def f(): return 'again'", "((), {})")).await;
    assert_eq!(read(&completed(&outcome)), "'again'");
    calls.instance.expect("it takes another call").end().await;
}

#[tokio::test]
async fn long_results_go_to_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let blobs = || Some(SharedBlobs::Directory(directory.path().into()));
    leaves_long_results(
        &native_with(ChildCommand { blobs: blobs(), ..command() }),
        directory.path(),
    )
    .await;
    leaves_long_results(&sandbox_with(blobs()), directory.path()).await;
}

macro_rules! for_each_executor {
    ($($name:ident),*) => {$(
        mod $name {
            #[tokio::test]
            async fn runs_calls() {
                super::runs_calls(&super::$name()).await;
            }

            #[tokio::test]
            async fn denies_what_is_not_offered() {
                super::denies_what_is_not_offered(&super::$name()).await;
            }
        }
    )*};
}

for_each_executor!(native, sandbox);

#[tokio::test]
async fn the_process_of_a_sandbox_is_limited() {
    let executor = sandbox();
    let started = executor.start().await.expect("it starts");
    let mut calls = Calls {
        executor: &executor,
        instance: Some(started.instance),
        cancel: CancellationToken::new(),
    };
    completed(&calls.run(with_memory(100, call("def f(): return 1", "((), {})"))).await);
    let own = std::process::id().cast_signed();
    let processes = belljar_testkit::process::descendants(own);
    let process = processes.iter().find(|it| it.command.contains("belljar-sandbox"));
    let limits = format!("/proc/{}/limits", process.expect("it runs").pid);
    let limits = std::fs::read_to_string(limits).expect("it runs");
    let data = limits.lines().find_map(|line| line.strip_prefix("Max data size")).expect("a line");
    let bytes: u64 = data.split_whitespace().next().expect("a limit").parse().expect("a number");
    let stated = 2 * (100 << 20) + SANDBOX_HOST_BYTES + WARM_ADDRESS_BYTES;
    // Besides, what it has at its start: the image of the interpreter, stacks, code.
    assert!((stated..stated + (200 << 20)).contains(&bytes), "{bytes}");
    calls.instance.expect("kept").end().await;
}

/// Maps memory in the process of a sandbox, as a leak would: the address, or the negative of an error number.
#[cfg(target_arch = "x86_64")]
fn map(pid: i32, bytes: i64) -> std::io::Result<i64> {
    use belljar_testkit::injection::{Answer, Arg::Number, Injector};
    let protection = i64::from(libc::PROT_READ | libc::PROT_WRITE);
    let flags = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE);
    let args = [0, bytes, protection, flags, -1, 0].map(Number);
    match Injector::stop(pid)?.call(libc::SYS_mmap, &args)? {
        Answer::Returned(result) => Ok(result),
        Answer::Died => Err(std::io::Error::other("the process died")),
    }
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn a_sandbox_gets_no_more_memory_and_is_replaced_when_it_keeps_too_much() {
    let executor = sandbox();
    let instance = Some(executor.start().await.expect("it starts").instance);
    let mut calls = Calls { executor: &executor, instance, cancel: CancellationToken::new() };
    let number = || call("def f(): return 1", "((), {})");
    completed(&calls.run(number()).await);
    let own = std::process::id().cast_signed();
    let processes = belljar_testkit::process::descendants(own);
    let process = processes.iter().find(|it| it.command.contains("belljar-sandbox"));
    let pid = process.expect("it runs").pid;
    match map(pid, 8 << 30) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            eprintln!("SKIPPED: this user may not trace processes ({error})");
            return;
        }
        refused => assert_eq!(refused.expect("made"), -i64::from(libc::ENOMEM)),
    }
    assert!(map(pid, 300 << 20).expect("made") > 0, "below the limit");
    // It is looked at now and then.
    for _ in 0..20 {
        if calls.instance.as_ref().expect("kept").is_stale() {
            return calls.instance.take().expect("kept").end().await;
        }
        completed(&calls.run(number()).await);
    }
    panic!("a process that keeps 300 MiB is not replaced");
}

#[test]
fn a_weak_sandbox_is_not_served_unless_allowed() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join(SandboxExecutor::PROGRAM);
    std::fs::write(&program, "#!/bin/sh\necho 'belljar-sandbox: no landlock' >&2\nexit 77\n")
        .expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("its own");
    let python = PythonVersion::default();
    std::fs::create_dir(dir.path().join(python.to_string())).expect("new");
    let programs = dir.path().to_owned();
    let guests = Some(programs.clone());
    let mut installation = Installation { programs, guests, ..Installation::default() };
    let support = RUNTIMES.iter().find(|support| support.runtime == Runtime::Sandbox);
    let executor = support.expect("a row").executor;
    let refused = executor(&installation, python).expect_err("no landlock");
    assert!(matches!(&refused, NotInstalled::Walls(text) if text == "no landlock"), "{refused}");
    installation.allow_weak_sandbox = true;
    assert!(executor(&installation, python).is_ok());
}
