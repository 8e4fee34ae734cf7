//! The pool: backlog, cancel, drain, children that do not start, and owners that are killed.
#![expect(clippy::expect_used, reason = "a test that cannot go on must stop")]

mod support;

use std::io::BufRead as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use belljar_core::live::{LIVE_BYTES, LiveUpdate};
use belljar_core::outcome::{CallVerdict, FailureKind};
use belljar_core::task::{Attempt, TaskAttempt, TaskClass};
use belljar_worker::ChildCommand;
use belljar_worker::error::RefusedReason;
use belljar_worker::pool::PoolEvent;
use support::{
    PATIENCE, Rig, belljar_python, call, command, completed, descendants, failed, marked, native,
    within,
};

const NO_OP: &str = "def f(): return None";
const NAP: &str = "def f(s):\n  import time\n  time.sleep(s)";

#[tokio::test]
async fn executors_describe_themselves() {
    let mut rig = Rig::new(1);
    let PoolEvent::ExecutorUp(info) = rig.event().await else { panic!("an executor") };
    assert_eq!(info.class, native());
    assert!(info.python.starts_with(&format!("{}.", native().python)), "{info:?}");
    assert_eq!(info.dill, "0.4.1");
    assert_eq!(rig.pool.describe(), [info]);
    rig.end().await;
}

