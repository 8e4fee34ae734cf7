//! What a step does on one side, and what comes of it, as far as both sides must agree.

use crate::side::{Answer, Side};
use crate::step::{At, Path, SLOTS, Step, WILD};

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The error number, 0 without an error; `None`: it trapped.
    pub errno: Option<u16>,
    /// What it wrote to the memory, in numbers.
    pub numbers: Vec<u64>,
    /// And in bytes.
    pub bytes: Vec<u8>,
}

/// The numbers of the descriptors in the slots.
pub type Descriptors = [u32; SLOTS];

/// The number of what is not open.
pub const CLOSED: u32 = 200;

/// Where things are in the memory.
const PATH: u64 = 1024;
const OTHER_PATH: u64 = 8 << 10;
const BUFFERS: u64 = 16 << 10;
const OUT: u64 = 20 << 10;
const DATA: u64 = 32 << 10;
const DATA_BYTES: usize = 64 << 10;
/// A pointer that leads out, by a bit and by far.
const BEYOND: u64 = crate::module::MEMORY as u64 - 4;
const FAR: u64 = 0xffff_fff0;

/// Calls whose pointers lead out, before anything was changed.
const WILD_CALLS: [(&str, &[u64]); WILD] = [
    ("fd_read", &[0, BEYOND, 1, OUT]),
    ("fd_read", &[0, FAR, 1, OUT]),
    ("fd_write", &[1, FAR, 1, OUT]),
    ("fd_write", &[1, BEYOND, 1, OUT]),
    ("fd_filestat_get", &[0, FAR]),
    ("fd_fdstat_get", &[0, BEYOND]),
    ("clock_time_get", &[0, 0, FAR]),
    ("clock_res_get", &[0, BEYOND]),
    ("random_get", &[FAR, 32]),
    ("path_filestat_get", &[3, 0, FAR, 8, OUT]),
    ("path_unlink_file", &[3, BEYOND, 8]),
    ("path_rename", &[3, FAR, 1, 3, FAR, 1]),
    ("path_create_directory", &[3, FAR, 8]),
    ("args_sizes_get", &[FAR, FAR]),
];

struct Performer<'a> {
    side: &'a mut dyn Side,
    slots: &'a mut Descriptors,
}

impl Outcome {
    fn of(answer: Answer) -> Self {
        Self { errno: answer.ok(), numbers: Vec::new(), bytes: Vec::new() }
    }
}

/// Does `step`.
pub fn perform(step: &Step, side: &mut dyn Side, slots: &mut Descriptors) -> Outcome {
    side.memory()[OUT as usize..OUT as usize + 64].fill(0);
    Performer { side, slots }.perform(step)
}

