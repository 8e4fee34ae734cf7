//! Messages of which a part is elsewhere: arguments that are sent from files, and results that go into files.

use std::io::Write;

use bytes::Bytes;
use uuid::Uuid;

use super::{Call, ChildReply, Done, FrameError, decode, encode, write};
use crate::limits::MAX_FRAME_BYTES;

/// The end of a call as its child says it: what is long goes out as it is.
///
/// # Errors
/// The message is too long, or the stream fails.
pub fn write_done(stream: &mut impl Write, mut done: Done) -> Result<(), FrameError> {
    let value = match &mut done.result {
        Ok(value) if value.len() > COPIED_BYTES => std::mem::take(value),
        _ => return write(stream, &ChildReply::Done(done)),
    };
    let place = Place::new();
    done.result = Ok(place.bytes());
    let mut before = encode(&ChildReply::Done(done))?;
    let after = place.cut(&mut before, value.len() as u64)?;
    for part in [&before[..], &value, &after] {
        stream.write_all(part)?;
    }
    Ok(())
}

/// Values of up to so many bytes are copied into a frame.
const COPIED_BYTES: usize = 1 << 20;

/// A call as one frame, cut where its arguments stand: what comes before and after `args_bytes` of them, which are sent from where
/// they are. Those of the call itself are left out.
///
/// # Errors
/// The message is longer than [`MAX_FRAME_BYTES`].
pub fn encode_around(call: &mut Call, args_bytes: u64) -> Result<(Vec<u8>, Vec<u8>), FrameError> {
    let place = Place::new();
    call.invocation.args = place.bytes();
    let frame = encode(call);
    call.invocation.args = Bytes::new();
    let mut frame = frame?;
    let after = place.cut(&mut frame, args_bytes)?;
    Ok((frame, after))
}

const BIN8: u8 = 0xc4;
const BIN32: u8 = 0xc6;

/// What stands in a frame for bytes that are elsewhere. Nobody can guess it, so that it stands in one place.
struct Place([u8; 32]);

impl Place {
    fn new() -> Self {
        let mut place = [0; 32];
        for half in place.chunks_exact_mut(16) {
            half.copy_from_slice(Uuid::new_v4().as_bytes());
        }
        Self(place)
    }

    fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }

    /// Cuts a frame there: it ends with the header of so many bytes then, and the rest is returned.
    fn cut(&self, frame: &mut Vec<u8>, bytes: u64) -> Result<Vec<u8>, FrameError> {
        let header = [&[BIN8, 32][..], &self.0].concat();
        let at = frame.windows(header.len()).position(|part| part == header);
        #[expect(clippy::expect_used, reason = "it was written there")]
        let at = at.expect("the place of the bytes");
        let after = frame.split_off(at + header.len());
        frame.truncate(at);
        frame.push(BIN32);
        let too_long = |bytes| FrameError::TooLong { bytes, limit: MAX_FRAME_BYTES };
        let length = u32::try_from(bytes).map_err(|_| too_long(usize::MAX))?;
        frame.extend_from_slice(&length.to_be_bytes());
        let bytes = frame.len() - 4 + length as usize + after.len();
        let prefix = u32::try_from(bytes).map_err(|_| too_long(bytes))?;
        frame[..4].copy_from_slice(&prefix.to_le_bytes());
        Ok(after)
    }
}

/// The most bytes that [`long_result`] looks at.
pub const HEAD_BYTES: usize = 32;

/// How many fields the end of a call has, without and with the last.
const DONE_FIELDS: std::ops::RangeInclusive<u32> = 5..=6;

/// What stands in the body of a reply before a long result of the call with this nonce, and how long that is; `None` where the reply begins
/// in any other way. `body` has [`HEAD_BYTES`] of it.
#[must_use]
pub fn long_result(body: &[u8], nonce: u64) -> Option<(usize, u32)> {
    let mut rest = body;
    let is_done = map_of_one(&mut rest, "Done")?;
    let fields = rmp::decode::read_array_len(&mut rest).ok()?;
    let is_its = rmp::decode::read_int::<u64, _>(&mut rest).ok()? == nonce;
    let is_ok = map_of_one(&mut rest, "Ok")?;
    if !(is_done && DONE_FIELDS.contains(&fields) && is_its && is_ok)
        || rest.first() != Some(&BIN32)
    {
        return None;
    }
    let length = rmp::decode::read_bin_len(&mut rest).ok()?;
    Some((body.len() - rest.len(), length))
}

