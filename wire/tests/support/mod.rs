//! Echo routers, peers that speak raw ZMTP, and deadlines.

#![allow(dead_code, reason = "each test crate uses a part")]

use std::net::SocketAddr;
use std::time::Duration;

use belljar_wire::{
    Authentication, ConnectConfig, Endpoint, Incoming, ListenConfig, Router, RouterSender,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Awaits a future that must be ready within 20 seconds.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    within_seconds(20, future).await
}

/// Awaits a future that must be ready within `seconds`.
pub(crate) async fn within_seconds<T>(seconds: u64, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), future).await.expect("in time")
}

/// The configuration of a router on a free port of loopback.
pub(crate) fn listen() -> ListenConfig {
    ListenConfig::new(Endpoint::new("127.0.0.1", 0), Authentication::None)
}

/// The configuration of a client of this address.
pub(crate) fn connect(address: SocketAddr) -> ConnectConfig {
    ConnectConfig::new(Endpoint::new(address.ip().to_string(), address.port()))
}

/// A router that admits every peer and sends everything back.
pub(crate) struct Echo {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// Counts its peers.
    pub(crate) sender: RouterSender,
    task: JoinHandle<()>,
}

impl Echo {
    /// Starts one.
    pub(crate) async fn start(config: ListenConfig) -> Self {
        let mut router = within(Router::bind(config)).await.expect("bound");
        let (address, sender) = (router.local_addr(), router.sender());
        let back = sender.clone();
        let task = tokio::spawn(async move {
            while let Some(incoming) = router.recv().await {
                if let Incoming::Message(peer, message) = incoming {
                    let _ = back.admit(peer);
                    let _ = back.try_send(peer, message);
                }
            }
        });
        Self { address, sender, task }
    }

    /// Ends it and closes its port.
    pub(crate) async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// The bytes of a greeting.
pub(crate) fn greeting() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    (bytes[0], bytes[9], bytes[10]) = (0xff, 0x7f, 3);
    bytes[12..16].copy_from_slice(b"NULL");
    bytes
}

/// The bytes of a DEALER's READY, with the identity of another peer.
pub(crate) const READY: &[u8] =
    b"\x04\x2d\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x04evil";

/// The header of a frame of this length.
pub(crate) fn long_frame(flags: u8, length: u64) -> Vec<u8> {
    [&[flags | 2][..], &length.to_be_bytes()].concat()
}

/// A raw DEALER after its handshake.
pub(crate) async fn raw_dealer(address: SocketAddr) -> TcpStream {
    let mut stream = within(TcpStream::connect(address)).await.expect("connected");
    stream.write_all(&greeting()).await.expect("greeted");
    stream.write_all(READY).await.expect("ready");
    let mut answer = [0; 64 + 2];
    within(stream.read_exact(&mut answer)).await.expect("greeted back");
    let mut ready = vec![0; answer[65].into()];
    within(stream.read_exact(&mut ready)).await.expect("ready back");
    stream
}

/// Reads until the other side has closed the connection.
pub(crate) async fn until_closed(stream: &mut TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(1..) = within(stream.read(&mut bytes)).await {}
}

/// A repeatable source of random bytes.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// The next `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut next = || {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 56) as u8
        };
        (0..count).map(|_| next()).collect()
    }
}
