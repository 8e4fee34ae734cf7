//! What a call of a session leaves, as it is kept.
//!
//! `MAGIC`, a hash of all that follows, and packed parts, each behind the bytes that it has and those that it unpacks to. The first part is
//! the [`Head`], the others hold the memory: pages in ascending order, each as its number, a bit for each block that differs from
//! the guest's image, and these blocks, exclusive or with the image: mostly zeros. A part unpacks to so much at most, so that nothing is set aside on
//! the word of a guest that may be hostile.

use std::ops::Range;

use belljar_core::files::CallFile;
use belljar_core::task::CodeHash;
use lz4_flex::block;
use serde::{Deserialize, Serialize};

use crate::pagemap::PAGE;

const MAGIC: &[u8] = b"belljar session 2\n";
const HASH_BYTES: usize = 32;
/// What differs of a page is told by blocks of so many bytes.
const BLOCK: usize = PAGE / 64;
/// A page in front of its blocks: its number, and which they are.
const PAGE_HEAD: usize = 4 + 8;
/// A part of the memory is closed before it has more than this.
const PART_BYTES: usize = 256 << 10;
/// What a head has beside the contents of its files: names, of which each file in `/tmp` is charged with more.
const HEAD_BYTES: usize = 64 << 10;

/// What is not memory.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// The build of the guest.
    pub(super) guest: String,
    /// Which of its images the memory differs from.
    pub(super) image: usize,
    /// Bytes of memory.
    pub(super) memory: usize,
    /// How many descriptors were in use.
    pub(super) descriptors: usize,
    /// How many directories were put on `sys.path`.
    pub(super) paths: u32,
    /// The files in `/tmp`.
    pub(super) files: Vec<CallFile>,
}

/// Why nothing can go on from a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It was left by another version, or is damaged.
    Damaged,
    /// Its files need more room than there is.
    Files,
}

/// A state in the making.
pub(super) struct Writer {
    state: Vec<u8>,
    /// The part that is not packed yet.
    part: Vec<u8>,
}

impl Writer {
    /// One with this head; `None` where it is too large to be kept.
    pub(super) fn new(head: &Head) -> Option<Self> {
        let mut state = [MAGIC, &[0; HASH_BYTES]].concat();
        pack(&rmp_serde::to_vec(head).ok()?, &mut state)?;
        Some(Self { state, part: Vec::with_capacity(PART_BYTES) })
    }

    /// Adds a page where it differs from the image's.
    pub(super) fn page(&mut self, at: usize, page: &[u8], image: &[u8]) -> Option<()> {
        if self.part.len() + PAGE_HEAD + PAGE > PART_BYTES {
            self.close_part()?;
        }
        let head = self.part.len();
        self.part.extend_from_slice(&u32::try_from(at / PAGE).ok()?.to_le_bytes());
        self.part.extend_from_slice(&[0; 8]);
        let mut differing = 0_u64;
        let blocks = page.as_chunks::<BLOCK>().0.iter().zip(image.as_chunks::<BLOCK>().0);
        for (number, (block, image)) in blocks.enumerate() {
            if block != image {
                differing |= 1 << number;
                let mut difference = *block;
                difference.iter_mut().zip(image).for_each(|(byte, image)| *byte ^= image);
                self.part.extend_from_slice(&difference);
            }
        }
        if differing == 0 {
            self.part.truncate(head);
        } else {
            self.part[head + 4..head + PAGE_HEAD].copy_from_slice(&differing.to_le_bytes());
        }
        Some(())
    }

    /// How long it is so far.
    pub(super) const fn bytes(&self) -> usize {
        self.state.len()
    }

    /// The whole state.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        self.close_part()?;
        let (head, body) = self.state.split_at_mut(MAGIC.len() + HASH_BYTES);
        head[MAGIC.len()..].copy_from_slice(CodeHash::of(body).as_bytes());
        Some(self.state)
    }

    fn close_part(&mut self) -> Option<()> {
        if !self.part.is_empty() {
            pack(&self.part, &mut self.state)?;
            self.part.clear();
        }
        Some(())
    }
}

/// A state, of which the head is read.
pub(super) struct State<'a> {
    pub(super) head: Head,
    parts: &'a [u8],
}

