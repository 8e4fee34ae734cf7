//! Asks the kernel which pages of a private mapping have been written.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// Bytes of a page. Linux on x86-64 has no other size.
pub(crate) const PAGE: usize = 4096;

/// This process's page map, kept open: the hardened process cannot open it any more.
#[derive(Debug)]
pub(crate) struct Pagemap(File);

// Numbers of linux/fs.h, which libc does not have yet. Kernel 6.7 brought the call.
/// The one request that a sandbox makes by `ioctl`, for the filter of system calls: which pages a call wrote.
pub const PAGEMAP_SCAN: u64 = 0xc060_6610;
const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGE_IS_PFNZERO: u64 = 1 << 5;

/// Regions that one call of the kernel may report.
const REGIONS: usize = 512;

#[repr(C)]
#[derive(Default)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

impl Pagemap {
    /// Opens it; `None` where the kernel cannot scan.
    pub(crate) fn open() -> Option<Self> {
        let pagemap = Self(File::open("/proc/self/pagemap").ok()?);
        pagemap.written(0..0, &mut Vec::new()).ok()?;
        Some(pagemap)
    }

    /// Appends to `found` the ranges of `range` (addresses) that no longer are what was mapped there:
    /// pages of their own, neither the file's nor the zero page, in memory or swapped out.
    pub(crate) fn written(
        &self,
        range: Range<usize>,
        found: &mut Vec<Range<usize>>,
    ) -> io::Result<()> {
        let mut regions = [Region::default(); REGIONS];
        let mut start = range.start as u64;
        loop {
            let mut arguments = ScanArguments {
                size: size_of::<ScanArguments>() as u64,
                start,
                end: range.end as u64,
                regions: regions.as_mut_ptr() as u64,
                regions_len: REGIONS as u64,
                category_inverted: PAGE_IS_FILE | PAGE_IS_PFNZERO,
                category_mask: PAGE_IS_FILE | PAGE_IS_PFNZERO,
                category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
                ..ScanArguments::default()
            };
            #[expect(
                unsafe_code,
                reason = "the kernel writes into `regions` and `arguments`, both ours"
            )]
            // SAFETY: both structures have the kernel's layout and outlive the call.
            let count =
                unsafe { libc::ioctl(self.0.as_raw_fd(), PAGEMAP_SCAN as _, &raw mut arguments) };
            let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
            found.extend(regions[..count].iter().map(|r| r.start as usize..r.end as usize));
            if arguments.walk_end >= arguments.end || arguments.walk_end <= start {
                return Ok(());
            }
            start = arguments.walk_end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_written_pages_are_found() {
        let Some(pagemap) = Pagemap::open() else { return };
        let pages = vec![0_u8; 64 * PAGE].into_boxed_slice();
        let base = pages.as_ptr() as usize;
        let mut found = Vec::new();
        pagemap.written(base.next_multiple_of(PAGE)..base + 32 * PAGE, &mut found).expect("scans");
        assert!(found.is_empty(), "{found:?}");
    }
}