impl Performer<'_> {
    fn perform(&mut self, step: &Step) -> Outcome {
        let fd = |slot: &usize| u64::from(self.slots[*slot]);
        match step {
            Step::Open { .. } | Step::Close(_) | Step::Renumber(..) => self.descriptors(step),
            Step::Read { file, sizes, offset } => self.read(fd(file), sizes, *offset),
            Step::Write { file, sizes, offset, byte } => {
                self.write(fd(file), sizes, *offset, *byte)
            }
            Step::Seek { file, by, whence } => {
                self.number("fd_seek", &[fd(file), *by as u64, u64::from(*whence), OUT])
            }
            Step::Tell(file) => self.number("fd_tell", &[fd(file), OUT]),
            Step::Resize(file, size) => self.plain("fd_filestat_set_size", &[fd(file), *size]),
            Step::Allocate(file) => self.plain("fd_allocate", &[fd(file), 0, 10]),
            Step::Advise(file, advice) => {
                self.plain("fd_advise", &[fd(file), 0, 10, u64::from(*advice)])
            }
            Step::Sync(file) => self.plain("fd_sync", &[fd(file)]),
            Step::SyncData(file) => self.plain("fd_datasync", &[fd(file)]),
            Step::SetFlags(file, flags) => {
                self.plain("fd_fdstat_set_flags", &[fd(file), u64::from(*flags)])
            }
            Step::SetRights(file) => self.plain("fd_fdstat_set_rights", &[fd(file), 0, 0]),
            Step::Descriptor(file) => self.descriptor(fd(file)),
            Step::Status(_) | Step::PathStatus(..) => self.status(step),
            Step::SetTimes { .. } | Step::PathSetTimes { .. } => self.set_times(step),
            Step::List { dir, room, rewind } => self.list(fd(dir), *room, *rewind),
            Step::Peek { dir, room } => {
                self.number("fd_readdir", &[fd(dir), DATA, u64::from(*room), 0, OUT])
            }
            Step::Poll(kind, file) => self.poll(*kind, fd(file)),
            Step::Receive(file) => {
                self.plain("sock_recv", &[fd(file), BUFFERS, 0, 0, OUT, OUT + 8])
            }
            Step::Shutdown(file) => self.plain("sock_shutdown", &[fd(file), 3]),
            _ => self.paths(step),
        }
    }

    fn paths(&mut self, step: &Step) -> Outcome {
        match step {
            Step::MakeDir(at) => self.at("path_create_directory", at),
            Step::RemoveDir(At(dir, path)) => {
                // The other side removes none whose path ends in a slash.
                let bare = path.0.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
                let bare = if self.side.is_ours() || bare == 0 { path.0.len() } else { bare };
                self.at("path_remove_directory", &At(*dir, Path(path.0[..bare].to_vec())))
            }
            Step::Unlink(at) => self.at("path_unlink_file", at),
            Step::Rename(from, to) => {
                let ([from, old, length], [to, new, new_length]) =
                    (self.place(from), self.other_place(to));
                self.plain("path_rename", &[from, old, length, to, new, new_length])
            }
            Step::Link(from, to) => {
                let ([from, old, length], [to, new, new_length]) =
                    (self.place(from), self.other_place(to));
                self.plain("path_link", &[from, 0, old, length, to, new, new_length])
            }
            Step::Symlink(target, at) => {
                let (length, [dir, path, path_length]) =
                    (self.put(PATH, target), self.other_place(at));
                self.plain("path_symlink", &[PATH, length, dir, path, path_length])
            }
            Step::ReadLink(at, room) => {
                let [dir, path, length] = self.place(at);
                let mut outcome =
                    self.number("path_readlink", &[dir, path, length, DATA, u64::from(*room), OUT]);
                outcome.bytes = self.data(outcome.numbers.first().copied().unwrap_or(0));
                outcome
            }
            _ => self.others(step),
        }
    }

    fn others(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Clock(id) => self.plain("clock_time_get", &[u64::from(*id), 0, OUT]),
            Step::Resolution(id) => self.plain("clock_res_get", &[u64::from(*id), OUT]),
            Step::Random(length) => self.plain("random_get", &[DATA, u64::from(*length)]),
            Step::Raise => self.plain("proc_raise", &[2]),
            Step::Yield => self.plain("sched_yield", &[]),
            Step::Arguments => {
                let sizes = self.number("args_sizes_get", &[OUT, OUT + 4]);
                let environment = self.number("environ_sizes_get", &[OUT, OUT + 4]);
                let got = self
                    .plain("args_get", &[DATA, DATA])
                    .errno
                    .zip(self.plain("environ_get", &[DATA, DATA]).errno);
                let numbers =
                    vec![sizes.numbers[0], environment.numbers[0], u64::from(got == Some((0, 0)))];
                Outcome { numbers, ..sizes }
            }
            Step::Wild(which) => {
                let (name, arguments) = WILD_CALLS[*which];
                self.plain(name, arguments)
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn descriptors(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Open { at, follow, how, rights, flags, slot } => {
                // What was open there is closed first.
                let old = std::mem::replace(&mut self.slots[*slot], CLOSED);
                if old != CLOSED {
                    assert_eq!(self.side.call("fd_close", &[u64::from(old)]), Ok(0));
                }
                let [dir, path, length] = self.place(at);
                let [follow, how, flags] = [follow, how, flags].map(|&bits| u64::from(bits));
                let arguments = [dir, follow, path, length, how, *rights, *rights, flags, OUT];
                let outcome = self.plain("path_open", &arguments);
                if outcome.errno == Some(0) {
                    self.slots[*slot] = self.out(0) as u32;
                }
                outcome
            }
            Step::Close(slot) => {
                let fd = std::mem::replace(&mut self.slots[*slot], CLOSED);
                self.plain("fd_close", &[u64::from(fd)])
            }
            Step::Renumber(from, to) => {
                let outcome =
                    self.plain("fd_renumber", &[from, to].map(|&slot| u64::from(self.slots[slot])));
                if outcome.errno == Some(0) && from != to {
                    self.slots[*from] = CLOSED;
                }
                outcome
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn plain(&mut self, name: &str, arguments: &[u64]) -> Outcome {
        Outcome::of(self.side.call(name, arguments))
    }

    /// A call that writes one number, where it succeeds.
    fn number(&mut self, name: &str, arguments: &[u64]) -> Outcome {
        let mut outcome = self.plain(name, arguments);
        if outcome.errno == Some(0) {
            outcome.numbers.push(self.out(0));
        }
        outcome
    }

    /// Moves buffers of `sizes` bytes by the function `name`: all at once, or one by one where the side
    /// looks at the first only.
    fn transfer(&mut self, name: &str, fd: u64, sizes: &[u32], offset: Option<u64>) -> Outcome {
        let mut start = DATA as u32;
        let mut buffers = Vec::new();
        for &size in sizes {
            buffers.push((start, size));
            start += size;
        }
        let at_once = if self.side.is_ours() { buffers.len().max(1) } else { 1 };
        let mut total = 0;
        let mut left = buffers.as_slice();
        loop {
            let (now, later) = left.split_at(left.len().min(at_once));
            let list: Vec<u8> =
                now.iter().flat_map(|&(at, size)| [at, size]).flat_map(u32::to_le_bytes).collect();
            self.side.memory()[BUFFERS as usize..][..list.len()].copy_from_slice(&list);
            let mut arguments = vec![fd, BUFFERS, now.len() as u64];
            arguments.extend(offset.map(|offset| offset + total));
            arguments.push(OUT);
            let outcome = self.number(name, &arguments);
            let moved = outcome.numbers.first().map(|moved| moved & 0xffff_ffff);
            total += moved.unwrap_or(0);
            let wanted: u64 = now.iter().map(|&(_, size)| u64::from(size)).sum();
            if later.is_empty() || moved != Some(wanted) {
                return match outcome.errno {
                    Some(errno) if errno != 0 && total == 0 => outcome,
                    Some(_) => Outcome { errno: Some(0), numbers: vec![total], bytes: Vec::new() },
                    None => outcome,
                };
            }
            left = later;
        }
    }

    fn read(&mut self, fd: u64, sizes: &[u32], offset: Option<u64>) -> Outcome {
        self.side.memory()[DATA as usize..][..DATA_BYTES].fill(0);
        let name = if offset.is_some() { "fd_pread" } else { "fd_read" };
        let mut outcome = self.transfer(name, fd, sizes, offset);
        outcome.bytes = self.data(sizes.iter().map(|&size| u64::from(size)).sum());
        outcome
    }

    fn write(&mut self, fd: u64, sizes: &[u32], offset: Option<u64>, byte: u8) -> Outcome {
        for (index, place) in
            (0_u8..=255).cycle().zip(&mut self.side.memory()[DATA as usize..][..2000])
        {
            *place = byte.wrapping_add(index);
        }
        let name = if offset.is_some() { "fd_pwrite" } else { "fd_write" };
        self.transfer(name, fd, sizes, offset)
    }

    /// Its kind, its flags, and for a file whether it may be read and written.
    fn descriptor(&mut self, fd: u64) -> Outcome {
        let mut outcome = self.plain("fd_fdstat_get", &[fd, OUT]);
        if outcome.errno == Some(0) {
            let (kind, flags) = (self.out(0) & 0xff, self.out(0) >> 16 & 0xffff);
            let rights =
                if kind == 4 { self.out(8) & (crate::step::READ | crate::step::WRITE) } else { 0 };
            outcome.numbers = vec![kind, flags, rights];
        }
        outcome
    }

    /// Kind, size and links, and the time of the last change where no clock was read for it.
    fn status(&mut self, step: &Step) -> Outcome {
        let mut outcome = match step {
            Step::Status(file) => {
                self.plain("fd_filestat_get", &[u64::from(self.slots[*file]), OUT])
            }
            Step::PathStatus(at, follow) => {
                let [dir, path, length] = self.place(at);
                self.plain("path_filestat_get", &[dir, u64::from(*follow), path, length, OUT])
            }
            other => unreachable!("{other:?}"),
        };
        if outcome.errno == Some(0) {
            let kind = self.out(16) & 0xff;
            outcome.numbers.push(kind);
            if kind == 4 || kind == 7 {
                outcome.numbers.extend([self.out(24), self.out(32)]);
            }
        }
        outcome
    }

    /// The times that were set to a given value are seen at once.
    fn set_times(&mut self, step: &Step) -> Outcome {
        let (mut outcome, which, look) = match step {
            Step::SetTimes { file, times: [accessed, modified], which } => {
                let arguments =
                    [u64::from(self.slots[*file]), *accessed, *modified, u64::from(*which)];
                (self.plain("fd_filestat_set_times", &arguments), *which, Step::Status(*file))
            }
            Step::PathSetTimes { at, follow, times: [accessed, modified], which } => {
                let [dir, path, length] = self.place(at);
                let arguments = [
                    dir,
                    u64::from(*follow),
                    path,
                    length,
                    *accessed,
                    *modified,
                    u64::from(*which),
                ];
                let look = Step::PathStatus(at.clone(), *follow);
                (self.plain("path_filestat_set_times", &arguments), *which, look)
            }
            other => unreachable!("{other:?}"),
        };
        if outcome.errno == Some(0) {
            self.status(&look);
            outcome.numbers = vec![
                if which & 1 != 0 { self.out(40) } else { 0 },
                if which & 4 != 0 { self.out(48) } else { 0 },
            ];
        }
        outcome
    }

    /// The names, in order, each with its kind; and so again from the start.
    fn list(&mut self, fd: u64, room: u32, rewind: bool) -> Outcome {
        let mut names = Vec::new();
        for _ in 0..=u32::from(rewind) {
            let mut cookie = 0;
            loop {
                self.side.memory()[OUT as usize..][..8].fill(0);
                let outcome = self.plain("fd_readdir", &[fd, DATA, u64::from(room), cookie, OUT]);
                if outcome.errno != Some(0) {
                    return outcome;
                }
                let used = self.out(0) & 0xffff_ffff;
                cookie = entries(&self.data(used), &mut names).unwrap_or(cookie);
                if used < u64::from(room) {
                    break;
                }
            }
        }
        names.sort();
        Outcome { errno: Some(0), numbers: vec![names.len() as u64], bytes: names.concat() }
    }

    /// The first event: whose it is, its error, its kind.
    fn poll(&mut self, kind: u32, fd: u64) -> Outcome {
        let mut subscription = [0; 48];
        subscription[..8].copy_from_slice(&0x1234_5678_9abc_u64.to_le_bytes());
        subscription[8] = kind as u8;
        let id = if kind == 0 { fd % 2 } else { fd };
        subscription[16..20].copy_from_slice(&(id as u32).to_le_bytes());
        subscription[24..32].copy_from_slice(&50_000_u64.to_le_bytes());
        self.side.memory()[BUFFERS as usize..][..48].copy_from_slice(&subscription);
        self.side.memory()[DATA as usize..][..32].fill(0);
        let mut outcome = self.number("poll_oneoff", &[BUFFERS, DATA, 1, OUT]);
        if outcome.errno == Some(0) {
            outcome.bytes = self.data(11);
        }
        outcome
    }

    fn at(&mut self, name: &str, at: &At) -> Outcome {
        let arguments = self.place(at);
        self.plain(name, &arguments)
    }

    fn place(&mut self, At(dir, path): &At) -> [u64; 3] {
        [u64::from(self.slots[*dir]), PATH, self.put(PATH, path)]
    }

    fn other_place(&mut self, At(dir, path): &At) -> [u64; 3] {
        [u64::from(self.slots[*dir]), OTHER_PATH, self.put(OTHER_PATH, path)]
    }

    fn put(&mut self, at: u64, path: &Path) -> u64 {
        self.side.memory()[at as usize..][..path.0.len()].copy_from_slice(&path.0);
        path.0.len() as u64
    }

    /// The number so far into what a call wrote.
    fn out(&mut self, at: u64) -> u64 {
        let bytes = &self.side.memory()[(OUT + at) as usize..][..8];
        u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
    }

    fn data(&mut self, length: u64) -> Vec<u8> {
        self.side.memory()[DATA as usize..][..length as usize].to_vec()
    }
}

/// Adds the whole entries in `bytes` to `names`, each with its kind; the cookie after the last one.
fn entries(mut bytes: &[u8], names: &mut Vec<Vec<u8>>) -> Option<u64> {
    let mut next = None;
    while let Some((head, rest)) = bytes.split_at_checked(24) {
        let length = u32::from_le_bytes(head[16..20].try_into().expect("four bytes")) as usize;
        let Some((name, rest)) = rest.split_at_checked(length) else { break };
        names.push([name, &[b' ', head[20] + b'0', b'\n']].concat());
        next = Some(u64::from_le_bytes(head[..8].try_into().expect("eight bytes")));
        bytes = rest;
    }
    next
}
