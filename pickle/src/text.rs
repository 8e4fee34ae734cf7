//! Checks of text arguments: exactly as strict as Python's unpickler, or more lenient.

/// Whether `bytes` are UTF-8, with the lone surrogates that Python's `surrogatepass` allows.
pub(super) fn is_python_utf8(mut bytes: &[u8]) -> bool {
    while let Err(error) = std::str::from_utf8(bytes) {
        let rest = bytes.get(error.valid_up_to()..).unwrap_or_default();
        match rest {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, after @ ..] => bytes = after,
            _ => return false,
        }
    }
    true
}

/// Whether the `\u` and `\U` escapes in the argument of `UNICODE` are complete. All else in it is
/// Latin-1 and cannot be wrong.
pub(super) fn has_whole_escapes(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(start) = rest.iter().position(|&byte| byte == b'\\') {
        let digits = match rest.get(start + 1) {
            Some(b'u') => 4,
            Some(b'U') => 8,
            // Any other byte stands for itself, a second backslash included.
            _ => 0,
        };
        let after = start + 2;
        if digits > 0 {
            let escape = rest.get(after..after + digits).unwrap_or_default();
            let code = std::str::from_utf8(escape).ok().and_then(parse_hex);
            if escape.len() < digits || code.is_none_or(|code| code > 0x0010_ffff) {
                return false;
            }
        }
        rest = rest.get(after + digits..).unwrap_or_default();
    }
    true
}

fn parse_hex(digits: &str) -> Option<u32> {
    let all_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all_hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

/// Whether the argument of `STRING` stands in quotes, as `repr` writes it.
pub(super) fn is_quoted(bytes: &[u8]) -> bool {
    matches!(bytes, [b'\'', .., b'\''] | [b'"', .., b'"'])
}

/// Whether `bytes` are an integer for `INT` or `LONG`: decimal or with a prefix; an `L` may end it.
/// A leading zero is fine, for it once meant octal. However long it is, it costs one look.
pub(super) fn is_integer(bytes: &[u8]) -> bool {
    let unsigned = match bytes.trim_ascii() {
        [b'+' | b'-', digits @ ..] => digits,
        digits => digits,
    };
    let unsigned = unsigned.strip_suffix(b"L").unwrap_or(unsigned);
    let (digits, is_digit): (&[u8], fn(&u8) -> bool) = match unsigned {
        [b'0', b'x' | b'X', digits @ ..] => (digits, u8::is_ascii_hexdigit),
        [b'0', b'o' | b'O' | b'b' | b'B', digits @ ..] => (digits, u8::is_ascii_digit),
        digits => (digits, u8::is_ascii_digit),
    };
    digits.first().is_some_and(is_digit)
        && digits.iter().all(|byte| *byte == b'_' || is_digit(byte))
}

/// Whether `bytes` are a number for `FLOAT`.
pub(super) fn is_float(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes.trim_ascii()).is_ok_and(|text| text.parse::<f64>().is_ok())
}

/// The memo index of `GET` and `PUT`: a number as Python reads one, with `_` between its digits.
pub(super) fn index(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes.trim_ascii()).ok()?;
    let plain = text.parse().ok();
    plain.or_else(|| is_integer(bytes).then(|| text.replace('_', "").parse().ok()).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_are_text_and_other_broken_utf8_is_not() {
        assert!(is_python_utf8("plain, é, 😀".as_bytes()));
        assert!(is_python_utf8(b"a\xed\xa0\x80b\xed\xbf\xbf"));
        assert!(!is_python_utf8(b"\xff"));
        assert!(!is_python_utf8(b"\xed\xa0"));
        assert!(!is_python_utf8(b"\xf5\x80\x80\x80"));
    }

    #[test]
    fn escapes_must_be_whole() {
        for fine in [&b"abc"[..], b"\\u00e9", b"\\U0001f600", b"\\\\u12", b"\\x", b"\xe9", b"\\"] {
            assert!(has_whole_escapes(fine), "{fine:?}");
        }
        for broken in [&b"\\u12"[..], b"\\u12g4", b"\\U00110000", b"\\U1234", b"\\u+123"] {
            assert!(!has_whole_escapes(broken), "{broken:?}");
        }
    }

    #[test]
    fn numbers_as_python_writes_them() {
        for fine in [&b"0"[..], b"-12", b"01", b"12L", b"0x1f", b"1_000"] {
            assert!(is_integer(fine), "{fine:?}");
        }
        for broken in [&b""[..], b"-", b"L", b"1.5", b"one", b"1a", b"0x"] {
            assert!(!is_integer(broken), "{broken:?}");
        }
        for fine in [&b"1.5"[..], b"-1e-300", b"inf", b"-inf", b"nan", b"3"] {
            assert!(is_float(fine), "{fine:?}");
        }
        assert!(!is_float(b"") && !is_float(b"x"));
        assert_eq!(index(b"1_0"), Some(10));
        assert_eq!((index(b"7"), index(b"-7"), index(b"")), (Some(7), None, None));
    }
}
