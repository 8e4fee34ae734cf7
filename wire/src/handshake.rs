//! The two ZMTP handshakes of a proxy: as the ROUTER that a peer expects, and as the peer that a
//! ROUTER expects. They never read past the handshake. The caller sets the deadlines.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::ConnectionError;
use crate::zmtp::{self, SocketType};

/// Does the handshake of a ROUTER and returns the peer's socket type.
pub(crate) async fn accept(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<SocketType, ConnectionError> {
    stream.write_all(&zmtp::greeting()).await?;
    stream.flush().await?;
    read_greeting(stream).await?;
    let body = read_ready(stream).await?;
    let socket_type = match zmtp::socket_type(&body)? {
        b"DEALER" => SocketType::Dealer,
        b"REQ" => SocketType::Req,
        _ => return Err(ConnectionError::Protocol("neither a DEALER nor a REQ socket")),
    };
    stream.write_all(&zmtp::ready("ROUTER", b"")).await?;
    stream.flush().await?;
    Ok(socket_type)
}

/// Does the handshake of a peer of this type with a ROUTER. The ROUTER chooses an empty identity.
pub(crate) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    socket_type: SocketType,
    identity: &[u8],
) -> Result<(), ConnectionError> {
    // Not in one write with READY: a ROUTER may want to see the greeting first.
    stream.write_all(&zmtp::greeting()).await?;
    stream.flush().await?;
    read_greeting(stream).await?;
    stream.write_all(&zmtp::ready(socket_type.name(), identity)).await?;
    stream.flush().await?;
    match zmtp::socket_type(&read_ready(stream).await?)? {
        b"ROUTER" => Ok(()),
        _ => Err(ConnectionError::Protocol("not a ROUTER socket")),
    }
}

async fn read_greeting(stream: &mut (impl AsyncRead + Unpin)) -> Result<(), ConnectionError> {
    let mut greeting = [0; zmtp::GREETING_BYTES];
    stream.read_exact(&mut greeting).await?;
    zmtp::check_greeting(&greeting)
}

async fn read_ready(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, ConnectionError> {
    let length = if zmtp::is_long_command(stream.read_u8().await?)? {
        stream.read_u64().await?
    } else {
        stream.read_u8().await?.into()
    };
    let limit = zmtp::READY_LIMIT_BYTES;
    let fitting = usize::try_from(length).ok().filter(|length| *length <= limit);
    let mut body = vec![0; fitting.ok_or(ConnectionError::TooLong { bytes: length, limit })?];
    stream.read_exact(&mut body).await?;
    Ok(body)
}
