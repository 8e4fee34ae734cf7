//! Well-behaved peers: exchanges, limits, and peers that come and go.

#![expect(clippy::expect_used, reason = "tests end at the first surprise")]

mod support;

use std::time::{Duration, Instant};

use belljar_wire::{
    Authentication, ConnectError, ConnectionError, Dealer, Endpoint, Incoming, ListenConfig,
    ListenError, PeerId, PeerLimits, Req, Router, SendError,
};
use bytes::Bytes;
use support::{Echo, connect, listen, raw_dealer, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATIENCE: Duration = Duration::from_secs(10);

async fn message(router: &mut Router) -> (PeerId, Bytes) {
    match within(router.recv()).await {
        Some(Incoming::Message(peer, message)) => (peer, message),
        other => panic!("{other:?} is no message"),
    }
}

#[tokio::test]
async fn both_socket_types_are_answered_in_their_form() {
    let echo = Echo::start(listen()).await;
    let mut dealer = within(Dealer::connect(&connect(echo.address))).await.expect("connected");
    let mut req = within(Req::connect(&connect(echo.address))).await.expect("connected");
    for length in [0, 1, 255, 256, 70_000] {
        let sent = Bytes::from(vec![7; length]);
        within(dealer.send(sent.clone())).await.expect("sent");
        assert_eq!(within(dealer.recv()).await, Ok(sent.clone()));
        assert_eq!(within(req.exchange(sent.clone(), PATIENCE)).await, Ok(sent));
    }
    within(dealer.close()).await;
    within(req.close()).await;
}

#[tokio::test]
async fn long_messages_pass_and_too_long_ones_are_refused() {
    const MIB: usize = 1 << 20;
    let mut config = listen();
    config.limits.message_bytes = 33 * MIB;
    let echo = Echo::start(config).await;
    let mut dealer = within(Dealer::connect(&connect(echo.address))).await.expect("connected");
    within(dealer.send(Bytes::from_static(b"hello"))).await.expect("sent");
    within(dealer.recv()).await.expect("admitted");

    let long: Bytes = support::Noise(1).bytes(32 * MIB).into();
    within(dealer.send(long.clone())).await.expect("sent");
    assert!(within(dealer.recv()).await == Ok(long), "32 MiB came back");

    let too_long = Bytes::from(vec![0; 65 * MIB]);
    let refused = ConnectionError::TooLong { bytes: 65 << 20, limit: 64 * MIB };
    assert_eq!(within(dealer.send(too_long)).await, Err(refused));
    within(dealer.send(Bytes::from_static(b"still here"))).await.expect("usable");
    within(dealer.recv()).await.expect("usable");

    // The client's limit allows it, the router's does not.
    within(dealer.send(Bytes::from(vec![0; 34 * MIB]))).await.expect("queued");
    assert_eq!(within(dealer.recv()).await, Err(ConnectionError::Closed));
}

#[tokio::test]
async fn a_pending_peer_may_not_send_much_nor_stay_long() {
    let mut config = listen();
    config.limits.admission = Duration::from_millis(200);
    let mut router = Router::bind(config).await.expect("bound");
    let mut long = Dealer::connect(&connect(router.local_addr())).await.expect("connected");
    long.send(Bytes::from_static(b"hello")).await.expect("sent");
    long.send(Bytes::from(vec![0; 65_537])).await.expect("queued");
    let (peer, _) = message(&mut router).await;
    let reason = ConnectionError::TooLong { bytes: 65_537, limit: 65_536 };
    assert_eq!(within(router.recv()).await, Some(Incoming::Disconnected(peer, reason)));
    assert_eq!(within(long.recv()).await, Err(ConnectionError::Closed));

    let mut silent = Dealer::connect(&connect(router.local_addr())).await.expect("connected");
    assert_eq!(within(silent.recv()).await, Err(ConnectionError::Closed));
    assert_eq!(router.sender().peer_count(), 0);
}

#[tokio::test]
async fn the_disconnect_of_a_peer_follows_its_last_message() {
    let mut router = Router::bind(listen()).await.expect("bound");
    let sender = router.sender();
    let mut dealer = Dealer::connect(&connect(router.local_addr())).await.expect("connected");
    for number in 0..100_u8 {
        dealer.send(Bytes::from(vec![number; 500])).await.expect("sent");
    }
    drop(dealer);
    let mut peer = None;
    for number in 0..100_u8 {
        let (from, bytes) = message(&mut router).await;
        assert_eq!(bytes[0], number);
        peer = Some(from);
    }
    let peer = peer.expect("heard");
    assert_eq!(
        within(router.recv()).await,
        Some(Incoming::Disconnected(peer, ConnectionError::Closed))
    );
    assert_eq!(sender.try_send(peer, Bytes::new()), Err(SendError::Disconnected));
    assert_eq!(sender.admit(peer), Err(SendError::Disconnected));
}

#[tokio::test]
async fn a_last_message_reaches_a_peer_that_is_disconnected() {
    let mut router = Router::bind(listen()).await.expect("bound");
    let sender = router.sender();
    let mut dealer = Dealer::connect(&connect(router.local_addr())).await.expect("connected");
    dealer.send(Bytes::from_static(b"hello")).await.expect("sent");
    let (peer, _) = message(&mut router).await;
    sender.try_send(peer, Bytes::from_static(b"no")).expect("queued");
    sender.disconnect(peer);
    assert_eq!(within(dealer.recv()).await, Ok(Bytes::from_static(b"no")));
    assert_eq!(within(dealer.recv()).await, Err(ConnectionError::Closed));
    assert_eq!(
        within(router.recv()).await,
        Some(Incoming::Disconnected(peer, ConnectionError::ClosedLocally))
    );
}

#[tokio::test]
async fn closing_a_router_waits_until_its_peers_have_what_was_sent() {
    let mut router = Router::bind(listen()).await.expect("bound");
    let sender = router.sender();
    let mut dealer = Dealer::connect(&connect(router.local_addr())).await.expect("connected");
    dealer.send(Bytes::from_static(b"hello")).await.expect("sent");
    let (peer, _) = message(&mut router).await;
    // More than the buffers of the sockets hold, so that the client must read while the router closes.
    let long: Bytes = support::Noise(5).bytes(8 << 20).into();
    sender.try_send(peer, long.clone()).expect("queued");
    let reading = tokio::spawn(async move { (dealer.recv().await, dealer.recv().await) });
    within(router.close()).await;
    assert_eq!(sender.peer_count(), 0);
    let (received, then) = within(reading).await.expect("no panic");
    assert!(received == Ok(long) && then == Err(ConnectionError::Closed), "{then:?}");
}

#[tokio::test]
async fn clients_notice_that_the_router_ends_and_connect_to_the_next() {
    let echo = Echo::start(listen()).await;
    let config = connect(echo.address);
    let mut dealer = Dealer::connect(&config).await.expect("connected");
    let mut req = Req::connect(&config).await.expect("connected");
    dealer.send(Bytes::from_static(b"a")).await.expect("sent");
    within(dealer.recv()).await.expect("echoed");
    within(req.exchange(Bytes::from_static(b"a"), PATIENCE)).await.expect("echoed");
    let port = echo.address.port();
    echo.stop().await;

    assert_eq!(within(dealer.recv()).await, Err(ConnectionError::Closed));
    assert_eq!(within(dealer.send(Bytes::new())).await, Err(ConnectionError::Closed));
    assert_eq!(within(req.exchange(Bytes::new(), PATIENCE)).await, Err(ConnectionError::Closed));
    let nobody = within(Dealer::connect(&config)).await;
    assert!(matches!(nobody, Err(ConnectError::Unreachable(..))), "{nobody:?}");

    let again = ListenConfig { endpoint: Endpoint::new("127.0.0.1", port), ..listen() };
    let _echo = Echo::start(again).await;
    let mut dealer = within(Dealer::connect(&config)).await.expect("connected again");
    dealer.send(Bytes::from_static(b"b")).await.expect("sent");
    assert_eq!(within(dealer.recv()).await, Ok(Bytes::from_static(b"b")));
}

#[tokio::test]
async fn a_req_is_unusable_after_a_request_without_a_reply() {
    let mut router = Router::bind(listen()).await.expect("bound");
    let mut req = Req::connect(&connect(router.local_addr())).await.expect("connected");
    let short = Duration::from_millis(50);
    assert_eq!(within(req.exchange(Bytes::new(), short)).await, Err(ConnectionError::TimedOut));
    assert_eq!(
        within(req.exchange(Bytes::new(), short)).await,
        Err(ConnectionError::ClosedLocally)
    );
    let (peer, _) = message(&mut router).await;
    within(req.close()).await;
    assert_eq!(
        within(router.recv()).await,
        Some(Incoming::Disconnected(peer, ConnectionError::Closed))
    );
}

#[tokio::test]
async fn a_slow_peer_does_not_delay_others() {
    const MIB: usize = 1 << 20;
    let mut config = listen();
    config.limits = PeerLimits { message_bytes: 2 * MIB, queue_bytes: 8 * MIB, ..config.limits };
    config.limits.send = Duration::from_millis(100);
    let mut router = Router::bind(config).await.expect("bound");
    let sender = router.sender();

    let mut slow = raw_dealer(router.local_addr()).await;
    slow.write_all(b"\x00\x01a").await.expect("sent");
    let (slow_peer, _) = message(&mut router).await;
    sender.admit(slow_peer).expect("admitted");
    let chunk = Bytes::from(vec![0; MIB]);
    let mut queued = 0;
    while within(sender.send(slow_peer, chunk.clone())).await.is_ok() {
        queued += 1;
    }
    assert_eq!(sender.try_send(slow_peer, chunk.clone()), Err(SendError::Full));

    let mut good = Dealer::connect(&connect(router.local_addr())).await.expect("connected");
    let begun = Instant::now();
    for _ in 0..100 {
        good.send(Bytes::from_static(b"ping")).await.expect("sent");
        let (peer, bytes) = message(&mut router).await;
        sender.admit(peer).expect("admitted");
        sender.try_send(peer, bytes).expect("room");
        within(good.recv()).await.expect("answered");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());

    // Once it reads, its queue has room again.
    let mut bytes = vec![0; queued * (MIB + 9)];
    within(slow.read_exact(&mut bytes)).await.expect("read");
    within(sender.send(slow_peer, chunk)).await.expect("room");
}

#[tokio::test]
async fn a_port_without_a_secret_is_opened_on_loopback_only() {
    for endpoint in ["tcp://0.0.0.0:0", "tcp://*:0", "tcp://[::]:0"] {
        let endpoint: Endpoint = endpoint.parse().expect("valid");
        let refused = Router::bind(ListenConfig::new(endpoint, Authentication::None)).await;
        assert!(matches!(refused, Err(ListenError::Exposed(_))), "{refused:?}");
    }
}
