//! ZeroMQ sockets for dispatchers and workers. Knows nothing of tasks.
//!
//! The zeromq crate 0.7 trusts its peers: a frame header that claims a terabyte ends the process, the
//! parts of one message are collected without a limit, a peer can take the identity of another, and
//! one full queue can block all senders. So no peer reaches it directly. Its sockets are bound to unix
//! sockets in private directories, and a proxy of ours is between them and the network: it does the
//! handshake with each side, checks every frame header in both directions before it forwards a byte,
//! assigns the peers' identities, counts what is queued for each, and speaks TLS if configured.
//!
//! # Layout
//!
//! * [`config`]: endpoints, limits and deadlines.
//! * [`error`]: the errors.
//! * [`router`]: the dispatcher's socket, for REQ and DEALER peers.
//! * [`client`]: the worker's two sockets.
//! * `zmtp`: greeting, READY and frame headers, as pure functions.
//! * `handshake`: the ZeroMQ handshake over a stream.
//! * `incoming`: what a router receives.
//! * `listener`: accepts peers.
//! * `connection`: connects to a router.
//! * `proxy`: forwards checked frames for both.
//! * `peers`: the peers of a router.
//! * `send_quota`: counts what is queued for one peer.
//! * `tls`: network streams, with and without TLS.
//! * `zmq_socket`: the zeromq crate's ROUTER, which is replaced from time to time.
//! * `local_socket`: unix sockets that only this user can reach.

pub mod client;
pub mod config;
mod connection;
pub mod error;
mod handshake;
mod incoming;
mod listener;
mod local_socket;
mod peers;
mod proxy;
pub mod router;
mod send_quota;
mod tls;
mod zmq_socket;
mod zmtp;

pub use client::{Dealer, Req};
pub use config::{Authentication, ConnectConfig, Endpoint, ListenConfig, PeerLimits, TlsFiles};
pub use error::{ConnectError, ConnectionError, ListenError, SendError, TlsError};
pub use incoming::{Incoming, PeerId};
pub use router::{Router, RouterSender};
