//! Nothing is lost over many connections, as long as what was not acknowledged is sent again.

#![expect(clippy::expect_used, reason = "tests end at the first surprise")]

mod support;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use belljar_wire::{Backoff, Broken, Dealer, Incoming, Req, Router};
use bytes::Bytes;
use support::{connect, listen, within, within_seconds};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const MESSAGES: u64 = 100_000;
const CUTS: u64 = 50;
const WINDOW: usize = 500;

/// A network that can be cut: all its connections end when the number in the watch changes.
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
                        // Reset, not closed: whatever is on the way is lost.
                        let _ = near.set_zero_linger();
                        let _ = far.set_zero_linger();
                    }
                }
            });
        }
    });
    (address, cut)
}

/// Counts what arrives, says how often each, and cuts the network every so often.
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
            Incoming::Gone(..) => gone += 1,
        }
    }
    // The last acknowledgements are on their way; the client ends the connection.
    while !matches!(within(router.recv()).await, Some(Incoming::Gone(..)) | None) {}
    (seen, gone + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dealer_loses_nothing_over_fifty_cuts() {
    let router = Router::bind(listen()).await.expect("bound");
    let (address, cut) = network(router.local_addr()).await;
    let counting = tokio::spawn(count(router, cut));
    let sending = tokio::spawn(async move {
        let (mut next, mut unacknowledged, mut connections) = (0, VecDeque::new(), 0_u64);
        let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(50));
        while next < MESSAGES || !unacknowledged.is_empty() {
            let Ok(mut dealer) = Dealer::connect(&connect(address)).await else {
                tokio::time::sleep(backoff.pause()).await;
                continue;
            };
            backoff.reset();
            connections += 1;
            let _: Result<(), Broken> = session(&mut dealer, &mut next, &mut unacknowledged).await;
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

/// Sends first what was not acknowledged, then what is next, until all is or the connection breaks.
async fn session(
    dealer: &mut Dealer,
    next: &mut u64,
    unacknowledged: &mut VecDeque<u64>,
) -> Result<(), Broken> {
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
        // In order, with some acknowledged before the cut and again after it.
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
