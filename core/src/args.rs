//! Arguments of which parts are kept elsewhere: values that were uploaded, and results of other tasks.
//!
//! In the store stands a list of pieces in place of the arguments, which never begins as a pickle or an envelope does. Put
//! together they are the arguments.

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{BlobId, TaskId};

/// A value that arguments refer to, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueRef {
    /// One that was uploaded.
    Upload(BlobId),
    /// What a task returned.
    Result(TaskId),
}

impl fmt::Display for ValueRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upload(id) => write!(f, "blob:{id}"),
            Self::Result(id) => write!(f, "task:{id}"),
        }
    }
}

/// What the list begins with.
const MAGIC: &[u8] = b"\0parts\0";

/// A piece of arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArgsPiece {
    /// It stands here.
    Here(Bytes),
    /// So many bytes that the task holds under this number.
    Held(u32, u64),
    /// So many bytes in this file below the directory of blobs. Only on the way from the store to a slot that shares it.
    File(PathBuf, u64),
}

impl ArgsPiece {
    /// Its length.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::Held(_, bytes) | Self::File(_, bytes) => *bytes,
        }
    }
}

/// What stands in the store in place of arguments that consist of `pieces`.
#[must_use]
pub fn list(pieces: &[ArgsPiece]) -> Bytes {
    let mut list = MAGIC.to_vec();
    #[expect(clippy::expect_used, reason = "our own types into memory")]
    rmp_serde::encode::write(&mut list, pieces).expect("pieces are serializable");
    list.into()
}

/// Whether `args` is a list of pieces.
#[must_use]
pub fn is_list(args: &[u8]) -> bool {
    args.starts_with(MAGIC)
}

/// The pieces of a list.
///
/// # Errors
/// It begins as a list and is none.
pub fn pieces(args: &[u8]) -> Result<Vec<ArgsPiece>, rmp_serde::decode::Error> {
    rmp_serde::from_slice(args.strip_prefix(MAGIC).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back() {
        let all = [ArgsPiece::Here(Bytes::from_static(b"\x80\x04")), ArgsPiece::Held(3, 1 << 40)];
        let list = list(&all);
        assert!(is_list(&list) && !is_list(b"\x80\x04N.") && !is_list(b""));
        assert_eq!(pieces(&list).expect("whole"), all);
        assert!(pieces(&list[..list.len() - 1]).is_err());
        assert_eq!(all.iter().map(ArgsPiece::bytes).sum::<u64>(), 2 + (1 << 40));
    }
}
