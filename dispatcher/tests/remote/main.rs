//! Dispatchers and workers over real sockets, with a real Redis and real children: pull and push mode.
#![expect(clippy::expect_used, reason = "a test says with it what it counts on")]
#![expect(clippy::print_stdout, reason = "figures, shown by --nocapture")]

mod harness;
mod network;
mod scripted;
mod shared;
mod shutdown;
#[path = "../../../worker/tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use belljar_core::message::{DeliveryMode, RejectReason};
use belljar_core::task::TaskStatus;
use belljar_dispatcher::{Config, Workers};
use belljar_worker::transport::WorkerError;
use harness::{Client, Dispatcher, PATIENCE, Redis, Worker, lines};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const DOUBLE: &str = "def f(x): return x * 2";

/// Writes a line to `log` when it begins, and ends once there is a file `go`.
const HOLD: &str = "
def f(log, go):
    import os, time
    with open(log, 'a') as out:
        out.write('begun\\n')
    while not os.path.exists(go):
        time.sleep(0.005)
    return 'held'
";

fn hold_args(redis: &Redis) -> String {
    format!("(({:?}, {:?}), {{}})", redis.file("log"), redis.file("go"))
}

fn doubles(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("(({n},), {{}})")).collect()
}

async fn runs_many(mode: DeliveryMode) {
    let redis = Redis::start();
    let dispatcher = Dispatcher::start(&redis, mode).await;
    let worker = Worker::start(mode, 2, dispatcher.address);
    answers_many(mode.as_str(), &redis).await;
    worker.leave().await;
    dispatcher.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_pool_runs_many() {
    let redis = Redis::start();
    let shutdown = CancellationToken::new();
    let config = Config {
        workers: Workers::Local(support::pool(2)),
        host: "here".to_owned(),
        reserved_slots: 0,
        drain_timeout: PATIENCE,
        metrics: None,
        traces: None,
    };
    let run = belljar_dispatcher::run(config, redis.store().await, shutdown.clone());
    let running = tokio::spawn(run);
    answers_many("local", &redis).await;
    shutdown.cancel();
    timeout(PATIENCE, running).await.expect("in time").expect("no panic").expect("a good end");
}

async fn answers_many(mode: &str, redis: &Redis) {
    let mut client = Client::new(redis).await;
    // The first call waits for the children.
    let first = client.submit(DOUBLE, &doubles(1)).await;
    client.values(&first).await;
    let begin = Instant::now();
    let ids = client.submit(DOUBLE, &doubles(500)).await;
    let values = client.values(&ids).await;
    println!("{mode}: 500 calls in {:?}", begin.elapsed());
    for (n, value) in values.iter().enumerate() {
        assert_eq!(support::read(value), (2 * n).to_string());
    }
    let (mut took, code) = (Vec::new(), doubles(1));
    for _ in 0..100 {
        let ids = client.submit(DOUBLE, &code).await;
        let begin = Instant::now();
        client.values(&ids).await;
        took.push(begin.elapsed());
    }
    took.sort_unstable();
    println!("{mode}: one at a time, p50 {:?}, p99 {:?}", took[50], took[98]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_worker_runs_many() {
    runs_many(DeliveryMode::Push).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_worker_runs_many() {
    runs_many(DeliveryMode::Pull).await;
}

async fn outlives_a_worker(mode: DeliveryMode) {
    let redis = Redis::start();
    let dispatcher = Dispatcher::start(&redis, mode).await;
    let doomed = Worker::start(mode, 1, dispatcher.address);
    let mut client = Client::new(&redis).await;
    let ids = client.submit(HOLD, &[hold_args(&redis)]).await;
    lines(&redis.file("log"), 1).await;
    let heir = Worker::start(mode, 1, dispatcher.address);
    // The other is there and works, so that only the loss is measured.
    let probe = client.submit(DOUBLE, &doubles(1)).await;
    client.values(&probe).await;
    let killed = Instant::now();
    doomed.kill().await;
    lines(&redis.file("log"), 2).await;
    let recovery = killed.elapsed();
    println!("{mode}: begun again after {recovery:?}");
    assert!(recovery < Duration::from_secs(5), "{recovery:?}");
    std::fs::write(redis.file("go"), "").expect("written");
    client.values(&ids).await;
    let record = client.store.task(ids[0]).await.expect("read").expect("known");
    assert_eq!((record.attempts, record.deaths), (2, 1));
    heir.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_task_of_a_killed_push_worker_is_run_by_another() {
    outlives_a_worker(DeliveryMode::Push).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_task_of_a_killed_pull_worker_is_run_by_another() {
    outlives_a_worker(DeliveryMode::Pull).await;
}

async fn outlives_a_dispatcher(mode: DeliveryMode) {
    let redis = Redis::start();
    let dispatcher = Dispatcher::start(&redis, mode).await;
    let port = dispatcher.address.port();
    let worker = Worker::start(mode, 1, dispatcher.address);
    let mut client = Client::new(&redis).await;
    let ids = client.submit(HOLD, &[hold_args(&redis)]).await;
    lines(&redis.file("log"), 1).await;
    dispatcher.kill().await;
    let dispatcher = Dispatcher::start_at(&redis, mode, port, None).await;
    std::fs::write(redis.file("go"), "").expect("written");
    client.values(&ids).await;
    assert_eq!(lines(&redis.file("log"), 1).await.len(), 1, "it ran once");
    let record = client.store.task(ids[0]).await.expect("read").expect("known");
    assert_eq!((record.attempts, record.deaths), (1, 0));
    // And the worker goes on.
    let ids = client.submit(DOUBLE, &doubles(20)).await;
    client.values(&ids).await;
    worker.leave().await;
    dispatcher.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_worker_survives_a_restart_of_the_dispatcher() {
    outlives_a_dispatcher(DeliveryMode::Push).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_worker_survives_a_restart_of_the_dispatcher() {
    outlives_a_dispatcher(DeliveryMode::Pull).await;
}

pub(crate) async fn refused(worker: Worker) -> WorkerError {
    let ended = timeout(PATIENCE, worker.running).await.expect("in time").expect("no panic");
    ended.expect_err("not let in")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_with_another_secret_or_mode_are_refused() {
    let redis = Redis::start();
    let secret = Some("correct horse battery staple");
    let dispatcher = Dispatcher::start_at(&redis, DeliveryMode::Push, 0, secret).await;
    for wrong in [None, Some("correct horse battery stable")] {
        for mode in [DeliveryMode::Push, DeliveryMode::Pull] {
            let error = refused(Worker::start_with(mode, 1, dispatcher.address, wrong)).await;
            let is_secret =
                matches!(error, WorkerError::Refused { reason: RejectReason::Secret, .. });
            assert!(is_secret, "{error}");
        }
    }
    let error =
        refused(Worker::start_with(DeliveryMode::Pull, 1, dispatcher.address, secret)).await;
    assert!(
        matches!(error, WorkerError::Refused { reason: RejectReason::DeliveryMode, .. }),
        "{error}"
    );
    let worker = Worker::start_with(DeliveryMode::Push, 1, dispatcher.address, secret);
    let mut client = Client::new(&redis).await;
    let ids = client.submit(DOUBLE, &doubles(3)).await;
    client.values(&ids).await;
    worker.leave().await;

    // A dispatcher without the secret is not served by a worker that has one.
    let open = Dispatcher::start(&redis, DeliveryMode::Push).await;
    let error = refused(Worker::start_with(DeliveryMode::Push, 1, open.address, secret)).await;
    assert!(matches!(error, WorkerError::Unproved), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_dispatchers_share_a_store() {
    let redis = Redis::start();
    let push = Dispatcher::start(&redis, DeliveryMode::Push).await;
    let pull = Dispatcher::start(&redis, DeliveryMode::Pull).await;
    let workers = [
        Worker::start(DeliveryMode::Push, 1, push.address),
        Worker::start(DeliveryMode::Pull, 1, pull.address),
    ];
    let mut client = Client::new(&redis).await;
    let ids = client.submit(DOUBLE, &doubles(300)).await;
    for (n, value) in client.values(&ids).await.iter().enumerate() {
        assert_eq!(support::read(value), (2 * n).to_string());
    }
    for worker in workers {
        worker.leave().await;
    }
}

async fn leaves_well(mode: DeliveryMode) {
    let redis = Redis::start();
    let dispatcher = Dispatcher::start(&redis, mode).await;
    let worker = Worker::start(mode, 1, dispatcher.address);
    let mut client = Client::new(&redis).await;
    // Short calls first: so the worker takes some ahead.
    let warm = client.submit(DOUBLE, &doubles(50)).await;
    client.values(&warm).await;
    let held = client.submit(HOLD, &[hold_args(&redis)]).await;
    lines(&redis.file("log"), 1).await;
    let behind = client.submit(DOUBLE, &doubles(10)).await;
    worker.shutdown.cancel();
    let other = Worker::start(mode, 1, dispatcher.address);
    client.values(&behind).await;
    assert!(!worker.running.is_finished(), "a call runs");
    std::fs::write(redis.file("go"), "").expect("written");
    client.values(&held).await;
    worker.leave().await;
    let record = client.store.task(held[0]).await.expect("read").expect("known");
    assert_eq!((record.attempts, record.deaths), (1, 0));
    other.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_worker_that_leaves_returns_its_waiting_tasks() {
    leaves_well(DeliveryMode::Push).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_worker_that_leaves_returns_its_waiting_tasks() {
    leaves_well(DeliveryMode::Pull).await;
}

async fn stops(mode: DeliveryMode) {
    let redis = Redis::start();
    let dispatcher = Dispatcher::start(&redis, mode).await;
    let worker = Worker::start(mode, 1, dispatcher.address);
    let mut client = Client::new(&redis).await;
    let ids = client.submit(HOLD, &[hold_args(&redis)]).await;
    lines(&redis.file("log"), 1).await;
    client.store.cancel(ids[0]).await.expect("asked");
    assert_eq!(client.results(&ids).await[0].status, TaskStatus::Cancelled);
    worker.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_call_is_cancelled_in_both_modes() {
    stops(DeliveryMode::Push).await;
    stops(DeliveryMode::Pull).await;
}
