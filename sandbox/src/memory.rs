//! Linear memories that start as the guest's image, and become it again after every call.
//!
//! wasmtime's own copy-on-write images are given back to the kernel page by page: every call then
//! pays some 300 page faults, most of its time. Here a mapping is kept, and after a call exactly the
//! pages that it wrote (the kernel knows them) are copied from the image again. A page of
//! another call can therefore never be seen, and a call finds the pages that it writes mapped already.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::mm::{Advice, MprotectFlags, ProtFlags};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use crate::delta::{Arena, Room};
use crate::mapping::{Mapping, advise};
use crate::pagemap::{PAGE, Pagemap};

/// After so many calls in it a memory gives back the pages that the last one left as they were: else what any call has ever
/// written would be copied after every call.
pub(crate) const SWEPT_AFTER: u32 = 64;

/// Written pages that a memory keeps between calls: 3 MiB. Beyond, it gives all pages back and starts
/// with those that every call writes, so that one hungry call does not make the following ones slow.
const KEPT_PAGES: usize = 768;

/// The same once a session has used them: 32 MiB. What each of its calls goes on from is put in anew, and pages that are there
/// already cost a copy instead of a fault each.
const KEPT_PAGES_OF_SESSIONS: usize = 8192;

/// Memories kept for the next instance: one running, one standing by.
const KEPT_SLOTS: usize = 2;

/// Pages between two that differ from the image, up to so many, are taken for different too: each piece is a
/// mapping of its own, in every memory.
const GAP_PAGES: usize = 8;

/// An image of the guest, and how its memories are looked at.
#[derive(Clone)]
struct Base {
    file: Arc<File>,
    /// Bytes of it.
    bytes: usize,
    /// Which of the guest's modules it is for.
    module: usize,
    /// Bytes that every instance has from its start.
    minimum: usize,
    pagemap: Option<Arc<Pagemap>>,
}

/// Makes the memories of one image. See the module's text.
pub(crate) struct Memories {
    base: Base,
    /// The image as it is, to copy from.
    pristine: Mapping,
    minimum: usize,
    /// How many written pages a memory keeps.
    kept_pages: AtomicUsize,
    pool: Mutex<Pool>,
    /// The pages that differ from the guest's image.
    delta: Option<Delta>,
}

/// Where a memory differs from the image's file: ranges of it, one after the other in `room`.
struct Delta {
    ranges: Vec<Range<usize>>,
    room: Room,
}

#[derive(Default)]
struct Pool {
    free: Vec<Slot>,
    /// Offsets of what calls write, as the one before the last sweep showed.
    hot: Vec<Range<usize>>,
}

/// Address space for one linear memory: the image, zeros up to `minimum`, then inaccessible.
struct Slot {
    mapping: Mapping,
    /// Calls in it that have ended.
    calls: u32,
}

impl Memories {
    /// For instances of `module` whose memory starts as `image` and has at least `minimum` bytes.
    pub(crate) fn new(image: File, minimum: usize, module: usize) -> io::Result<Arc<Self>> {
        let length = usize::try_from(image.metadata()?.len()).map_err(io::Error::other)?;
        if length == 0 || !length.is_multiple_of(PAGE) || length > minimum {
            return Err(io::Error::other("the memory image has an impossible length"));
        }
        let pristine = Mapping::read_only(&image, length)?;
        let pagemap = Pagemap::open().map(Arc::new);
        let base = Base { file: Arc::new(image), bytes: length, module, minimum, pagemap };
        Ok(Arc::new(Self::of(base, pristine, minimum, None)))
    }

    fn of(base: Base, pristine: Mapping, minimum: usize, delta: Option<Delta>) -> Self {
        let (kept_pages, pool) = (AtomicUsize::new(KEPT_PAGES), Mutex::default());
        Self { base, pristine, minimum, kept_pages, pool, delta }
    }

    /// For instances whose memory starts as `memory`, which is one of an instance of this image. The pages that differ
    /// are kept in `arena`; `None` where it has no room for them.
    ///
    /// # Errors
    /// They are more than `most` bytes, or cannot be mapped.
    pub(crate) fn derive(
        &self,
        memory: &[u8],
        arena: &Arc<Arena>,
        most: usize,
    ) -> io::Result<Option<Arc<Self>>> {
        let ranges = self.differing(memory)?;
        let bytes = ranges.iter().map(Range::len).sum();
        if bytes > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let Some(mut room) = arena.take(bytes) else { return Ok(None) };
        let mut at = 0;
        for range in &ranges {
            room.write(at, &memory[range.clone()]);
            at += range.len();
        }
        let minimum = memory.len();
        let pristine = Mapping::reserve(minimum)?;
        pristine.protect(0..minimum, MprotectFlags::READ)?;
        let delta = Some(Delta { ranges, room });
        let derived = Self::of(self.base.clone(), pristine, minimum, delta);
        derived.map_onto(&derived.pristine, ProtFlags::READ)?;
        Ok(Some(Arc::new(derived)))
    }

