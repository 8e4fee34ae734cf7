//! Bodies that are compressed by gzip, in both directions.

use std::io::{self, Write as _};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, MultiGzDecoder};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Body as _;

use crate::error::ApiError;

/// Answers below this size go as they are: compressing them costs more than it saves.
const LEAST_BYTES: u64 = 32 << 10;
/// So much is decompressed at once: a thousand times as much may come out.
const SLICE_BYTES: usize = 1 << 10;
/// So much is compressed at once.
const PIECE_BYTES: usize = 64 << 10;

/// Whether the body of a request is compressed.
pub(crate) fn is_compressed(headers: &HeaderMap) -> Result<bool, ApiError> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(false) };
    let is = |name: &str| value.as_bytes().eq_ignore_ascii_case(name.as_bytes());
    if is("identity") {
        return Ok(false);
    }
    if is("gzip") || is("x-gzip") {
        return Ok(true);
    }
    Err(ApiError::Encoding(String::from_utf8_lossy(value.as_bytes()).into_owned()))
}

/// Takes a compressed body apart, a slice at a time, so that what comes out can be bounded.
pub(crate) struct Decompressor {
    decoder: MultiGzDecoder<Vec<u8>>,
    /// What has come and is still compressed.
    input: Bytes,
}

impl Decompressor {
    /// Of a body that begins.
    pub(crate) fn new() -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::new()), input: Bytes::new() }
    }

    /// Takes more of the body. Ask for what comes out first.
    pub(crate) fn push(&mut self, input: Bytes) {
        self.input = input;
    }

    /// What comes out of the next slice; `None` where more of the body is needed.
    pub(crate) fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.input.is_empty() {
            let slice = self.input.split_to(self.input.len().min(SLICE_BYTES));
            self.decoder.write_all(&slice)?;
            let output = std::mem::take(self.decoder.get_mut());
            if !output.is_empty() {
                return Ok(Some(output.into()));
            }
        }
        Ok(None)
    }

    /// What comes out at the end of the body.
    pub(crate) fn finish(&mut self) -> io::Result<Bytes> {
        let decoder = std::mem::replace(&mut self.decoder, MultiGzDecoder::new(Vec::new()));
        decoder.finish().map(Bytes::from)
    }
}

/// Whether the client takes large answers compressed.
pub(crate) fn is_accepted(headers: &HeaderMap) -> bool {
    let text = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    text.unwrap_or_default().split(',').any(|one| {
        let mut words = one.split(';').map(str::trim);
        let is_gzip = words.next() == Some("gzip");
        is_gzip && !words.any(|word| matches!(word, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// A large answer, compressed. Streams of events and uploaded values go as they are.
pub(crate) fn compressed(response: Response) -> Response {
    let headers = response.headers();
    let told = || headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    let length: Option<u64> = response.body().size_hint().exact().or_else(told);
    let as_it_is = [header::CONTENT_ENCODING, header::ACCEPT_RANGES, header::CONTENT_RANGE];
    if response.status() != StatusCode::OK
        || length.is_none_or(|length| length < LEAST_BYTES)
        || as_it_is.iter().any(|name| headers.contains_key(name))
    {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let state = Compressing { body, input: Bytes::new(), encoder: Some(encoder) };
    Response::from_parts(parts, Body::from_stream(stream::try_unfold(state, next_piece)))
}

struct Compressing {
    body: Body,
    input: Bytes,
    /// `None` once the body has ended.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

/// The next compressed bytes. Other requests get their turn between two pieces.
async fn next_piece(mut state: Compressing) -> io::Result<Option<(Bytes, Compressing)>> {
    loop {
        let Some(encoder) = &mut state.encoder else { return Ok(None) };
        if !state.input.is_empty() {
            let piece = state.input.split_to(state.input.len().min(PIECE_BYTES));
            encoder.write_all(&piece)?;
            let output = std::mem::take(encoder.get_mut());
            if !output.is_empty() {
                return Ok(Some((output.into(), state)));
            }
            tokio::task::yield_now().await;
            continue;
        }
        let frame = http_body_util::BodyExt::frame(&mut state.body).await;
        match frame.transpose().map_err(io::Error::other)? {
            Some(frame) => state.input = frame.into_data().unwrap_or_default(),
            None => {
                let rest = state.encoder.take().map(GzEncoder::finish).transpose()?;
                return Ok(rest.map(|rest| (rest.into(), state)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_it() {
        let accepted = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            is_accepted(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]))
        };
        assert!(accepted("gzip") && accepted("br, gzip;q=0.5, zstd"));
        for none in ["", "identity", "br", "gzip;q=0", "*"] {
            assert!(!accepted(none), "{none}");
        }
    }

    #[test]
    fn what_comes_out_of_a_slice_is_bounded() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; 64 << 20]).expect("into memory");
        let mut decompressor = Decompressor::new();
        decompressor.push(encoder.finish().expect("into memory").into());
        let (mut whole, mut most) = (0, 0);
        while let Some(output) = decompressor.next().expect("it is gzip") {
            (whole, most) = (whole + output.len(), most.max(output.len()));
        }
        whole += decompressor.finish().expect("whole").len();
        assert_eq!(whole, 64 << 20);
        assert!(most <= 2 << 20, "{most}");
    }
}
