//! The text form of serialized objects: base64 as `codecs.encode(data, "base64")` writes it, read as
//! leniently as Python's own decoder reads it. Inside belljar payloads are bytes; only the gateway
//! turns text into bytes and back.

use base64_simd::{AsOut as _, STANDARD};

/// Bytes on one line of encoded text.
const LINE_BYTES: usize = 57;
/// Characters of one full line, without its newline.
const LINE_CHARS: usize = 76;

/// Why a text is not base64, in the words of Python's `binascii`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBase64 {
    /// The characters do not fill their last group of four.
    #[error("incorrect padding")]
    Padding,
    /// One character more than a whole number of groups: no bytes encode to that.
    #[error("the number of data characters cannot be one more than a multiple of four")]
    Stray,
}

/// Encodes `data` with a newline after every 76 characters and at the end; nothing gives "".
#[must_use]
pub fn encode(data: &[u8]) -> String {
    let mut text = String::with_capacity(data.len().div_ceil(LINE_BYTES) * (LINE_CHARS + 1));
    for line in data.chunks(LINE_BYTES) {
        STANDARD.encode_append(line, &mut text);
        text.push('\n');
    }
    text
}

/// How many bytes of data are a whole number of lines, beginning at some 256 KiB: parts of so many bytes,
/// encoded one after the other, are the whole encoded at once.
pub const PART_BYTES: usize = LINE_BYTES * 4608;

/// Appends what [`encode`] gives, as it stands in a JSON string: each newline as `\\n`.
pub fn encode_in_json(data: &[u8], json: &mut Vec<u8>) {
    json.reserve(length_in_json(data.len()));
    let mut encoded = [0; LINE_CHARS];
    for line in data.chunks(LINE_BYTES) {
        // A line never has more characters than the buffer.
        json.extend_from_slice(STANDARD.encode(line, encoded[..].as_out()));
        json.extend_from_slice(b"\\n");
    }
}

/// How many bytes [`encode_in_json`] appends for data of `length` bytes.
#[must_use]
pub const fn length_in_json(length: usize) -> usize {
    length.div_ceil(3) * 4 + length.div_ceil(LINE_BYTES) * 2
}

/// Decodes what [`encode`] wrote, and all that Python's `codecs.decode(text, "base64")` takes:
/// characters outside the alphabet are skipped, then the padding must be right.
///
/// # Errors
/// The data characters do not end at a whole group.
pub fn decode(text: &str) -> Result<Vec<u8>, InvalidBase64> {
    match decode_strictly(text.as_bytes()) {
        Some(data) => Ok(data),
        None => decode_leniently(text.as_bytes()),
    }
}

/// What clients send has newlines and nothing else to skip; the library's decoder is many times faster than
/// the loop below, which knows Python's leniency. Newlines are taken out piece by piece, since a payload can be
/// large and is in memory often enough; what has none is not copied.
fn decode_strictly(text: &[u8]) -> Option<Vec<u8>> {
    const PIECE_CHARS: usize = 16 << 10;
    let mut data = Vec::with_capacity(text.len() / 4 * 3);
    let mut piece = Vec::with_capacity(PIECE_CHARS);
    for mut line in text.split(|&byte| byte == b'\n') {
        while let Some((whole, later)) = line.split_at_checked(PIECE_CHARS)
            && piece.is_empty()
            && !later.is_empty()
        {
            // Padding ends the data, so that nothing may follow it.
            if whole.last() == Some(&b'=') {
                return None;
            }
            STANDARD.decode_append(whole, &mut data).ok()?;
            line = later;
        }
        while !line.is_empty() {
            if piece.len() == PIECE_CHARS {
                // Padding ends the data, so that nothing may follow it.
                if piece.last() == Some(&b'=') {
                    return None;
                }
                STANDARD.decode_append(&piece, &mut data).ok()?;
                piece.clear();
            }
            let (now, later) = line.split_at(line.len().min(PIECE_CHARS - piece.len()));
            piece.extend_from_slice(now);
            line = later;
        }
    }
    STANDARD.decode_append(&piece, &mut data).ok()?;
    Some(data)
}

/// The loop of CPython's `binascii.a2b_base64` in its lenient mode.
fn decode_leniently(text: &[u8]) -> Result<Vec<u8>, InvalidBase64> {
    let mut data = Vec::with_capacity(text.len() / 4 * 3);
    let (mut filled, mut pads, mut left_over) = (0_u8, 0_u8, 0_u8);
    for &byte in text {
        if byte == b'=' {
            pads += 1;
            if filled >= 2 && filled + pads >= 4 {
                // A complete padding ends the data, whatever follows.
                return Ok(data);
            }
            pads = pads.min(3);
            continue;
        }
        let Some(bits) = sextet(byte) else { continue };
        pads = 0;
        match filled {
            0 => left_over = bits,
            1 => {
                data.push(left_over << 2 | bits >> 4);
                left_over = bits & 0x0f;
            }
            2 => {
                data.push(left_over << 4 | bits >> 2);
                left_over = bits & 0x03;
            }
            _ => data.push(left_over << 6 | bits),
        }
        filled = (filled + 1) % 4;
    }
    match filled {
        0 => Ok(data),
        1 => Err(InvalidBase64::Stray),
        _ => Err(InvalidBase64::Padding),
    }
}

const fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_contract_s_example() {
        let pickle = decode("gASVCQAAAAAAAABLAoWUfZSGlC4=\n").expect("base64");
        assert_eq!(pickle.first(), Some(&0x80));
        assert_eq!(encode(&pickle), "gASVCQAAAAAAAABLAoWUfZSGlC4=\n");
    }

    #[test]
    fn padding_is_insisted_on_after_skipping() {
        assert_eq!(decode("payload"), Err(InvalidBase64::Padding));
        assert_eq!(decode("not_a_function").map(|data| data.len()), Ok(9));
        assert_eq!(decode("abcde"), Err(InvalidBase64::Stray));
        assert_eq!(decode(" YQ = = trailing"), Ok(b"a".to_vec()));
        assert_eq!(decode("=YQ=="), Ok(b"a".to_vec()));
        assert_eq!(decode(""), Ok(Vec::new()));
    }

    #[test]
    fn lines_are_76_characters() {
        let text = encode(&[0; 58]);
        assert_eq!(text.split('\n').map(str::len).collect::<Vec<_>>(), [76, 4, 0]);
        assert_eq!(encode(b""), "");
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(data: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&data)), Ok(data.clone()));
            prop_assert_eq!(decode(&encode(&data).replace('\n', "")), Ok(data.clone()));
            prop_assert_eq!(decode(&encode(&data).replace('\n', "\r\n ")), Ok(data));
        }

        #[test]
        fn long_texts_come_back(data in proptest::collection::vec(any::<u8>(), 12_000..26_000)) {
            prop_assert_eq!(decode(&encode(&data)), Ok(data.clone()));
            prop_assert_eq!(decode(&encode(&data).replace('\n', "")), Ok(data));
        }

        #[test]
        fn parts_in_json_are_the_whole(data: Vec<u8>, lines in 1_usize..4) {
            let mut json = Vec::new();
            for part in data.chunks(lines * LINE_BYTES) {
                encode_in_json(part, &mut json);
            }
            prop_assert_eq!(json.len(), length_in_json(data.len()));
            prop_assert_eq!(String::from_utf8(json), Ok(encode(&data).replace('\n', "\\n")));
        }

        #[test]
        fn any_text_is_answered(text: String) {
            let _ = decode(&text);
        }
    }
}