    /// The pages of `memory`, which is one of an instance of this image, that may differ from it.
    pub(crate) fn written(&self, memory: &[u8]) -> io::Result<Vec<usize>> {
        let base = memory.as_ptr() as usize;
        let all = base..base + memory.len();
        let mut written = Vec::new();
        match &self.base.pagemap {
            Some(pagemap) => pagemap.written(all, &mut written)?,
            None => written.push(all),
        }
        let offsets = written.iter().map(|range| range.start - base..range.end - base);
        Ok(offsets.flat_map(|range| range.step_by(PAGE)).collect())
    }

    /// The ranges of whole pages in which `memory` differs from the image.
    fn differing(&self, memory: &[u8]) -> io::Result<Vec<Range<usize>>> {
        let mut ranges = Vec::new();
        let mut pages = self.written(memory)?;
        pages.retain(|&page| memory[page..page + PAGE] != *self.page(page));
        for page in pages {
            add_page(&mut ranges, page, GAP_PAGES);
        }
        Ok(ranges)
    }

    /// What is in the image at the page `at`.
    pub(crate) fn page(&self, at: usize) -> &[u8] {
        const ZEROS: [u8; PAGE] = [0; PAGE];
        self.image().get(at..at + PAGE).unwrap_or(&ZEROS)
    }

    /// The image, to where only zeros follow.
    fn image(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "reads a mapping that is never written")]
        // SAFETY: all of it can be read, since `new` and `derive` have made it so.
        unsafe {
            std::slice::from_raw_parts(self.pristine.base, self.pristine.length)
        }
    }

    /// Has them keep as many pages as sessions are worth.
    pub(crate) fn keep_for_sessions(&self) {
        self.kept_pages.store(KEPT_PAGES_OF_SESSIONS, Ordering::Relaxed);
    }

    /// Which of the guest's modules they are for.
    pub(crate) const fn module(&self) -> usize {
        self.base.module
    }

    /// Bytes that every instance has from its start.
    pub(crate) const fn minimum(&self) -> usize {
        self.minimum
    }

    /// Bytes that an instance of the guest's image has from its start: what a function has imported on top of it counts as its
    /// own.
    pub(crate) const fn floor(&self) -> usize {
        self.base.minimum
    }

    /// Maps the image's file, and what differs from it, over the start of `mapping`.
    fn map_onto(&self, mapping: &Mapping, access: ProtFlags) -> io::Result<()> {
        mapping.overlay(0, self.base.bytes, access, (&*self.base.file, 0))?;
        let Some(Delta { ranges, room }) = &self.delta else { return Ok(()) };
        let mut offset = room.offset();
        for range in ranges {
            mapping.overlay(range.start, range.len(), access, (room.file(), offset))?;
            offset += range.len() as u64;
        }
        Ok(())
    }

    fn new_slot(&self, length: usize) -> io::Result<Slot> {
        let slot = Mapping::reserve(length)?;
        slot.protect(0..self.minimum, MprotectFlags::READ | MprotectFlags::WRITE)?;
        self.map_onto(&slot, ProtFlags::READ | ProtFlags::WRITE)?;
        Ok(Slot { mapping: slot, calls: 0 })
    }

    fn take(&self, length: usize) -> io::Result<Slot> {
        let hot = {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(slot) = pool.free.pop() {
                return Ok(slot);
            }
            pool.hot.clone()
        };
        let mut slot = self.new_slot(length)?;
        populate(slot.memory(self.minimum), &hot);
        Ok(slot)
    }

    /// Makes `slot`, of which the guest had `size` bytes, the image again and keeps it, or drops it where that fails.
    fn put_back(&self, mut slot: Slot, size: usize) {
        let more = self.minimum..size.max(self.minimum);
        let cut = slot.mapping.advise(more.clone(), Advice::LinuxDontNeed);
        let cut = cut.and_then(|()| slot.mapping.protect(more, MprotectFlags::empty()));
        let mut calls = slot.calls;
        if cut.and_then(|()| self.restore(slot.memory(self.minimum), &mut calls)).is_err() {
            return;
        }
        slot.calls = calls;
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.free.len() < KEPT_SLOTS {
            pool.free.push(slot);
        }
    }

    /// Makes `memory`, the whole of an instance's that has not grown, the image again. `calls` is how many have ended in it before.
    ///
    /// # Errors
    /// The kernel refuses; then it must not be used.
    pub(crate) fn restore(&self, memory: &mut [u8], calls: &mut u32) -> io::Result<()> {
        assert_eq!(memory.len(), self.minimum, "as much as every instance has");
        let base = memory.as_ptr() as usize;
        let is_swept = calls.is_multiple_of(SWEPT_AFTER);
        *calls = calls.wrapping_add(1);
        let mut written = Vec::with_capacity(512);
        let known = match &self.base.pagemap {
            Some(pagemap) => pagemap.written(base..base + memory.len(), &mut written).is_ok(),
            None => false,
        };
        for range in &mut written {
            *range = range.start - base..range.end - base;
        }
        let pages = written.iter().map(Range::len).sum::<usize>() / PAGE;
        if !known || pages > self.kept_pages.load(Ordering::Relaxed) {
            advise(memory, Advice::LinuxDontNeed)?;
            let hot = self.pool.lock().unwrap_or_else(PoisonError::into_inner).hot.clone();
            populate(memory, &hot);
            return Ok(());
        }
        if is_swept {
            written = self.sweep(memory, &written)?;
        }
        for range in &written {
            self.copy(memory, range.clone());
        }
        if is_swept {
            self.pool.lock().unwrap_or_else(PoisonError::into_inner).hot = written;
        }
        Ok(())
    }

    /// Gives those pages in the ranges `own` back that are as in the image; returns the others.
    fn sweep(&self, memory: &mut [u8], own: &[Range<usize>]) -> io::Result<Vec<Range<usize>>> {
        let (mut written, mut unwritten) = (Vec::new(), Vec::new());
        for at in own.iter().flat_map(|range| range.clone().step_by(PAGE)) {
            let is_same = memory[at..at + PAGE] == *self.page(at);
            add_page(if is_same { &mut unwritten } else { &mut written }, at, 0);
        }
        for range in unwritten {
            advise(&mut memory[range], Advice::LinuxDontNeed)?;
        }
        Ok(written)
    }

    /// Copies `range` of the image over that of `memory`; beyond the image there are zeros.
    fn copy(&self, memory: &mut [u8], range: Range<usize>) {
        let image = self.image();
        let imaged = range.start.min(image.len())..range.end.min(image.len());
        let (start, zeros) = memory[range].split_at_mut(imaged.len());
        start.copy_from_slice(&image[imaged]);
        zeros.fill(0);
    }
}

