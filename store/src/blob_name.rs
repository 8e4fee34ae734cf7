//! How blobs in files or in a bucket are named, and how keys refer to them.

use belljar_core::id::{BlobId, TaskId};
use belljar_core::outcome::{CallVerdict, Report};
use belljar_core::result_file;
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
    /// An uploaded value.
    Upload(BlobId),
    /// A value that a task refers to, kept for it whatever becomes of the value itself.
    Held(TaskId, u32),
    /// What has come of a value in pieces, from there on. Only in a bucket.
    Piece(BlobId, u64),
}

impl BlobName {
    /// The key that refers to it first.
    pub(crate) fn key(self, keys: &Keys) -> String {
        match self {
            Self::Args(id) => keys.args_blob(id),
            Self::Result(task) => keys.unpublished_blob(task),
            Self::Left(task, index) => keys.file(task, index),
            Self::Upload(id) => keys.upload(id),
            // Needed as long as the task has not ended.
            Self::Held(id, _) => keys.task(id),
            Self::Piece(id, _) => keys.pieces(id),
        }
    }

    /// The key that may refer to it later.
    pub(crate) fn later_key(self, keys: &Keys) -> Option<String> {
        match self {
            Self::Result(task) => Some(keys.result_blob(task.task_id)),
            Self::Args(_) | Self::Left(..) | Self::Upload(_) => None,
            Self::Held(..) | Self::Piece(..) => None,
        }
    }

    /// Whether it is the arguments of a task.
    pub(crate) const fn is_args(self) -> bool {
        matches!(self, Self::Args(_))
    }

    /// The last byte of the id in it: ids are random.
    pub(crate) const fn last_byte(self) -> u8 {
        let [.., last] = match &self {
            Self::Args(id) | Self::Held(id, _) => id.as_bytes(),
            Self::Result(task) | Self::Left(task, _) => task.task_id.as_bytes(),
            Self::Upload(id) | Self::Piece(id, _) => id.as_bytes(),
        };
        *last
    }

    /// The name of its file.
    pub(crate) fn file(self) -> String {
        match self {
            Self::Args(id) => format!("args-{id}"),
            Self::Result(task) => result_file::name(task),
            Self::Left(task, index) => format!("left-{}-{index}-{}", task.attempt, task.task_id),
            Self::Upload(id) => format!("upload-{id}"),
            Self::Held(id, index) => format!("held-{index}-{id}"),
            Self::Piece(id, offset) => format!("piece-{offset}-{id}"),
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
            "upload" => Some(Self::Upload(rest.parse().ok()?)),
            "held" => {
                let (index, id) = rest.split_once('-')?;
                Some(Self::Held(id.parse().ok()?, index.parse().ok()?))
            }
            "piece" => {
                let (offset, id) = rest.split_once('-')?;
                Some(Self::Piece(id.parse().ok()?, offset.parse().ok()?))
            }
            _ => None,
        }
    }
}

/// What a key holds in place of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Reference {
    pub(crate) name: BlobName,
    /// Tells what was written under the same name apart, in a bucket: nobody comes to rely on what was there before. 0 in a
    /// directory, which has a lock for that.
    pub(crate) copy: u64,
    pub(crate) bytes: u64,
}

impl Reference {
    /// One in a directory.
    pub(crate) const fn new(name: BlobName, bytes: u64) -> Self {
        Self { name, copy: 0, bytes }
    }

    /// What a key holds.
    pub(crate) fn text(self) -> String {
        format!("{REFERENCE}{} {}", self.object(), self.bytes)
    }

    /// The name of the file, with the copy.
    pub(crate) fn object(self) -> String {
        let Self { name, copy, .. } = self;
        if copy == 0 { name.file() } else { format!("{}.{copy:x}", name.file()) }
    }

    /// The same of a file that has so many bytes; `None` for one that is no blob.
    pub(crate) fn of_object(object: &str, bytes: u64) -> Option<Self> {
        let (name, copy) = match object.split_once('.') {
            Some((name, copy)) => (name, u64::from_str_radix(copy, 16).ok()?),
            None => (object, 0),
        };
        Some(Self { name: BlobName::of_file(name)?, copy, bytes })
    }

    /// The file with the result of an attempt, where its worker has put it into one.
    pub(crate) const fn of_result(report: &Report) -> Option<Self> {
        match report.outcome.verdict {
            CallVerdict::CompletedInFile(bytes) => {
                Some(Self::new(BlobName::Result(report.task), bytes))
            }
            _ => None,
        }
    }

    /// The reference in the value of a key, if it is one.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        if value.len() as u64 >= REFERENCE_BYTES {
            return None;
        }
        let mut words = std::str::from_utf8(value).ok()?.strip_prefix(REFERENCE)?.split(' ');
        let (object, bytes) = (words.next()?, words.next()?);
        Self::of_object(object, bytes.parse().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let task = TaskAttempt { task_id: TaskId::random(), attempt: Attempt(7) };
        let id = task.task_id;
        let [args, result] = [BlobName::Args(id), BlobName::Result(task)];
        assert!(result_file::path(task).ends_with(result.file()));
        let upload = BlobName::Upload(BlobId::random());
        let piece = BlobName::Piece(BlobId::random(), u64::MAX);
        for name in [args, result, BlobName::Left(task, 12), upload, BlobName::Held(id, 7), piece] {
            assert_eq!(BlobName::of_file(&name.file()), Some(name));
            for copy in [0, u64::MAX] {
                let reference = Reference { name, copy, bytes: u64::MAX };
                let text = reference.text();
                assert!((text.len() as u64) < REFERENCE_BYTES, "{text}");
                assert_eq!(Reference::read(text.as_bytes()), Some(reference));
            }
        }
        for other in
            ["", "lock", "tmp-x", "args-x", "result-1", "left-1-x", "args-", "held-x", "part-x"]
        {
            assert_eq!(BlobName::of_file(other), None, "{other}");
        }
        assert_eq!(Reference::read(&[b'x'; 70_000]), None);
    }
}
