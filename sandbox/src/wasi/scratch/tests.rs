use super::tree::NODE_BYTES;
use super::*;

const CREATE: How =
    How { create: true, exclusive: false, truncate: false, directory: false, write: true };

fn names(scratch: &Scratch, dir: u64, from: u64, most: usize) -> Vec<(String, u64)> {
    let mut names = Vec::new();
    let take = &mut |entry: DirEntry<'_>| {
        names.push((String::from_utf8_lossy(entry.name).into_owned(), entry.next));
        names.len() < most
    };
    scratch.list(dir, from, take).expect("a directory");
    names
}

fn read(scratch: &Scratch, inode: u64) -> Vec<u8> {
    let mut buffer = [0; 64];
    let length = scratch.read(inode, &mut buffer, 0).expect("a file");
    buffer[..length].to_vec()
}

#[test]
fn what_is_written_is_read() {
    let mut scratch = Scratch::new(1 << 20);
    scratch.make_dir(TOP, "a").expect("new");
    let inode = scratch.open(TOP, "a/b", CREATE).expect("new");
    assert_eq!(scratch.write(inode, b"hello", Some(0)), Ok(5));
    assert_eq!(scratch.write(inode, b"!", None), Ok(6));
    assert_eq!(scratch.write(inode, b"J", Some(0)), Ok(1));
    assert_eq!(read(&scratch, inode), b"Jello!");
    assert_eq!(scratch.find(TOP, "./a/../a/b"), Ok(inode));
    scratch.resize(inode, 2).expect("shorter");
    assert_eq!(read(&scratch, inode), b"Je");
    assert_eq!(names(&scratch, TOP, 0, 9).last().map(|(name, _)| name.as_str()), Some("a"));
}

#[test]
fn nothing_leads_out_and_nothing_in_itself() {
    let mut scratch = Scratch::new(1 << 20);
    assert_eq!(scratch.find(TOP, "../etc/passwd"), Err(Errno::ACCES));
    scratch.make_dir(TOP, "a").expect("new");
    scratch.make_dir(TOP, "a/b").expect("new");
    assert_eq!(scratch.rename((TOP, "a"), (TOP, "a/b/c")), Err(Errno::INVAL));
    assert_eq!(scratch.remove(TOP, "a", true), Err(Errno::NOTEMPTY));
    assert_eq!(scratch.remove(TOP, "a", false), Err(Errno::ISDIR));
    assert_eq!(scratch.open(TOP, "a/b/..", How::default()), scratch.find(TOP, "a"));
}

#[test]
fn space_is_bounded_and_comes_back() {
    let mut scratch = Scratch::new(4000);
    let inode = scratch.open(TOP, "f", CREATE).expect("new");
    assert_eq!(scratch.write(inode, &[1; 8000], Some(0)), Err(Errno::NOSPC));
    assert_eq!(scratch.write(inode, b"x", Some(LAST_PLACE - 1)), Err(Errno::NOSPC));
    assert_eq!(scratch.write(inode, &[1; 3400], Some(0)), Ok(3400));
    scratch.remove(TOP, "f", false).expect("its name goes");
    assert_eq!(read(&scratch, inode).len(), 64, "open, it lives on");
    scratch.close(inode);
    let made = (0..100).take_while(|i| scratch.make_dir(TOP, &i.to_string()).is_ok()).count();
    assert_eq!(made, 7, "4,000 bytes by 513 each");
}

#[test]
fn a_longer_name_is_charged_and_none_is_endless() {
    let mut scratch = Scratch::new(NODE_BYTES + 200);
    scratch.open(TOP, "f", CREATE).expect("new");
    let name = |length| "n".repeat(length);
    assert_eq!(scratch.rename((TOP, "f"), (TOP, &name(256))), Err(Errno::NAMETOOLONG));
    assert_eq!(scratch.rename((TOP, "f/"), (TOP, &name(256))), Err(Errno::NAMETOOLONG));
    assert_eq!(scratch.rename((TOP, "f/"), (TOP, &name(255))), Err(Errno::NOTDIR));
    assert_eq!(scratch.open(TOP, &name(256), CREATE), Err(Errno::NAMETOOLONG));
    assert_eq!(scratch.rename((TOP, "f"), (TOP, &name(255))), Err(Errno::NOSPC));
    assert_eq!(scratch.rename((TOP, "f"), (TOP, &name(200))), Ok(()));
}

#[test]
fn nothing_is_moved_into_a_removed_directory() {
    let mut scratch = Scratch::new(1 << 20);
    scratch.make_dir(TOP, "gone").expect("new");
    let gone = scratch.open(TOP, "gone", How::default()).expect("there");
    scratch.remove(TOP, "gone", true).expect("empty");
    let file = scratch.open(TOP, "f", CREATE).expect("new");
    assert_eq!(scratch.rename((TOP, "f"), (gone, "f")), Err(Errno::NOENT));
    assert_eq!(scratch.find(TOP, "f"), Ok(file));
}

#[test]
fn an_empty_write_lengthens_nothing() {
    let mut scratch = Scratch::new(1 << 20);
    let file = scratch.open(TOP, "f", CREATE).expect("new");
    assert_eq!(scratch.write(file, b"", Some(100)), Ok(100));
    assert_eq!(scratch.status(file).map(|status| status.size), Ok(0));
}

