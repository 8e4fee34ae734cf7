//! Room for the pages in which the memories of functions differ from the image that they come from.
//!
//! It is one file that is nothing but memory, made before the process restricts itself: afterwards it can make no
//! file and write to none. Written through a shared mapping, and mapped piece by piece over an image.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::Advice;

use crate::mapping::Mapping;
use crate::pagemap::PAGE;

/// The file, and what of it is taken.
pub(crate) struct Arena {
    file: File,
    content: Mapping,
    taken: Mutex<Vec<Range<usize>>>,
}

/// A part of an [`Arena`], which has it back when this is dropped.
pub(crate) struct Room {
    arena: Arc<Arena>,
    range: Range<usize>,
}

impl Arena {
    /// Room for `bytes` bytes, of which none is used yet.
    pub(crate) fn new(bytes: usize) -> io::Result<Arc<Self>> {
        let bytes = bytes.next_multiple_of(PAGE).max(PAGE);
        let file: OwnedFd = memfd_create("belljar-functions", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, bytes as u64)?;
        let content = Mapping::shared(&file, bytes)?;
        Ok(Arc::new(Self { file: file.into(), content, taken: Mutex::default() }))
    }

    /// A part of `bytes` bytes; `None` where there is none free.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut start = 0;
        let mut place = taken.len();
        for (index, range) in taken.iter().enumerate() {
            if range.start - start >= bytes {
                place = index;
                break;
            }
            start = range.end;
        }
        let range = start..start.checked_add(bytes)?;
        if range.end > self.content.length {
            return None;
        }
        taken.insert(place, range.clone());
        Some(Room { arena: Arc::clone(self), range })
    }
}

impl Room {
    /// The file, to map parts of it.
    pub(crate) fn file(&self) -> &File {
        &self.arena.file
    }

    /// Where in the file the room begins.
    pub(crate) const fn offset(&self) -> u64 {
        self.range.start as u64
    }

    /// Copies `bytes` to the place `at` in the room.
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        assert!(
            at.checked_add(bytes.len()).is_some_and(|end| end <= self.range.len()),
            "within the room"
        );
        #[expect(unsafe_code, reason = "writes a shared mapping that nothing borrows from")]
        // SAFETY: the place is within the room, which nobody else writes, and nothing maps it before it is whole.
        unsafe {
            let to = self.arena.content.base.add(self.range.start + at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // The memory goes back to the system, and what is taken next begins as zeros.
        let _ = self.arena.content.advise(self.range.clone(), Advice::LinuxRemove);
        let mut taken = self.arena.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|range| *range != self.range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_once_and_comes_back() {
        let arena = Arena::new(4 * PAGE).expect("memory");
        let take = |pages: usize| arena.take(pages * PAGE);
        let (first, second) = (take(1).expect("free"), take(2).expect("free"));
        assert_eq!((first.range.start, second.range.start), (0, PAGE));
        assert!(take(2).is_none(), "one page is left");
        drop(first);
        assert!(take(2).is_none(), "two pages, but apart");
        let between = take(1).expect("the first one's");
        assert_eq!(between.range.start, 0);
        drop(second);
        assert_eq!(take(3).expect("free again").range, PAGE..4 * PAGE);
    }

    #[test]
    fn what_was_written_is_gone_with_the_room() {
        let arena = Arena::new(PAGE).expect("memory");
        let first = |arena: &Arena| Mapping::read_only(&arena.file, PAGE).expect("maps");
        let mut room = arena.take(PAGE).expect("free");
        room.write(8, b"secret");
        let seen = first(&arena);
        #[expect(unsafe_code, reason = "looks at the mapping")]
        // SAFETY: the mapping has a page, and nothing writes meanwhile.
        let bytes =
            |seen: &Mapping| unsafe { std::slice::from_raw_parts(seen.base, PAGE).to_vec() };
        assert_eq!(&bytes(&seen)[8..14], b"secret");
        drop(room);
        assert!(bytes(&first(&arena)).iter().all(|byte| *byte == 0));
    }
}
