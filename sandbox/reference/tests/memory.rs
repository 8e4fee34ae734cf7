//! Whatever a guest does with its scratch directory and its descriptors, it takes no more of the process's
//! memory than it was granted, and a little.

#![allow(unsafe_code, reason = "an allocator is unsafe by its nature")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use belljar_wasi_reference::guest::{DIRECTORY, Guest, Linked, link};

/// Counts what is allocated at once.
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

    // In place, as the system's allocator does it for what is large.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(size, Relaxed) + size - layout.size(), Relaxed);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Of scratch space, and what everything else may take.
const SCRATCH: usize = 4 << 20;
const BESIDES: usize = 1 << 20;

/// Does `what` in a fresh guest; the most memory that it took.
fn cost(linked: &Linked, what: impl FnOnce(&mut Guest)) -> usize {
    let read = tempfile::tempdir().expect("a directory");
    let mut guest = Guest::start(linked, read.path(), SCRATCH as u64);
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    what(&mut guest);
    MOST.load(Relaxed) - before
}

/// Files or directories with names of so many bytes, until there is no space.
fn fill(guest: &mut Guest, name_bytes: usize, is_dir: bool) {
    for index in 0_u32.. {
        let path = format!("tmp/{index:0name_bytes$}");
        let made = if is_dir {
            let [at, length] = guest.path(0, &path);
            guest.call("path_create_directory", &[3, at, length]) == 0
        } else {
            let fd = guest.open(&path, 1);
            fd.is_some_and(|fd| guest.call("fd_close", &[fd]) == 0)
        };
        if !made {
            break;
        }
    }
}

#[test]
fn scratch_space_is_all_that_a_guest_takes() {
    let linked = link();
    for (what, most) in [
        ("short names", cost(&linked, |guest| fill(guest, 1, false))),
        ("long names", cost(&linked, |guest| fill(guest, 255, false))),
        ("directories", cost(&linked, |guest| fill(guest, 8, true))),
        (
            "renamed to longer names",
            cost(&linked, |guest| {
                fill(guest, 6, false);
                for index in 0..10_000 {
                    let [old, old_length] = guest.path(0, &format!("tmp/{index:06}"));
                    let [new, new_length] = guest.path(4096, &format!("tmp/{index:0255}"));
                    guest.call("path_rename", &[3, old, old_length, 3, new, new_length]);
                }
            }),
        ),
        (
            "open directories, all listed",
            cost(&linked, |guest| {
                fill(guest, 100, false);
                while let Some(fd) = guest.open("tmp", DIRECTORY) {
                    guest.call("fd_readdir", &[fd, 16_384, 4096, 0, 8192]);
                }
            }),
        ),
        (
            "one file, written in small pieces",
            cost(&linked, |guest| {
                let fd = guest.open("tmp/f", 1).expect("new");
                guest.memory()[..8].copy_from_slice(&[0, 64, 0, 0, 0, 4, 0, 0]);
                while guest.call("fd_write", &[fd, 0, 1, 8192]) == 0 {}
            }),
        ),
        (
            "one file, lengthened",
            cost(&linked, |guest| {
                let fd = guest.open("tmp/f", 1).expect("new");
                for size in (0..20_000).map(|size| size * 1000) {
                    guest.call("fd_filestat_set_size", &[fd, size]);
                }
            }),
        ),
    ] {
        println!("{what}: {most} bytes");
        assert!(most <= SCRATCH + BESIDES, "{what}: {most}");
    }
}
