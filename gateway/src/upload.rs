//! What an upload says of itself: how much of which value it brings.

use base64_simd::STANDARD;
use belljar_core::sha256::Sha256Hash;
use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::problem::shown;

/// The hash of a whole value, as RFC 9530 has it.
pub(crate) const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// How much has come of an upload in pieces.
pub(crate) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// Why an upload is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadProblem {
    #[error(
        "the header Repr-Digest is `{0}`: expected `sha-256=:BASE64:` with the SHA-256 hash of the whole value, as RFC 9530 has it"
    )]
    Digest(String),
    #[error(
        "an upload in pieces needs the header Repr-Digest: the hash of the whole value says which one the piece is of"
    )]
    NoDigest,
    #[error(
        "the header Content-Range is `{0}`: expected `bytes FIRST-LAST/TOTAL` with a body of so many bytes, or `bytes */TOTAL` with \
         none to ask how much has come"
    )]
    Range(String),
    #[error("the piece begins at byte {first}, and {offset} have come: go on there")]
    Offset { first: u64, offset: u64 },
    #[error(
        "somebody else sends pieces of this value: ask with `bytes */TOTAL` how much has come, and go on then"
    )]
    Busy,
    #[error(
        "what has come has the SHA-256 hash {found}, and {expected} was said: it is not kept, send it again"
    )]
    Differs { found: Sha256Hash, expected: Sha256Hash },
}

impl UploadProblem {
    /// The HTTP status and the word for programs.
    pub(crate) const fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Digest(_) | Self::NoDigest => (StatusCode::BAD_REQUEST, "invalid_digest"),
            Self::Range(_) => (StatusCode::BAD_REQUEST, "invalid_range"),
            Self::Offset { .. } => (StatusCode::CONFLICT, "upload_offset"),
            Self::Busy => (StatusCode::CONFLICT, "upload_busy"),
            Self::Differs { .. } => (StatusCode::BAD_REQUEST, "digest_mismatch"),
        }
    }
}

/// A piece of a value, or the question how much has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it begins and how long it is; nothing for the question.
    pub(crate) place: Option<(u64, u64)>,
    /// How long the value is.
    pub(crate) total: u64,
}

/// The hash that the value should have.
pub(crate) fn digest(headers: &HeaderMap) -> Result<Option<Sha256Hash>, UploadProblem> {
    let Some(value) = headers.get(REPR_DIGEST) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    // Others than this may stand beside it.
    let found =
        text.split(',').find_map(|one| one.trim().strip_prefix("sha-256=:")?.strip_suffix(':'));
    let bytes = found.and_then(|text| STANDARD.decode_to_vec(text).ok());
    let hash = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    hash.map(|hash| Some(Sha256Hash(hash))).ok_or_else(|| UploadProblem::Digest(shown(text)))
}

/// The text of that header for a hash.
pub(crate) fn digest_header(sha256: Sha256Hash) -> String {
    format!("sha-256=:{}:", STANDARD.encode_to_string(sha256.0))
}

/// Which piece of the value comes, if not all of it.
pub(crate) fn piece(headers: &HeaderMap) -> Result<Option<Piece>, UploadProblem> {
    let Some(value) = headers.get(header::CONTENT_RANGE) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    read_piece(text).map(Some).ok_or_else(|| UploadProblem::Range(shown(text)))
}

fn read_piece(text: &str) -> Option<Piece> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let total = total.parse().ok()?;
    if range == "*" {
        return Some(Piece { place: None, total });
    }
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let length = last.checked_sub(first)?.checked_add(1)?;
    (last < total).then_some(Piece { place: Some((first, length)), total })
}

/// The part of `bytes` bytes that a request for a value asks for: the first byte and how many. `None` for all of it, also where what
/// it asks for cannot be understood.
///
/// # Errors
/// There is no such part.
pub(crate) fn wanted(headers: &HeaderMap, bytes: u64) -> Result<Option<(u64, u64)>, ()> {
    let text = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let range = text.and_then(|text| text.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else { return Ok(None) };
    let (first, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => (first, last.saturating_add(1).min(bytes)),
        (Ok(first), Err(_)) if last.is_empty() => (first, bytes),
        (Err(_), Ok(count)) if first.is_empty() => (bytes.saturating_sub(count), bytes),
        _ => return Ok(None),
    };
    if first < end { Ok(Some((first, end - first))) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn pieces_are_read_or_refused() {
        let read = |text| piece(&headers(header::CONTENT_RANGE, text)).ok().flatten();
        assert_eq!(read("bytes 0-9/10"), Some(Piece { place: Some((0, 10)), total: 10 }));
        assert_eq!(read("bytes */7"), Some(Piece { place: None, total: 7 }));
        for text in ["bytes 0-10/10", "bytes 5-4/10", "bytes 0-9/*", "items 0-9/10", "0-9/10", ""] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn digests_go_there_and_back() {
        let hash = Sha256Hash([0x0a; 32]);
        let header = HeaderValue::try_from(digest_header(hash)).expect("a header");
        let headers = HeaderMap::from_iter([(REPR_DIGEST, header)]);
        assert_eq!(digest(&headers), Ok(Some(hash)));
        for text in ["md5=:AAAA:", "sha-256=:AAAA:", "sha-256=AAAA", ""] {
            assert!(digest(&self::headers(REPR_DIGEST, text)).is_err(), "{text}");
        }
    }

    #[test]
    fn parts_that_are_asked_for() {
        let wanted = |text| wanted(&headers(header::RANGE, text), 10);
        assert_eq!(wanted("bytes=2-4"), Ok(Some((2, 3))));
        assert_eq!(wanted("bytes=2-"), Ok(Some((2, 8))));
        assert_eq!(wanted("bytes=-3"), Ok(Some((7, 3))));
        assert_eq!(wanted("bytes=8-99"), Ok(Some((8, 2))));
        assert_eq!(wanted("bytes=10-"), Err(()));
        assert_eq!(wanted("bytes=0-1,4-5"), Ok(None));
    }
}