impl<'a> State<'a> {
    /// Reads a state with files for which there is so much room.
    pub(super) fn read(bytes: &'a [u8], room: usize) -> Result<Self, Unreadable> {
        let hashed = bytes.strip_prefix(MAGIC).ok_or(Unreadable::Damaged)?;
        let (hash, mut parts) = hashed.split_at_checked(HASH_BYTES).ok_or(Unreadable::Damaged)?;
        if CodeHash::of(parts).as_bytes() != hash {
            return Err(Unreadable::Damaged);
        }
        let mut head = Vec::new();
        let most = room.saturating_add(HEAD_BYTES);
        if unpacked_bytes(parts).is_some_and(|bytes| bytes > most) {
            return Err(Unreadable::Files);
        }
        unpack(&mut parts, most, &mut head)?;
        let head = rmp_serde::from_slice(&head).map_err(|_| Unreadable::Damaged)?;
        Ok(Self { head, parts })
    }

    /// Puts what differs into a memory that is the image, and zeros beyond. Where that fails, the memory is neither.
    pub(super) fn apply(&self, memory: &mut [u8]) -> Result<(), Unreadable> {
        let (mut parts, mut part, mut next) = (self.parts, Vec::new(), 0);
        while !parts.is_empty() {
            unpack(&mut parts, PART_BYTES, &mut part)?;
            let mut rest = &part[..];
            while !rest.is_empty() {
                let (number, after) = rest.split_first_chunk().ok_or(Unreadable::Damaged)?;
                let (differing, after) = after.split_first_chunk().ok_or(Unreadable::Damaged)?;
                let number = u32::from_le_bytes(*number) as usize;
                if number < next {
                    return Err(Unreadable::Damaged);
                }
                next = number + 1;
                let page: Range<usize> = number * PAGE..next * PAGE;
                let page = memory.get_mut(page).ok_or(Unreadable::Damaged)?;
                rest = apply_page(page, u64::from_le_bytes(*differing), after)?;
            }
        }
        Ok(())
    }
}

/// Puts the first of `blocks` into a page, and returns the others.
fn apply_page<'a>(
    page: &mut [u8],
    mut differing: u64,
    mut blocks: &'a [u8],
) -> Result<&'a [u8], Unreadable> {
    let page = page.as_chunks_mut::<BLOCK>().0;
    while differing != 0 {
        let (block, after) = blocks.split_first_chunk::<BLOCK>().ok_or(Unreadable::Damaged)?;
        let target = &mut page[differing.trailing_zeros() as usize];
        target.iter_mut().zip(block).for_each(|(byte, difference)| *byte ^= difference);
        differing &= differing - 1;
        blocks = after;
    }
    Ok(blocks)
}

/// Appends a part to a state.
fn pack(part: &[u8], state: &mut Vec<u8>) -> Option<()> {
    let head = state.len();
    state.extend_from_slice(&[0; 4]);
    state.extend_from_slice(&u32::try_from(part.len()).ok()?.to_le_bytes());
    let from = state.len();
    state.resize(from + block::get_maximum_output_size(part.len()), 0);
    let packed = block::compress_into(part, &mut state[from..]).ok()?;
    state.truncate(from + packed);
    state[head..head + 4].copy_from_slice(&u32::try_from(packed).ok()?.to_le_bytes());
    Some(())
}

/// What the first of the parts unpacks to.
fn unpacked_bytes(parts: &[u8]) -> Option<usize> {
    let (_, after) = parts.split_first_chunk::<4>()?;
    Some(u32::from_le_bytes(*after.first_chunk()?) as usize)
}