/// Adds a page to ranges of pages, of which the last ends before it: to that, where at most `gap` pages are between.
fn add_page(ranges: &mut Vec<Range<usize>>, at: usize, gap: usize) {
    match ranges.last_mut() {
        Some(last) if at - last.end <= gap * PAGE => last.end = at + PAGE,
        _ => ranges.push(at..at + PAGE),
    }
}

/// Maps the pages of `hot` for writing, in few calls instead of one fault each. Only a matter of speed.
fn populate(memory: &mut [u8], hot: &[Range<usize>]) {
    for range in hot {
        if advise(&mut memory[range.clone()], Advice::LinuxPopulateWrite).is_err() {
            return;
        }
    }
}

impl Slot {
    /// The first `length` bytes, which can be written.
    fn memory(&mut self, length: usize) -> &mut [u8] {
        assert!(length <= self.mapping.length, "within the mapping");
        #[expect(unsafe_code, reason = "a memory that no instance has at the moment")]
        // SAFETY: the slot owns it, and `new_slot` has made so much of it accessible.
        unsafe {
            std::slice::from_raw_parts_mut(self.mapping.base, length)
        }
    }
}

/// Hands memories to wasmtime: of the image that [`with_image`] names, else of this one.
pub(crate) struct Creator(pub(crate) Arc<Memories>);

thread_local! {
    /// Whose memory this thread's next instance gets: wasmtime asks for a memory within the instantiation, on
    /// the same thread, and has no way to say for whom.
    static SELECTED: RefCell<Option<Arc<Memories>>> = const { RefCell::new(None) };
}

/// Runs `instantiate` so that the instance starts as the image of `memories`.
pub(crate) fn with_image<T>(memories: &Arc<Memories>, instantiate: impl FnOnce() -> T) -> T {
    SELECTED.set(Some(Arc::clone(memories)));
    let made = instantiate();
    SELECTED.set(None);
    made
}

#[expect(unsafe_code, reason = "wasmtime trusts the memory that it is given")]
// SAFETY: slots are reserved with the guard asked for, and zero beyond the image, which stands for
// the data segments that the build took out of the module.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        _: MemoryType,
        minimum: usize,
        _: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let reserved = reserved.ok_or("the engine must reserve its memories")?;
        let memories = SELECTED.with_borrow(Clone::clone).unwrap_or_else(|| Arc::clone(&self.0));
        let size = memories.minimum;
        if minimum > size || reserved < size {
            return Err(format!("the module asks for {minimum} bytes, the image has another size"));
        }
        let slot = memories.take(reserved + guard).map_err(|error| error.to_string())?;
        Ok(Box::new(ImageMemory { slot: Some(slot), size, reserved, memories }))
    }
}

/// The memory of one instance.
struct ImageMemory {
    /// There until it is dropped.
    slot: Option<Slot>,
    size: usize,
    reserved: usize,
    memories: Arc<Memories>,
}

#[expect(unsafe_code, reason = "wasmtime trusts the memory that it is given")]
// SAFETY: the base never moves and `size` bytes are accessible.
unsafe impl LinearMemory for ImageMemory {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.reserved
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        let Some(slot) = self.slot.as_ref().filter(|_| new_size <= self.reserved) else {
            return Err(wasmtime::Error::msg("beyond the reservation"));
        };
        slot.mapping.protect(self.size..new_size, MprotectFlags::READ | MprotectFlags::WRITE)?;
        self.size = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.slot.as_ref().map_or(ptr::null_mut(), |slot| slot.mapping.base)
    }
}

impl Drop for ImageMemory {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.memories.put_back(slot, self.size);
        }
    }
}
