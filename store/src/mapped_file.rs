//! A file as bytes that are read as they are looked at: what skips most of a large value reads little of it.

use std::fs::File;
use std::io;
use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The content of a file that nobody changes: those of blobs have their names once they are whole.
pub(crate) struct MappedFile {
    start: *mut std::ffi::c_void,
    length: usize,
}

impl MappedFile {
    /// Maps so many bytes of a file, which has as many.
    #[expect(unsafe_code, reason = "mappings have no safe wrapper")]
    pub(crate) fn open(file: &File, bytes: u64) -> io::Result<Self> {
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: the kernel chooses an address where nothing is. A file that its owner cuts meanwhile ends this process by a
        // signal, as its owner can in any case.
        let start = unsafe {
            mmap(ptr::null_mut(), length.max(1), ProtFlags::READ, MapFlags::PRIVATE, file, 0)?
        };
        Ok(Self { start, length })
    }

    #[expect(unsafe_code, reason = "the bytes are known by their address")]
    pub(crate) const fn bytes(&self) -> &[u8] {
        // SAFETY: they are mapped for as long as this lives, and not written to.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.length) }
    }
}

impl Drop for MappedFile {
    #[expect(unsafe_code, reason = "mappings have no safe wrapper")]
    fn drop(&mut self) {
        // SAFETY: mapped by `open`; nobody has the bytes any more.
        let _ = unsafe { munmap(self.start, self.length.max(1)) };
    }
}
