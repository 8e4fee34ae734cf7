//! ZMTP 3.x as far as REQ, DEALER and ROUTER use it: greeting, READY and frame heads. Pure functions.

use crate::error::Broken;

/// The length of a greeting.
pub(crate) const GREETING_BYTES: usize = 64;
/// The longest READY that is read. Those of known peers have less than a fifth of it.
pub(crate) const READY_LIMIT_BYTES: usize = 512;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// What kind of socket a peer of a ROUTER has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sends and receives payloads as they are.
    Dealer,
    /// Sends and receives payloads behind an empty frame.
    Req,
}

impl Kind {
    pub(crate) const fn socket_type(self) -> &'static str {
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

/// Whether a peer's greeting fits ours.
pub(crate) fn check_greeting(bytes: &[u8; GREETING_BYTES]) -> Result<(), Broken> {
    if bytes[0] != 0xff || bytes[9] != 0x7f {
        return Err(Broken::Protocol("not a ZeroMQ greeting"));
    }
    if bytes[10] < 3 {
        return Err(Broken::Protocol("ZMTP older than 3.0"));
    }
    if &bytes[12..17] != b"NULL\0" || bytes[32] != 0 {
        return Err(Broken::Protocol("another security mechanism than NULL"));
    }
    Ok(())
}

/// A READY command as a whole frame.
pub(crate) fn ready(socket_type: &str, identity: &[u8]) -> Vec<u8> {
    let mut body = b"\x05READY".to_vec();
    let mut property = |name: &str, value: &[u8]| {
        // Names and values of ours are far below 255 bytes.
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

/// The value of Socket-Type in the body of a READY command. Whatever identity the peer gives itself
/// is ignored: names are given here, so that nobody takes another's.
pub(crate) fn socket_type(body: &[u8]) -> Result<&[u8], Broken> {
    const BROKEN: Broken = Broken::Protocol("a malformed READY");
    let mut rest = body.strip_prefix(b"\x05READY").ok_or(BROKEN)?;
    let mut found = None;
    while let Some((&length, after)) = rest.split_first() {
        let (name, after) = after.split_at_checked(length.into()).ok_or(BROKEN)?;
        let (length, after) = after.split_first_chunk::<4>().ok_or(BROKEN)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (value, after) = after.split_at_checked(length).ok_or(BROKEN)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            found = Some(value);
        }
        rest = after;
    }
    found.ok_or(Broken::Protocol("a READY without its socket type"))
}

/// The length of a command frame's body, of which these are the flags.
pub(crate) fn is_long_command(flags: u8) -> Result<bool, Broken> {
    match flags {
        COMMAND => Ok(false),
        flags if flags == COMMAND | LONG => Ok(true),
        _ => Err(Broken::Protocol("a message before READY")),
    }
}

/// Follows a stream of frames and says how much of it may be passed on.
#[derive(Debug)]
pub(crate) struct Scanner {
    kind: Kind,
    /// The empty frame of a REQ has passed: its payload is next.
    delimited: bool,
    /// What is still to come of the frame whose head has passed, and its length.
    body: Option<Body>,
}

#[derive(Debug, Clone, Copy)]
struct Body {
    left: usize,
    length: usize,
}

/// What [`Scanner::scan`] found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// How many bytes, from the first, may be passed on. The rest is part of a head.
    pub(crate) pass: usize,
    /// How many messages end in them.
    pub(crate) messages: usize,
    /// The length of those messages together.
    pub(crate) bytes: usize,
    /// What is wrong with the head that follows them. Nothing may be passed on any more.
    pub(crate) broken: Option<Broken>,
}

impl Scanner {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self { kind, delimited: false, body: None }
    }

