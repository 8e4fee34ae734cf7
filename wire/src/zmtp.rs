//! The part of ZMTP 3.x that REQ, DEALER and ROUTER use: greeting, READY and frame headers. Pure
//! functions.

use crate::error::ConnectionError;

/// The length of a greeting.
pub(crate) const GREETING_BYTES: usize = 64;
/// The longest READY accepted. Real peers send less than a fifth of it.
pub(crate) const READY_LIMIT_BYTES: usize = 512;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// The socket type of a peer of a ROUTER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketType {
    /// Sends and receives payloads as they are.
    Dealer,
    /// Sends and receives payloads behind an empty frame.
    Req,
}

impl SocketType {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dealer => "DEALER",
            Self::Req => "REQ",
        }
    }
}

/// Our greeting: ZMTP 3.0, no security mechanism.
pub(crate) fn greeting() -> [u8; GREETING_BYTES] {
    let mut bytes = [0; GREETING_BYTES];
    (bytes[0], bytes[9], bytes[10]) = (0xff, 0x7f, 3);
    bytes[12..16].copy_from_slice(b"NULL");
    bytes
}

/// Checks that a peer's greeting is compatible with ours.
pub(crate) fn check_greeting(bytes: &[u8; GREETING_BYTES]) -> Result<(), ConnectionError> {
    if bytes[0] != 0xff || bytes[9] != 0x7f {
        return Err(ConnectionError::Protocol("not a ZeroMQ greeting"));
    }
    if bytes[10] < 3 {
        return Err(ConnectionError::Protocol("ZMTP older than 3.0"));
    }
    if &bytes[12..17] != b"NULL\0" || bytes[32] != 0 {
        return Err(ConnectionError::Protocol("another security mechanism than NULL"));
    }
    Ok(())
}

/// A READY command as a whole frame.
pub(crate) fn ready(socket_type: &str, identity: &[u8]) -> Vec<u8> {
    let mut body = b"\x05READY".to_vec();
    let mut property = |name: &str, value: &[u8]| {
        // Our names and values are far below 255 bytes.
        body.push(name.len() as u8);
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value);
    };
    property("Socket-Type", socket_type.as_bytes());
    property("Identity", identity);
    let mut frame = vec![COMMAND, body.len() as u8];
    frame.append(&mut body);
    frame
}

/// The value of Socket-Type in the body of a READY command. The identity that the peer chose is
/// ignored: the listener assigns identities, so that no peer takes another's.
pub(crate) fn socket_type(body: &[u8]) -> Result<&[u8], ConnectionError> {
    const MALFORMED: ConnectionError = ConnectionError::Protocol("a malformed READY");
    let mut rest = body.strip_prefix(b"\x05READY").ok_or(MALFORMED)?;
    let mut found = None;
    while let Some((&length, after)) = rest.split_first() {
        let (name, after) = after.split_at_checked(length.into()).ok_or(MALFORMED)?;
        let (length, after) = after.split_first_chunk::<4>().ok_or(MALFORMED)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (value, after) = after.split_at_checked(length).ok_or(MALFORMED)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            found = Some(value);
        }
        rest = after;
    }
    found.ok_or(ConnectionError::Protocol("a READY without its socket type"))
}

/// Whether a command frame with these flags has an 8-byte length.
pub(crate) fn is_long_command(flags: u8) -> Result<bool, ConnectionError> {
    match flags {
        COMMAND => Ok(false),
        flags if flags == COMMAND | LONG => Ok(true),
        _ => Err(ConnectionError::Protocol("a message before READY")),
    }
}

/// Follows a stream of frames and says how much of it may be forwarded.
#[derive(Debug)]
pub(crate) struct Scanner {
    socket_type: SocketType,
    /// The empty frame of a REQ was forwarded: its payload is next.
    delimited: bool,
    /// The frame whose header was forwarded, until its body is complete.
    body: Option<Body>,
}

#[derive(Debug, Clone, Copy)]
struct Body {
    left: usize,
    length: usize,
}

/// The result of [`Scanner::scan`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// How many bytes from the start may be forwarded. The rest is part of a header.
    pub(crate) pass: usize,
    /// How many messages end in them.
    pub(crate) messages: usize,
    /// The total length of those messages.
    pub(crate) bytes: usize,
    /// What is wrong with the header that follows. Nothing more may be forwarded.
    pub(crate) error: Option<ConnectionError>,
}

impl Scanner {
    pub(crate) const fn new(socket_type: SocketType) -> Self {
        Self { socket_type, delimited: false, body: None }
    }

    /// Scans what was read and not forwarded yet. No payload may be longer than `limit`.
    pub(crate) fn scan(&mut self, bytes: &[u8], limit: usize) -> Scanned {
        let mut scanned = Scanned::default();
        loop {
            let rest = &bytes[scanned.pass..];
            match self.body {
                None => match self.header(rest, limit) {
                    Ok(Some((header, body))) => {
                        scanned.pass += header;
                        self.body = body;
                    }
                    Ok(None) => return scanned,
                    Err(error) => {
                        scanned.error = Some(error);
                        return scanned;
                    }
                },
                Some(body) if body.left > rest.len() => {
                    self.body = Some(Body { left: body.left - rest.len(), ..body });
                    scanned.pass = bytes.len();
                    return scanned;
                }
                Some(body) => {
                    scanned.pass += body.left;
                    scanned.messages += 1;
                    scanned.bytes += body.length;
                    self.body = None;
                }
            }
        }
    }

