//! Receives request bodies, bounded in size, time and memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use crate::app::App;
use crate::config::{Config, permits};
use crate::encoding::{self, Coding, Decompressor};
use crate::error::ApiError;
use crate::media::BodyForm;
use crate::problem::Problem;
use crate::timing::{Phase, RequestTiming};

/// A client slower than this, beyond the first pause, is cut.
const MIN_BYTES_PER_SECOND: usize = 16 * 1024;
/// Bodies up to this size are not counted against the memory for bodies.
const SMALL_BYTES: usize = 64 * 1024;
/// Work on more bytes than this is done on a thread of its own, so that other clients do not wait for it.
pub(crate) const INLINE_BYTES: usize = 256 * 1024;
/// How far ahead memory is reserved for a body that does not say its length.
const AHEAD_BYTES: usize = 256 * 1024;

/// How much of a body that is too large is read and dropped, so that its sender can read why.
const DRAIN_BYTES: usize = 64 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// The whole body of a request.
pub(crate) struct RequestBytes {
    /// The bytes.
    pub(crate) bytes: Bytes,
    /// How they are to be read.
    pub(crate) form: BodyForm,
    /// The header `Idempotency-Key`.
    pub(crate) idempotency_key: Option<HeaderValue>,
    /// The memory that is reserved for the body and for what is read from it.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl FromRequest<Arc<App>> for RequestBytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let start = Instant::now();
        let (parts, body) = request.into_parts();
        let received = receive(app, &parts.headers, body).await;
        if let Some(timing) = parts.extensions.get::<Arc<RequestTiming>>() {
            timing.add(Phase::Read, start);
        }
        let (bytes, room) = received?;
        let (form, idempotency_key) = (BodyForm::of(&parts.headers), one_key(&parts.headers)?);
        Ok(Self { bytes, form, idempotency_key, room })
    }
}

/// The header `Idempotency-Key`, which may be repeated with the same value only.
fn one_key(headers: &HeaderMap) -> Result<Option<HeaderValue>, ApiError> {
    let mut keys = headers.get_all("idempotency-key").into_iter();
    let first = keys.next();
    if keys.any(|key| Some(key) != first) {
        let msg = "The header is given twice with different values: send one of them";
        let loc = ["header", "idempotency-key"];
        return Err(ApiError::invalid(Problem::part("value_error", loc, msg)));
    }
    Ok(first.cloned())
}

type Received = (Bytes, Option<OwnedSemaphorePermit>);

async fn receive(app: &App, headers: &HeaderMap, body: Body) -> Result<Received, ApiError> {
    let coding = encoding::coding(headers)?;
    let limit = app.config.max_body_bytes;
    // Of a compressed one nobody says how long it will be.
    let claimed = http_body::Body::size_hint(&body).exact().filter(|_| coding.is_none());
    let claimed = claimed.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if claimed.is_some_and(|length| length > limit) {
        // A client that asks before it sends is answered before it sends.
        if !headers.contains_key(header::EXPECT) {
            drain(body).await;
        }
        return Err(ApiError::TooLarge { limit });
    }
    let mut receiver = Receiver { app, limit, claimed: 0, received: BytesMut::new(), room: None };
    if let Some(length) = claimed.filter(|&length| length > SMALL_BYTES) {
        let wanted = permits(length);
        let room = Semaphore::acquire_many_owned(Arc::clone(&app.body_room), wanted);
        let room = tokio::time::timeout(app.config.body_timeout, room).await;
        receiver.room = room.ok().and_then(Result::ok);
        if receiver.room.is_none() {
            return Err(ApiError::Overloaded);
        }
    }
    // A body that comes in several parts is copied together: into one buffer that never grows.
    receiver.claimed = claimed.unwrap_or_default();
    receiver.run(BodyPieces::new(&app.config, body, coding).await?).await
}

/// Reads on for a while without keeping anything.
pub(crate) async fn drain(mut body: Body) {
    let deadline = tokio::time::Instant::now() + DRAIN_TIME;
    let mut left = DRAIN_BYTES;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(length) else { return };
        left = rest;
    }
}

/// A body, piece by piece, from a client that is fast enough.
pub(crate) struct BodyPieces {
    body: Body,
    pause: Duration,
    start: tokio::time::Instant,
    received: u64,
    /// Of a body that is compressed; `None` also once it has ended.
    decompressor: Option<Decompressor>,
}

