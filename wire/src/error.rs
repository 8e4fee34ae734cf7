//! The errors of this crate: [`ListenError`] occurs once, at the start. [`ConnectError`] and
//! [`ConnectionError`] may occur at any time; the answer to both is a new connection. [`SendError`]
//! concerns one message to one peer.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Endpoint;

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or has other content.
    #[error("cannot read a {what} from `{path}`")]
    File {
        /// The expected content.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Key, certificate and authority do not match.
    #[error("the certificate, its key and its authority do not match")]
    Incompatible(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No certificate can be for the host of the endpoint.
    #[error("`{0}` is not a host name or address that a certificate can be for")]
    ServerName(String),
}

/// A socket cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Other machines could reach the port, and nothing would authenticate them.
    #[error(
        "other machines can reach `{0}` and no secret is set\n  \
         hint: set a secret, or listen on 127.0.0.1"
    )]
    Exposed(SocketAddr),
    /// The host has no address.
    #[error("cannot resolve `{0}`")]
    Resolve(Endpoint, #[source] io::Error),
    /// The port cannot be opened.
    #[error("cannot listen on `{0}`")]
    Bind(Endpoint, #[source] io::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
    /// The unix socket cannot be created.
    #[error("cannot create a unix socket in the directory for temporary files")]
    LocalSocket(#[source] io::Error),
    /// The zeromq crate cannot start its socket.
    #[error("cannot start a ZeroMQ socket")]
    Zeromq(#[source] zeromq::ZmqError),
}

/// A socket cannot connect. Every error but `Tls` is worth a retry.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The connection was refused, the host is unknown or unreachable, or TLS failed.
    #[error("cannot connect to `{0}`")]
    Unreachable(Endpoint, #[source] io::Error),
    /// The deadline for handshakes passed.
    #[error("`{0}` did not answer within {1:?}")]
    Timeout(Endpoint, Duration),
    /// The other side is not a ZeroMQ ROUTER.
    #[error("`{0}` does not speak the protocol of a dispatcher")]
    Protocol(Endpoint, #[source] ConnectionError),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
    /// The unix socket cannot be created.
    #[error("cannot create a unix socket in the directory for temporary files")]
    LocalSocket(#[source] io::Error),
    /// The zeromq crate cannot start its socket.
    #[error("cannot start a ZeroMQ socket")]
    Zeromq(#[source] zeromq::ZmqError),
}

/// Why a connection ended. Its socket is not usable any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// The peer closed it, or died.
    #[error("the peer closed the connection")]
    Closed,
    /// The network failed.
    #[error("the connection failed: {0:?}")]
    Failed(io::ErrorKind),
    /// A message is longer than allowed.
    #[error("a message of {bytes} bytes is longer than the limit of {limit}")]
    TooLong {
        /// The length in its frame header.
        bytes: u64,
        /// The longest allowed.
        limit: usize,
    },
    /// The bytes are not what a REQ, DEALER or ROUTER peer may send.
    #[error("the peer violated the ZeroMQ protocol: {0}")]
    Protocol(&'static str),
    /// The peer was not admitted in time, or a newer pending peer took its place.
    #[error("the peer was not admitted in time")]
    NotAdmitted,
    /// The peer sent no reply, or read no message, in time.
    #[error("the peer did not respond in time")]
    TimedOut,
    /// This side closed the connection, or used it after it had ended.
    #[error("the connection was closed by this side")]
    ClosedLocally,
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::Closed,
            kind => Self::Failed(kind),
        }
    }
}

/// A message for a peer that was not queued. Other peers are not affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The peer is not connected any more.
    #[error("the peer is disconnected")]
    Disconnected,
    /// Too much is queued for the peer already.
    #[error("the peer's queue is full")]
    Full,
    /// The message is longer than the peer accepts.
    #[error("a message of {bytes} bytes is longer than the limit of {limit}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        limit: usize,
    },
}
