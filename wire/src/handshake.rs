//! The two ZMTP handshakes of a guard: as the ROUTER that a peer expects, and as the peer that a
//! ROUTER expects. Reads no byte too many. Deadlines are the caller's.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::Broken;
use crate::zmtp::{self, Kind};

/// Greets a peer as a ROUTER would and says what kind of socket it has.
pub(crate) async fn accept(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<Kind, Broken> {
    stream.write_all(&zmtp::greeting()).await?;
    stream.flush().await?;
    read_greeting(stream).await?;
    let body = read_ready(stream).await?;
    let kind = match zmtp::socket_type(&body)? {
        b"DEALER" => Kind::Dealer,
        b"REQ" => Kind::Req,
        _ => return Err(Broken::Protocol("neither a DEALER nor a REQ socket")),
    };
    stream.write_all(&zmtp::ready("ROUTER", b"")).await?;
    stream.flush().await?;
    Ok(kind)
}

/// Greets a ROUTER as a peer of this kind would. An empty identity lets the ROUTER choose.
pub(crate) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    kind: Kind,
    identity: &[u8],
) -> Result<(), Broken> {
    // In one piece with READY it would be shorter, but a ROUTER may want to see the greeting first.
    stream.write_all(&zmtp::greeting()).await?;
    stream.flush().await?;
    read_greeting(stream).await?;
    stream.write_all(&zmtp::ready(kind.socket_type(), identity)).await?;
    stream.flush().await?;
    match zmtp::socket_type(&read_ready(stream).await?)? {
        b"ROUTER" => Ok(()),
        _ => Err(Broken::Protocol("not a ROUTER socket")),
    }
}

async fn read_greeting(stream: &mut (impl AsyncRead + Unpin)) -> Result<(), Broken> {
    let mut greeting = [0; zmtp::GREETING_BYTES];
    stream.read_exact(&mut greeting).await?;
    zmtp::check_greeting(&greeting)
}

async fn read_ready(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Broken> {
    let length = if zmtp::is_long_command(stream.read_u8().await?)? {
        stream.read_u64().await?
    } else {
        stream.read_u8().await?.into()
    };
    let limit = zmtp::READY_LIMIT_BYTES;
    let fitting = usize::try_from(length).ok().filter(|length| *length <= limit);
    let mut body = vec![0; fitting.ok_or(Broken::TooLong { bytes: length, limit })?];
    stream.read_exact(&mut body).await?;
    Ok(body)
}
