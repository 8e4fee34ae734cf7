//! No message is lost over many connections if unacknowledged ones are sent again.

#![expect(clippy::expect_used, reason = "tests end at the first surprise")]

mod support;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use belljar_wire::{ConnectionError, Dealer, Incoming, Req, Router};
use bytes::Bytes;
use support::{connect, listen, within, within_seconds};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const MESSAGES: u64 = 100_000;
const CUTS: u64 = 50;
const WINDOW: usize = 500;

/// A network whose connections are all reset when the number in the watch changes.
async fn network(to: SocketAddr) -> (SocketAddr, watch::Sender<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let (cut, _) = watch::channel(0);
    let cuts = cut.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut cuts = cuts.subscribe();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.expect("the router is there");
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = cuts.changed() => {
                        // Reset, not closed: bytes in transit are lost.
                        let _ = near.set_zero_linger();
                        let _ = far.set_zero_linger();
                    }
                }
            });
        }
    });
    (address, cut)
}

/// Counts how often each message arrives, and cuts the network again and again.
async fn count(mut router: Router, cut: watch::Sender<u64>) -> (Vec<u8>, u64) {
    let (sender, mut seen, mut distinct, mut gone) =
        (router.sender(), vec![0; MESSAGES as usize], 0, 0);
    while distinct < MESSAGES {
        match within(router.recv()).await.expect("alive") {
            Incoming::Message(peer, bytes) => {
                let _ = sender.admit(peer);
                let number = u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"));
                let times: &mut u8 = &mut seen[number as usize];
                distinct += u64::from(*times == 0);
                let cut_now =
                    *times == 0 && distinct % (MESSAGES / CUTS) == 0 && distinct < MESSAGES;
                *times = times.saturating_add(1);
                let _ = sender.try_send(peer, bytes.slice(..8));
                if cut_now {
                    cut.send_modify(|cuts| *cuts += 1);
                }
            }
            Incoming::Disconnected(..) => gone += 1,
        }
    }
    // The last acknowledgements are in transit; the client closes the connection.
    while !matches!(within(router.recv()).await, Some(Incoming::Disconnected(..)) | None) {}
    (seen, gone + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dealer_loses_nothing_over_fifty_cuts() {
    let router = Router::bind(listen()).await.expect("bound");
    let (address, cut) = network(router.local_addr()).await;
    let counting = tokio::spawn(count(router, cut));
    let sending = tokio::spawn(async move {
        let (mut next, mut unacknowledged, mut connections) = (0, VecDeque::new(), 0_u64);

        while next < MESSAGES || !unacknowledged.is_empty() {
            let Ok(mut dealer) = Dealer::connect(&connect(address)).await else {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            connections += 1;
            let _: Result<(), ConnectionError> =
                session(&mut dealer, &mut next, &mut unacknowledged).await;
        }
        connections
    });
    let connections = within_seconds(100, sending).await.expect("sent");
    let (seen, gone) = within(counting).await.expect("counted");
    let twice = seen.iter().filter(|times| **times > 1).count();
    println!("{connections} connections, {gone} ends noticed, {twice} messages more than once");
    assert!(seen.iter().all(|times| *times > 0), "nothing is lost");
    assert!(connections >= CUTS, "{connections}");
}

/// Sends the unacknowledged messages, then the next ones, until all are acknowledged or the
/// connection fails.
async fn session(
    dealer: &mut Dealer,
    next: &mut u64,
    unacknowledged: &mut VecDeque<u64>,
) -> Result<(), ConnectionError> {
    let bytes = |number: u64| Bytes::from([&number.to_be_bytes()[..], &[0; 92]].concat());
    for number in unacknowledged.iter() {
        dealer.send(bytes(*number)).await?;
    }
    loop {
        while unacknowledged.len() < WINDOW && *next < MESSAGES {
            unacknowledged.push_back(*next);
            *next += 1;
            dealer.send(bytes(*next - 1)).await?;
        }
        if unacknowledged.is_empty() {
            return Ok(());
        }
        let answer = within(dealer.recv()).await?;
        let number = u64::from_be_bytes(answer[..8].try_into().expect("eight bytes"));
        // In order. Some were acknowledged before the cut and are again.
        if unacknowledged.front() == Some(&number) {
            unacknowledged.pop_front();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_req_gets_every_answer_over_twenty_cuts() {
    let echo = support::Echo::start(listen()).await;
    let (address, cut) = network(echo.address).await;
    let (mut answered, mut connections) = (0_u64, 0);
    while answered < 2000 {
        let Ok(mut req) = within(Req::connect(&connect(address))).await else { continue };
        connections += 1;
        while answered < 2000 {
            let request = Bytes::from(answered.to_be_bytes().to_vec());
            if answered % 100 == 50 && connections == answered / 100 + 1 {
                cut.send_modify(|cuts| *cuts += 1);
            }
            match within(req.exchange(request.clone(), Duration::from_secs(5))).await {
                Ok(reply) => assert_eq!(reply, request),
                Err(_) => break,
            }
            answered += 1;
        }
    }
    assert!(connections >= 10, "{connections}");
}