/// Takes the first of the parts, which may unpack to `most` bytes, into `part`.
fn unpack(parts: &mut &[u8], most: usize, part: &mut Vec<u8>) -> Result<(), Unreadable> {
    let bytes = unpacked_bytes(parts).ok_or(Unreadable::Damaged)?;
    let (packed, after) = parts.split_first_chunk().ok_or(Unreadable::Damaged)?;
    let packed = after[4..].split_at_checked(u32::from_le_bytes(*packed) as usize);
    let (packed, rest) = packed.filter(|_| bytes <= most).ok_or(Unreadable::Damaged)?;
    *parts = rest;
    part.resize(bytes, 0);
    let unpacked = block::decompress_into(packed, part).map_err(|_| Unreadable::Damaged)?;
    if unpacked == bytes { Ok(()) } else { Err(Unreadable::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: usize = 200 * PAGE;

    fn head(files: Vec<CallFile>) -> Head {
        Head { guest: "guest".into(), image: 1, memory: MEMORY, descriptors: 5, paths: 0, files }
    }

    /// A state in which `memory` is left, of an image of zeros.
    fn written(memory: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new(&head(Vec::new())).expect("small");
        for (number, page) in memory.chunks(PAGE).enumerate() {
            writer.page(number * PAGE, page, &[0; PAGE]).expect("small");
        }
        writer.finish().expect("small")
    }

    fn applied(state: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let mut memory = vec![0; MEMORY];
        State::read(state, 0)?.apply(&mut memory)?;
        Ok(memory)
    }

    /// The same state with these parts behind the head, and the hash of it.
    fn forged(parts: &[&[u8]]) -> Vec<u8> {
        let mut state = written(&[]);
        parts.iter().for_each(|part| pack(part, &mut state).expect("small"));
        hashed(state)
    }

    fn hashed(mut state: Vec<u8>) -> Vec<u8> {
        let (head, body) = state.split_at_mut(MAGIC.len() + HASH_BYTES);
        head[MAGIC.len()..].copy_from_slice(CodeHash::of(body).as_bytes());
        state
    }

    fn page(number: u32, differing: u64, blocks: usize) -> Vec<u8> {
        [&number.to_le_bytes()[..], &differing.to_le_bytes(), &vec![7; blocks * BLOCK]].concat()
    }

    #[test]
    fn what_differs_is_there_again_and_little_else_is_kept() {
        let mut memory = vec![0; MEMORY];
        for at in [0, 63, 64, PAGE - 1, 17 * PAGE + 100, MEMORY - 1] {
            memory[at] = 7;
        }
        let state = written(&memory);
        assert!(state.len() < 500, "{}", state.len());
        assert_eq!(applied(&state), Ok(memory.clone()));
        // Some parts of memory that does not pack.
        let mut random = 1_u32;
        memory.iter_mut().for_each(|byte| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = random.to_le_bytes()[3];
        });
        let state = written(&memory);
        assert!(state.len() > PART_BYTES);
        assert_eq!(applied(&state), Ok(memory));
    }

    #[test]
    fn a_state_that_is_cut_or_changed_anywhere_is_refused() {
        let state = written(&[7; 3 * PAGE]);
        assert!(applied(&state).is_ok());
        for at in 0..state.len() {
            let mut changed = state.clone();
            changed[at] ^= 1;
            assert_eq!(applied(&changed), Err(Unreadable::Damaged), "{at}");
            assert_eq!(applied(&state[..at]), Err(Unreadable::Damaged), "{at}");
        }
    }

    #[test]
    fn a_forged_state_writes_nowhere_else_and_sets_little_aside() {
        assert!(applied(&forged(&[&page(3, 0b101, 2)])).is_ok());
        for parts in [
            // Beyond the memory; a page twice, and one before another; blocks that are not there; half a head.
            vec![page(200, 1, 1)],
            vec![page(u32::MAX, 1, 1)],
            vec![page(3, 1, 1), page(3, 1, 1)],
            vec![[page(4, 1, 1), page(3, 1, 1)].concat()],
            vec![page(3, u64::MAX, 63)],
            vec![page(3, 1, 0)],
            vec![vec![0; PAGE_HEAD - 1]],
            // More than a part may have, of few bytes.
            vec![vec![0; PART_BYTES + 1]],
        ] {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            assert_eq!(applied(&forged(&parts)), Err(Unreadable::Damaged), "{parts:?}");
        }
        // A part that claims more than it unpacks to, and one that claims more than there is.
        let honest = forged(&[&page(3, 1, 1)]);
        for (at, claimed) in [(4, 100), (4, u32::MAX), (0, u32::MAX)] {
            let mut state = honest.clone();
            let part = written(&[]).len() + at;
            state[part..part + 4].copy_from_slice(&u32::to_le_bytes(claimed));
            assert_eq!(applied(&hashed(state)), Err(Unreadable::Damaged), "{claimed}");
        }
    }

    #[test]
    fn files_need_room() {
        let file = CallFile { name: "a".into(), bytes: vec![0; 1 << 20].into() };
        let state = Writer::new(&head(vec![file.clone()])).and_then(Writer::finish).expect("small");
        assert!(state.len() < 10_000);
        assert_eq!(State::read(&state, 0).map(|state| state.head.files), Err(Unreadable::Files));
        let read = State::read(&state, 1 << 20).expect("there is room");
        assert_eq!(read.head.files, [file]);
    }
}
