//! How answers are written.

use axum::response::{IntoResponse, Response};
use belljar_store::record::Timestamp;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::error::ApiError;
use crate::media::{Accepted, MESSAGE_PACK, ReplyForm};
pub(crate) use crate::times::rfc3339;

/// The header that says until when a result is kept.
pub(crate) const RESULT_EXPIRES: HeaderName = HeaderName::from_static("x-result-expires");

/// Where a result stands alone: its task, where that stands, and what loading the result runs.
pub(crate) const TASK_ID: HeaderName = HeaderName::from_static("x-task-id");
pub(crate) const TASK_STATUS: HeaderName = HeaderName::from_static("x-task-status");
pub(crate) const RESULT_KIND: HeaderName = HeaderName::from_static("x-result-kind");

/// An answer in one of the forms that a client takes.
pub(crate) fn in_form(accepted: Accepted, value: &impl Serialize) -> Result<Response, ApiError> {
    match accepted.form(0) {
        ReplyForm::Json => json(value),
        ReplyForm::MessagePack => {
            let mut bytes = Vec::with_capacity(256);
            pack(&mut bytes, value)?;
            Ok(of(MESSAGE_PACK, bytes))
        }
    }
}

/// Appends a value in MessagePack: what is text in JSON is text here.
pub(crate) fn pack(bytes: &mut Vec<u8>, value: &impl Serialize) -> Result<(), ApiError> {
    let writer = rmp_serde::Serializer::new(bytes).with_struct_map();
    value
        .serialize(&mut writer.with_human_readable())
        .map_err(|error| ApiError::Internal(format!("cannot write an answer: {error}").into()))
}

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

/// A number as people write it: a whole one without a fraction.
#[expect(clippy::cast_possible_truncation, reason = "exact within the bound")]
pub(crate) fn number(value: f64) -> serde_json::Number {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = (value.fract() == 0.0 && value.abs() < EXACT).then(|| (value as i64).into());
    whole.or_else(|| serde_json::Number::from_f64(value)).unwrap_or_else(|| 0.into())
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
    fn milliseconds_have_fractions() {
        assert!((ms_between(Timestamp(1_000), Timestamp(2_500)) - 1.5).abs() < 1e-9);
    }
}
