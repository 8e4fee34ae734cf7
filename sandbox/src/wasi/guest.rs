//! Reading and writing the guest's memory, every access checked.

use super::errno::Errno;

/// The longest path, as of Linux.
const PATH_BYTES: u32 = 4095;

/// The guest's linear memory, as one host call sees it.
pub(crate) struct Bytes<'a>(pub(crate) &'a mut [u8]);

impl Bytes<'_> {
    pub(crate) fn slice(&mut self, start: u32, length: u32) -> Result<&mut [u8], Errno> {
        let start = start as usize;
        let end = start.checked_add(length as usize).ok_or(Errno::FAULT)?;
        self.0.get_mut(start..end).ok_or(Errno::FAULT)
    }

    pub(crate) fn write(&mut self, start: u32, bytes: &[u8]) -> Result<(), Errno> {
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::FAULT)?;
        self.slice(start, length)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn write_u32(&mut self, start: u32, value: u32) -> Result<(), Errno> {
        self.write(start, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, start: u32, value: u64) -> Result<(), Errno> {
        self.write(start, &value.to_le_bytes())
    }

    fn array<const N: usize>(&self, start: u32) -> Result<[u8; N], Errno> {
        let start = start as usize;
        let end = start.checked_add(N).ok_or(Errno::FAULT)?;
        let bytes = self.0.get(start..end).ok_or(Errno::FAULT)?;
        bytes.try_into().map_err(|_| Errno::FAULT)
    }

    pub(crate) fn u8(&self, start: u32) -> Result<u8, Errno> {
        Ok(u8::from_le_bytes(self.array(start)?))
    }

    pub(crate) fn u16(&self, start: u32) -> Result<u16, Errno> {
        Ok(u16::from_le_bytes(self.array(start)?))
    }

    pub(crate) fn u32(&self, start: u32) -> Result<u32, Errno> {
        Ok(u32::from_le_bytes(self.array(start)?))
    }

    pub(crate) fn u64(&self, start: u32) -> Result<u64, Errno> {
        Ok(u64::from_le_bytes(self.array(start)?))
    }

    /// A path: UTF-8, without a zero byte.
    pub(crate) fn path(&mut self, start: u32, length: u32) -> Result<String, Errno> {
        if length > PATH_BYTES {
            return Err(Errno::NAMETOOLONG);
        }
        let text = std::str::from_utf8(self.slice(start, length)?).map_err(|_| Errno::ILSEQ)?;
        if text.contains('\0') {
            return Err(Errno::INVAL);
        }
        Ok(text.to_owned())
    }

    /// The `index`th of the buffers listed at `list`.
    pub(crate) fn buffer(&mut self, list: u32, index: u32) -> Result<&mut [u8], Errno> {
        let at = index.checked_mul(8).and_then(|i| list.checked_add(i)).ok_or(Errno::FAULT)?;
        let (start, length) = (self.u32(at)?, self.u32(at.checked_add(4).ok_or(Errno::FAULT)?)?);
        self.slice(start, length)
    }
}
