//! Carries one connection between the network (outer) and a unix socket of the zeromq crate (inner):
//! copies checked frames both ways until one side ends, and then ends the other so that nothing which
//! had arrived is lost.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::error::Broken;
use crate::queue::Queue;
use crate::tls::Outer;
use crate::zmtp::{Kind, Scanned, Scanner};

/// How much is read at once: the least, and the most once reads come back full.
const CHUNK_BYTES: std::ops::RangeInclusive<usize> = 8 << 10..=256 << 10;

/// What a bridge asks and tells its owner.
pub(crate) trait Watch {
    /// The longest payload that may come in now.
    fn inward_limit(&self) -> usize;
    /// The longest payload that may go out.
    fn outward_limit(&self) -> usize;
    /// Messages came in.
    fn heard(&self);
    /// Where room is given back when messages have left.
    fn queue(&self) -> &Queue;
    /// The outer side has ended: nothing can be sent any more. Some may still be received.
    fn outer_ended(&self, reason: Broken);
    /// Resolves once the owner wants the end, with what waits in the queue sent first or not.
    fn stopped(&self) -> impl Future<Output = Stop> + Send;
    /// Resolves once nobody reads the inner side any more, so that it would never see the end.
    fn abandoned(&self) -> impl Future<Output = ()> + Send;
}

/// How a bridge is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// What waits is sent first.
    Gently,
    /// At once.
    Now,
}

/// Why a direction ended.
enum PumpEnd {
    /// Nothing more to read, or nothing good.
    Source(Broken),
    /// Nowhere to write.
    Sink(Broken),
}

/// Why the bridge ended.
enum End {
    Outer(Broken),
    Inner,
    Stopped(Stop),
}

/// Carries until an end, which takes at most `linger` once it has begun.
pub(crate) async fn carry(
    outer: Outer,
    inner: UnixStream,
    kind: Kind,
    watch: &impl Watch,
    linger: Duration,
) {
    let (mut outer_read, mut outer_write) = split(outer);
    let (mut inner_read, mut inner_write) = split(inner);
    let end = {
        let inward = pump(
            (&mut outer_read, &mut inner_write),
            Scanner::new(kind),
            || watch.inward_limit(),
            |_| watch.heard(),
        );
        let outward = pump(
            (&mut inner_read, &mut outer_write),
            Scanner::new(kind),
            || watch.outward_limit(),
            |scanned| watch.queue().give(scanned.messages, scanned.bytes),
        );
        tokio::pin!(inward, outward);
        tokio::select! {
            end = &mut inward => match end {
                PumpEnd::Source(reason) => End::Outer(reason),
                PumpEnd::Sink(_) => End::Inner,
            },
            end = &mut outward => match end {
                PumpEnd::Source(_) => End::Inner,
                PumpEnd::Sink(reason) => {
                    // What the peer said before it went is still there to be read.
                    let _ = timeout(linger, inward).await;
                    End::Outer(reason)
                }
            },
            stop = watch.stopped() => {
                if stop == Stop::Gently {
                    let sent = async { tokio::select! {
                        _ = outward => {}
                        () = watch.queue().emptied() => {}
                    }};
                    let _ = timeout(linger, sent).await;
                }
                End::Stopped(stop)
            }
        }
    };
    let reason = match &end {
        End::Outer(reason) => reason.clone(),
        End::Inner | End::Stopped(_) => Broken::Ended,
    };
    watch.outer_ended(reason);
    let leave_outer = leave_outer(end, outer_read, outer_write, linger);
    // The inner side reads what it was given, sees the end, and ends as well.
    let leave_inner = async {
        let _ = inner_write.shutdown().await;
        tokio::select! {
            () = discard(&mut inner_read) => {}
            () = watch.abandoned() => {}
        }
    };
    tokio::join!(leave_outer, leave_inner);
}

/// Ends the outer side. Where we end first, the peer is given the time to read what was sent: a socket
/// that is closed with something unread in it takes back what it has sent.
async fn leave_outer(
    end: End,
    mut read: ReadHalf<Outer>,
    mut write: WriteHalf<Outer>,
    linger: Duration,
) {
    if matches!(end, End::Inner | End::Stopped(Stop::Gently)) {
        let leave = async {
            let _ = write.shutdown().await;
            discard(&mut read).await;
        };
        let _ = timeout(linger, leave).await;
    }
}

async fn discard(from: &mut (impl AsyncRead + Unpin)) {
    let mut nowhere = [0; 4096];
    while let Ok(1..) = from.read(&mut nowhere).await {}
}

/// Copies frames one way, each head checked before its first byte goes on.
async fn pump(
    (from, to): (&mut (impl AsyncRead + Unpin), &mut (impl AsyncWrite + Unpin)),
    mut scanner: Scanner,
    limit: impl Fn() -> usize,
    passed: impl Fn(&Scanned),
) -> PumpEnd {
    let mut chunk = *CHUNK_BYTES.start();
    let mut bytes = BytesMut::new();
    loop {
        bytes.reserve(chunk);
        let had = bytes.len();
        match from.read_buf(&mut bytes).await {
            Ok(0) => return PumpEnd::Source(Broken::Closed),
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
            passed(&scanned);
        }
        if let Some(broken) = scanned.broken {
            return PumpEnd::Source(broken);
        }
    }
}
