//! ZeroMQ as belljar uses it; knows nothing of tasks.
//!
//! The zeromq crate 0.7 believes what a peer sends: a frame header that claims a terabyte ends the
//! process, parts of one message are collected without end, a peer may take another's name, and one
//! full queue can hold up all others. So it never meets a peer. Its sockets live on unix sockets in
//! private directories, and a guard of ours stands between them and the network: it makes the
//! handshake with each side, checks the head of every frame in both directions before a byte goes on,
//! names the peers, counts what waits for each, and speaks TLS where that is configured.
//!
//! # Layout
//!
//! * [`config`]: endpoints, limits and deadlines. [`error`]: what can go wrong.
//! * [`router`]: the dispatcher's socket, for REQ and DEALER peers. [`client`]: the worker's two.
//! * [`backoff`]: how long to wait before connecting again.
//! * `zmtp`: greeting, READY and frame heads, as pure functions. `handshake`: uses the first two.
//! * `guard`: listens for peers. `link`: connects to a router. `bridge`: copies checked frames for both.
//! * `peers`: who is connected. `queue`: what waits for each. `tls`: the network side of connections.
//! * `inner`: the zeromq crate's ROUTER, replaced from time to time. `private`: unix sockets.

pub mod backoff;
mod bridge;
pub mod client;
pub mod config;
pub mod error;
mod guard;
mod handshake;
mod inner;
mod link;
mod peers;
mod private;
mod queue;
pub mod router;
mod tls;
mod zmtp;

pub use backoff::Backoff;
pub use client::{Dealer, Req};
pub use config::{Callers, ConnectConfig, Endpoint, Limits, ListenConfig, TlsFiles};
pub use error::{Broken, ConnectError, ListenError, SendError, TlsError};
pub use router::{Incoming, PeerId, Router, RouterSender};
