//! Messages per second and the median round trip of a DEALER and a ROUTER in one process: with this
//! crate, and with the zeromq crate alone over TCP.
//!
//! ```text
//! cargo run --release -p belljar-wire --example round_trip
//! ```

use std::error::Error;
use std::time::{Duration, Instant};

use belljar_wire::{
    Authentication, ConnectConfig, Dealer, Endpoint, Incoming, ListenConfig, Req, Router,
};
use bytes::Bytes;
use zeromq::{DealerSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

const ROUNDS: usize = 20_000;
const MESSAGES: usize = 300_000;
const WINDOW: usize = 256;
const PATIENCE: Duration = Duration::from_secs(10);

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let payload = Bytes::from(vec![7; 256]);
    zeromq_alone(&payload).await?;
    proxied(&payload).await
}

fn report(what: &str, mut rounds: Vec<Duration>, seconds: Option<f64>) {
    rounds.sort_unstable();
    let at = |part: f64| rounds[(rounds.len() as f64 * part) as usize];
    let (p50, p99) = (at(0.5), at(0.99));
    let rate = seconds.map(|seconds| format!(", {:.0} messages/s", MESSAGES as f64 / seconds));
    #[expect(clippy::print_stdout, reason = "the report of this program")]
    {
        println!("{what}: round trip p50 {p50:?}, p99 {p99:?}{}", rate.unwrap_or_default());
    }
}

/// The zeromq crate alone, over TCP.
async fn zeromq_alone(payload: &Bytes) -> Outcome<()> {
    let mut router = RouterSocket::new();
    let endpoint = router.bind("tcp://127.0.0.1:0").await?.to_string();
    tokio::spawn(async move {
        while let Ok(message) = router.recv().await {
            if router.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut dealer = DealerSocket::new();
    dealer.connect(&endpoint).await?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        dealer.send(ZmqMessage::from(payload.clone())).await?;
        dealer.recv().await?;
        rounds.push(begun.elapsed());
    }
    let begun = Instant::now();
    let mut sent = 0;
    for received in 0..MESSAGES {
        while sent < MESSAGES && sent < received + WINDOW {
            dealer.send(ZmqMessage::from(payload.clone())).await?;
            sent += 1;
        }
        dealer.recv().await?;
    }
    report("zeromq DEALER", rounds, Some(begun.elapsed().as_secs_f64()));
    Ok(())
}

/// The same with this crate, then with REQ.
async fn proxied(payload: &Bytes) -> Outcome<()> {
    let listen = ListenConfig::new(Endpoint::new("127.0.0.1", 0), Authentication::None);
    let mut router = Router::bind(listen).await?;
    let port = router.local_addr().port();
    let sender = router.sender();
    tokio::spawn(async move {
        while let Some(incoming) = router.recv().await {
            if let Incoming::Message(peer, message) = incoming {
                let _ = sender.admit(peer);
                let _ = sender.try_send(peer, message);
            }
        }
    });
    let connect = ConnectConfig::new(Endpoint::new("127.0.0.1", port));
    let mut dealer = Dealer::connect(&connect).await?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        dealer.send(payload.clone()).await?;
        dealer.recv().await?;
        rounds.push(begun.elapsed());
    }
    let begun = Instant::now();
    let mut sent = 0;
    for received in 0..MESSAGES {
        while sent < MESSAGES && sent < received + WINDOW {
            dealer.send(payload.clone()).await?;
            sent += 1;
        }
        dealer.recv().await?;
    }
    report("proxied DEALER", rounds, Some(begun.elapsed().as_secs_f64()));

    let mut req = Req::connect(&connect).await?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        req.exchange(payload.clone(), PATIENCE).await?;
        rounds.push(begun.elapsed());
    }
    report("proxied REQ", rounds, None);
    Ok(())
}