    /// Scans what was read and not passed on yet. No payload may be longer than `limit`.
    pub(crate) fn scan(&mut self, bytes: &[u8], limit: usize) -> Scanned {
        let mut scanned = Scanned::default();
        loop {
            let rest = &bytes[scanned.pass..];
            match self.body {
                None => match self.head(rest, limit) {
                    Ok(Some((head, body))) => {
                        scanned.pass += head;
                        self.body = body;
                    }
                    Ok(None) => return scanned,
                    Err(broken) => {
                        scanned.broken = Some(broken);
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

    /// The head at the start of `bytes`, once it is there: its length, and the payload it opens.
    fn head(
        &mut self,
        bytes: &[u8],
        limit: usize,
    ) -> Result<Option<(usize, Option<Body>)>, Broken> {
        let Some((&flags, rest)) = bytes.split_first() else { return Ok(None) };
        // Refused by the flags alone: what is known to be wrong is not waited for.
        let delimiter = self.kind == Kind::Req && !self.delimited;
        match flags & !LONG {
            0 if !delimiter => {}
            MORE if delimiter => {}
            0 | MORE => return Err(Broken::Protocol("a message of other parts than expected")),
            COMMAND => return Err(Broken::Protocol("a command after READY")),
            _ => return Err(Broken::Protocol("unknown flags")),
        }
        let (head, length) = if flags & LONG == 0 {
            let Some(&length) = rest.first() else { return Ok(None) };
            (2, u64::from(length))
        } else {
            let Some(length) = rest.first_chunk::<8>() else { return Ok(None) };
            (9, u64::from_be_bytes(*length))
        };
        self.delimited = delimiter;
        if delimiter {
            let empty = Broken::Protocol("a delimiter that is not empty");
            return if length == 0 { Ok(Some((head, None))) } else { Err(empty) };
        }
        let fitting = usize::try_from(length).ok().filter(|length| *length <= limit);
        let length = fitting.ok_or(Broken::TooLong { bytes: length, limit })?;
        Ok(Some((head, Some(Body { left: length, length }))))
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

    /// All of `stream`, byte by byte: what passes, and how many messages.
    fn drip(kind: Kind, stream: &[u8], limit: usize) -> Result<(Vec<u8>, usize, usize), Broken> {
        let mut scanner = Scanner::new(kind);
        let (mut held, mut passed, mut messages, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
        for byte in stream {
            held.push(*byte);
            let scanned = scanner.scan(&held, limit);
            if let Some(broken) = scanned.broken {
                return Err(broken);
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
    fn whole_streams_pass_in_any_cut() {
        let mut dealer = b"\x00\x03abc\x00\x00".to_vec();
        dealer.extend(long(300));
        dealer.extend([7; 300]);
        let whole = Scanned { pass: dealer.len(), messages: 3, bytes: 303, broken: None };
        assert_eq!(Scanner::new(Kind::Dealer).scan(&dealer, 300), whole);
        assert_eq!(drip(Kind::Dealer, &dealer, 300), Ok((dealer.clone(), 3, 303)));

        let req = b"\x01\x00\x00\x02ab\x01\x00\x00\x00";
        assert_eq!(drip(Kind::Req, req, 300), Ok((req.to_vec(), 2, 2)));
    }

    #[test]
    fn no_byte_of_a_bad_head_passes_and_all_before_it_does() {
        let bad = |kind, good: &[u8], head: &[u8]| {
            let scanned = Scanner::new(kind).scan(&[good, head].concat(), 300);
            assert_eq!(scanned.pass, good.len(), "{head:?}");
            scanned.broken.expect("broken")
        };
        for good in [&[][..], b"\x00\x03abc\x00\x00"] {
            bad(Kind::Dealer, good, &long(1 << 40));
            bad(Kind::Dealer, good, &long(u64::MAX));
            bad(Kind::Dealer, good, b"\x01\x00\x00\x00");
            bad(Kind::Dealer, good, b"\x04\x05READY");
            bad(Kind::Dealer, good, b"\x08");
            let too_long = Broken::TooLong { bytes: 301, limit: 300 };
            assert_eq!(bad(Kind::Dealer, good, &long(301)), too_long);
        }
        bad(Kind::Req, b"", b"\x00\x02ab");
        bad(Kind::Req, b"", b"\x01\x01a");
        bad(Kind::Req, b"\x01\x00", b"\x01\x00");
        let part = Scanner::new(Kind::Dealer).scan(&long(1 << 40)[..5], 300);
        assert_eq!(part, Scanned::default());
    }
}
