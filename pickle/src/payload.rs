//! The text form of serialized objects: base64 as `codecs.encode(data, "base64")` writes it, read as
//! leniently as Python's own decoder reads it. Inside belljar payloads are bytes; only the gateway
//! turns text into bytes and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

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
        STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text
}

/// Decodes what [`encode`] wrote, and all that Python's `codecs.decode(text, "base64")` takes:
/// characters outside the alphabet are skipped, then the padding must be right.
///
/// # Errors
/// The data characters do not end at a whole group.
pub fn decode(text: &str) -> Result<Vec<u8>, InvalidBase64> {
    // What clients send has newlines and nothing else to skip; the library decoder is many times
    // faster than the loop below, which knows Python's leniency.
    let mut compact = Vec::with_capacity(text.len());
    for line in text.as_bytes().split(|&byte| byte == b'\n') {
        compact.extend_from_slice(line);
    }
    match STANDARD.decode(&compact) {
        Ok(data) => Ok(data),
        Err(_) => decode_leniently(&compact),
    }
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
        fn any_text_is_answered(text: String) {
            let _ = decode(&text);
        }
    }
}
