//! The configuration of a socket: endpoints, limits and deadlines.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A text that is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an endpoint: expected `tcp://HOST:PORT`")]
pub struct InvalidEndpoint(pub String);

/// A `tcp://HOST:PORT`. IPv6 addresses are in brackets; the host `*` means every address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// The port `port` of `host`, a name or an address without brackets.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let invalid = || InvalidEndpoint(text.to_owned());
        let address = text.strip_prefix("tcp://").ok_or_else(invalid)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(host) => host,
            None if host.contains([':', '[', ']', '/', '@']) => return Err(invalid()),
            None => host,
        };
        if host.is_empty() || port.starts_with('+') {
            return Err(invalid());
        }
        let host = if host == "*" { "0.0.0.0" } else { host };
        Ok(Self::new(host, port.parse().map_err(|_| invalid())?))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "tcp://[{}]:{}", self.host, self.port);
        }
        write!(f, "tcp://{}:{}", self.host, self.port)
    }
}

/// How the service above authenticates peers. It decides where the port may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all. The port is opened on loopback addresses only.
    None,
    /// Every peer must prove that it holds a shared secret.
    SharedSecret,
}

/// The PEM files for TLS with mutual authentication. The authority must have signed both certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the authority.
    pub authority: PathBuf,
    /// Our own certificate and the intermediate certificates up to the authority.
    pub certificate: PathBuf,
    /// Our private key.
    pub key: PathBuf,
}

/// The limits of one peer, and of all peers of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// The longest message, in both directions.
    pub message_bytes: usize,
    /// The longest message of a peer that is not admitted yet.
    pub first_message_bytes: usize,
    /// How many bytes may be queued for one peer. Every message counts for its length plus
    /// [`PeerLimits::MESSAGE_COST_BYTES`]. One message of the maximum length always fits.
    pub queue_bytes: usize,
    /// How many received bytes of all peers together may wait to be read.
    pub inbox_bytes: usize,
    /// The deadline for the connection, TLS and the ZeroMQ handshake together.
    pub handshake: Duration,
    /// How long a connected peer may stay before it is admitted.
    pub admission: Duration,
    /// How long a message may wait for room in a queue, and how long closing a connection may take.
    pub send: Duration,
    /// How many peers may be admitted.
    pub peers: usize,
    /// How many peers may be pending. Beyond that the oldest pending one is disconnected.
    pub pending_peers: usize,
}

impl PeerLimits {
    /// What a message costs in a queue beyond its bytes. It also keeps the number of messages queued
    /// for a peer below 100,000, where the zeromq crate blocks all senders.
    pub const MESSAGE_COST_BYTES: usize = 4096;
}

impl Default for PeerLimits {
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            message_bytes: 64 * MIB,
            first_message_bytes: MIB / 16,
            queue_bytes: 128 * MIB,
            inbox_bytes: 256 * MIB,
            handshake: Duration::from_secs(5),
            admission: Duration::from_secs(5),
            send: Duration::from_secs(5),
            peers: 4096,
            pending_peers: 256,
        }
    }
}

/// A socket that listens.
#[derive(Debug, Clone)]
pub struct ListenConfig {
    /// Where to listen. Port 0 lets the system choose.
    pub endpoint: Endpoint,
    /// How the service above authenticates peers.
    pub authentication: Authentication,
    /// TLS, where it is wanted.
    pub tls: Option<TlsFiles>,
    /// The limits of one peer, and of all peers of a socket.
    pub limits: PeerLimits,
}

impl ListenConfig {
    /// Without TLS and with the default limits.
    #[must_use]
    pub fn new(endpoint: Endpoint, authentication: Authentication) -> Self {
        Self { endpoint, authentication, tls: None, limits: PeerLimits::default() }
    }
}

/// A socket that connects.
#[derive(Debug, Clone)]
pub struct ConnectConfig {
    /// Where to.
    pub endpoint: Endpoint,
    /// TLS, if wanted. The server's certificate must be for the endpoint's host.
    pub tls: Option<TlsFiles>,
    /// The limits of the peer. The numbers of peers have no meaning here.
    pub limits: PeerLimits,
}

impl ConnectConfig {
    /// Without TLS and with the default limits.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, tls: None, limits: PeerLimits::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_round_trip() {
        for text in ["tcp://127.0.0.1:5555", "tcp://a.example:1", "tcp://[::1]:0"] {
            assert_eq!(text.parse::<Endpoint>().expect("valid").to_string(), text);
        }
        assert_eq!("tcp://*:7".parse::<Endpoint>().expect("valid").host(), "0.0.0.0");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "127.0.0.1:1",
            "ipc://a",
            "tcp://",
            "tcp://host",
            "tcp://host:",
            "tcp://:1",
            "tcp://::1:1",
            "tcp://host:65536",
            "tcp://host:+1",
            "tcp://host:1/",
            "tcp://a/b:1",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
