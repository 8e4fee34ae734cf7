//! Calls that kill, hang, leak or trick their process cost themselves only: they end with the right
//! reason, the next call on the slot finds everything as it should be, and no process stays.
#![expect(clippy::expect_used, reason = "a test that cannot go on must stop")]

mod support;

use std::time::{Duration, Instant};

use belljar_core::outcome::{CallVerdict, Failure, FailureKind};
use support::{Rig, call, call_with_globals, completed, failed, marked, read, with_memory, within};

/// The outcome of one poisonous call, after which the slot is sound and nothing is left.
async fn poisoned(source: &str, limit_ms: u64) -> Result<String, Failure> {
    let mut rig = Rig::new(1);
    rig.is_sound().await;
    let outcome = rig.run(within(limit_ms, call(source, "((), {})"))).await;
    rig.is_sound().await;
    rig.end().await;
    match &outcome.verdict {
        CallVerdict::Completed(value) => Ok(read(value)),
        _ => Err(failed(&outcome)),
    }
}

async fn dies(source: &str, evidence: &str) {
    let failure = poisoned(source, 20_000).await.expect_err("a dead process");
    assert_eq!(failure.kind, FailureKind::ExecutorDied, "{failure:?}");
    assert!(failure.message.contains(evidence), "{}", failure.message);
}

async fn times_out(source: &str) {
    let mut rig = Rig::new(1);
    rig.is_sound().await;
    let mut best = (Duration::MAX, Duration::MAX);
    // A busy machine can only make it look slower than it is.
    for _ in 0..3 {
        let start = Instant::now();
        let failure = rig.fails(within(700, call(source, "((), {})")), FailureKind::Timeout).await;
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(700), "{took:?}");
        assert!(failure.message.contains("700ms"), "{}", failure.message);
        assert!(read(&failure.exception).starts_with("TimeoutError("));
        let start = Instant::now();
        rig.is_sound().await;
        best = (best.0.min(took), best.1.min(start.elapsed()));
        if best.0 < Duration::from_millis(900) && best.1 < Duration::from_millis(500) {
            return rig.end().await;
        }
    }
    panic!("ended late, or no spare stood by: {best:?}");
}

/// Completes, and the slot is sound after it.
async fn completes(source: &str) {
    poisoned(source, 20_000).await.expect("completed");
}

#[tokio::test]
async fn os_exit() {
    let source = "
def f():
    import os, sys
    print('stderr tail', file=sys.stderr)
    os._exit(3)
";
    dies(source, "exited with code 3").await;
    dies(source, "stderr tail").await;
}

#[tokio::test]
async fn segmentation_fault() {
    dies("def f():\n  import ctypes\n  ctypes.string_at(0)", "SIGSEGV").await;
}

#[tokio::test]
async fn abort() {
    dies("def f():\n  import os\n  os.abort()", "SIGABRT").await;
}

#[tokio::test]
async fn self_kill() {
    dies("def f():\n  import os\n  os.kill(os.getpid(), 9)", "SIGKILL").await;
    dies("def f():\n  import os\n  os.killpg(0, 15)", "SIGTERM").await;
}

#[tokio::test]
async fn killing_the_supervisor() {
    dies("def f():\n  import os, time\n  os.kill(os.getppid(), 9)\n  time.sleep(60)", "SIGKILL")
        .await;
}

#[tokio::test]
async fn deep_native_recursion() {
    let source = "
def f():
    import sys
    sys.setrecursionlimit(10**9)
    def g(): return list(map(lambda _: g(), [1]))
    g()
";
    dies(source, "overflowed its stack").await;
}

#[tokio::test]
async fn memory_bomb() {
    let mut rig = Rig::new(1);
    for source in [
        "def f(): return len(bytearray(400 << 20))",
        "def f():\n  l = []\n  while True: l.append(bytearray(1 << 20))",
        "def f():\n  d = {}\n  while True: d[len(d)] = object()",
    ] {
        let failure =
            rig.fails(with_memory(200, call(source, "((), {})")), FailureKind::Memory).await;
        assert!(read(&failure.exception).starts_with("MemoryError("));
        rig.is_sound().await;
    }
    let outcome = rig
        .run(with_memory(600, call("def f(): return len(bytearray(400 << 20))", "((), {})")))
        .await;
    completed(&outcome);
    assert!(outcome.peak_memory_bytes > 400 << 20, "{outcome:?}");
    let outcome = rig.run(call("def f(): pass", "((), {})")).await;
    assert!(outcome.peak_memory_bytes < 200 << 20, "the peak is the call's own: {outcome:?}");
    rig.end().await;
}

#[tokio::test]
async fn fork_bomb() {
    // Bounded, since the machine is shared: each level doubles, sixty-four at the end.
    let source = "
def f():
    import os, time
    for n in range(6):
        if os.fork() == 0 and n % 2:
            os.setsid()
    time.sleep(60)
";
    times_out(source).await;
}

#[tokio::test]
async fn endless_loops() {
    times_out("def f():\n  while True: pass").await;
    times_out(
        "def f():\n  while True:\n    try:\n      while True: pass\n    except BaseException: pass",
    )
    .await;
}

#[tokio::test]
async fn c_loop_under_the_lock() {
    times_out("def f(): return 9 ** 9 ** 8").await;
}

