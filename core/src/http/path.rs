//! Paths of URLs, in a form that no server reads in two ways.

use std::fmt::Write as _;

/// How often a part may be percent-encoded over and over.
const ENCODINGS: usize = 4;

/// One part of a path, between two slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// With escapes in capitals, and only where they are needed.
    pub(super) text: String,
    /// Whether a server that decodes it finds a slash in it.
    pub(super) has_slash: bool,
}

/// Why a part of a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It does not begin with a slash.
    #[error("it does not begin with `/`")]
    NoSlash,
    /// It leads up, as it is or for a server that decodes it.
    #[error("it has a part `.` or `..`, plain or encoded")]
    Dots,
    /// It has bytes that mean something else to some servers.
    #[error("it has a byte that is no part of a URL")]
    Byte,
    /// A `%` that is followed by no two hexadecimal digits.
    #[error("it has a `%` without two hexadecimal digits")]
    Escape,
    /// It is encoded over and over.
    #[error("it is percent-encoded more than {ENCODINGS} times")]
    Encodings,
}

/// The parts of a path.
pub(super) fn segments(path: &str) -> Result<Vec<Segment>, InvalidPath> {
    let inside = path.strip_prefix('/').ok_or(InvalidPath::NoSlash)?;
    inside.split('/').map(segment).collect()
}

fn segment(raw: &str) -> Result<Segment, InvalidPath> {
    let text = normal(raw.as_bytes())?;
    let mut has_slash = false;
    let mut level = raw.as_bytes().to_vec();
    for _ in 0..=ENCODINGS {
        look(&level)?;
        has_slash |= level.iter().any(|byte| matches!(byte, b'/' | b'\\'));
        let decoded = decode(&level);
        if decoded == level {
            return Ok(Segment { text, has_slash });
        }
        level = decoded;
    }
    Err(InvalidPath::Encodings)
}

/// Refuses what leads up, and bytes that servers take for an end or, in an obsolete encoding, for a dot or slash.
fn look(level: &[u8]) -> Result<(), InvalidPath> {
    if level.iter().any(|byte| matches!(byte, 0..=0x1f | 0x7f | 0xc0 | 0xc1)) {
        return Err(InvalidPath::Byte);
    }
    for part in level.split(|byte| matches!(byte, b'/' | b'\\')) {
        // Some servers cut parameters off before they look for dots.
        let name = part.split(|&byte| byte == b';').next().unwrap_or_default();
        if matches!(name, b"." | b"..") {
            return Err(InvalidPath::Dots);
        }
    }
    Ok(())
}

/// The text with escapes where they are needed, and nowhere else.
fn normal(raw: &[u8]) -> Result<String, InvalidPath> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let is_escape = byte == b'%';
        let byte = match byte {
            b'%' => {
                let (digits, after) = rest.split_at_checked(2).ok_or(InvalidPath::Escape)?;
                rest = after;
                hexadecimal(digits).ok_or(InvalidPath::Escape)?
            }
            // Begins what is not sent.
            b'#' => return Err(InvalidPath::Byte),
            0x21..=0x7e => byte,
            _ => return Err(InvalidPath::Byte),
        };
        let plain = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':'
            | b'@' => !is_escape,
            _ => false,
        };
        push(&mut text, byte, plain);
    }
    Ok(text)
}

/// A query in printable ASCII, what is no part of a URL escaped.
pub(super) fn query(raw: &str) -> Result<String, InvalidPath> {
    let mut text = String::with_capacity(raw.len());
    for byte in raw.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                push(&mut text, byte, false);
            }
            b'#' => return Err(InvalidPath::Byte),
            0x21..=0x7e => text.push(char::from(byte)),
            _ => return Err(InvalidPath::Byte),
        }
    }
    Ok(text)
}

fn push(text: &mut String, byte: u8, plain: bool) {
    if plain {
        text.push(char::from(byte));
    } else {
        // Writing to a string cannot fail.
        let _ = write!(text, "%{byte:02X}");
    }
}

fn decode(level: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(level.len());
    let mut rest = level;
    while let Some((&byte, after)) = rest.split_first() {
        match after.get(..2).and_then(hexadecimal).filter(|_| byte == b'%') {
            Some(value) => {
                decoded.push(value);
                rest = &after[2..];
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*digits.first()?)? << 4 | digit(*digits.get(1)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(path: &str) -> Result<String, InvalidPath> {
        let texts = segments(path)?.into_iter().map(|segment| format!("/{}", segment.text));
        Ok(texts.collect())
    }

    #[test]
    fn one_path_has_one_form() {
        for (path, form) in [
            ("/", "/"),
            ("/v1/a%7eb", "/v1/a~b"),
            ("/v1/%41%2d", "/v1/A-"),
            ("/a%2fb", "/a%2Fb"),
            ("/a//b/", "/a//b/"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/100%25", "/100%25"),
            ("/a[1]|b", "/a%5B1%5D%7Cb"),
            ("/...", "/..."),
            ("/a*b;c=d", "/a*b;c=d"),
        ] {
            assert_eq!(joined(path).as_deref(), Ok(form), "{path}");
        }
    }

    #[test]
    fn what_leads_up_for_any_server_is_refused() {
        for path in [
            "/v1/../admin",
            "/v1/./x",
            "/v1/%2e%2e/admin",
            "/v1/.%2E/admin",
            "/v1/%252e%252e/admin",
            "/v1/%25252e./admin",
            "/v1/x%2f..%2fadmin",
            "/v1/..%2fadmin",
            "/v1/x%5c..%5cadmin",
            "/v1/..\\admin",
            "/v1/..;/admin",
            "/v1/..;a=b/admin",
            "/v1/%2e%2e%3b/admin",
            "/v1/..",
        ] {
            assert_eq!(joined(path), Err(InvalidPath::Dots), "{path}");
        }
    }

    #[test]
    fn what_has_a_second_meaning_is_refused() {
        for (path, why) in [
            ("v1", InvalidPath::NoSlash),
            ("", InvalidPath::NoSlash),
            ("/a b", InvalidPath::Byte),
            ("/a#b", InvalidPath::Byte),
            ("/a%00b", InvalidPath::Byte),
            ("/a%2500b", InvalidPath::Byte),
            ("/a%0d%0ab", InvalidPath::Byte),
            ("/a\r\nb", InvalidPath::Byte),
            ("/é", InvalidPath::Byte),
            ("/%c0%ae%c0%ae/x", InvalidPath::Byte),
            ("/a%2", InvalidPath::Escape),
            ("/a%zz", InvalidPath::Escape),
            ("/a%2525252525252541", InvalidPath::Encodings),
        ] {
            assert_eq!(joined(path), Err(why), "{path}");
        }
        assert_eq!(query("a=b&c=%20{}").as_deref(), Ok("a=b&c=%20%7B%7D"));
        for text in ["a b", "a#b", "a\nb", "é"] {
            assert_eq!(query(text), Err(InvalidPath::Byte), "{text}");
        }
    }

    #[test]
    fn a_slash_is_seen_however_it_is_written() {
        let has_slash = |path: &str| segments(path).expect("valid")[0].has_slash;
        for path in ["/a%2Fb", "/a%5cb", "/a\\b", "/a%252fb"] {
            assert!(has_slash(path), "{path}");
        }
        assert!(!has_slash("/ab"));
    }
}
