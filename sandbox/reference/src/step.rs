//! One step of a sequence, made at random.

use fastrand::Rng;

/// Descriptors of a sequence. The first three are the standard streams.
pub const SLOTS: usize = 12;
/// The directory that is only read, and the one that is written.
pub const GIVEN: usize = 3;
pub const SCRATCH: usize = 4;
/// From here on they are opened and closed; the last one never is open.
pub const FREE: usize = 5;
pub const NEVER: usize = SLOTS - 1;

/// Calls whose pointers lead out of the memory.
pub const WILD: usize = 14;

/// The flags of `path_open`.
pub const CREATE: u32 = 1;
pub const DIRECTORY: u32 = 2;
pub const EXCLUSIVE: u32 = 4;
pub const TRUNCATE: u32 = 8;
/// The rights that matter.
pub const READ: u64 = 1 << 1;
pub const WRITE: u64 = 1 << 6;
/// Every write goes to the end.
pub const APPEND: u32 = 1;

/// A path, which need not be UTF-8.
#[derive(Clone, PartialEq, Eq)]
pub struct Path(pub Vec<u8>);

/// A path below a directory that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At(pub usize, pub Path);

/// One step. Numbers without a name are slots.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the function of its name, its fields are what that takes")]
pub enum Step {
    Open {
        at: At,
        follow: u32,
        how: u32,
        rights: u64,
        flags: u32,
        slot: usize,
    },
    Close(usize),
    Renumber(usize, usize),
    Read {
        file: usize,
        sizes: Vec<u32>,
        offset: Option<u64>,
    },
    Write {
        file: usize,
        sizes: Vec<u32>,
        offset: Option<u64>,
        byte: u8,
    },
    Seek {
        file: usize,
        by: i64,
        whence: u32,
    },
    Tell(usize),
    Resize(usize, u64),
    Allocate(usize),
    Advise(usize, u32),
    Sync(usize),
    SyncData(usize),
    SetFlags(usize, u32),
    SetRights(usize),
    Descriptor(usize),
    Status(usize),
    PathStatus(At, u32),
    SetTimes {
        file: usize,
        times: [u64; 2],
        which: u32,
    },
    PathSetTimes {
        at: At,
        follow: u32,
        times: [u64; 2],
        which: u32,
    },
    /// All names in a directory, read with a buffer of so many bytes; a second time after a rewind.
    List {
        dir: usize,
        room: u32,
        rewind: bool,
    },
    /// The first bytes of a listing.
    Peek {
        dir: usize,
        room: u32,
    },
    MakeDir(At),
    RemoveDir(At),
    Unlink(At),
    Rename(At, At),
    Link(At, At),
    Symlink(Path, At),
    ReadLink(At, u32),
    /// One wait for one thing: a clock (0), a file to be read (1) or written (2).
    Poll(u32, usize),
    Clock(u32),
    Resolution(u32),
    Random(u32),
    Receive(usize),
    Shutdown(usize),
    Raise,
    Yield,
    Arguments,
    /// A call with pointers that lead out of the memory.
    Wild(usize),
}

impl Step {
    /// Whether it makes, moves or removes something.
    #[must_use]
    pub const fn changes_files(&self) -> bool {
        matches!(
            self,
            Self::Open { .. }
                | Self::MakeDir(_)
                | Self::RemoveDir(_)
                | Self::Unlink(_)
                | Self::Rename(..)
        )
    }
}

