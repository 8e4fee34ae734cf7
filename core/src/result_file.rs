//! Where the results of attempts are that are too long for memory: in the directory of blobs, which a worker shares with
//! the process that publishes them. Nobody tells the other where: it follows from the attempt.

use std::path::PathBuf;

use crate::task::TaskAttempt;

/// The file that says whose a directory of blobs is.
pub const OWNER: &str = "owner";

/// Directories below the one of all blobs: a file is in the one that the last byte of its id says.
pub const SHARDS: usize = 16;

/// The directory of files whose id ends so: ids are random.
#[must_use]
pub fn shard(last_byte: u8) -> String {
    format!("{:x}", usize::from(last_byte) % SHARDS)
}

/// The name of the file with the result of an attempt.
#[must_use]
pub fn name(task: TaskAttempt) -> String {
    format!("result-{}-{}", task.attempt, task.task_id)
}

/// Where it is below the directory of blobs.
#[must_use]
pub fn path(task: TaskAttempt) -> PathBuf {
    let [.., last] = *task.task_id.as_bytes();
    PathBuf::from(shard(last)).join(name(task))
}
