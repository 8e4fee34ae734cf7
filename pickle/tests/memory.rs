//! What the worst pickles cost in memory, counted by the allocator.

#![expect(unsafe_code, reason = "an allocator is unsafe by its nature")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use belljar_pickle::inspect;

/// Counts what is allocated at once. One test uses it: it counts for the whole process.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all of it is the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `inspect` promises: so many bytes for each byte, and so many besides.
const EACH: usize = 16;
const BESIDES: usize = 4 << 20;

/// `start`, then `piece` up to `size` bytes.
fn filled(start: &[u8], piece: &[u8], size: usize) -> Vec<u8> {
    let mut data = start.to_vec();
    while data.len() < size {
        data.extend_from_slice(piece);
    }
    data
}

/// Stores far ahead of what was stored before.
fn far(index: usize) -> Vec<u8> {
    [&b"Nr"[..], &(index as u32).to_le_bytes()].concat()
}

/// Pickles of `size` bytes that make a reader remember as much as they can.
fn hostile(size: usize) -> Vec<Vec<u8>> {
    let half_and_half = filled(&filled(&far(size), b"N", size / 2 + 4), b"(", size);
    let doubled = filled(&filled(&far(size / 2), b"N", size / 2 + 4), b"\x94", size);
    let long_name = [b"X\0\x04\0\0".to_vec(), vec![b'm'; 1024], b"\x94".to_vec()].concat();
    let mut many_names = long_name.clone();
    for index in 0..size / 10 {
        let name = format!("{index:04}");
        many_names.extend_from_slice(&[b'h', 0, 0x8c, name.len() as u8]);
        many_names.extend_from_slice(name.as_bytes());
        many_names.push(0x93);
    }
    let many_lines = (0..size / 8).flat_map(|index| format!("c{index}\n{index}\n").into_bytes());
    vec![
        filled(&far(size), b"\x94", size),
        filled(&far(size), b"N", size),
        filled(&far(1 << 16), b"\x94", size),
        filled(b"N", b"2", size),
        filled(b"", b"(", size),
        filled(b"]", b"\x94", size),
        filled(b"N", b"\x94\x94\x942", size),
        half_and_half,
        doubled,
        filled(b"\x8c\x01a\x94", b"h\0\x85", size),
        filled(b"\x8c\x01a\x94", b"h\0h\0h\0\x87", size),
        filled(&filled(b"(\x8c\x01a", b"2", size / 2), b"t", size),
        filled(b"", b"(((tt", size),
        filled(b"", b"Np70000\n0", size),
        many_names,
        many_lines.collect(),
    ]
}

#[test]
fn no_pickle_costs_more_than_16_bytes_a_byte() {
    // The size beside a power of two is where tables that double have just done so.
    for size in [16, 1000, 66_000, (1 << 20) + 2] {
        for (index, data) in hostile(size).iter().enumerate() {
            check(index, data);
        }
    }
    check(0, &filled(&far(24 << 20), b"\x94", 24 << 20));
}

fn check(index: usize, data: &[u8]) {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    let _ = inspect(data);
    let (most, size) = (MOST.load(Relaxed) - before, data.len());
    assert!(most <= EACH * size + BESIDES, "{size} bytes, pickle {index}: {most}");
}
