//! What may differ between the two, and why. `docs/reference/sandbox.md` has the same rows.

use crate::perform::Outcome;
use crate::step::{At, FREE, Step};

/// What is open in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Closed,
    /// A standard stream.
    Stream,
    /// A directory.
    Directory,
    /// A regular file.
    File,
}

/// A step that was answered in two ways.
pub struct Case<'a> {
    /// The step.
    pub step: &'a Step,
    /// What is open in a slot.
    pub kind: &'a dyn Fn(usize) -> Kind,
    /// What the sandbox answered.
    pub ours: &'a Outcome,
    /// What `wasmtime-wasi` answered.
    pub theirs: &'a Outcome,
}

/// An intended difference.
pub struct Difference {
    /// What differs, as the table in the reference says it.
    pub what: &'static str,
    /// Whether it is this.
    pub is: fn(&Case<'_>) -> bool,
}

const ACCES: u16 = 2;
const BADF: u16 = 8;
const FAULT: u16 = 21;
const INVAL: u16 = 28;
const ISDIR: u16 = 31;
const NOTDIR: u16 = 54;
const NOTEMPTY: u16 = 55;
const PERM: u16 = 63;

impl Case<'_> {
    fn errnos(&self, ours: u16, theirs: u16) -> bool {
        (self.ours.errno, self.theirs.errno) == (Some(ours), Some(theirs))
    }

    /// The slots of the directories that the paths of the step are below.
    fn below(&self) -> Vec<usize> {
        match self.step {
            Step::Open { at, .. }
            | Step::PathStatus(at, _)
            | Step::PathSetTimes { at, .. }
            | Step::MakeDir(at)
            | Step::RemoveDir(at)
            | Step::Unlink(at)
            | Step::Symlink(_, at)
            | Step::ReadLink(at, _) => vec![at.0],
            Step::Rename(from, to) | Step::Link(from, to) => vec![from.0, to.0],
            Step::List { dir, .. } | Step::Peek { dir, .. } => vec![*dir],
            _ => Vec::new(),
        }
    }

    /// Whether the step synchronises what is of `kind`.
    fn synchronises(&self, kind: Kind) -> bool {
        match self.step {
            Step::Sync(file) | Step::SyncData(file) => (self.kind)(*file) == kind,
            _ => false,
        }
    }
}

/// All of them.
pub const ALL: &[Difference] = &[
    Difference {
        what: "what is not granted, and changing what is read-only",
        is: |case| case.errnos(ACCES, PERM),
    },
    Difference {
        what: "`..` out of an open directory, inside the scratch directory",
        is: |case| {
            let opened = |slot: &usize| *slot >= FREE && (case.kind)(*slot) == Kind::Directory;
            case.theirs.errno == Some(PERM) && case.below().iter().any(opened)
        },
    },
    Difference {
        what: "a pointer out of the memory",
        is: |case| {
            let error = matches!(case.ours.errno, Some(FAULT | BADF));
            // Not open is the number there that is open here again, where it is that of standard input, once closed.
            let theirs = matches!(case.theirs.errno, None | Some(BADF));
            matches!(case.step, Step::Wild(_)) && error && theirs
        },
    },
    Difference {
        what: "a flag or a number that means nothing",
        is: |case| case.ours.errno == Some(INVAL) && case.theirs.errno.is_none(),
    },
    Difference {
        what: "a path below what is no directory, and its listing",
        is: |case| {
            let odd = |slot: &usize| !matches!((case.kind)(*slot), Kind::Closed | Kind::Directory);
            case.errnos(NOTDIR, BADF) && case.below().iter().any(odd)
        },
    },
    Difference {
        what: "reading a directory",
        is: |case| matches!(case.step, Step::Read { .. }) && case.errnos(ISDIR, BADF),
    },
    Difference {
        what: "synchronising a directory",
        is: |case| case.synchronises(Kind::Directory) && case.errnos(0, BADF),
    },
    Difference {
        what: "synchronising a standard stream",
        is: |case| case.synchronises(Kind::Stream) && case.errnos(INVAL, BADF),
    },
    Difference {
        what: "what kind of file a standard stream is",
        is: |case| match case.step {
            Step::Descriptor(file) | Step::Status(file) => {
                (case.kind)(*file) == Kind::Stream && case.errnos(0, 0)
            }
            _ => false,
        },
    },
    Difference {
        what: "the clocks of processor time",
        is: |case| {
            matches!(case.step, Step::Clock(2 | 3) | Step::Resolution(2 | 3))
                && case.errnos(0, BADF)
        },
    },
    Difference {
        what: "waiting for what is not open, or not in that direction",
        is: |case| matches!(case.step, Step::Poll(1 | 2, _)) && case.ours.errno == Some(0),
    },
    Difference {
        what: "the status of what a slash or a dot follows, links not followed",
        is: |case| match case.step {
            Step::PathStatus(At(_, path), 0) => {
                let odd = path.0.ends_with(b"/") || path.0.ends_with(b"/.");
                odd && case.theirs.errno == Some(0)
            }
            _ => false,
        },
    },
    Difference {
        what: "setting no times",
        is: |case| match case.step {
            Step::PathSetTimes { which: 0, .. } => case.ours.errno == Some(0),
            _ => false,
        },
    },
    Difference {
        what: "removing a directory as `..`",
        is: |case| match case.step {
            Step::RemoveDir(At(_, path)) => {
                let bare = String::from_utf8_lossy(&path.0);
                bare.trim_end_matches('/').ends_with("..") && case.errnos(NOTEMPTY, INVAL)
            }
            _ => false,
        },
    },
    Difference {
        what: "the times of an open directory",
        is: |case| match case.step {
            Step::SetTimes { file, .. } => {
                (case.kind)(*file) == Kind::Directory && case.errnos(0, BADF)
            }
            _ => false,
        },
    },
    Difference {
        what: "where an absolute link points to",
        is: |case| matches!(case.step, Step::ReadLink(..)) && case.errnos(0, PERM),
    },
];
