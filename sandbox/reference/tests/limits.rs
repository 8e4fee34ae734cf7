//! The limits of one call, and that none loses what it cannot report.

use belljar_wasi_reference::guest::{Guest, link};

const FAULT: i32 = 21;
const INVAL: i32 = 28;
const NAMETOOLONG: i32 = 37;
const MFILE: i32 = 33;
/// A pointer out of the memory.
const BEYOND: u64 = 0xffff_fff0;
/// Where results are written.
const OUT: u64 = 8192;
const LIST: usize = 16 << 10;

fn guest() -> Guest {
    let read = tempfile::tempdir().expect("a directory");
    Guest::start(&link(), read.path(), 1 << 20)
}

/// Lists `count` buffers, all of them the same `bytes` bytes.
fn buffers(guest: &mut Guest, count: usize, bytes: u32) -> [u64; 2] {
    let one = [0_u32.to_le_bytes(), bytes.to_le_bytes()].concat();
    guest.memory()[LIST..LIST + 8 * count].copy_from_slice(&one.repeat(count));
    [LIST as u64, count as u64]
}

#[test]
fn one_call_takes_no_more_than_its_limits() {
    let mut guest = guest();
    let [list, count] = buffers(&mut guest, 1024, 128 << 10);
    assert_eq!(guest.call("fd_write", &[1, list, count, OUT]), 0);
    assert_eq!(guest.number(OUT as usize), 64 << 20, "of 128 MiB in the same bytes");
    assert_eq!(guest.call("fd_write", &[1, list, count + 1, OUT]), INVAL);
    assert_eq!(guest.call("fd_read", &[0, list, 1 << 30, OUT]), INVAL);
    assert_eq!(guest.call("random_get", &[0, 1 << 17]), 0);
    assert_eq!(guest.call("random_get", &[0, 1 << 20]), FAULT, "allowed, were there room");
    assert_eq!(guest.call("random_get", &[0, (1 << 20) + 1]), INVAL);
    assert_eq!(guest.call("poll_oneoff", &[0, 0, 1025, OUT]), INVAL);
    assert_eq!(guest.call("poll_oneoff", &[0, 0, 0, OUT]), INVAL);
    assert_eq!(guest.call("path_filestat_get", &[3, 0, 0, 4096, OUT]), NAMETOOLONG);
    let opened = std::iter::from_fn(|| guest.open("tmp/f", 1)).count();
    assert_eq!(opened, 256 - 4);
    let [path, length] = guest.path(0, "tmp/f");
    assert_eq!(guest.call("path_open", &[3, 0, path, length, 0, 2, 2, 0, OUT]), MFILE);
}

#[test]
fn what_cannot_be_reported_is_not_done() {
    let mut guest = guest();
    let fd = guest.open("tmp/f", 1).expect("new");
    let [list, count] = buffers(&mut guest, 1, 10);
    assert_eq!(guest.call("fd_write", &[fd, list, count, BEYOND]), FAULT);
    assert_eq!(guest.call("fd_write", &[fd, list, count, OUT]), 0);
    assert_eq!(guest.call("fd_seek", &[fd, 5, 0, BEYOND]), FAULT);
    assert_eq!(guest.call("fd_seek", &[fd, 0, 0, OUT]), 0);
    assert_eq!(guest.call("fd_read", &[fd, list, count, BEYOND]), FAULT);
    // The second of two buffers leads out of the memory: the first is not filled either.
    guest.memory()[LIST + 8..LIST + 16].copy_from_slice(&[0xff; 8]);
    assert_eq!(guest.call("fd_read", &[fd, list, 2, OUT]), FAULT);
    assert_eq!(guest.call("fd_tell", &[fd, OUT]), 0);
    assert_eq!(guest.number(OUT as usize), 0, "nothing was read");
    let [path, length] = guest.path(0, "tmp/g");
    assert_eq!(guest.call("path_open", &[3, 0, path, length, 1, 66, 66, 0, BEYOND]), FAULT);
    assert_eq!(guest.open("tmp/g", 0), None, "it was not made");
}
