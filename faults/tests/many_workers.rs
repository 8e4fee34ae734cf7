//! A real dispatcher with two hundred workers that join and leave, and under attack by peers that do not
//! speak ZeroMQ or abuse it.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../../wire/tests/support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use belljar_core::id::WorkerId;
use belljar_core::message::{
    DeliveryMode, FromDispatcher, FromWorker, Nonce, VERSION, WorkerRegistration, decode, encode,
};
use belljar_core::outcome::{CallVerdict, Outcome, Report};
use belljar_faults::pickle;
use belljar_testkit::Redis;
use belljar_testkit::process::cpu_time;
use belljar_tests::Deployment;
use belljar_wire::Dealer;
use bytes::Bytes;
use serde_json::json;
use support::{Noise, connect, greeting, long_frame, raw_dealer, until_closed, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How much the dispatcher's memory may grow by an attack.
const MOST_GROWTH_KB: u64 = 16 << 10;
/// `pickle.dumps(7, 4)`.
const SEVEN: &[u8] = b"\x80\x04K\x07.";
/// How many workers there are.
const WORKERS: usize = 200;

/// A service whose dispatcher pushes, and a function that is registered there.
struct Fixture {
    deployment: Deployment,
    address: SocketAddr,
    function: String,
}

impl Fixture {
    fn start() -> Self {
        let deployment = Deployment::start("push", &[]).expect("started");
        let address = deployment.address().parse().expect("an address");
        let function = pickle::function("posixpath", "join");
        let function = deployment.client.register(&function, json!({})).expect("registered");
        Self { deployment, address, function }
    }

    /// Submits `count` calls.
    fn submit(&self, count: usize) -> Vec<String> {
        let args = vec![pickle::arguments("a", "b"); count];
        self.deployment.client.submit_batch(&self.function, &args).expect("accepted")
    }

    fn completes(&self, tasks: &[String]) {
        for task in tasks {
            let (status, result) = self.deployment.client.wait(task, 30).expect("an answer");
            assert_eq!(status, "COMPLETED", "{result}");
        }
    }

    fn memory_kb(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.deployment.dispatcher.pid()));
        let status = status.expect("alive");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// The dispatcher's user and system time.
    fn cpu(&self) -> Duration {
        cpu_time(self.deployment.dispatcher.pid().cast_signed()).expect("alive")
    }

    fn workers(&self) -> usize {
        self.deployment.workers().expect("an answer").len()
    }
}

