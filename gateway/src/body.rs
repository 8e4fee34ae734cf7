//! Bodies on their way in: bounded in size, time and memory, and read without trusting any of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use crate::app::App;
use crate::error::ApiError;
use crate::timing::{Notes, Phase};
use crate::validate::{Field, explain};

/// A client slower than this, beyond the first pause, is cut.
const MIN_BYTES_PER_SECOND: usize = 16 * 1024;
/// Bodies up to this size are not counted against the memory for bodies.
const SMALL_BYTES: usize = 64 * 1024;
/// Work on more bytes than this is done on a thread of its own: other clients do not wait for it.
const INLINE_BYTES: usize = 256 * 1024;
/// What is read and thrown away of a body that is too large, so that its sender gets to read why.
const DRAIN_BYTES: usize = 64 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// The whole body of a request, and the memory that it was granted.
pub(crate) struct Input {
    /// The bytes.
    pub(crate) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl FromRequest<Arc<App>> for Input {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let start = Instant::now();
        let (parts, body) = request.into_parts();
        let input = receive(app, &parts.headers, body).await;
        if let Some(notes) = parts.extensions.get::<Arc<Notes>>() {
            notes.add(Phase::Read, start);
        }
        input
    }
}

async fn receive(app: &App, headers: &HeaderMap, body: Body) -> Result<Input, ApiError> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(ApiError::Encoding(String::from_utf8_lossy(encoding.as_bytes()).into_owned()));
    }
    let limit = app.config.max_body_bytes;
    let claimed = http_body::Body::size_hint(&body).exact();
    let claimed = claimed.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if claimed.is_some_and(|length| length > limit) {
        // Who asks before sending is told before sending.
        if !headers.contains_key(header::EXPECT) {
            drain(body).await;
        }
        return Err(ApiError::TooLarge { limit });
    }
    let mut receiver = Receiver { app, limit, received: BytesMut::new(), room: None };
    if let Some(length) = claimed.filter(|&length| length > SMALL_BYTES) {
        let wanted = u32::try_from(length >> 10).unwrap_or(u32::MAX) + 1;
        let room = Semaphore::acquire_many_owned(Arc::clone(&app.body_room), wanted);
        let room = tokio::time::timeout(app.config.body_timeout, room).await;
        receiver.room = room.ok().and_then(Result::ok);
        if receiver.room.is_none() {
            return Err(ApiError::Overloaded);
        }
    }
    receiver.run(body).await
}

/// Reads on for a while without keeping anything.
async fn drain(mut body: Body) {
    let deadline = tokio::time::Instant::now() + DRAIN_TIME;
    let mut left = DRAIN_BYTES;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(length) else { return };
        left = rest;
    }
}

struct Receiver<'a> {
    app: &'a App,
    limit: usize,
    received: BytesMut,
    room: Option<OwnedSemaphorePermit>,
}

impl Receiver<'_> {
    async fn run(mut self, mut body: Body) -> Result<Input, ApiError> {
        let start = tokio::time::Instant::now();
        let pause = self.app.config.body_timeout;
        let mut only = None;
        loop {
            let have = self.received.len() + only.as_ref().map_or(0, Bytes::len);
            let earned = Duration::from_secs((have / MIN_BYTES_PER_SECOND) as u64);
            let deadline = (tokio::time::Instant::now() + pause).min(start + pause + earned);
            let frame = match timeout_at(deadline, body.frame()).await {
                Err(_) => return Err(ApiError::SlowBody),
                Ok(None) => break,
                Ok(Some(frame)) => frame.map_err(|e| ApiError::BrokenBody(e.to_string()))?,
            };
            let Ok(data) = frame.into_data() else { continue };
            if have + data.len() > self.limit {
                drain(body).await;
                return Err(ApiError::TooLarge { limit: self.limit });
            }
            self.make_room(have + data.len())?;
            // Most bodies are one frame, which needs no copy.
            if have == 0 {
                only = Some(data);
            } else {
                if let Some(first) = only.take() {
                    self.received.extend_from_slice(&first);
                }
                self.received.extend_from_slice(&data);
            }
        }
        let bytes = only.unwrap_or_else(|| self.received.freeze());
        Ok(Input { bytes, _room: self.room })
    }

    /// Takes permits for a body that did not say how long it will be.
    fn make_room(&mut self, size: usize) -> Result<(), ApiError> {
        if size <= SMALL_BYTES {
            return Ok(());
        }
        let held = self.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = ((size >> 10) + 1).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        // More at once than is needed now: fewer calls.
        let wanted = u32::try_from(missing.max(256)).unwrap_or(u32::MAX);
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

/// Parses a JSON object; says what is wrong with each of `fields` if that fails.
pub(crate) fn parse<'a, T: Deserialize<'a>>(
    body: &'a [u8],
    fields: &[Field],
) -> Result<T, ApiError> {
    // Derived code would also take a list of the fields' values.
    let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let parsed = if is_object {
        serde_json::from_slice(body)
    } else {
        Err(serde::de::Error::custom("not an object"))
    };
    parsed.map_err(|error| ApiError::Invalid(explain(body, fields, &error)))
}

/// Does `work`, which handles `size` bytes, where it holds up nobody.
pub(crate) async fn offload<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if size <= INLINE_BYTES {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(ApiError::Internal("work on a large body panicked".into())))
}
