//! Stopping with work in hand: whatever is stopped first, everything ends soon after the last call, and
//! no call runs twice.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use belljar_core::message::{DeliveryMode, FromDispatcher, FromWorker, VERSION};
use belljar_core::task::TaskStatus;
use belljar_dispatcher::{Config, DispatcherError, RemoteConfig, Workers};
use belljar_wire::{Authentication, ConnectionError, Endpoint, ListenConfig, Req};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::harness::{Client, Dispatcher, PATIENCE, Redis, Worker, lines};
use crate::scripted::{Push, ask, endpoint, registration, report};
use crate::{DOUBLE, HOLD, doubles, hold_args};

/// How long everything may take to end after the last call. It is a second at most; the rest is for
/// loaded machines, and far below the timeouts that a missing acknowledgement runs into.
const SOON: Duration = Duration::from_secs(3);

/// A dispatcher with a runtime of its own. As in the program, its tasks end when `run` returns.
struct Program {
    address: SocketAddr,
    shutdown: CancellationToken,
    thread: JoinHandle<Result<(), DispatcherError>>,
}

impl Program {
    async fn start(redis: &Redis, mode: DeliveryMode) -> Self {
        let listen = ListenConfig::new(Endpoint::new("127.0.0.1", 0), Authentication::None);
        let (listening, address) = oneshot::channel();
        let remote =
            RemoteConfig { listening: Some(listening), ..RemoteConfig::new(listen, mode, None) };
        let config = Config {
            workers: Workers::Remote(Box::new(remote)),
            host: "here".to_owned(),
            reserved_slots: 0,
            drain_timeout: PATIENCE,
            metrics: None,
            traces: None,
        };
        let url = redis.url();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let store = belljar_store::StoreConfig::new(url);
                let store = belljar_store::Store::connect(store).await.expect("a store");
                belljar_dispatcher::run(config, store, stop).await
            })
        });
        let address = timeout(PATIENCE, address).await.expect("in time").expect("a port");
        Self { address, shutdown, thread }
    }

    async fn ended(self) {
        let ended = tokio::task::spawn_blocking(|| self.thread.join());
        let ended = timeout(PATIENCE, ended).await.expect("in time").expect("joined");
        ended.expect("no panic").expect("a good end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_acknowledges_the_last_report_of_a_push_worker() {
    let redis = Redis::start();
    let dispatcher = Program::start(&redis, DeliveryMode::Push).await;
    let (mut push, _) = Push::join(dispatcher.address, &registration(DeliveryMode::Push, 1)).await;
    let mut client = Client::new(&redis).await;
    let ids = client.submit(DOUBLE, &doubles(1)).await;
    let task = push.tasks(1).await.remove(0).task;
    dispatcher.shutdown.cancel();
    let last = Instant::now();
    push.report(1, &[task], b"last").await;
    assert_eq!(push.hear().await, FromDispatcher::Ack(vec![1]));
    let end = timeout(PATIENCE, push.0.recv()).await.expect("in time");
    assert_eq!(end, Err(ConnectionError::Closed));
    dispatcher.ended().await;
    assert!(last.elapsed() < SOON, "{:?}", last.elapsed());
    assert_eq!(client.values(&ids).await, [&b"last"[..]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_acknowledges_the_last_report_of_a_pull_worker() {
    let redis = Redis::start();
    let dispatcher = Program::start(&redis, DeliveryMode::Pull).await;
    let mut req = Req::connect(&endpoint(dispatcher.address)).await.expect("connected");
    ask(&mut req, &[FromWorker::Hello { version: VERSION }]).await;
    let registration = registration(DeliveryMode::Pull, 1);
    ask(&mut req, &[FromWorker::Register { registration, proof: None }]).await;
    let mut client = Client::new(&redis).await;
    let ids = client.submit(DOUBLE, &doubles(1)).await;
    let task = loop {
        let reply = ask(&mut req, &[FromWorker::Request { free: 1 }]).await;
        if let [FromDispatcher::Tasks(tasks)] = &reply[..] {
            break tasks[0].task;
        }
    };
    dispatcher.shutdown.cancel();
    let last = Instant::now();
    let reports = FromWorker::Reports { sequence: 1, reports: vec![report(task, b"last")] };
    let reply = ask(&mut req, &[reports, FromWorker::Request { free: 1 }]).await;
    assert_eq!(reply, [FromDispatcher::Ack(vec![1])]);
    drop(req);
    dispatcher.ended().await;
    assert!(last.elapsed() < SOON, "{:?}", last.elapsed());
    assert_eq!(client.values(&ids).await, [&b"last"[..]]);
}

/// What is told to stop before the last call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The dispatcher; the worker follows once the dispatcher has ended.
    DispatcherFirst,
    /// The worker; the dispatcher follows once the worker has ended.
    WorkerFirst,
    Together,
}

async fn stops_soon(mode: DeliveryMode, order: Order) {
    let redis = Redis::start();
    let dispatcher = Program::start(&redis, mode).await;
    let worker = Worker::start(mode, 1, dispatcher.address);
    let mut client = Client::new(&redis).await;
    let held = client.submit(HOLD, &[hold_args(&redis)]).await;
    lines(&redis.file("log"), 1).await;
    let waiting = client.submit(DOUBLE, &doubles(50)).await;
    if order != Order::WorkerFirst {
        dispatcher.shutdown.cancel();
    }
    if order != Order::DispatcherFirst {
        worker.shutdown.cancel();
    }
    std::fs::write(redis.file("go"), "").expect("written");
    client.values(&held).await;
    let last = Instant::now();
    if order == Order::WorkerFirst {
        worker.leave().await;
        dispatcher.shutdown.cancel();
        dispatcher.ended().await;
    } else {
        dispatcher.ended().await;
        worker.leave().await;
    }
    let took = last.elapsed();
    println!("{mode}, {order:?}: everything ended {took:?} after the last call");
    assert!(took < SOON, "{mode}, {order:?}: {took:?}");
    for id in held.iter().chain(&waiting) {
        let record = client.store.task(*id).await.expect("read").expect("known");
        assert_eq!(record.deaths, 0);
        let is_waiting = matches!(record.status, TaskStatus::Queued);
        assert!(is_waiting || record.status == TaskStatus::Completed, "{:?}", record.status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn push_ends_soon_in_every_order() {
    for order in [Order::DispatcherFirst, Order::WorkerFirst, Order::Together] {
        stops_soon(DeliveryMode::Push, order).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pull_ends_soon_in_every_order() {
    for order in [Order::DispatcherFirst, Order::WorkerFirst, Order::Together] {
        stops_soon(DeliveryMode::Pull, order).await;
    }
}

async fn leaves_without_a_dispatcher(mode: DeliveryMode) {
    let redis = Redis::start();
    let dispatcher = Dispatcher::start(&redis, mode).await;
    let worker = Worker::start(mode, 1, dispatcher.address);
    let client = Client::new(&redis).await;
    client.submit(HOLD, &[hold_args(&redis)]).await;
    lines(&redis.file("log"), 1).await;
    dispatcher.kill().await;
    // Its report will find no dispatcher.
    worker.shutdown.cancel();
    assert!(!worker.running.is_finished(), "a call runs");
    std::fs::write(redis.file("go"), "").expect("written");
    let last = Instant::now();
    worker.leave().await;
    assert!(last.elapsed() < SOON, "{mode}: {:?}", last.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_dispatcher_is_gone_leaves_after_its_last_call() {
    leaves_without_a_dispatcher(DeliveryMode::Push).await;
    leaves_without_a_dispatcher(DeliveryMode::Pull).await;
}
