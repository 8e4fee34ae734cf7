//! Peers that do not speak ZeroMQ, or that attack with it. One test, so that it measures the memory of
//! these attacks only.

#![expect(clippy::expect_used, reason = "tests end at the first surprise")]
#![expect(clippy::print_stdout, reason = "the figures are worth seeing")]

mod support;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use belljar_wire::{Dealer, ListenConfig};
use bytes::Bytes;
use support::{
    Echo, Noise, READY, connect, greeting, listen, long_frame, raw_dealer, until_closed, within,
    within_seconds,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const MOST_GROWTH_BYTES: u64 = 16 << 20;

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).expect("resident").parse().expect("a number");
    pages * 4096
}

async fn call(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = within(TcpStream::connect(address)).await.expect("connected");
    // It fails if the listener has already disconnected.
    let _ = stream.write_all(bytes).await;
    stream
}

/// A well-behaved peer that exchanges messages during the attacks.
struct Good {
    rounds: Arc<AtomicU64>,
    slowest_us: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Good {
    async fn start(address: SocketAddr) -> Self {
        let mut dealer = Dealer::connect(&connect(address)).await.expect("connected");
        let (rounds, slowest_us) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let stop = Arc::<AtomicBool>::default();
        let state = (rounds.clone(), slowest_us.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let (rounds, slowest_us, stop) = state;
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                dealer.send(Bytes::from_static(b"ping")).await.expect("sent");
                within(dealer.recv()).await.expect("echoed");
                slowest_us.fetch_max(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { rounds, slowest_us, stop, task }
    }

    /// Checks that the good peer goes on, that a new peer is served, and how much memory is used.
    async fn check(&self, attack: &str, echo: &Echo, before: u64) {
        let seen = self.rounds.load(Ordering::Relaxed);
        within(async {
            while self.rounds.load(Ordering::Relaxed) < seen + 10 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let mut newcomer =
            within(Dealer::connect(&connect(echo.address))).await.expect("connected");
        within(newcomer.send(Bytes::from_static(b"new"))).await.expect("sent");
        within(newcomer.recv()).await.expect("echoed");
        let growth = resident_bytes().saturating_sub(before);
        let slowest = Duration::from_micros(self.slowest_us.swap(0, Ordering::Relaxed));
        println!("{attack}: memory +{} KiB, slowest good round trip {slowest:?}", growth >> 10);
        assert!(growth < MOST_GROWTH_BYTES, "{attack}: {growth} bytes more");
        assert!(slowest < Duration::from_secs(2), "{attack}: {slowest:?}");
    }
}

fn config() -> ListenConfig {
    let mut config = listen();
    config.limits.handshake = Duration::from_millis(500);
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_affect_neither_the_process_nor_good_peers() {
    let echo = Echo::start(config()).await;
    let good = Good::start(echo.address).await;
    let address = echo.address;
    let mut noise = Noise(42);
    let before = resident_bytes();

    for length in (1..200).map(|number| number * 400) {
        let mut stream = call(address, &noise.bytes(length)).await;
        until_closed(&mut stream).await;
    }
    good.check("random bytes", &echo, before).await;

    let mut silent = Vec::new();
    for length in (0..200).map(|number| 64 - number % 64) {
        silent.push(call(address, &greeting()[..length]).await);
    }
    for stream in &mut silent {
        until_closed(stream).await;
    }
    good.check("greeting only", &echo, before).await;

    terabytes(address).await;
    good.check("1 TB length", &echo, before).await;

    garbage(address, &mut noise).await;
    good.check("handshake, then garbage", &echo, before).await;

    within_seconds(60, connects(address, 10_000, b"")).await;
    good.check("10,000 connects", &echo, before).await;

    within_seconds(60, handshakes(address, 20_000)).await;
    good.check("20,000 handshakes", &echo, before).await;

    good.stop.store(true, Ordering::Relaxed);
    within(good.task).await.expect("the good peer saw no error");
    within(async {
        while echo.sender.peer_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Claims a terabyte before, during and after the handshake, in messages and commands.
async fn terabytes(address: SocketAddr) {
    for length in [1 << 40, 1 << 63, u64::MAX, (64 << 20) + 1] {
        for flags in [0, 1, 4] {
            let header = long_frame(flags, length);
            for start in [&[][..], &greeting()] {
                let mut stream = call(address, &[start, &header, &[0; 100]].concat()).await;
                until_closed(&mut stream).await;
            }
            let mut stream = raw_dealer(address).await;
            let _ = stream.write_all(&header).await;
            until_closed(&mut stream).await;
        }
    }
}

async fn garbage(address: SocketAddr, noise: &mut Noise) {
    let mut cases: Vec<Vec<u8>> =
        (0..100).map(|_| [&[0x40], &*noise.bytes(3000)].concat()).collect();
    // Endless parts, commands, an unexpected delimiter, a second READY.
    cases.push(b"\x01\x00".repeat(10_000));
    cases.push(b"\x04\x05\x04PING".repeat(1000));
    cases.push(b"\x01\x00\x00\x05hello".to_vec());
    cases.push(READY.to_vec());
    for case in cases {
        let mut stream = raw_dealer(address).await;
        let _ = stream.write_all(&case).await;
        until_closed(&mut stream).await;
    }
    for socket in ["PUB", "STREAM", "ROUTER", "", "REQ\0", "dealer"] {
        let length = [0, 0, 0, socket.len() as u8];
        let body = [b"\x05READY\x0bSocket-Type", &length[..], socket.as_bytes()].concat();
        let ready = [&[4, body.len() as u8], &*body].concat();
        let mut stream = call(address, &[greeting(), ready].concat()).await;
        until_closed(&mut stream).await;
    }
}

/// Opens `count` connections, at most 300 at a time.
async fn connects(address: SocketAddr, count: usize, bytes: &[u8]) {
    let mut open = VecDeque::new();
    for _ in 0..count {
        open.push_back(call(address, bytes).await);
        if open.len() > 300 {
            open.pop_front();
        }
    }
}

/// Opens `count` connections that are registered with the zeromq crate.
async fn handshakes(address: SocketAddr, count: usize) {
    let mut open = VecDeque::new();
    for _ in 0..count {
        open.push_back(raw_dealer(address).await);
        if open.len() > 100 {
            open.pop_front();
        }
    }
}
