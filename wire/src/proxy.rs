//! Forwards one connection between the network (`net`) and a unix socket of the zeromq crate (`zmq`):
//! copies checked frames both ways until one side closes, and then closes the other without losing
//! what had arrived.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::error::ConnectionError;
use crate::send_quota::SendQuota;
use crate::tls::NetStream;
use crate::zmtp::{Scanned, Scanner, SocketType};

/// How much is read at once: from the minimum up to the maximum while reads fill the buffer.
const CHUNK_BYTES: std::ops::RangeInclusive<usize> = 8 << 10..=256 << 10;

/// The owner of a proxied connection: sets its limits and is notified.
pub(crate) trait ProxyOwner {
    /// The longest payload that may come in now.
    fn inbound_limit(&self) -> usize;
    /// The longest payload that may go out.
    fn outbound_limit(&self) -> usize;
    /// Messages came in.
    fn on_received(&self);
    /// The quota that messages release when they have left.
    fn quota(&self) -> &SendQuota;
    /// The network side is closed: nothing can be sent any more, but some may still be received.
    fn on_net_closed(&self, reason: ConnectionError);
    /// Resolves once the owner wants the connection closed, and says how.
    fn shutdown_requested(&self) -> impl Future<Output = Shutdown> + Send;
    /// Resolves once nobody reads the zmq side any more, so that it would never close.
    fn reader_dropped(&self) -> impl Future<Output = ()> + Send;
}

/// How to close a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// What is queued is sent first.
    Graceful,
    /// At once.
    Immediate,
}

/// Why a direction ended.
enum PumpEnd {
    /// Nothing more to read, or nothing good.
    Source(ConnectionError),
    /// Nowhere to write.
    Sink(ConnectionError),
}

/// Which side ended the proxy.
enum End {
    Net(ConnectionError),
    Zmq,
    Owner(Shutdown),
}

/// Forwards until a side or the owner ends it. Closing then takes at most `linger`.
pub(crate) async fn forward(
    net: NetStream,
    zmq: UnixStream,
    socket_type: SocketType,
    owner: &impl ProxyOwner,
    linger: Duration,
) {
    let (mut net_read, mut net_write) = split(net);
    let (mut zmq_read, mut zmq_write) = split(zmq);
    let end = {
        let inbound = pump(
            (&mut net_read, &mut zmq_write),
            Scanner::new(socket_type),
            || owner.inbound_limit(),
            |_| owner.on_received(),
        );
        let outbound = pump(
            (&mut zmq_read, &mut net_write),
            Scanner::new(socket_type),
            || owner.outbound_limit(),
            |scanned| owner.quota().release(scanned.messages, scanned.bytes),
        );
        tokio::pin!(inbound, outbound);
        tokio::select! {
            end = &mut inbound => match end {
                PumpEnd::Source(reason) => End::Net(reason),
                PumpEnd::Sink(_) => End::Zmq,
            },
            end = &mut outbound => match end {
                PumpEnd::Source(_) => End::Zmq,
                PumpEnd::Sink(reason) => {
                    // What the peer sent before it left can still be read.
                    let _ = timeout(linger, inbound).await;
                    End::Net(reason)
                }
            },
            shutdown = owner.shutdown_requested() => {
                if shutdown == Shutdown::Graceful {
                    let sent = async { tokio::select! {
                        _ = outbound => {}
                        () = owner.quota().drained() => {}
                    }};
                    let _ = timeout(linger, sent).await;
                }
                End::Owner(shutdown)
            }
        }
    };
    let reason = match &end {
        End::Net(reason) => reason.clone(),
        End::Zmq | End::Owner(_) => ConnectionError::ClosedLocally,
    };
    owner.on_net_closed(reason);
    let close_net = close_net(end, net_read, net_write, linger);
    // The zmq side reads what was forwarded, sees the end of the stream, and closes as well.
    let close_zmq = async {
        let _ = zmq_write.shutdown().await;
        tokio::select! {
            () = discard(&mut zmq_read) => {}
            () = owner.reader_dropped() => {}
        }
    };
    tokio::join!(close_net, close_zmq);
}

/// Closes the network side. If this side closes first, the peer gets time to read what was sent: the
/// kernel resets a socket that is closed with unread input, and the reset discards what was sent.
async fn close_net(
    end: End,
    mut read: ReadHalf<NetStream>,
    mut write: WriteHalf<NetStream>,
    linger: Duration,
) {
    if matches!(end, End::Zmq | End::Owner(Shutdown::Graceful)) {
        let close = async {
            let _ = write.shutdown().await;
            discard(&mut read).await;
        };
        let _ = timeout(linger, close).await;
    }
}

async fn discard(from: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = from.read(&mut buffer).await {}
}

/// Copies frames one way; checks each header before it forwards the first byte of the frame.
async fn pump(
    (from, to): (&mut (impl AsyncRead + Unpin), &mut (impl AsyncWrite + Unpin)),
    mut scanner: Scanner,
    limit: impl Fn() -> usize,
    on_messages: impl Fn(&Scanned),
) -> PumpEnd {
    let mut chunk = *CHUNK_BYTES.start();
    let mut bytes = BytesMut::new();
    loop {
        bytes.reserve(chunk);
        let had = bytes.len();
        match from.read_buf(&mut bytes).await {
            Ok(0) => return PumpEnd::Source(ConnectionError::Closed),
            Ok(_) => {}
            Err(error) => return PumpEnd::Source(error.into()),
        }
        if bytes.len() - had >= chunk {
            chunk = (chunk * 2).min(*CHUNK_BYTES.end());
        }
        let scanned = scanner.scan(&bytes, limit());
        let write = async {
            to.write_all(&bytes[..scanned.pass]).await?;
            to.flush().await
        };
        if let Err(error) = write.await {
            return PumpEnd::Sink(error.into());
        }
        bytes.advance(scanned.pass);
        if scanned.messages > 0 {
            on_messages(&scanned);
        }
        if let Some(error) = scanned.error {
            return PumpEnd::Source(error);
        }
    }
}
