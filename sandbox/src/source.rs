//! Calls without any Python on this side: a function as source text, arguments and result as JSON.

/// The pickle of the function `name` that `source` defines, for [`Sandbox::call`](crate::Sandbox::call).
/// What it returns comes back as JSON text: see [`json`].
#[must_use]
pub fn function(source: &str, name: &str) -> Vec<u8> {
    call_in_guest("function", &[source, name])
}

/// The pickle of the arguments in the JSON list `list`.
#[must_use]
pub fn arguments(list: &str) -> Vec<u8> {
    call_in_guest("arguments", &[list])
}

/// The JSON text in a result of a [`function`]; `None` if it is no pickled text.
#[must_use]
pub fn json(pickle: &[u8]) -> Option<&str> {
    const FRAME: u8 = 0x95;
    const SHORT_TEXT: u8 = 0x8c;
    const TEXT: u8 = b'X';
    let mut rest = pickle.strip_prefix(&[0x80, 4])?;
    if let Some(framed) = rest.strip_prefix(&[FRAME]) {
        rest = framed.get(8..)?;
    }
    let (start, length) = match *rest.first()? {
        SHORT_TEXT => (2_usize, usize::from(*rest.get(1)?)),
        TEXT => (5, u32::from_le_bytes(rest.get(1..5)?.try_into().ok()?) as usize),
        _ => return None,
    };
    std::str::from_utf8(rest.get(start..start.checked_add(length)?)?).ok()
}

/// The pickle (protocol 4) of `belljar_source.NAME(*TEXTS)`.
fn call_in_guest(name: &str, texts: &[&str]) -> Vec<u8> {
    let mut pickle = format!("\u{0}\u{4}cbelljar_source\n{name}\n(").into_bytes();
    pickle[0] = 0x80;
    for text in texts {
        pickle.push(0x8d);
        pickle.extend_from_slice(&(text.len() as u64).to_le_bytes());
        pickle.extend_from_slice(text.as_bytes());
    }
    pickle.extend_from_slice(b"tR.");
    pickle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read() {
        assert_eq!(json(b"\x80\x04\x95\x06\0\0\0\0\0\0\0\x8c\x02[]\x94."), Some("[]"));
        assert_eq!(json(b"\x80\x04X\x02\0\0\0[]."), Some("[]"));
        assert_eq!(json(b"\x80\x04N."), None);
        assert_eq!(json(b"\x80\x04\x8c\xff"), None);
    }

    #[test]
    fn a_call_is_pickled() {
        assert!(arguments("[1]").starts_with(b"\x80\x04cbelljar_source\narguments\n("));
        assert!(arguments("[1]").ends_with(b"[1]tR."));
    }
}
