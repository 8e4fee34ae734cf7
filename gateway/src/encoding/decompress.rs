//! Compressed bodies of requests, taken apart step by step, so that what comes out can be bounded.

use std::io::{self, Write as _};

use bytes::{Buf as _, Bytes};
use flate2::write::MultiGzDecoder;
use tokio::sync::{Semaphore, SemaphorePermit};
use zstd::stream::raw::{self, Operation as _};
use zstd::zstd_safe::{DParameter, InBuffer, OutBuffer};

use super::Coding;

/// So much of a gzip body is decompressed at once: a thousand times as much may come out.
const SLICE_BYTES: usize = 1 << 10;
/// So much of a zstd body comes out at once: any number of times as much as goes in may.
const OUTPUT_BYTES: usize = 64 << 10;
/// How far back a zstd body may refer, as a power of two: 8 MiB, which RFC 9659 has for bodies.
const WINDOW_LOG_MAX: u32 = 23;
/// How many zstd bodies are taken apart at once: each may need as much memory as it refers back. Others wait.
static ZSTD_AT_ONCE: Semaphore = Semaphore::const_new(64);

/// Takes a compressed body apart.
pub(crate) enum Decompressor {
    // In boxes: decoders are large.
    Gzip(Box<Ungzip>),
    Zstd(Box<Unzstd>),
}

impl Decompressor {
    /// Of a body that begins. Waits while too many others are under way.
    pub(crate) async fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(Box::new(Ungzip::new())),
            Coding::Zstd => Self::Zstd(Box::new(Unzstd::new().await?)),
        })
    }

    /// Takes more of the body. Ask for what comes out first.
    pub(crate) fn push(&mut self, input: Bytes) {
        match self {
            Self::Gzip(gzip) => gzip.input = input,
            Self::Zstd(zstd) => zstd.input = input,
        }
    }

    /// What comes out next; `None` where more of the body is needed.
    pub(crate) fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Self::Gzip(gzip) => gzip.next(),
            Self::Zstd(zstd) => zstd.next(),
        }
    }

    /// What comes out at the end of the body.
    pub(crate) fn finish(self) -> io::Result<Bytes> {
        match self {
            Self::Gzip(gzip) => gzip.decoder.finish().map(Bytes::from),
            Self::Zstd(zstd) if zstd.has_ended => Ok(Bytes::new()),
            Self::Zstd(_) => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the body ends before what is compressed does",
            )),
        }
    }
}

/// A gzip body.
pub(crate) struct Ungzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    /// What has come and is still compressed.
    input: Bytes,
}

impl Ungzip {
    fn new() -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::new()), input: Bytes::new() }
    }

    fn next(&mut self) -> io::Result<Option<Bytes>> {
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
}

/// A zstd body.
pub(crate) struct Unzstd {
    decoder: raw::Decoder<'static>,
    input: Bytes,
    output: Box<[u8]>,
    /// Whether more may come out of what went in.
    is_full: bool,
    /// Whether it can end here: a frame has.
    has_ended: bool,
    _place: SemaphorePermit<'static>,
}

impl Unzstd {
    async fn new() -> io::Result<Self> {
        let place = ZSTD_AT_ONCE.acquire().await.map_err(io::Error::other)?;
        let mut decoder = raw::Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        let output = vec![0; OUTPUT_BYTES].into();
        let input = Bytes::new();
        Ok(Self { decoder, input, output, is_full: false, has_ended: false, _place: place })
    }

    fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.is_full || !self.input.is_empty() {
            let (read, written, left) = {
                let mut input = InBuffer::around(&self.input);
                let mut output = OutBuffer::around(&mut self.output[..]);
                let left = self.decoder.run(&mut input, &mut output)?;
                (input.pos(), output.pos(), left)
            };
            self.input.advance(read);
            self.is_full = written == OUTPUT_BYTES;
            // Without anything to read it says what it wants of a next frame.
            if read > 0 || written > 0 {
                self.has_ended = left == 0;
            }
            if written > 0 {
                return Ok(Some(Bytes::copy_from_slice(&self.output[..written])));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// All that comes out of a body, and the most that comes out at once.
    async fn whole(coding: Coding, body: Vec<u8>, piece: usize) -> io::Result<(Vec<u8>, usize)> {
        let mut decompressor = Decompressor::new(coding).await?;
        let (mut whole, mut most) = (Vec::new(), 0);
        for piece in body.chunks(piece) {
            decompressor.push(Bytes::copy_from_slice(piece));
            while let Some(output) = decompressor.next()? {
                whole.extend_from_slice(&output);
                most = most.max(output.len());
            }
        }
        whole.extend_from_slice(&decompressor.finish()?);
        Ok((whole, most))
    }

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).expect("into memory");
        encoder.finish().expect("into memory")
    }

    fn zstd(body: &[u8]) -> Vec<u8> {
        zstd::encode_all(body, 3).expect("into memory")
    }

    #[tokio::test]
    async fn what_comes_out_at_once_is_bounded() {
        let zeros = vec![0; 64 << 20];
        for (coding, body, bound) in
            [(Coding::Gzip, gzip(&zeros), 2 << 20), (Coding::Zstd, zstd(&zeros), OUTPUT_BYTES)]
        {
            assert!(body.len() < 100_000, "{}", body.len());
            let (read, most) = whole(coding, body, usize::MAX).await.expect("whole");
            assert!(read == zeros, "{coding:?}");
            assert!(most <= bound, "{coding:?}: {most}");
        }
    }

    #[tokio::test]
    async fn frames_may_follow_each_other_and_end_anywhere_in_a_piece() {
        let body: Vec<u8> = (0..50_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        for (coding, compress) in [
            (Coding::Gzip, gzip as fn(&[u8]) -> Vec<u8>),
            (Coding::Zstd, zstd as fn(&[u8]) -> Vec<u8>),
        ] {
            let sent =
                [compress(&body[..130_000]), compress(b""), compress(&body[130_000..])].concat();
            for piece in [7, 1 << 16, usize::MAX] {
                let (read, _) = whole(coding, sent.clone(), piece).await.expect("whole");
                assert!(read == body, "{coding:?} {piece}");
            }
            let cut = whole(coding, sent[..sent.len() - 1].to_vec(), 1 << 16).await;
            assert!(cut.is_err(), "{coding:?}");
            let more = [&sent[..], b"more that is no frame"].concat();
            assert!(whole(coding, more, 1 << 16).await.is_err(), "{coding:?}");
        }
        assert!(whole(Coding::Zstd, Vec::new(), 1).await.is_err());
    }

    #[tokio::test]
    async fn a_body_that_refers_far_back_is_refused() {
        let compress = |log: u32| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("made");
            let window = zstd::zstd_safe::CParameter::WindowLog(log);
            encoder.set_parameter(window).expect("set");
            encoder.write_all(&[7; 1000]).expect("into memory");
            encoder.finish().expect("into memory")
        };
        assert!(whole(Coding::Zstd, compress(WINDOW_LOG_MAX), 64).await.is_ok());
        let error = whole(Coding::Zstd, compress(WINDOW_LOG_MAX + 1), 64).await.expect_err("far");
        assert!(error.to_string().contains("too much memory"), "{error}");
    }
}
