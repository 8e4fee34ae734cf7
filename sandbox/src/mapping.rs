//! A range of this process's address space, owned like a `Box`.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::ptr;

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

/// A mapping that is undone when dropped.
pub(crate) struct Mapping {
    pub(crate) base: *mut u8,
    pub(crate) length: usize,
}

#[expect(unsafe_code, reason = "a mapping is owned memory, like a Box")]
// SAFETY: nothing in it belongs to a thread.
unsafe impl Send for Mapping {}
#[expect(unsafe_code, reason = "a mapping is owned memory, like a Box")]
// SAFETY: shared access is only ever reading.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "unmapping what this value owns")]
        // SAFETY: nothing borrows from a mapping beyond its life.
        let _ = unsafe { rustix::mm::munmap(self.base.cast(), self.length) };
    }
}

impl Mapping {
    /// Address space without access or backing.
    pub(crate) fn reserve(length: usize) -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        #[expect(unsafe_code, reason = "a new mapping where the kernel likes")]
        // SAFETY: no address is asked for, so nothing existing is touched.
        let base = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), length, ProtFlags::empty(), flags)?
        };
        Ok(Self { base: base.cast(), length })
    }

    /// The whole of `file`, read-only.
    pub(crate) fn read_only(file: impl AsFd, length: usize) -> io::Result<Self> {
        #[expect(unsafe_code, reason = "a new mapping where the kernel likes")]
        // SAFETY: no address is asked for. The artefact is not written once it is installed.
        let base = unsafe {
            rustix::mm::mmap(ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, file, 0)?
        };
        Ok(Self { base: base.cast(), length })
    }

    /// The first `length` bytes of `file`: what is written here is written there.
    pub(crate) fn shared(file: impl AsFd, length: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        #[expect(unsafe_code, reason = "a new mapping where the kernel likes")]
        // SAFETY: no address is asked for.
        let base = unsafe {
            rustix::mm::mmap(ptr::null_mut(), length, access, MapFlags::SHARED, file, 0)?
        };
        Ok(Self { base: base.cast(), length })
    }

    /// Maps `length` bytes of `file` from `offset` on over this mapping's from `at` on; what is written there is
    /// not written to the file.
    pub(crate) fn overlay(
        &self,
        at: usize,
        length: usize,
        access: ProtFlags,
        (file, offset): (impl AsFd, u64),
    ) -> io::Result<()> {
        assert!(at.checked_add(length).is_some_and(|end| end <= self.length), "within the mapping");
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        #[expect(unsafe_code, reason = "replaces a part of this mapping only")]
        // SAFETY: the range is within the mapping, and no reference into it is alive.
        unsafe {
            rustix::mm::mmap(self.base.add(at).cast(), length, access, flags, file, offset)?;
        }
        Ok(())
    }

    pub(crate) fn protect(&self, range: Range<usize>, flags: MprotectFlags) -> io::Result<()> {
        assert!(range.start <= range.end && range.end <= self.length, "a range within the mapping");
        #[expect(unsafe_code, reason = "changes access within this mapping only")]
        // SAFETY: the range is within the mapping.
        unsafe {
            rustix::mm::mprotect(self.base.add(range.start).cast(), range.len(), flags)?;
        }
        Ok(())
    }

    pub(crate) fn advise(&self, range: Range<usize>, advice: Advice) -> io::Result<()> {
        assert!(range.start <= range.end && range.end <= self.length, "a range within the mapping");
        #[expect(unsafe_code, reason = "gives back or populates pages of this mapping only")]
        // SAFETY: the range is within the mapping, and no reference into it is alive.
        unsafe {
            rustix::mm::madvise(self.base.add(range.start).cast(), range.len(), advice)?;
        }
        Ok(())
    }
}

/// Gives whole pages of a mapping that somebody has borrowed back to the system, or asks for them.
pub(crate) fn advise(pages: &mut [u8], advice: Advice) -> io::Result<()> {
    #[expect(unsafe_code, reason = "gives back or populates pages that were borrowed")]
    // SAFETY: they are all of the borrowed range, and what is read there afterwards is some bytes all the same.
    unsafe {
        rustix::mm::madvise(pages.as_mut_ptr().cast(), pages.len(), advice)?;
    }
    Ok(())
}
