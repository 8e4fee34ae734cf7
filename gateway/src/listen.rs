//! What a gateway listens on.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};

use crate::socket::Socket;
use crate::tls::Tls;

/// How long to wait when no connection can be accepted because descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One listening socket.
#[derive(Debug)]
pub enum Listener {
    /// Of the network, or of this machine's loopback.
    Tcp(TcpListener),
    /// A file.
    Unix(UnixListener),
}

/// The listening sockets of a gateway.
pub struct Listeners {
    /// At least one.
    pub sockets: Vec<Listener>,
    /// TLS for those of TCP.
    pub tls: Option<Tls>,
}

impl From<TcpListener> for Listeners {
    fn from(listener: TcpListener) -> Self {
        Self { sockets: vec![Listener::Tcp(listener)], tls: None }
    }
}

impl Listeners {
    /// The addresses of those of TCP.
    pub(crate) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let address = |listener: &Listener| match listener {
            Listener::Tcp(listener) => Some(listener.local_addr()),
            Listener::Unix(_) => None,
        };
        self.sockets.iter().filter_map(address).collect()
    }
}

impl Listener {
    /// The next connection, and the address that it comes from. Failures concern single connections or pass: the loop goes on.
    pub(crate) async fn accept(&self) -> (Socket, Option<IpAddr>) {
        let mut is_warned = false;
        loop {
            let accepted = match self {
                Self::Tcp(listener) => listener.accept().await.map(|(stream, peer)| {
                    // Small answers leave at once; where that cannot be set they are only slower.
                    let _ = stream.set_nodelay(true);
                    (Socket::Tcp(stream), Some(peer.ip()))
                }),
                Self::Unix(listener) => {
                    listener.accept().await.map(|(stream, _)| (Socket::Unix(stream), None))
                }
            };
            match accepted {
                Ok(accepted) => return accepted,
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    if !is_warned {
                        tracing::warn!(
                            %error,
                            "cannot take connections: raise the limit of open files (`ulimit -n`)"
                        );
                    }
                    is_warned = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