impl From<&str> for Path {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Debug for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Names in the directory that is written, and in the one that is read.
const WRITTEN: [&str; 5] = ["a", "b", "c", "d", "e"];
const GIVEN_NAMES: [&str; 11] = [
    "f", "sub", "empty", "link", "dirlink", "dangling", "loop", "escape", "absolute", "sub/up",
    "sub/deep",
];

fn pick<T: Copy>(rng: &mut Rng, items: &[T]) -> T {
    items[rng.usize(..items.len())]
}

fn file(rng: &mut Rng) -> usize {
    match rng.u32(..20) {
        0 => rng.usize(..SLOTS),
        1 => pick(rng, &[0, 1, 2]),
        2 => pick(rng, &[GIVEN, SCRATCH]),
        _ => rng.usize(FREE..NEVER),
    }
}

fn dir(rng: &mut Rng) -> usize {
    match rng.u32(..10) {
        0 => rng.usize(..SLOTS),
        1..=3 => GIVEN,
        4 => rng.usize(FREE..NEVER),
        _ => SCRATCH,
    }
}

fn path(rng: &mut Rng, dir: usize) -> Path {
    let mut path = String::new();
    for _ in 0..=rng.u32(..12) / 5 {
        let part = match rng.u32(..20) {
            0 => ".",
            1 | 2 => "..",
            3 => "",
            _ if dir == GIVEN => pick(rng, &GIVEN_NAMES),
            _ if dir == SCRATCH || rng.u32(..3) > 0 => pick(rng, &WRITTEN),
            _ => pick(rng, &GIVEN_NAMES),
        };
        path.push_str(part);
        path.push('/');
    }
    if rng.u32(..10) > 0 {
        path.pop();
    }
    match rng.u32(..100) {
        // With a good descriptor: which of two errors is told is nobody's business.
        0 if dir == GIVEN || dir == SCRATCH => return Path(b"a\xff\xfe".to_vec()),
        1 => path = "n".repeat(pick(rng, &[255, 256, 300])),
        _ => {}
    }
    Path(path.into_bytes())
}

fn at(rng: &mut Rng) -> At {
    let dir = dir(rng);
    At(dir, path(rng, dir))
}

fn size(rng: &mut Rng) -> u64 {
    match rng.u32(..10) {
        0 => 0,
        1 => rng.u64(..100_000),
        _ => rng.u64(..300),
    }
}

fn sizes(rng: &mut Rng) -> Vec<u32> {
    let count = if rng.bool() { 1 } else { rng.usize(..5) };
    (0..count).map(|_| if rng.u32(..5) == 0 { 0 } else { rng.u32(..200) }).collect()
}

fn open(rng: &mut Rng) -> Step {
    let at = at(rng);
    let mut how = if rng.bool() { CREATE } else { 0 };
    for flag in [DIRECTORY, EXCLUSIVE, TRUNCATE] {
        how |= if rng.u32(..8) == 0 { flag } else { 0 };
    }
    let mut rights = pick(rng, &[READ, READ | WRITE, READ | WRITE, WRITE, 0]);
    if how & (CREATE | TRUNCATE) != 0 {
        rights |= WRITE;
    }
    let flags = if rng.u32(..4) == 0 { APPEND | rng.u32(..2) * 4 } else { 0 };
    Step::Open { at, follow: rng.u32(..2), how, rights, flags, slot: rng.usize(FREE..NEVER) }
}

fn about_paths(rng: &mut Rng) -> Step {
    let times = [rng.u64(..2_000_000_000_000_000_000), rng.u64(..2_000_000_000_000_000_000)];
    match rng.u32(..18) {
        0..=2 => Step::PathStatus(at(rng), rng.u32(..2)),
        3 => Step::PathSetTimes { at: at(rng), follow: rng.u32(..2), times, which: rng.u32(..16) },
        4..=6 => Step::MakeDir(at(rng)),
        7 | 8 => Step::RemoveDir(at(rng)),
        9..=11 => Step::Unlink(at(rng)),
        12..=14 => Step::Rename(at(rng), at(rng)),
        // Where links can be made, only the other side makes them.
        15 => Step::Link(At(GIVEN, path(rng, GIVEN)), At(GIVEN, path(rng, GIVEN))),
        16 => Step::Symlink("f".into(), At(GIVEN, path(rng, GIVEN))),
        _ => Step::ReadLink(at(rng), pick(rng, &[0, 1, 3, 100])),
    }
}

fn about_files(rng: &mut Rng) -> Step {
    let offset = rng.bool().then(|| size(rng));
    let times = [rng.u64(..2_000_000_000_000_000_000), rng.u64(..2_000_000_000_000_000_000)];
    match rng.u32(..26) {
        0..=4 => Step::Read { file: file(rng), sizes: sizes(rng), offset },
        5..=9 => Step::Write { file: file(rng), sizes: sizes(rng), offset, byte: rng.u8(..) },
        10..=12 => Step::Seek { file: file(rng), by: rng.i64(-100..300), whence: rng.u32(..4) },
        13 => Step::Tell(file(rng)),
        14 | 15 => Step::Resize(file(rng), size(rng)),
        16 => Step::SetFlags(file(rng), pick(rng, &[0, APPEND, 4, APPEND | 4, 2, 32])),
        17 | 18 => Step::Descriptor(file(rng)),
        19 | 20 => Step::Status(file(rng)),
        21 => Step::SetTimes { file: file(rng), times, which: rng.u32(..16) },
        22 => Step::Peek { dir: file(rng), room: rng.u32(..24) },
        _ => Step::List { dir: file(rng), room: 280 + rng.u32(..1000), rewind: rng.bool() },
    }
}

fn rare(rng: &mut Rng) -> Step {
    match rng.u32(..17) {
        // The directories that all paths begin at stay open.
        0 => Step::Close(match file(rng) {
            GIVEN | SCRATCH => NEVER,
            other => other,
        }),
        1 => Step::Renumber(rng.usize(FREE..SLOTS), rng.usize(FREE..SLOTS)),
        2 => Step::Allocate(file(rng)),
        3 => Step::Advise(file(rng), rng.u32(..6)),
        4 => Step::Sync(file(rng)),
        5 => Step::SyncData(file(rng)),
        6 => Step::SetRights(file(rng)),
        7 => Step::Poll(rng.u32(..3), rng.usize(FREE..SLOTS)),
        8 => Step::Clock(rng.u32(..5)),
        9 => Step::Resolution(rng.u32(..5)),
        10 => Step::Random(rng.u32(..300)),
        11 => Step::Receive(file(rng)),
        12 => Step::Shutdown(file(rng)),
        13 => pick(rng, &[0, 1]).eq(&0).then_some(Step::Raise).unwrap_or(Step::Yield),
        14 => Step::Arguments,
        _ => Step::Wild(rng.usize(..WILD)),
    }
}

/// A sequence of so many steps.
#[must_use]
pub fn sequence(rng: &mut Rng, length: usize) -> Vec<Step> {
    let step = |rng: &mut Rng| match rng.u32(..20) {
        0..=4 => open(rng),
        5..=9 => about_paths(rng),
        10..=17 => about_files(rng),
        _ => rare(rng),
    };
    (0..length).map(|_| step(rng)).collect()
}
