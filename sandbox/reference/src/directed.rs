//! Sequences that are about one thing each: what the public suites for WASI check.

use crate::step::{
    APPEND, At, CREATE, DIRECTORY, EXCLUSIVE, FREE, GIVEN, NEVER, Path, READ, SCRATCH, Step,
    TRUNCATE, WILD, WRITE,
};

/// What each is about, and its steps.
#[must_use]
pub fn directed() -> Vec<(&'static str, Vec<Step>)> {
    let at = |path: &str| At(SCRATCH, path.into());
    let given = |path: &str| At(GIVEN, path.into());
    let open = |path: At, how, rights, flags, slot| Step::Open {
        at: path,
        follow: 1,
        how,
        rights,
        flags,
        slot,
    };
    let new = |path: &str, slot| open(at(path), CREATE, READ | WRITE, 0, slot);
    let write = |file, size, offset| Step::Write { file, sizes: vec![size], offset, byte: 97 };
    let read = |file, size, offset| Step::Read { file, sizes: vec![size], offset };
    let list = |dir, room| Step::List { dir, room, rewind: true };
    let (one, two, three) = (FREE, FREE + 1, FREE + 2);
    let both = READ | WRITE;
    vec![
        ("a slash after a file", {
            let mut steps =
                vec![new("f", one), Step::PathStatus(at("f/"), 1), Step::PathStatus(at("f/."), 0)];
            steps.extend(
                [CREATE, 0, DIRECTORY, TRUNCATE].map(|how| open(at("f/"), how, both, 0, two)),
            );
            steps.extend([
                Step::Unlink(at("f/")),
                Step::RemoveDir(at("f/")),
                Step::MakeDir(at("f/")),
            ]);
            steps.extend([
                Step::Rename(at("f/"), at("g")),
                Step::Rename(at("f"), at("g/")),
                list(SCRATCH, 300),
            ]);
            steps.extend(
                ["f/", "sub/g/", "link/", "f/."].map(|path| Step::PathStatus(given(path), 1)),
            );
            steps.extend(["f/", "sub/", "dirlink/"].map(|path| open(given(path), 0, READ, 0, two)));
            steps
        }),
        (
            "a slash after a new name",
            vec![
                open(at("new/"), CREATE, both, 0, one),
                Step::MakeDir(at("dir/")),
                Step::MakeDir(at("dir/")),
                Step::Rename(at("dir/"), at("other/")),
                Step::RemoveDir(at("other/")),
                list(SCRATCH, 300),
            ],
        ),
        ("dots at the end", {
            let mut steps = vec![Step::MakeDir(at("d")), Step::MakeDir(at("d/e")), new("f", one)];
            for path in [".", "..", "d/.", "d/..", "d/e/..", "d/../f", "./f", "d//e", "f/.."] {
                steps.extend([
                    Step::PathStatus(at(path), 0),
                    Step::MakeDir(at(path)),
                    Step::Unlink(at(path)),
                ]);
                steps.extend([
                    Step::RemoveDir(at(path)),
                    Step::Rename(at(path), at("x")),
                    Step::Rename(at("f"), at(path)),
                ]);
                steps.push(open(at(path), CREATE, both, 0, two));
            }
            steps.push(list(SCRATCH, 300));
            steps
        }),
        ("empty, absolute and long paths", {
            let mut steps = vec![new("f", one)];
            for path in [
                "",
                "/",
                "/f",
                "//f",
                "\0",
                "f\0g",
                &"n".repeat(255),
                &"n".repeat(256),
                &"n/".repeat(2000),
            ] {
                for dir in [SCRATCH, GIVEN] {
                    let at = At(dir, path.into());
                    steps.extend([
                        Step::PathStatus(at.clone(), 1),
                        Step::ReadLink(at.clone(), 10),
                        open(at, 0, READ, 0, two),
                    ]);
                }
                steps.extend([
                    Step::MakeDir(at(path)),
                    Step::Unlink(at(path)),
                    Step::Rename(at("f"), at(path)),
                ]);
            }
            steps
        }),
        (
            "what is no UTF-8",
            vec![
                Step::PathStatus(At(SCRATCH, Path(vec![0xff])), 1),
                Step::MakeDir(At(SCRATCH, Path(b"a\xc3".to_vec()))),
                Step::Unlink(At(GIVEN, Path(b"\xed\xa0\x80".to_vec()))),
            ],
        ),
        ("links", {
            let names = [
                "link", "dirlink", "dangling", "loop", "escape", "absolute", "sub/up", "f", "sub",
                "nothing", "f/x",
            ];
            let mut steps = Vec::new();
            for name in names {
                steps.extend([0, 1].map(|follow| Step::PathStatus(given(name), follow)));
                steps.extend([0, 2, 100].map(|room| Step::ReadLink(given(name), room)));
                for (follow, how) in [(0, 0), (1, 0), (1, DIRECTORY), (0, DIRECTORY)] {
                    steps.push(Step::Open {
                        at: given(name),
                        follow,
                        how,
                        rights: READ,
                        flags: 0,
                        slot: one,
                    });
                }
            }
            steps
        }),
        (
            "up from an open directory",
            vec![
                Step::MakeDir(at("d")),
                open(at("d"), DIRECTORY, READ, 0, one),
                Step::PathStatus(At(one, "../d".into()), 1),
                open(given("sub"), DIRECTORY, READ, 0, two),
                Step::PathStatus(At(two, "../f".into()), 1),
            ],
        ),
        ("ways out", {
            let paths = [
                "..",
                "../secret",
                "sub/../../secret",
                "sub/../..",
                "dirlink/../..",
                "escape",
                "absolute",
                "./../given/f",
            ];
            let mut steps = vec![Step::MakeDir(at("d"))];
            steps.extend(paths.iter().flat_map(|path| {
                [Step::PathStatus(given(path), 1), open(given(path), 0, READ, 0, one)]
            }));
            steps.extend(
                ["..", "d/../..", "../tmp", "d/../../x"]
                    .map(|path| open(at(path), CREATE, both, 0, one)),
            );
            steps.extend([
                Step::MakeDir(at("../x")),
                Step::Rename(at("d"), at("../x")),
                Step::Unlink(given("../secret")),
            ]);
            steps
        }),
        (
            "the read-only directory stays as it is",
            vec![
                open(given("f"), TRUNCATE, both, 0, one),
                open(given("f"), 0, WRITE, 0, one),
                open(given("new"), CREATE, both, 0, one),
                Step::MakeDir(given("new")),
                Step::RemoveDir(given("sub")),
                Step::Unlink(given("f")),
                Step::Rename(given("f"), given("g")),
                Step::Rename(given("f"), at("g")),
                Step::Symlink("f".into(), given("s")),
                Step::Link(given("f"), given("s")),
                Step::PathSetTimes { at: given("f"), follow: 1, times: [1, 1], which: 5 },
                open(given("f"), 0, READ, 0, one),
                write(one, 5, None),
                write(one, 5, Some(0)),
                Step::Resize(one, 0),
                Step::SetTimes { file: one, times: [1, 1], which: 5 },
                read(one, 20, None),
                Step::Status(one),
                list(GIVEN, 300),
            ],
        ),
        ("flags of opening", {
            let mut steps = vec![Step::MakeDir(at("d")), new("f", one)];
            for path in ["d", "f", "new"] {
                for how in 0..16 {
                    steps.extend([
                        open(at(path), how, both, 0, two),
                        Step::Descriptor(two),
                        Step::Unlink(at("new")),
                    ]);
                }
                steps.extend([READ, WRITE, 0].map(|rights| open(at(path), 0, rights, 0, two)));
            }
            for bits in [16, 32] {
                steps.push(open(at("f"), bits, READ, 0, two));
                steps.push(open(at("f"), 0, READ, bits * 2, two));
                steps.push(Step::Open {
                    at: at("f"),
                    follow: bits,
                    how: 0,
                    rights: READ,
                    flags: 0,
                    slot: two,
                });
            }
            steps.push(open(at("f"), CREATE | EXCLUSIVE, both, 0, three));
            steps
        }),
        (
            "appending",
            vec![
                open(at("f"), CREATE, both, APPEND, one),
                write(one, 10, None),
                Step::Seek { file: one, by: 0, whence: 0 },
                write(one, 3, None),
                write(one, 3, Some(1)),
                Step::Tell(one),
                Step::Descriptor(one),
                Step::SetFlags(one, 0),
                write(one, 2, Some(0)),
                Step::SetFlags(one, APPEND),
                Step::Descriptor(one),
                write(one, 2, None),
                Step::Tell(one),
                read(one, 100, Some(0)),
            ],
        ),
        (
            "places and holes",
            vec![
                new("f", one),
                Step::Seek { file: one, by: 100, whence: 0 },
                write(one, 0, None),
                Step::Status(one),
                write(one, 0, Some(500)),
                Step::Status(one),
                write(one, 5, None),
                Step::Status(one),
                read(one, 200, Some(0)),
                Step::Seek { file: one, by: -200, whence: 1 },
                Step::Seek { file: one, by: -5, whence: 2 },
                read(one, 200, None),
                read(one, 200, None),
                Step::Seek { file: one, by: 0, whence: 3 },
                Step::Resize(one, 3),
                Step::Tell(one),
                read(one, 10, None),
                write(one, 1, None),
                read(one, 200, Some(0)),
                write(one, 1, Some(u64::MAX)),
                read(one, 1, Some(u64::MAX)),
                Step::Resize(one, u64::MAX),
            ],
        ),
        ("several buffers", {
            let mut steps = vec![new("f", one), write(one, 50, None)];
            for sizes in
                [vec![], vec![0], vec![0, 0, 7], vec![10, 0, 10], vec![30, 30, 30], vec![1; 20]]
            {
                steps.push(Step::Seek { file: one, by: 0, whence: 0 });
                steps.push(Step::Read { file: one, sizes: sizes.clone(), offset: None });
                steps.push(Step::Read { file: one, sizes: sizes.clone(), offset: Some(45) });
                steps.push(Step::Write { file: one, sizes: sizes.clone(), offset: None, byte: 3 });
                steps.push(Step::Write { file: one, sizes, offset: Some(5), byte: 9 });
                steps.push(Step::Tell(one));
            }
            steps.push(read(one, 500, Some(0)));
            steps
        }),
        (
            "a file lives on without a name",
            vec![
                new("f", one),
                write(one, 10, None),
                Step::Unlink(at("f")),
                Step::PathStatus(at("f"), 1),
                Step::Status(one),
                read(one, 10, Some(0)),
                new("f", two),
                Step::Status(two),
                Step::Rename(at("f"), at("g")),
                write(two, 3, None),
                Step::PathStatus(at("g"), 1),
                Step::Close(one),
                Step::Status(one),
            ],
        ),
        ("renaming", {
            let mut steps = vec![
                Step::MakeDir(at("d")),
                Step::MakeDir(at("e")),
                Step::MakeDir(at("e/full")),
                new("f", one),
                new("g", two),
            ];
            for from in ["d", "e", "f", "nothing", "e/full"] {
                for to in ["d", "e", "f", "g", "e/full/x", "d/x", "nothing/x", "f/x", "e/x"] {
                    steps.extend([Step::Rename(at(from), at(to)), list(SCRATCH, 300)]);
                }
            }
            steps
        }),
        (
            "a directory that was removed",
            vec![
                Step::MakeDir(at("d")),
                open(at("d"), DIRECTORY, READ, 0, one),
                Step::RemoveDir(at("d")),
                list(one, 300),
                open(At(one, "f".into()), CREATE, both, 0, two),
                Step::MakeDir(At(one, "x".into())),
                new("f", three),
                Step::Rename(at("f"), At(one, "f".into())),
                Step::PathStatus(at("f"), 1),
                Step::PathStatus(At(one, ".".into()), 1),
                Step::Status(one),
                list(SCRATCH, 300),
            ],
        ),
        ("listings", {
            let mut steps = vec![
                Step::MakeDir(at("d")),
                open(at("d"), DIRECTORY, READ, 0, one),
                list(one, 300),
            ];
            steps.extend((0..60).map(|index| new(&format!("d/{index}"), two)));
            steps.extend([list(one, 300), list(one, 5000)]);
            steps.extend((0..50).map(|index| Step::Unlink(at(&format!("d/{index}")))));
            steps.extend([
                list(one, 300),
                Step::Rename(at("d/55"), at("d/x")),
                list(one, 281),
                list(two, 300),
            ]);
            steps.extend((0..24).map(|room| Step::Peek { dir: one, room }));
            steps.extend([
                open(given("sub/deep"), DIRECTORY, READ, 0, three),
                list(three, 300),
                list(three, 20_000),
            ]);
            steps
        }),
        ("times", {
            let mut steps = vec![Step::MakeDir(at("d")), new("f", one)];
            for which in 0..16 {
                steps.push(Step::SetTimes {
                    file: one,
                    times: [1_000_000_001, 2_000_000_002],
                    which,
                });
                for path in ["d", "f", "nothing"] {
                    steps.push(Step::PathSetTimes {
                        at: at(path),
                        follow: 0,
                        times: [7_000_000_007, 8_000_000_008],
                        which,
                    });
                }
            }
            steps.push(Step::SetTimes { file: one, times: [1, 1], which: 16 });
            steps
        }),
        (
            "numbers of descriptors",
            vec![
                new("f", one),
                new("g", two),
                write(one, 3, None),
                Step::Renumber(one, two),
                Step::Status(two),
                Step::Status(one),
                Step::Renumber(two, two),
                Step::Renumber(one, two),
                Step::Renumber(two, NEVER),
                Step::Close(two),
                Step::Close(two),
            ],
        ),
        ("what is not open", {
            let file = NEVER;
            let mut steps = vec![
                read(file, 1, None),
                read(file, 1, Some(0)),
                write(file, 1, None),
                write(file, 1, Some(0)),
            ];
            steps.extend([
                Step::Tell(file),
                Step::Seek { file, by: 0, whence: 0 },
                Step::Resize(file, 1),
                Step::Allocate(file),
            ]);
            steps.extend([
                Step::Advise(file, 0),
                Step::Sync(file),
                Step::SyncData(file),
                Step::SetFlags(file, 0),
            ]);
            steps.extend([
                Step::SetRights(file),
                Step::Descriptor(file),
                Step::Status(file),
                list(file, 300),
                Step::Poll(1, file),
            ]);
            steps.extend([
                Step::Receive(file),
                Step::Shutdown(file),
                Step::SetTimes { file, times: [1, 1], which: 5 },
            ]);
            steps.extend([
                Step::MakeDir(At(file, "x".into())),
                Step::Rename(At(file, "x".into()), at("y")),
                Step::Rename(at("x"), At(file, "y".into())),
            ]);
            steps.extend([
                Step::ReadLink(At(file, "x".into()), 9),
                open(At(file, "x".into()), CREATE, both, 0, one),
            ]);
            steps
        }),
        ("each kind of descriptor", {
            let mut steps = vec![
                new("f", one),
                open(given("f"), 0, READ, 0, two),
                open(at("f"), 0, WRITE, 0, three),
            ];
            for file in [0, 1, 2, GIVEN, SCRATCH, one, two, three] {
                steps.extend([
                    read(file, 3, Some(1)),
                    write(file, 3, Some(1)),
                    Step::Seek { file, by: 1, whence: 0 },
                    Step::Tell(file),
                ]);
                steps.extend([
                    Step::Allocate(file),
                    Step::Advise(file, 5),
                    Step::Advise(file, 6),
                    Step::Sync(file),
                    Step::SyncData(file),
                ]);
                steps.extend([
                    Step::SetFlags(file, 4),
                    Step::SetFlags(file, 2),
                    Step::SetRights(file),
                    Step::Descriptor(file),
                    Step::Status(file),
                ]);
                steps.extend([
                    Step::Receive(file),
                    Step::Shutdown(file),
                    list(file, 300),
                    Step::Poll(1, file),
                    Step::Poll(2, file),
                ]);
                steps.extend([
                    read(file, 3, None),
                    write(file, 3, None),
                    Step::Resize(file, 9),
                    Step::SetTimes { file, times: [1, 1], which: 5 },
                ]);
                steps.extend([
                    Step::PathStatus(At(file, "f".into()), 0),
                    open(At(file, "f".into()), 0, READ, 0, FREE + 4),
                ]);
            }
            steps
        }),
        ("clocks, randomness and the rest", {
            let mut steps = vec![
                Step::Raise,
                Step::Yield,
                Step::Arguments,
                Step::Poll(0, 0),
                Step::Poll(0, 1),
                Step::Poll(3, 0),
            ];
            steps.extend((0..6).flat_map(|id| [Step::Clock(id), Step::Resolution(id)]));
            steps.extend([0, 1, 256, 5000].map(Step::Random));
            steps.extend((0..WILD).map(Step::Wild));
            steps
        }),
    ]
}