#[tokio::test]
async fn other_pythons_come_up_after_the_first() {
    let dir = tempfile::tempdir().expect("a directory");
    let slow = dir.path().join("slow");
    let script = format!("#!/bin/sh\nsleep 0.5\nexec {} \"$@\"\n", belljar_python().display());
    std::fs::write(&slow, script).expect("written");
    std::fs::set_permissions(&slow, std::fs::Permissions::from_mode(0o700)).expect("executable");
    let path = std::env::var_os("PATH").expect("where `sleep` is");
    let first = ChildCommand { program: slow, env: vec![("PATH".into(), path)], ..command() };
    let other: TaskClass = "native:3.9".parse().expect("a class");
    let mut rig = Rig::of(1, vec![(native().python, first), (other.python, command())]);
    for class in [native(), other] {
        let PoolEvent::ExecutorUp(info) = rig.event().await else { panic!("an executor") };
        assert_eq!(info.class, class);
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_end_once_each() {
    let mut rig = Rig::new(2);
    let (mut submitted, mut ended) = (0, std::collections::HashSet::new());
    let template = call("def f(x): return x", "((1,), {})");
    let mut widest = 0;
    while ended.len() < 2000 {
        widest = widest.max(rig.pool.window());
        while submitted < 2000 && rig.pool.in_flight() < rig.pool.window() {
            let mut invocation = template.clone();
            invocation.task.task_id = belljar_core::id::TaskId::random();
            match rig.pool.submit(invocation) {
                Ok(()) => submitted += 1,
                Err(refused) => assert_eq!(refused.reason, RefusedReason::Full),
            }
        }
        match rig.event().await {
            PoolEvent::Finished(report) => {
                completed(&report.outcome);
                assert!(ended.insert(report.task.task_id));
            }
            // On a loaded machine some may wait too long.
            PoolEvent::Returned(_) => submitted -= 1,
            PoolEvent::ExecutorUp(_) | PoolEvent::Resized | PoolEvent::Live(_) => {}
            other @ PoolEvent::ExecutorDown { .. } => panic!("{other:?}"),
        }
    }
    assert!(widest > 2, "short calls are held ahead");
    assert_eq!(rig.pool.in_flight(), 0);
    rig.end().await;
}

#[tokio::test]
async fn a_call_is_asked_for_just_before_the_end_of_one_like_those_before() {
    let mut rig = Rig::new(1);
    rig.is_sound().await;
    let mut start = Instant::now();
    rig.pool.submit(call(NAP, "((0.05,), {})")).expect("taken");
    // Once the calls are known to be alike, which on a busy machine they are not always.
    while !(rig.any_event().await == PoolEvent::Resized && rig.pool.window() == 2) {
        if rig.pool.in_flight() == 0 {
            start = Instant::now();
            rig.pool.submit(call(NAP, "((0.05,), {})")).expect("taken");
        }
    }
    assert!(start.elapsed() > Duration::from_millis(35), "{:?}", start.elapsed());
    let next = call(NO_OP, "((), {})");
    let id = next.task.task_id;
    rig.pool.submit(next).expect("taken");
    rig.finished().await;
    assert_eq!(rig.finished().await.0, id);
    rig.end().await;
}

/// The next update of a running call.
async fn update(rig: &mut Rig) -> LiveUpdate {
    loop {
        match rig.event().await {
            PoolEvent::Live(update) => return *update,
            PoolEvent::ExecutorUp(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_call_shows_what_it_writes_while_it_is_watched() {
    let mut rig = Rig::new(1);
    rig.is_sound().await;
    let source = "
def f():
    import time
    print('x' * 100_000, flush=True)
    time.sleep(60)
";
    let speaking = call(source, "((), {})");
    let task = speaking.task;
    rig.pool.submit(speaking).expect("taken");
    let (mut end, mut from_start) = (0, true);
    // Asked again until it has written everything.
    while end < 100_001 {
        rig.pool.watch(task, from_start);
        let update = update(&mut rig).await;
        assert!(update.task == task && update.progress.is_none() && update.stderr.bytes.is_empty());
        assert!(update.stdout.bytes.len() <= LIVE_BYTES, "{}", update.stdout.bytes.len());
        assert!(update.stdout.start >= end, "nothing twice");
        (end, from_start) = (update.stdout.end(), false);
    }
    rig.pool.watch(task, true);
    let again = update(&mut rig).await.stdout;
    assert_eq!((again.bytes.len(), again.end()), (LIVE_BYTES, 100_001), "what it still has");
    assert!(rig.pool.cancel(task));
    assert_eq!(rig.finished().await.1.verdict, CallVerdict::Cancelled);
    // Nobody watches the next one.
    let outcome = rig.run(call("def f(): print('unseen')", "((), {})")).await;
    assert_eq!(outcome.stdout.bytes, "unseen\n");
    rig.end().await;
}

#[tokio::test]
async fn a_call_tells_its_progress_at_intervals_and_what_it_said_last() {
    let mut rig = Rig::new(1);
    rig.is_sound().await;
    let source = "
def f(n):
    import belljar, time
    for i in range(n):
        belljar.progress(i, n, f'item {i}')
        time.sleep(0.01)
";
    rig.pool.submit(call(source, "((60,), {})")).expect("taken");
    let mut told = Vec::new();
    loop {
        match rig.event().await {
            PoolEvent::Live(update) => told.extend(update.progress),
            PoolEvent::Finished(report) => break drop(completed(&report.outcome)),
            other => panic!("{other:?}"),
        }
    }
    let last = told.last().expect("some");
    assert_eq!((last.done, last.total, &*last.note), (59.0, Some(60.0), "item 59"));
    assert!(told.is_sorted_by_key(|progress| progress.done as u32));
    // The call takes at least 600 ms, on a busy machine longer.
    assert!((3..30).contains(&told.len()), "{}", told.len());
    rig.end().await;
}

#[tokio::test]
async fn what_waits_behind_a_long_call_is_given_back() {
    let mut rig = Rig::new(1);
    rig.is_sound().await;
    let (long, short) = (call(NAP, "((1.0,), {})"), call(NO_OP, "((), {})"));
    let (long_id, short_task) = (long.task.task_id, short.task);
    let start = Instant::now();
    rig.pool.submit(long).expect("taken");
    rig.pool.submit(short).expect("taken");
    assert_eq!(rig.event().await, PoolEvent::Returned(short_task));
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert!(start.elapsed() < Duration::from_millis(400), "{:?}", start.elapsed());
    assert_eq!(rig.pool.window(), 1);
    assert_eq!(rig.finished().await.0, long_id);
    rig.end().await;
}

#[tokio::test]
async fn cancel_stops_what_runs_and_what_waits() {
    let mut rig = Rig::new(1);
    rig.is_sound().await;
    let running = call("def f():\n  while True: pass", "((), {})");
    let waiting = call(NO_OP, "((), {})");
    let tasks = [running.task, waiting.task];
    rig.pool.submit(running).expect("taken");
    rig.pool.submit(waiting).expect("taken");
    assert!(rig.pool.cancel(tasks[1]));
    let (id, outcome) = rig.finished().await;
    assert_eq!((id, outcome.verdict), (tasks[1].task_id, CallVerdict::Cancelled));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    assert!(!rig.pool.cancel(TaskAttempt { attempt: Attempt(2), ..tasks[0] }), "another attempt");
    assert!(rig.pool.cancel(tasks[0]));
    let (id, outcome) = rig.finished().await;
    assert_eq!((id, outcome.verdict), (tasks[0].task_id, CallVerdict::Cancelled));
    assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
    assert!(!rig.pool.cancel(tasks[0]), "it has ended");
    rig.is_sound().await;
    rig.end().await;
}

#[tokio::test]
async fn a_drain_lets_calls_end_and_gives_the_rest_back() {
    let mut rig = Rig::new(1);
    rig.is_sound().await;
    let (running, waiting) = (call(NAP, "((0.3,), {})"), call(NO_OP, "((), {})"));
    let tasks = [running.task, waiting.task];
    rig.pool.submit(running).expect("taken");
    rig.pool.submit(waiting).expect("taken");
    let drain = {
        let pool = rig.pool.clone();
        tokio::spawn(async move { pool.drain(PATIENCE).await })
    };
    assert_eq!(rig.event().await, PoolEvent::Returned(tasks[1]));
    let refused = rig.pool.submit(call(NO_OP, "((), {})")).expect_err("stopping");
    assert_eq!(refused.reason, RefusedReason::Stopping);
    let (id, outcome) = rig.finished().await;
    assert_eq!(id, tasks[0].task_id);
    completed(&outcome);
    drain.await.expect("drained");
    rig.end().await;
}

#[tokio::test]
async fn a_kill_cuts_calls_and_says_so() {
    let mut rig = Rig::new(1);
    rig.is_sound().await;
    rig.pool.submit(call(NAP, "((60,), {})")).expect("taken");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let pool = rig.pool.clone();
    let kill = tokio::spawn(async move { pool.kill().await });
    let (_, outcome) = rig.finished().await;
    assert_eq!(failed(&outcome).kind, FailureKind::WorkerLost);
    kill.await.expect("killed");
    rig.end().await;
}

#[tokio::test]
async fn a_dropped_pool_leaves_nothing() {
    let mut rig = Rig::new(2);
    rig.is_sound().await;
    rig.pool
        .submit(call("def f():\n  import os\n  os.execvp('sleep', ['sleep', '1118'])", "((), {})"))
        .expect("taken");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(marked("1118").len(), 1);
    let Rig { pool, mut events, mark } = rig;
    drop(pool);
    while events.recv().await.is_some() {}
    let gone = async {
        while !marked(&mark).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("all gone");
}

#[tokio::test]
async fn children_that_do_not_start_are_reported() {
    let script = "echo no luck >&2; exit 9";
    let mut rig = Rig::with(1, ChildCommand::new("/bin/sh".into()).option("-c", script));
    let invocation = call(NO_OP, "((), {})");
    let task = invocation.task;
    rig.pool.submit(invocation).expect("taken: nothing is known yet");
    let mut events = [rig.event().await, rig.event().await];
    if matches!(events[0], PoolEvent::Returned(_)) {
        events.reverse();
    }
    let [PoolEvent::ExecutorDown { class, reason }, returned] = events else { panic!("down") };
    assert_eq!(class, native());
    assert!(reason.contains("exited with code 9") && reason.contains("no luck"), "{reason}");
    assert_eq!(returned, PoolEvent::Returned(task));
    let refused = rig.pool.submit(call(NO_OP, "((), {})")).expect_err("down");
    assert_eq!(refused.reason, RefusedReason::Down);
    rig.end().await;

    let mut rig = Rig::with(1, ChildCommand::new("/nowhere/belljar-python".into()));
    let PoolEvent::ExecutorDown { reason, .. } = rig.event().await else { panic!("down") };
    assert!(reason.contains("/nowhere/belljar-python"), "{reason}");
    rig.end().await;
}

#[tokio::test]
async fn a_child_killed_while_idle_costs_nothing() {
    let mut rig = Rig::new(1);
    rig.is_sound().await;
    for _ in 0..3 {
        let pids = marked(&rig.mark);
        let pids: Vec<_> = pids.iter().filter_map(|line| line.split(':').next()).collect();
        let _ = Command::new("kill").arg("-9").args(&pids).status();
        // Its end of the socket is closed for certain once it is a zombie or gone.
        let lives = |pid: &&str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
        };
        while pids.iter().any(lives) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The pool hears of it in the runtime's next turn.
        tokio::time::sleep(Duration::from_millis(1)).await;
        rig.is_sound().await;
    }
    rig.end().await;
}

/// Not a test of its own: the process that [`no_orphan_survives_its_owner`] kills.
#[tokio::test]
async fn owner_to_be_killed() {
    let Some(last) = std::env::var("BELLJAR_TEST_OWNER").ok() else { return };
    let mut rig = Rig::new(2);
    rig.is_sound().await;
    let family = "
def f():
    import os, subprocess, time
    subprocess.Popen(['sleep', '1119'], start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp('sleep', ['sleep', '1119'])
        os._exit(0)
    LAST
    os.execvp('sleep', ['sleep', '1119'])
";
    rig.pool.submit(call(&family.replace("LAST", &last), "((), {})")).expect("taken");
    while marked("1119").len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("ready");
    std::future::pending::<()>().await;
}

/// Killed also where the test fails: what it left would be found by the next.
struct Owner(std::process::Child);

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn no_orphan_survives_its_owner() {
    survives_nothing("pass");
    survives_nothing("os.kill(os.getppid(), 19)  # SIGSTOP");
}

/// Kills a pool whose function does `last`, a line of Python, once it has started three sleepers.
fn survives_nothing(last: &str) {
    let owner = Command::new(std::env::current_exe().expect("this test"))
        .args(["owner_to_be_killed", "--exact", "--nocapture"])
        .env("BELLJAR_TEST_OWNER", last)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test again");
    let mut owner = Owner(owner);
    let output = std::io::BufReader::new(owner.0.stdout.take().expect("piped"));
    assert!(output.lines().map_while(Result::ok).any(|line| line == "ready"), "it got ready");
    let mut family = descendants(owner.0.id(), &["belljar-python"]);
    family.extend(marked("1119"));
    // A supervisor and three sleepers, one of them the interpreter; the other slot and the spare may be
    // on their way.
    assert!(family.len() >= 4, "{family:?}");
    drop(owner);
    let start = Instant::now();
    let alive = || {
        let is_alive = |line: &&String| {
            let pid = line.split(':').next().expect("a pid");
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
        };
        family.iter().filter(is_alive).cloned().collect::<Vec<_>>()
    };
    while !alive().is_empty() && start.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(alive(), Vec::<String>::new());
}

#[tokio::test]
async fn a_deadline_counts_the_call_only() {
    // The first call waits for the child to start, which takes longer than its limit.
    let mut rig = Rig::new(1);
    completed(&rig.run(within(60, call(NO_OP, "((), {})"))).await);
    rig.end().await;
}
