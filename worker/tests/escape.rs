//! Native functions that attack their supervisor, the channel to the worker, and the process table: a deadline
//! holds, an answer belongs to its call, and nothing survives.
#![expect(clippy::expect_used, reason = "a test that cannot go on must stop")]

mod support;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use belljar_core::frame::{self, ChildReply, Done};
use belljar_core::outcome::{FailureKind, Phases};
use belljar_testkit::process::eventually;
use support::{PATIENCE, Rig, call, marked, within};

/// Longer than the worker needs to end a call that is over, on a busy machine; much shorter than a supervisor
/// that does not respond is given.
const SOON: Duration = Duration::from_secs(3);

/// A daemon, three generations away and in a session of its own, that sleeps for so long.
fn daemon(seconds: u32) -> String {
    format!(
        "
    import os, signal, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp('sleep', ['sleep', '{seconds}'])
        os._exit(0)
    os.wait()
    supervisor = os.getppid()
"
    )
}

/// Runs a function with such a daemon and this end; checks that it times out in time, that the slot is sound
/// then, and that nothing of it is left.
async fn times_out(seconds: u32, end: &str) {
    let source = format!("def f():{}    {end}\n", daemon(seconds));
    let mut rig = Rig::new(1);
    rig.is_sound().await;
    let start = Instant::now();
    rig.fails(within(2000, call(&source, "((), {})")), FailureKind::Timeout).await;
    assert!(start.elapsed() < Duration::from_secs(2) + SOON, "{:?}", start.elapsed());
    rig.is_sound().await;
    is_gone(seconds);
    rig.end().await;
}

/// Checks that nobody sleeps for so many seconds.
fn is_gone(seconds: u32) {
    let mark = format!("sleep {seconds}");
    assert!(eventually(PATIENCE, || marked(&mark).is_empty()), "{:?}", marked(&mark));
}

#[tokio::test]
async fn a_stopped_supervisor_delays_no_deadline() {
    times_out(2201, "os.kill(supervisor, signal.SIGSTOP); time.sleep(60)").await;
}

#[tokio::test]
async fn a_supervisor_that_is_stopped_again_and_again_delays_no_deadline() {
    times_out(2202, "while True: os.kill(supervisor, signal.SIGSTOP)").await;
}

#[tokio::test]
async fn what_lost_its_supervisor_ends_with_the_call() {
    let stay = "import ctypes; ctypes.CDLL(None).prctl(1, 0)";
    times_out(2203, &format!("{stay}; os.kill(supervisor, signal.SIGKILL); time.sleep(60)")).await;
}

/// As `docker exec` and some CI start processes: their session is not of their process table, its number is 0.
#[test]
fn a_session_of_outside_the_container_is_no_obstacle() {
    let test = std::env::current_exe().expect("the path of this program");
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]).arg(test);
    command.args(["--exact", "what_lost_its_supervisor_ends_with_the_call"]);
    let output = command.output().expect("unshare of util-linux");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_daemon_of_a_killed_supervisor_is_found() {
    let source = format!("def f():{}    os.kill(supervisor, 9); time.sleep(60)\n", daemon(2204));
    let mut rig = Rig::new(1);
    rig.fails(call(&source, "((), {})"), FailureKind::ExecutorDied).await;
    is_gone(2204);
    rig.is_sound().await;
    rig.end().await;
}

#[tokio::test]
async fn a_child_without_its_supervisor_takes_no_further_call() {
    let source = "
def f():
    import ctypes, os
    ctypes.CDLL(None).prctl(1, 0)
    os.kill(os.getppid(), 9)
    return os.getpid()
";
    let mut rig = Rig::new(1);
    support::completed(&rig.run(call(source, "((), {})")).await);
    rig.is_sound().await;
    rig.end().await;
}

#[tokio::test]
async fn a_stopped_supervisor_ends_with_its_pool() {
    let source = format!("def f():{}    os.kill(supervisor, signal.SIGSTOP)\n", daemon(2205));
    let mut rig = Rig::new(1);
    support::completed(&rig.run(call(&source, "((), {})")).await);
    rig.is_sound().await;
    is_gone(2205);
    rig.end().await;
}

/// A function that writes these bytes to every socket that it has.
fn writes(bytes: &[u8]) -> String {
    let mut hex = String::new();
    bytes.iter().for_each(|byte| write!(hex, "{byte:02x}").expect("a string"));
    format!(
        "
def f():
    import os, stat
    for fd in range(3, 1024):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode): os.write(fd, bytes.fromhex('{hex}'))
        except OSError: pass
    return 'own'
"
    )
}

/// Checks that a call that writes these bytes counts as dead, and that the next has its own answer.
async fn breaks_the_protocol(bytes: &[u8], evidence: &str) {
    let mut rig = Rig::new(1);
    rig.is_sound().await;
    let failure = rig.fails(call(&writes(bytes), "((), {})"), FailureKind::ExecutorDied).await;
    assert!(failure.message.contains(evidence), "{}", failure.message);
    rig.returns(call("def f(): return 'right'", "((), {})"), "'right'").await;
    rig.end().await;
}

#[tokio::test]
async fn junk_on_the_channel_is_no_answer() {
    breaks_the_protocol(&[4, 0, 0, 0, 0xc1, 0, 0, 0], "malformed").await;
}

#[tokio::test]
async fn an_answer_to_another_call_is_no_answer() {
    let done = Done {
        nonce: frame::nonce(),
        result: Ok(support::value("'forged'")),
        phases: Phases::default(),
        peak_memory_bytes: 0,
        files: Vec::new(),
        denied: Vec::new(),
    };
    let forged = frame::encode(&ChildReply::Done(done)).expect("short");
    breaks_the_protocol(&forged, "no reply to this call").await;
}
