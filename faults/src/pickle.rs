//! The few pickles that the clients need, made without Python.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A longer result is not kept as a whole.
const LONG: usize = 1 << 16;

/// The payload of a function of an importable module, by reference.
#[must_use]
pub fn function(module: &str, name: &str) -> String {
    let mut bytes = b"\x80\x04".to_vec();
    push_text(&mut bytes, module);
    push_text(&mut bytes, name);
    bytes.extend(b"\x93.");
    STANDARD.encode(bytes)
}

/// The payload of `((first, second), {})`, two texts.
#[must_use]
pub fn arguments(first: &str, second: &str) -> String {
    let mut bytes = b"\x80\x04".to_vec();
    push_text(&mut bytes, first);
    push_text(&mut bytes, second);
    bytes.extend(b"\x86}\x86.");
    STANDARD.encode(bytes)
}

/// The same with a persistent id in place of the first.
#[must_use]
pub fn referring(id: &str, second: &str) -> String {
    let mut bytes = b"\x80\x04".to_vec();
    push_text(&mut bytes, id);
    bytes.push(b'Q');
    push_text(&mut bytes, second);
    bytes.extend(b"\x86}\x86.");
    STANDARD.encode(bytes)
}

/// The pickle of a text.
#[must_use]
pub fn value(text: &str) -> Vec<u8> {
    let mut bytes = b"\x80\x04".to_vec();
    push_text(&mut bytes, text);
    bytes.push(b'.');
    bytes
}

/// Adds a text with its length in four bytes.
fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(b'X');
    bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// The text of a result. `None` if the result is not a short text.
#[must_use]
pub fn text(payload: &str) -> Option<String> {
    let joined: String = payload.split_whitespace().collect();
    let bytes = STANDARD.decode(joined).ok()?;
    let at = bytes.iter().position(|byte| *byte == 0x8c)?;
    let length = usize::from(*bytes.get(at + 1)?);
    let text = bytes.get(at + 2..at + 2 + length)?;
    String::from_utf8(text.to_vec()).ok()
}

/// A result that is not short, shortened: its text, then what tells it from others of the same text.
#[must_use]
pub fn shortened(payload: String) -> String {
    if payload.len() < LONG {
        return payload;
    }
    let mut hasher = DefaultHasher::new();
    payload.hash(&mut hasher);
    let mut bytes = b"\x80\x04\x8c".to_vec();
    let text = text(&payload).unwrap_or_default();
    bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    bytes.extend(text.as_bytes());
    bytes.extend(hasher.finish().to_le_bytes());
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_as_python_pickles_it_is_read() {
        // base64(pickle.dumps("7 12.3", 4)), as a result arrives.
        assert_eq!(text("gASVCgAAAAAAAACMBjcgMTIuM5Qu\n").as_deref(), Some("7 12.3"));
        assert_eq!(text("gARLBy4="), None);
    }

    #[test]
    fn a_long_result_keeps_its_text_and_what_tells_it_from_others() {
        let long = |last: u8| {
            let mut bytes = value("7 12.3");
            bytes.splice(2..7, *b"\x8c\x06");
            bytes.extend(vec![last; LONG]);
            STANDARD.encode(bytes)
        };
        let (first, second) = (shortened(long(1)), shortened(long(2)));
        assert_eq!((text(&first).as_deref(), text(&second)), (Some("7 12.3"), text(&first)));
        assert!(first != second && first.len() < 100 && first == shortened(long(1)));
        assert_eq!(shortened("gARLBy4=".to_owned()), "gARLBy4=");
    }

    #[test]
    fn arguments_are_a_pair_of_a_tuple_and_a_dict() {
        assert_eq!(
            STANDARD.decode(arguments("a", "b")).expect("base64"),
            b"\x80\x04X\x01\0\0\0aX\x01\0\0\0b\x86}\x86."
        );
    }
}
