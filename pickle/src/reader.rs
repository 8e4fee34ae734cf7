//! A cursor over the bytes of a pickle: opcodes and their arguments. Nothing is allocated by a
//! claimed length; what is not there is an error.

use crate::error::PickleError;
use crate::opcode;

/// Reads opcodes and arguments, and knows which opcode it is at for its errors.
pub(super) struct Reader<'a> {
    data: &'a [u8],
    position: usize,
    /// The opcode read last, and where it was.
    code: u8,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0, code: 0, at: 0 }
    }

    /// A reader for a second look at an opcode that was already read.
    pub(super) const fn from(data: &'a [u8], position: usize) -> Self {
        Self { data, position, code: 0, at: 0 }
    }

    pub(super) const fn data(&self) -> &'a [u8] {
        self.data
    }

    pub(super) const fn position(&self) -> usize {
        self.position
    }

    /// Where the current opcode is.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// The current opcode's name.
    pub(super) fn name(&self) -> &'static str {
        opcode::name(self.code).unwrap_or("?")
    }

    pub(super) fn opcode(&mut self) -> Result<u8, PickleError> {
        let Some(&code) = self.data.get(self.position) else {
            return Err(PickleError::NoStop { at: self.position });
        };
        (self.code, self.at) = (code, self.position);
        self.position += 1;
        Ok(code)
    }

    pub(super) fn left(&self) -> usize {
        self.data.len() - self.position
    }

    /// The next `length` bytes.
    pub(super) fn bytes(&mut self, length: u64) -> Result<&'a [u8], PickleError> {
        let taken = usize::try_from(length)
            .ok()
            .and_then(|length| self.data.get(self.position..)?.get(..length));
        let Some(taken) = taken else {
            let (at, opcode, left) = (self.at, self.name(), self.left());
            return Err(PickleError::Truncated { at, opcode, need: length, left });
        };
        self.position += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N as u64)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, PickleError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, PickleError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, PickleError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, PickleError> {
        self.array().map(i32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, PickleError> {
        self.array().map(u64::from_le_bytes)
    }

    /// As many bytes as the four-byte length in front of them says, which Python reads as signed.
    pub(super) fn signed_block(&mut self) -> Result<&'a [u8], PickleError> {
        let length = self.i32()?;
        let Ok(claimed) = u64::try_from(length) else {
            let (at, opcode) = (self.at, self.name());
            return Err(PickleError::NegativeLength { at, opcode, length });
        };
        self.bytes(claimed)
    }

    /// The bytes up to the next newline, which is consumed.
    pub(super) fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = self.data.get(self.position..).unwrap_or_default();
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            return Err(PickleError::NoNewline { at: self.at, opcode: self.name() });
        };
        self.position += length + 1;
        Ok(rest.get(..length).unwrap_or_default())
    }

    /// The argument of the text or bytes opcode `code`, undecoded. `None` for any other opcode.
    pub(super) fn block(&mut self, code: u8) -> Result<Option<&'a [u8]>, PickleError> {
        use opcode as op;
        let length = match code {
            op::SHORT_BINSTRING | op::SHORT_BINBYTES | op::SHORT_BINUNICODE => {
                u64::from(self.u8()?)
            }
            op::BINUNICODE | op::BINBYTES => u64::from(self.u32()?),
            op::BINUNICODE8 | op::BINBYTES8 | op::BYTEARRAY8 => self.u64()?,
            op::BINSTRING => return self.signed_block().map(Some),
            op::STRING | op::UNICODE => return self.line().map(Some),
            _ => return Ok(None),
        };
        self.bytes(length).map(Some)
    }
}

/// The argument of the text or bytes opcode at `position`, which was read before.
pub(super) fn block_at(data: &[u8], position: usize) -> Option<&[u8]> {
    let mut reader = Reader::from(data, position);
    let code = reader.opcode().ok()?;
    reader.block(code).ok()?
}

/// The text in the argument `block` of the opcode `code`, when it is worth naming: UTF-8 of moderate
/// length, without what protocol 0 writes otherwise.
pub(super) fn name_in(block: &[u8], code: u8) -> Option<&str> {
    const LONGEST_NAME: usize = 1024;
    let line = matches!(code, opcode::UNICODE | opcode::STRING);
    if block.len() > LONGEST_NAME || (line && (!block.is_ascii() || block.contains(&b'\\'))) {
        return None;
    }
    let text = std::str::from_utf8(block).ok()?;
    if code == opcode::STRING { text.get(1..text.len().checked_sub(1)?) } else { Some(text) }
}
