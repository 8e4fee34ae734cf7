//! Bodies that are compressed, by gzip or zstd, in both directions.
//!
//! # Layout
//!
//! * `decompress`: bodies of requests, taken apart.

mod decompress;

use std::io::{self, Write as _};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Body as _;
use zstd::zstd_safe::CParameter;

use crate::error::ApiError;
pub(crate) use decompress::Decompressor;

/// Answers below this size go as they are: compressing them costs more than it saves.
const LEAST_BYTES: u64 = 32 << 10;
/// So much is compressed at once.
const PIECE_BYTES: usize = 64 << 10;
/// How far back a compressed answer refers, as a power of two: each answer that is under way takes some times as much memory.
const ANSWER_WINDOW_LOG: u32 = 17;

/// A way to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Zstd,
}

impl Coding {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// How the body of a request is compressed.
pub(crate) fn coding(headers: &HeaderMap) -> Result<Option<Coding>, ApiError> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(None) };
    let is = |name: &str| value.as_bytes().eq_ignore_ascii_case(name.as_bytes());
    match () {
        () if is("identity") => Ok(None),
        () if is("gzip") || is("x-gzip") => Ok(Some(Coding::Gzip)),
        () if is("zstd") => Ok(Some(Coding::Zstd)),
        () => Err(ApiError::Encoding(String::from_utf8_lossy(value.as_bytes()).into_owned())),
    }
}

/// How the client takes large answers compressed: the way that it likes better, of two alike the faster one.
pub(crate) fn accepted(headers: &HeaderMap) -> Option<Coding> {
    let text = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    let weight = |coding: Coding| {
        let of = |one: &str| {
            let mut words = one.split(';').map(str::trim);
            let is_it = words.next().is_some_and(|name| name.eq_ignore_ascii_case(coding.as_str()));
            let weight = words.find_map(|word| word.strip_prefix("q=")?.parse::<f32>().ok());
            is_it.then_some(weight.unwrap_or(1.0))
        };
        text.split(',').find_map(of).filter(|weight| *weight > 0.0)
    };
    match (weight(Coding::Gzip), weight(Coding::Zstd)) {
        (Some(gzip), Some(zstd)) if gzip > zstd => Some(Coding::Gzip),
        (_, Some(_)) => Some(Coding::Zstd),
        (Some(_), None) => Some(Coding::Gzip),
        (None, None) => None,
    }
}

/// A large answer, compressed. Streams of events and uploaded values go as they are.
pub(crate) fn compressed(response: Response, coding: Coding) -> Response {
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
    // One that cannot be made is none.
    let Ok(encoder) = Encoder::new(coding) else { return response };
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    parts.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let state = Compressing { body, input: Bytes::new(), encoder: Some(encoder) };
    Response::from_parts(parts, Body::from_stream(stream::try_unfold(state, next_piece)))
}

struct Compressing {
    body: Body,
    input: Bytes,
    /// `None` once the body has ended.
    encoder: Option<Encoder>,
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding) -> io::Result<Self> {
        const FAST: i32 = 1;
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), FAST)?;
                encoder.set_parameter(CParameter::WindowLog(ANSWER_WINDOW_LOG))?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Takes a piece, and gives what comes out.
    fn push(&mut self, piece: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => {
                encoder.write_all(piece).map(|()| std::mem::take(encoder.get_mut()))
            }
            Self::Zstd(encoder) => {
                encoder.write_all(piece).map(|()| std::mem::take(encoder.get_mut()))
            }
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// The next compressed bytes. Other requests get their turn between two pieces.
async fn next_piece(mut state: Compressing) -> io::Result<Option<(Bytes, Compressing)>> {
    loop {
        let Some(encoder) = &mut state.encoder else { return Ok(None) };
        if !state.input.is_empty() {
            let piece = state.input.split_to(state.input.len().min(PIECE_BYTES));
            let output = encoder.push(&piece)?;
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
                let rest = state.encoder.take().map(Encoder::finish).transpose()?;
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
        let told = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            accepted(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]))
        };
        for gzip in
            ["gzip", "br, gzip;q=0.5, zstd;q=0", "gzip, zstd;q=0.9", "zstd;q=0.000, GZIP;q=0.1"]
        {
            assert_eq!(told(gzip), Some(Coding::Gzip), "{gzip}");
        }
        for zstd in ["zstd", "gzip, deflate, br, zstd", "zstd;q=0.5, gzip;q=0.4"] {
            assert_eq!(told(zstd), Some(Coding::Zstd), "{zstd}");
        }
        for none in ["", "identity", "br", "gzip;q=0", "*", "zstd; q=0.0"] {
            assert_eq!(told(none), None, "{none}");
        }
        assert_eq!(accepted(&HeaderMap::new()), None);
    }
}
