//! What a socket is told: endpoints, limits and deadlines.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an endpoint: expected `tcp://HOST:PORT`")]
pub struct InvalidEndpoint(pub String);

/// A `tcp://HOST:PORT`. IPv6 addresses stand in brackets; `*` as a host is every address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// This port of this host: a name or an address, without brackets.
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

/// Who gets into the service above, which decides whom the port may be shown to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Everyone: the service asks for no secret. The port is opened on loopback only.
    Anyone,
    /// Those who hold the secret that the service asks for.
    WithSecret,
}

/// The files of TLS with mutual authentication, all PEM. Both sides must be signed by the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the authority.
    pub authority: PathBuf,
    /// Our own certificate and what stands between it and the authority.
    pub certificate: PathBuf,
    /// Our private key.
    pub key: PathBuf,
}

/// What is allowed to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest message, in both directions.
    pub message_bytes: usize,
    /// The longest message of a peer that was not admitted yet.
    pub first_message_bytes: usize,
    /// How much may wait for one peer. Every message counts [`Limits::MESSAGE_COST_BYTES`] more than
    /// it has bytes. At least one message of the longest kind always has room.
    pub queue_bytes: usize,
    /// How much may wait to be received, from all peers together.
    pub inbox_bytes: usize,
    /// How long the connection, TLS and the ZeroMQ handshake may take together.
    pub handshake: Duration,
    /// How long a connected peer may stay without being admitted.
    pub admission: Duration,
    /// How long a message may wait for room in a queue, and the end of a connection for the last.
    pub send: Duration,
    /// How many admitted peers there may be.
    pub peers: usize,
    /// How many others. Where there are more, the oldest of them must go.
    pub strangers: usize,
}

impl Limits {
    /// What a message costs in a queue beyond its bytes. Also keeps the number of messages that wait
    /// for a peer below the 100,000 at which the zeromq crate makes everyone wait.
    pub const MESSAGE_COST_BYTES: usize = 4096;
}

impl Default for Limits {
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
            strangers: 256,
        }
    }
}

/// A socket that listens.
#[derive(Debug, Clone)]
pub struct ListenConfig {
    /// Where. Port 0 lets the system choose.
    pub endpoint: Endpoint,
    /// Who gets in.
    pub callers: Callers,
    /// TLS, where it is wanted.
    pub tls: Option<TlsFiles>,
    /// What is allowed to a peer.
    pub limits: Limits,
}

impl ListenConfig {
    /// Without TLS and with the usual limits.
    #[must_use]
    pub fn new(endpoint: Endpoint, callers: Callers) -> Self {
        Self { endpoint, callers, tls: None, limits: Limits::default() }
    }
}

/// A socket that connects.
#[derive(Debug, Clone)]
pub struct ConnectConfig {
    /// Where to.
    pub endpoint: Endpoint,
    /// TLS, where it is wanted. The certificate must be that of the endpoint's host.
    pub tls: Option<TlsFiles>,
    /// What is allowed to the peer; of the numbers of peers there is no use here.
    pub limits: Limits,
}

impl ConnectConfig {
    /// Without TLS and with the usual limits.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, tls: None, limits: Limits::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_come_back() {
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