impl BodyPieces {
    /// The pieces of a body, as they were before it was compressed.
    ///
    /// # Errors
    /// Too many compressed bodies are under way.
    pub(crate) async fn new(
        config: &Config,
        body: Body,
        coding: Option<Coding>,
    ) -> Result<Self, ApiError> {
        let decompressor = match coding {
            None => None,
            // In a box: other bodies carry none of its state.
            Some(coding) => {
                let made = Box::pin(Decompressor::new(coding));
                let made = tokio::time::timeout(config.body_timeout, made).await;
                Some(made.ok().and_then(Result::ok).ok_or(ApiError::Overloaded)?)
            }
        };
        let (pause, start) = (config.body_timeout, tokio::time::Instant::now());
        Ok(Self { body, pause, start, received: 0, decompressor })
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let broken = |error: std::io::Error| ApiError::BrokenEncoding(error.to_string());
        loop {
            if let Some(decompressor) = &mut self.decompressor
                && let Some(piece) = decompressor.next().map_err(broken)?
            {
                return Ok(Some(piece));
            }
            let received = self.receive().await?;
            match (&mut self.decompressor, received) {
                (None, received) => return Ok(received),
                (Some(decompressor), Some(received)) => decompressor.push(received),
                (decompressor @ Some(_), None) => {
                    let rest = decompressor.take().map(Decompressor::finish);
                    let rest = rest.transpose().map_err(broken)?;
                    return Ok(rest.filter(|rest| !rest.is_empty()));
                }
            }
        }
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let earned = Duration::from_secs(self.received / MIN_BYTES_PER_SECOND as u64);
            let now = tokio::time::Instant::now();
            let deadline = (now + self.pause).min(self.start + self.pause + earned);
            let frame = match timeout_at(deadline, self.body.frame()).await {
                Err(_) => return Err(ApiError::SlowBody),
                Ok(None) => return Ok(None),
                Ok(Some(frame)) => frame.map_err(|e| ApiError::BrokenBody(e.to_string()))?,
            };
            let Ok(data) = frame.into_data() else { continue };
            self.received += data.len() as u64;
            return Ok(Some(data));
        }
    }
}

struct Receiver<'a> {
    app: &'a App,
    limit: usize,
    /// How long the client says that the body is.
    claimed: usize,
    received: BytesMut,
    room: Option<OwnedSemaphorePermit>,
}

impl Receiver<'_> {
    async fn run(mut self, mut pieces: BodyPieces) -> Result<Received, ApiError> {
        let mut only = None;
        while let Some(data) = pieces.next().await? {
            let have = self.received.len() + only.as_ref().map_or(0, Bytes::len);
            if have + data.len() > self.limit {
                drain(pieces.body).await;
                return Err(ApiError::TooLarge { limit: self.limit });
            }
            self.make_room(have + data.len())?;
            // Most bodies are one frame, which needs no copy.
            if have == 0 {
                only = Some(data);
            } else {
                if let Some(first) = only.take() {
                    self.received.reserve(self.claimed);
                    self.received.extend_from_slice(&first);
                }
                self.received.extend_from_slice(&data);
            }
        }
        let bytes = only.unwrap_or_else(|| self.received.freeze());
        Ok((bytes, self.room))
    }

    /// Takes permits for a body that did not say how long it will be.
    fn make_room(&mut self, size: usize) -> Result<(), ApiError> {
        if size <= SMALL_BYTES {
            return Ok(());
        }
        let held = self.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        // More at once than is needed now: fewer calls.
        let wanted = permits(size + AHEAD_BYTES).min(permits(self.limit));
        let wanted = wanted.saturating_sub(u32::try_from(held).unwrap_or(u32::MAX));
        if permits(size) as usize <= held {
            return Ok(());
        }
        let more = Arc::clone(&self.app.body_room)
            .try_acquire_many_owned(wanted)
            .map_err(|_| ApiError::Overloaded)?;
        match &mut self.room {
            Some(room) => room.merge(more),
            None => self.room = Some(more),
        }
        Ok(())
    }
}

/// Does `work`, which handles `size` bytes, where it delays no other request.
pub(crate) async fn offload<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if size <= INLINE_BYTES { work() } else { on_a_thread(work).await }
}

/// Does `work` on a thread of its own.
pub(crate) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(ApiError::Internal("work on a large request panicked".into())))
}