#[test]
fn a_file_takes_the_place_of_another() {
    let mut scratch = Scratch::new(1 << 20);
    let new = scratch.open(TOP, "new", CREATE).expect("new");
    scratch.open(TOP, "old", CREATE).expect("new");
    scratch.rename((TOP, "new"), (TOP, "old")).expect("replaced");
    assert_eq!(scratch.find(TOP, "old"), Ok(new));
    assert_eq!(scratch.find(TOP, "new"), Err(Errno::NOENT));
    let again = How { exclusive: true, ..CREATE };
    assert_eq!(scratch.open(TOP, "old", again), Err(Errno::EXIST));
}

#[test]
fn a_listing_goes_on_where_it_was_and_sees_what_changed() {
    let mut scratch = Scratch::new(1 << 20);
    for name in ["a", "b", "c", "d"] {
        scratch.open(TOP, name, CREATE).expect("new");
    }
    let start = names(&scratch, TOP, 0, 4);
    assert_eq!(
        start.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        [".", "..", "a", "b"]
    );
    scratch.remove(TOP, "a", false).expect("a file");
    scratch.rename((TOP, "b"), (TOP, "z")).expect("renamed");
    scratch.open(TOP, "e", CREATE).expect("new");
    let rest = names(&scratch, TOP, start[3].1, 9);
    assert_eq!(rest.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["c", "d", "e"]);
    let again = names(&scratch, TOP, 0, 9);
    assert_eq!(again.len(), 6, "rewound, it is read anew: {again:?}");
    assert_eq!(again[2].0, "z");
}

#[test]
fn a_slash_and_a_dot_follow_directories_only() {
    let mut scratch = Scratch::new(1 << 20);
    let file = scratch.open(TOP, "f", CREATE).expect("new");
    for path in ["f/", "f/.", "f/..", "f/x"] {
        assert_eq!(scratch.find(TOP, path), Err(Errno::NOTDIR), "{path}");
        assert_eq!(scratch.open(TOP, path, How::default()), Err(Errno::NOTDIR), "{path}");
    }
    assert_eq!(scratch.remove(TOP, "f/", false), Err(Errno::NOTDIR));
    assert_eq!(scratch.rename((TOP, "f"), (TOP, "g/")), Err(Errno::NOTDIR));
    assert_eq!(scratch.find(TOP, "./f"), Ok(file));
    assert_eq!(scratch.open(TOP, "new/", CREATE), Err(Errno::ISDIR));
    assert_eq!(scratch.open(TOP, "f/", CREATE), Err(Errno::ISDIR));
    assert_eq!(scratch.make_dir(TOP, "f/"), Err(Errno::EXIST));
    let directory = How { directory: true, ..How::default() };
    assert_eq!(scratch.open(TOP, "f", directory), Err(Errno::NOTDIR));
}

#[test]
fn all_that_was_charged_comes_back() {
    let mut scratch = Scratch::new(NODE_BYTES * 3 + 600);
    for _ in 0..100 {
        scratch.make_dir(TOP, &"d".repeat(100)).expect("new");
        let file = scratch.open(TOP, &"f".repeat(100), CREATE).expect("new");
        scratch.write(file, &[1; 200], None).expect("room");
        scratch.rename((TOP, &"f".repeat(100)), (TOP, &"g".repeat(200))).expect("room");
        let into = format!("{}/f", "d".repeat(100));
        scratch.rename((TOP, &"g".repeat(200)), (TOP, &into)).expect("room");
        scratch.remove(TOP, &into, false).expect("a file");
        scratch.close(file);
        scratch.remove(TOP, &"d".repeat(100), true).expect("empty");
    }
}

#[test]
fn what_cannot_be_replaced_is_left_and_not_charged_for() {
    let mut scratch = Scratch::new(1 << 20);
    scratch.make_dir(TOP, "a").expect("new");
    scratch.make_dir(TOP, "full").expect("new");
    scratch.open(TOP, "full/f", CREATE).expect("new");
    let file = scratch.open(TOP, "f", CREATE).expect("new");
    assert_eq!(scratch.rename((TOP, "a"), (TOP, "full")), Err(Errno::NOTEMPTY));
    assert_eq!(scratch.rename((TOP, "a"), (TOP, "f")), Err(Errno::NOTDIR));
    assert_eq!(scratch.rename((TOP, "f"), (TOP, "a")), Err(Errno::ISDIR));
    assert_eq!(scratch.rename((TOP, "full/f"), (TOP, "full")), Err(Errno::NOTEMPTY));
    assert_eq!(scratch.find(TOP, "f"), Ok(file));
    assert_eq!(scratch.rename((TOP, "a/."), (TOP, "b")), Err(Errno::BUSY));
}

#[test]
fn times_are_what_they_were_set_to() {
    let mut scratch = Scratch::new(1 << 20);
    let file = scratch.open(TOP, "f", CREATE).expect("new");
    let before = scratch.status(file).expect("there").times;
    scratch.set_times(file, None, Some(7)).expect("there");
    let after = scratch.status(file).expect("there").times;
    assert_eq!((after.accessed, after.modified), (before.accessed, 7));
    scratch.write(file, b"x", None).expect("room");
    assert!(scratch.status(file).expect("there").times.modified > 7);
}