/// A worker without a pool: every call returns seven at once. It leaves when told.
async fn light_worker(address: SocketAddr, mut leave: watch::Receiver<bool>) {
    let mut dealer = within(Dealer::connect(&connect(address))).await.expect("connected");
    send(&mut dealer, FromWorker::Hello { version: VERSION }).await;
    let challenge = within(dealer.recv()).await.expect("challenged");
    assert!(matches!(
        decode::<FromDispatcher>(&challenge).expect("messages")[..],
        [FromDispatcher::Challenge { .. }]
    ));
    let registration = registration();
    send(&mut dealer, FromWorker::Register { registration, proof: None }).await;
    send(&mut dealer, FromWorker::InFlight(Vec::new())).await;
    let (mut heartbeat, mut sequence) = (Duration::from_secs(1), 0);
    // Counted from the last message sent: the dispatcher's own heartbeats must not delay ours.
    let mut sent = tokio::time::Instant::now();
    loop {
        let message = tokio::select! {
            message = dealer.recv() => message.expect("a message"),
            () = tokio::time::sleep_until(sent + heartbeat) => {
                send(&mut dealer, FromWorker::Heartbeat).await;
                sent = tokio::time::Instant::now();
                continue;
            }
            _ = leave.changed() => {
                send(&mut dealer, FromWorker::Bye).await;
                return dealer.close().await;
            }
        };
        for message in decode::<FromDispatcher>(&message).expect("messages") {
            match message {
                FromDispatcher::Welcome { heartbeat_ms, .. } => {
                    heartbeat = Duration::from_millis(heartbeat_ms.into());
                }
                FromDispatcher::Tasks(tasks) => {
                    sequence += 1;
                    let report = |invocation: &belljar_core::invocation::Invocation| Report {
                        task: invocation.task,
                        outcome: Outcome::bare(
                            CallVerdict::Completed(Bytes::from_static(SEVEN)),
                            Duration::ZERO,
                        ),
                    };
                    let reports = tasks.iter().map(report).collect();
                    send(&mut dealer, FromWorker::Reports { sequence, reports }).await;
                }
                FromDispatcher::Ack(_) | FromDispatcher::Heartbeat => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn registration() -> WorkerRegistration {
    WorkerRegistration {
        worker: WorkerId::random(),
        session: None,
        mode: DeliveryMode::Push,
        slots: 1,
        window: 4,
        classes: vec!["native:3.11".parse().expect("a class")],
        host: "light".to_owned(),
        pid: 1,
        belljar: "0".to_owned(),
        blobs: None,
        nonce: Nonce::random(),
    }
}

async fn send(dealer: &mut Dealer, message: FromWorker) {
    within(dealer.send(encode(&[message]))).await.expect("sent");
}

/// Light workers, oldest first.
struct Workers {
    address: SocketAddr,
    workers: VecDeque<(watch::Sender<bool>, JoinHandle<()>)>,
}

impl Workers {
    fn join(&mut self) {
        let (leave, told) = watch::channel(false);
        self.workers.push_back((leave, tokio::spawn(light_worker(self.address, told))));
    }

    async fn leave(&mut self) {
        let Some((leave, worker)) = self.workers.pop_front() else { return };
        leave.send_replace(true);
        within(worker).await.expect("no error");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_workers_cost_little_and_join_and_leave_without_loss() {
    let fixture = Fixture::start();
    let mut workers = Workers { address: fixture.address, workers: VecDeque::new() };
    (0..WORKERS).for_each(|_| workers.join());
    let all_in = || tokio::task::block_in_place(|| fixture.workers()) == WORKERS;
    let joined = async {
        while !all_in() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within(joined).await;
    tokio::task::block_in_place(|| fixture.completes(&fixture.submit(1000)));

    let idler = Redis::start().expect("redis-server is installed");
    let idled = || idler.cpu_time().expect("alive");
    let (mut share, mut most) = (f64::MAX, 0.0);
    // A busy machine can only make it look more expensive.
    for _ in 0..5 {
        let (before, began, begun) = (fixture.cpu(), idled(), Instant::now());
        tokio::time::sleep(Duration::from_secs(5)).await; // What is measured is the passing of time.
        let of = |used: Duration| used.as_secs_f64() / begun.elapsed().as_secs_f64();
        (share, most) = (of(fixture.cpu() - before), f64::max(0.03, 6.0 * of(idled() - began)));
        if share < most {
            break;
        }
    }
    println!("{WORKERS} idle workers: {:.1} % of a processor", share * 100.0);
    assert!(share < most, "{share} of at most {most}");

    let mut submitted = Vec::new();
    for _ in 0..50 {
        submitted.extend(tokio::task::block_in_place(|| fixture.submit(50)));
        workers.leave().await;
        workers.join();
        tokio::time::sleep(Duration::from_millis(100)).await; // Ten a second.
    }
    tokio::task::block_in_place(|| fixture.completes(&submitted));
    println!("{} calls over 50 joins and leaves", submitted.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_change_nothing_for_a_dispatcher_and_its_workers() {
    let mut fixture = Fixture::start();
    let _worker = fixture.deployment.worker("worker", &[]).expect("started");
    tokio::task::block_in_place(|| fixture.completes(&fixture.submit(1)));
    let (before, address) = (fixture.memory_kb(), fixture.address);

    for attack in ["random bytes", "greeting only", "1 TB length", "garbage", "10,000 connects"] {
        match attack {
            "random bytes" => random_bytes(address).await,
            "greeting only" => half_greetings(address).await,
            "1 TB length" => long_frames(address).await,
            "garbage" => garbage(address).await,
            _ => connects(address, 10_000).await,
        }
        let begun = Instant::now();
        tokio::task::block_in_place(|| fixture.completes(&fixture.submit(1)));
        let (took, growth) = (begun.elapsed(), fixture.memory_kb().saturating_sub(before));
        println!("{attack}: memory +{growth} kB, a call took {took:?}");
        assert!(
            matches!(fixture.deployment.dispatcher.exit_status(), Ok(None)),
            "{}",
            fixture.deployment.dispatcher.evidence()
        );
        assert!(growth < MOST_GROWTH_KB, "{attack}: {growth} kB more");
        assert!(took < Duration::from_secs(2), "{attack}: {took:?}");
    }
    assert_eq!(fixture.deployment.dispatcher.log().matches("worker lost").count(), 0);
}

async fn send_raw(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = within(TcpStream::connect(address)).await.expect("connected");
    // It may fail once the listener has closed the connection.
    let _ = stream.write_all(bytes).await;
    stream
}

async fn random_bytes(address: SocketAddr) {
    let mut noise = Noise(42);
    for length in (1..100).map(|number| number * 800) {
        until_closed(&mut send_raw(address, &noise.bytes(length)).await).await;
    }
}

/// The listener waits five seconds for a whole greeting.
async fn half_greetings(address: SocketAddr) {
    let mut silent = Vec::new();
    for length in (0..200).map(|number| 64 - number % 64) {
        silent.push(send_raw(address, &greeting()[..length]).await);
    }
    for stream in &mut silent {
        until_closed(stream).await;
    }
}

async fn long_frames(address: SocketAddr) {
    for length in [1 << 40, 1 << 63, u64::MAX, (64 << 20) + 1] {
        let head = long_frame(0, length);
        for start in [&[][..], &greeting()] {
            until_closed(&mut send_raw(address, &[start, &head, &[0; 100]].concat()).await).await;
        }
        let mut stream = raw_dealer(address).await;
        let _ = stream.write_all(&head).await;
        until_closed(&mut stream).await;
    }
}

async fn garbage(address: SocketAddr) {
    let mut noise = Noise(7);
    for _ in 0..100 {
        let mut stream = raw_dealer(address).await;
        let _ = stream.write_all(&[&[0x40], &*noise.bytes(3000)].concat()).await;
        until_closed(&mut stream).await;
    }
}

/// Opens `count` connections, three hundred at a time.
async fn connects(address: SocketAddr, count: usize) {
    let mut open = VecDeque::new();
    for _ in 0..count {
        open.push_back(send_raw(address, b"").await);
        if open.len() > 300 {
            open.pop_front();
        }
    }
}
