//! How answers are written.

use axum::response::{IntoResponse, Response};
use belljar_store::record::Timestamp;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use std::time::{Duration, SystemTime};

use crate::error::ApiError;

/// The header that says until when a result is kept.
pub(crate) const RESULT_EXPIRES: HeaderName = HeaderName::from_static("x-result-expires");

/// An answer of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<Response, ApiError> {
    json_with_room(value, 256)
}

/// An answer of JSON that will have about `size` bytes.
pub(crate) fn json_with_room(value: &impl Serialize, size: usize) -> Result<Response, ApiError> {
    let mut text = Vec::with_capacity(size);
    serde_json::to_writer(&mut text, value)
        .map_err(|error| ApiError::Internal(format!("cannot write an answer: {error}").into()))?;
    Ok(of("application/json", text))
}

/// The same answer, for something that is under way.
pub(crate) fn accepted(mut response: Response) -> Response {
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// An answer of another kind.
pub(crate) fn of(content_type: &'static str, body: impl Into<axum::body::Body>) -> Response {
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
    (headers, body.into()).into_response()
}

/// A time as clients read it: `2026-01-02T03:04:05.000006Z`.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    // A time that does not fit a calendar of four-digit years is no time of a Redis server.
    const END: u64 = 253_402_300_799_999_999;
    let since = Duration::from_micros(time.0.min(END));
    humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + since).to_string()
}

/// Milliseconds from one time to a later one, to the microsecond.
pub(crate) fn ms_between(from: Timestamp, to: Timestamp) -> f64 {
    ms(to.0.saturating_sub(from.0))
}

/// Microseconds as milliseconds.
#[expect(clippy::cast_precision_loss, reason = "exact for the next 285 years")]
pub(crate) fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(Timestamp(1_767_323_045_000_006)), "2026-01-02T03:04:05.000006Z");
        assert_eq!(rfc3339(Timestamp(u64::MAX)), "9999-12-31T23:59:59.999999Z");
        assert!((ms_between(Timestamp(1_000), Timestamp(2_500)) - 1.5).abs() < 1e-9);
    }
}