/// Whether a map of one entry with this name comes next.
fn map_of_one(rest: &mut &[u8], name: &str) -> Option<bool> {
    let entries = rmp::decode::read_map_len(rest).ok()?;
    let length = rmp::decode::read_str_len(rest).ok()?;
    let (found, after) = rest.split_at_checked(length as usize)?;
    *rest = after;
    Some(entries == 1 && found == name.as_bytes())
}

/// The end of a call from the body of a reply with a long result, which is elsewhere: what stands before, as [`long_result`] says, and after.
///
/// # Errors
/// The bytes are no such message.
pub fn decode_around(before: &[u8], after: &[u8]) -> Result<Done, FrameError> {
    const LENGTH_BYTES: usize = 4;
    let head = before.len().saturating_sub(1 + LENGTH_BYTES);
    match decode(&[&before[..head], &[BIN8, 0], after].concat())? {
        ChildReply::Done(done) => Ok(done),
        _ => Err(rmp_serde::decode::Error::LengthMismatch(0).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{nonce, read};
    use super::*;
    use crate::access::{Denied, DeniedKind};
    use crate::invocation::Invocation;

    #[test]
    fn arguments_may_come_from_elsewhere() {
        let class = "native:3.11".parse().expect("a class");
        let args = Bytes::from(vec![7; 300]);
        let invocation = Invocation::standalone(class, Bytes::from_static(b"code"), args);
        let mut call = Call {
            nonce: nonce(),
            invocation,
            evict: false,
            granted: Some(Box::default()),
            max_result_bytes: 1 << 20,
            folder: None,
        };
        let args = std::mem::take(&mut call.invocation.args);
        let (before, after) = encode_around(&mut call, args.len() as u64).expect("short");
        let frame = [&before[..], &args, &after].concat();
        call.invocation.args = args;
        assert_eq!(read::<Call>(&mut frame.as_slice()).expect("whole"), Some(call));
    }

    fn done(nonce: u64, bytes: usize) -> Done {
        Done { nonce, result: Ok(vec![7; bytes].into()), ..Done::failed(nonce, failure()) }
    }

    fn failure() -> crate::outcome::Failure {
        let kind = crate::outcome::FailureKind::Limit;
        crate::outcome::Failure::by_platform(kind, String::new())
    }

    #[test]
    fn a_long_result_is_written_and_found_in_place() {
        for bytes in [0, COPIED_BYTES, COPIED_BYTES + 1] {
            let mut frame = Vec::new();
            write_done(&mut frame, done(3, bytes)).expect("written");
            let whole = read::<ChildReply>(&mut frame.as_slice()).expect("whole");
            assert_eq!(whole, Some(ChildReply::Done(done(3, bytes))));
        }
        for nonce in [3, 200, u64::MAX, nonce()] {
            let denied =
                vec![Denied { kind: DeniedKind::Read, name: "/".into() }; nonce as usize % 2];
            let done = |bytes| Done { denied: denied.clone(), ..done(nonce, bytes) };
            let mut frame = Vec::new();
            write_done(&mut frame, done(1 << 17)).expect("written");
            let body = &frame[4..];
            let (head, length) = long_result(&body[..HEAD_BYTES], nonce).expect("it is one");
            assert_eq!(length, 1 << 17);
            let (before, after) = (&body[..head], &body[head + length as usize..]);
            assert!(body[head..head + length as usize].iter().all(|&byte| byte == 7));
            assert_eq!(decode_around(before, after).expect("whole"), done(0));
            assert_eq!(long_result(&body[..HEAD_BYTES], nonce ^ 1), None, "of another call");
        }
    }

    #[test]
    fn other_replies_are_no_long_results() {
        let failed = ChildReply::Done(Done::failed(3, failure()));
        let short = ChildReply::Done(done(3, 40));
        let others = [failed, short, ChildReply::Http(vec![7; 1 << 17].into())];
        for other in others {
            let frame = encode(&other).expect("short");
            assert_eq!(long_result(&frame[4..4 + HEAD_BYTES], 3), None, "{other:?}");
        }
        assert_eq!(long_result(&[0; HEAD_BYTES], 3), None);
        assert_eq!(long_result(b"\x81", 3), None);
        assert!(decode_around(b"", b"").is_err());
    }
}