    /// The header at the start of `bytes`, once it is complete: its length, and the payload it opens.
    fn header(
        &mut self,
        bytes: &[u8],
        limit: usize,
    ) -> Result<Option<(usize, Option<Body>)>, ConnectionError> {
        let Some((&flags, rest)) = bytes.split_first() else { return Ok(None) };
        // Wrong flags are refused at once, before the length has arrived.
        let delimiter = self.socket_type == SocketType::Req && !self.delimited;
        match flags & !LONG {
            0 if !delimiter => {}
            MORE if delimiter => {}
            0 | MORE => return Err(ConnectionError::Protocol("a message with unexpected parts")),
            COMMAND => return Err(ConnectionError::Protocol("a command after READY")),
            _ => return Err(ConnectionError::Protocol("unknown flags")),
        }
        let (header, length) = if flags & LONG == 0 {
            let Some(&length) = rest.first() else { return Ok(None) };
            (2, u64::from(length))
        } else {
            let Some(length) = rest.first_chunk::<8>() else { return Ok(None) };
            (9, u64::from_be_bytes(*length))
        };
        self.delimited = delimiter;
        if delimiter {
            let not_empty = ConnectionError::Protocol("a delimiter that is not empty");
            return if length == 0 { Ok(Some((header, None))) } else { Err(not_empty) };
        }
        let fitting = usize::try_from(length).ok().filter(|length| *length <= limit);
        let length = fitting.ok_or(ConnectionError::TooLong { bytes: length, limit })?;
        Ok(Some((header, Some(Body { left: length, length }))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_handshake_is_understood() {
        assert_eq!(check_greeting(&greeting()), Ok(()));
        let frame = ready("REQ", b"name");
        assert_eq!(is_long_command(frame[0]), Ok(false));
        assert_eq!(socket_type(&frame[2..]), Ok(b"REQ".as_slice()));
        for cut in 2..frame.len() - 1 {
            let body = &frame[2..cut];
            assert!(socket_type(body) != Ok(b"REQ") || body.ends_with(b"REQ"), "{cut}");
        }
    }

    /// Scans all of `stream`, byte by byte: what is forwarded, and how many messages.
    fn drip(
        socket_type: SocketType,
        stream: &[u8],
        limit: usize,
    ) -> Result<(Vec<u8>, usize, usize), ConnectionError> {
        let mut scanner = Scanner::new(socket_type);
        let (mut held, mut passed, mut messages, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
        for byte in stream {
            held.push(*byte);
            let scanned = scanner.scan(&held, limit);
            if let Some(error) = scanned.error {
                return Err(error);
            }
            passed.extend(held.drain(..scanned.pass));
            messages += scanned.messages;
            bytes += scanned.bytes;
        }
        Ok((passed, messages, bytes))
    }

    fn long(length: u64) -> Vec<u8> {
        [&[LONG][..], &length.to_be_bytes()].concat()
    }

    #[test]
    fn a_stream_is_forwarded_however_it_is_split() {
        let mut dealer = b"\x00\x03abc\x00\x00".to_vec();
        dealer.extend(long(300));
        dealer.extend([7; 300]);
        let whole = Scanned { pass: dealer.len(), messages: 3, bytes: 303, error: None };
        assert_eq!(Scanner::new(SocketType::Dealer).scan(&dealer, 300), whole);
        assert_eq!(drip(SocketType::Dealer, &dealer, 300), Ok((dealer.clone(), 3, 303)));

        let req = b"\x01\x00\x00\x02ab\x01\x00\x00\x00";
        assert_eq!(drip(SocketType::Req, req, 300), Ok((req.to_vec(), 2, 2)));
    }

    #[test]
    fn no_byte_of_a_bad_header_is_forwarded_and_all_before_it_is() {
        let bad = |socket_type, good: &[u8], header: &[u8]| {
            let scanned = Scanner::new(socket_type).scan(&[good, header].concat(), 300);
            assert_eq!(scanned.pass, good.len(), "{header:?}");
            scanned.error.expect("an error")
        };
        for good in [&[][..], b"\x00\x03abc\x00\x00"] {
            bad(SocketType::Dealer, good, &long(1 << 40));
            bad(SocketType::Dealer, good, &long(u64::MAX));
            bad(SocketType::Dealer, good, b"\x01\x00\x00\x00");
            bad(SocketType::Dealer, good, b"\x04\x05READY");
            bad(SocketType::Dealer, good, b"\x08");
            let too_long = ConnectionError::TooLong { bytes: 301, limit: 300 };
            assert_eq!(bad(SocketType::Dealer, good, &long(301)), too_long);
        }
        bad(SocketType::Req, b"", b"\x00\x02ab");
        bad(SocketType::Req, b"", b"\x01\x01a");
        bad(SocketType::Req, b"\x01\x00", b"\x01\x00");
        let part = Scanner::new(SocketType::Dealer).scan(&long(1 << 40)[..5], 300);
        assert_eq!(part, Scanned::default());
    }
}
