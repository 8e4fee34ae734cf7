//! How blobs in files are named, and how keys refer to them.

use belljar_core::id::TaskId;
use belljar_core::task::{Attempt, TaskAttempt};

use crate::keys::Keys;

/// What stands in front of a reference. A blob is longer than any reference, so that they cannot be confused.
const REFERENCE: &str = "file:";
/// The most bytes that a reference has.
pub(crate) const REFERENCE_BYTES: u64 = 256;

/// What a blob is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum BlobName {
    /// The arguments of a task.
    Args(TaskId),
    /// The result of an attempt.
    Result(TaskAttempt),
    /// A file that an attempt left.
    Left(TaskAttempt, usize),
}

impl BlobName {
    /// The key that refers to it first.
    pub(crate) fn key(self, keys: &Keys) -> String {
        match self {
            Self::Args(id) => keys.args_blob(id),
            Self::Result(task) => keys.unpublished_blob(task),
            Self::Left(task, index) => keys.file(task, index),
        }
    }

    /// The key that may refer to it later.
    pub(crate) fn later_key(self, keys: &Keys) -> Option<String> {
        match self {
            Self::Result(task) => Some(keys.result_blob(task.task_id)),
            Self::Args(_) | Self::Left(..) => None,
        }
    }

    /// Whether it is the arguments of a task.
    pub(crate) const fn is_args(self) -> bool {
        matches!(self, Self::Args(_))
    }

    pub(crate) const fn task_id(self) -> TaskId {
        match self {
            Self::Args(id) => id,
            Self::Result(task) | Self::Left(task, _) => task.task_id,
        }
    }

    /// The name of its file.
    pub(crate) fn file(self) -> String {
        match self {
            Self::Args(id) => format!("args-{id}"),
            Self::Result(task) => format!("result-{}-{}", task.attempt, task.task_id),
            Self::Left(task, index) => format!("left-{}-{index}-{}", task.attempt, task.task_id),
        }
    }

    /// What a file is of; `None` for one that is no blob.
    pub(crate) fn of_file(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once('-')?;
        let attempt = |attempt: &str, id: &str| {
            Some(TaskAttempt { task_id: id.parse().ok()?, attempt: Attempt(attempt.parse().ok()?) })
        };
        match kind {
            "args" => Some(Self::Args(rest.parse().ok()?)),
            "result" => {
                let (number, id) = rest.split_once('-')?;
                attempt(number, id).map(Self::Result)
            }
            "left" => {
                let (number, rest) = rest.split_once('-')?;
                let (index, id) = rest.split_once('-')?;
                Some(Self::Left(attempt(number, id)?, index.parse().ok()?))
            }
            _ => None,
        }
    }

    /// What a key holds in place of so many bytes.
    pub(crate) fn reference(self, bytes: usize) -> String {
        format!("{REFERENCE}{} {bytes}", self.file())
    }
}

/// What a key holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) name: BlobName,
    pub(crate) bytes: u64,
}

impl Reference {
    /// The reference in the value of a key, if it is one.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        if value.len() as u64 >= REFERENCE_BYTES {
            return None;
        }
        let (name, bytes) =
            std::str::from_utf8(value).ok()?.strip_prefix(REFERENCE)?.split_once(' ')?;
        Some(Self { name: BlobName::of_file(name)?, bytes: bytes.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let task = TaskAttempt { task_id: TaskId::random(), attempt: Attempt(7) };
        for name in [BlobName::Args(task.task_id), BlobName::Result(task), BlobName::Left(task, 12)]
        {
            assert_eq!(BlobName::of_file(&name.file()), Some(name));
            let reference = name.reference(usize::MAX);
            assert!((reference.len() as u64) < REFERENCE_BYTES, "{reference}");
            let read = Reference::read(reference.as_bytes()).expect("a reference");
            assert_eq!(read, Reference { name, bytes: usize::MAX as u64 });
        }
        for other in ["", "lock", "tmp-x", "args-x", "result-1", "left-1-x", "args-"] {
            assert_eq!(BlobName::of_file(other), None, "{other}");
        }
        assert_eq!(Reference::read(&[b'x'; 70_000]), None);
    }
}
