//! What can go wrong: [`ListenError`] once, at the start; [`ConnectError`] and [`Broken`] again and
//! again, with a new connection as the answer; [`SendError`] for one message to one peer.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Endpoint;

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or has no such content.
    #[error("cannot read a {what} from `{path}`")]
    File {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Key, certificate and authority do not go together.
    #[error("the certificate, its key and its authority do not go together")]
    Unfit(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The host of an endpoint cannot stand in a certificate.
    #[error("`{0}` is not a name or address that a certificate can prove")]
    Name(String),
}

/// A socket cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Others than this machine could reach the port, and nothing would ask them who they are.
    #[error(
        "`{0}` is reachable from other machines and no secret is set: \
         set one, or listen on 127.0.0.1"
    )]
    Exposed(SocketAddr),
    /// The host has no address.
    #[error("cannot resolve `{0}`")]
    Resolve(Endpoint, #[source] io::Error),
    /// The port cannot be had.
    #[error("cannot listen on `{0}`: is the port taken?")]
    Bind(Endpoint, #[source] io::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
    /// The private unix socket cannot be made.
    #[error("cannot make a private unix socket below the directory for temporary files")]
    Private(#[source] io::Error),
    /// The zeromq crate refuses its socket.
    #[error("cannot start a ZeroMQ socket")]
    Zeromq(#[source] zeromq::ZmqError),
}

/// A socket cannot connect. All but `Tls` may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there, or not for us: refused, unreachable, no such host, failed in TLS.
    #[error("cannot connect to `{0}`")]
    Unreachable(Endpoint, #[source] io::Error),
    /// It took too long.
    #[error("`{0}` did not answer within {1:?}")]
    TooSlow(Endpoint, Duration),
    /// The other side does not speak as a ROUTER should.
    #[error("`{0}` does not speak our protocol")]
    NotOurs(Endpoint, #[source] Broken),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
    /// The private unix socket cannot be made.
    #[error("cannot make a private unix socket below the directory for temporary files")]
    Private(#[source] io::Error),
    /// The zeromq crate refuses its socket.
    #[error("cannot start a ZeroMQ socket")]
    Zeromq(#[source] zeromq::ZmqError),
}

/// Why a connection ended. The socket is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The other side closed it, or died.
    #[error("the peer closed the connection")]
    Closed,
    /// The network failed.
    #[error("the connection failed: {0:?}")]
    Failed(io::ErrorKind),
    /// A message is longer than allowed.
    #[error("a message of {bytes} bytes is longer than the limit of {limit}")]
    TooLong {
        /// What its frame claims.
        bytes: u64,
        /// What is allowed.
        limit: usize,
    },
    /// The bytes are not what a REQ or DEALER peer sends, or a ROUTER.
    #[error("the peer broke the ZeroMQ protocol: {0}")]
    Protocol(&'static str),
    /// It was not admitted in time, or others came in its place.
    #[error("the peer was not admitted in time")]
    NotAdmitted,
    /// It takes nothing any more.
    #[error("the peer takes no more messages")]
    Stalled,
    /// This side ended it, or used it after it had ended.
    #[error("the connection was ended here")]
    Ended,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::Closed,
            kind => Self::Failed(kind),
        }
    }
}

/// A message that was not taken for a peer. No other peer is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The peer is not connected any more.
    #[error("the peer is gone")]
    Gone,
    /// Too much waits for the peer already.
    #[error("the peer's queue is full")]
    Full,
    /// The message is longer than the peer would take.
    #[error("a message of {bytes} bytes is longer than the limit of {limit}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
}