#[tokio::test]
async fn sleep_past_the_deadline() {
    times_out("def f():\n  import time\n  time.sleep(60)").await;
    times_out("def f():\n  import signal, time\n  for s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n    except OSError: pass\n  time.sleep(60)").await;
}

#[tokio::test]
async fn stopped_process() {
    times_out("def f():\n  import os, signal\n  os.kill(os.getpid(), signal.SIGSTOP)").await;
}

#[tokio::test]
async fn thread_left_running() {
    let thread = "
def f():
    import threading, time
    def g():
        while True: time.sleep(0.01); print('noise')
    threading.Thread(target=g, daemon=DAEMON).start()
";
    completes(&thread.replace("DAEMON", "True")).await;
    completes(&thread.replace("DAEMON", "False")).await;
    completes("def f():\n  from concurrent.futures import ThreadPoolExecutor as P\n  p = P(4)\n  return list(p.map(abs, range(8)))").await;
}

#[tokio::test]
async fn an_end_between_two_calls_costs_neither() {
    let ends = "
class Last:
    def __del__(self):
        import os
        os.kill(os.getpid(), 9)

def f():
    import json
    json.last = Last()
";
    let mut rig = Rig::new(1);
    for _ in 0..5 {
        rig.returns(call_with_globals(ends, "((), {})"), "None").await;
        // The next is sent at once, while what the call changed is put back; nothing is tried again here.
        rig.is_sound().await;
    }
    rig.end().await;
}

#[tokio::test]
async fn daemon_left_running() {
    let daemon = "
def f():
    import os, subprocess, time
    subprocess.Popen(['sleep', '1117'], start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp('sleep', ['sleep', '1117'])
        os._exit(0)
    os.wait()
";
    completes(daemon).await;
    assert_eq!(marked("1117"), Vec::<String>::new());
}

#[tokio::test]
async fn fork_that_returns() {
    assert_eq!(poisoned("def f():\n  import os\n  return 'child' if os.fork() == 0 else (os.wait(), 'parent')[1]", 5000).await, Ok("'parent'".to_owned()));
}

#[tokio::test]
async fn standard_input() {
    assert_eq!(
        poisoned("def f():\n  import sys\n  return sys.stdin.read()", 5000).await,
        Ok("''".to_owned())
    );
    let failure = poisoned("def f(): return input()", 5000).await.expect_err("no input");
    assert!(failure.message.starts_with("EOFError"), "{failure:?}");
}

#[tokio::test]
async fn closed_descriptors() {
    completes("def f():\n  import os\n  os.close(0); os.close(1); os.close(2)").await;
    completes("def f():\n  import os\n  os.closerange(0, 256)\n  return 1").await;
    completes(
        "def f():\n  import sys\n  sys.stdout.close(); sys.stderr.close(); sys.stdin.close()",
    )
    .await;
    completes("def f():\n  import io, sys\n  sys.stdout = sys.stderr = io.StringIO()").await;
    completes("def f():\n  import os\n  n = os.open('/dev/null', os.O_WRONLY)\n  os.dup2(n, 1)")
        .await;
    completes("def f():\n  import os\n  for n in range(400): os.open('/dev/null', 0)").await;
    dies("def f():\n  import os\n  os.closerange(0, 1024)", "exited with code 70").await;
}

#[tokio::test]
async fn signal_handlers_replaced() {
    completes("def f():\n  import signal\n  signal.signal(signal.SIGTERM, lambda *a: None)").await;
    completes("def f():\n  import signal\n  signal.setitimer(signal.ITIMER_REAL, 0.05)").await;
    completes("def f():\n  import signal\n  signal.pthread_sigmask(signal.SIG_BLOCK, [15])").await;
}

#[tokio::test]
async fn atexit_that_hangs() {
    let source = "
def f():
    import atexit, time
    atexit.register(time.sleep, 60)
    import threading
    threading._register_atexit(time.sleep, 60)
";
    completes(source).await;
}

#[tokio::test]
async fn changed_surroundings_are_put_back() {
    let mut rig = Rig::new(1);
    let look = "
def f():
    import gc, os, sys
    mask = os.umask(0); os.umask(mask)
    return (os.getpid(), os.getcwd(), mask, dict(os.environ), list(sys.path), sys.getrecursionlimit(),
            gc.isenabled(), sys.gettrace())
";
    let before = read(&completed(&rig.run(call(look, "((), {})")).await));
    let change = "
def f():
    import gc, os, sys
    os.chdir('/tmp'); os.umask(0o777); os.environ['LEFT'] = 'behind'; os.environ.pop('PATH', None)
    sys.path.insert(0, '/tmp'); sys.setrecursionlimit(5000); gc.disable()
    sys.settrace(lambda *a: None); os.environ = {}; sys.path = []
";
    completed(&rig.run(call(change, "((), {})")).await);
    let after = read(&completed(&rig.run(call(look, "((), {})")).await));
    assert_eq!(before, after, "also the same process");
    rig.is_sound().await;
    rig.end().await;
}

#[tokio::test]
async fn nothing_of_main_stays() {
    let mut rig = Rig::new(1);
    let change = "
def f():
    import __main__, builtins
    __main__.left = 1
    globals()['left'] = 2
";
    completed(&rig.run(call(change, "((), {})")).await);
    rig.returns(
        call("def f():\n  import __main__\n  return hasattr(__main__, 'left')", "((), {})"),
        "False",
    )
    .await;
    rig.end().await;
}
