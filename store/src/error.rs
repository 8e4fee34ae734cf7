//! What can go wrong between belljar and Redis.

use std::path::PathBuf;

use belljar_core::args::ValueRef;
use belljar_core::id::TaskId;
use redis::RedisError;

use crate::usage::OverQuota;

/// Why Redis refuses writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteRefusal {
    /// It holds as much as `maxmemory` allows.
    Memory,
    /// It could not write to its disk.
    Disk,
    /// Fewer replicas are connected than `min-replicas-to-write` asks for.
    Replicas,
    /// It is a replica.
    ReadOnly,
}

impl WriteRefusal {
    /// The reason in an error of Redis.
    pub(crate) fn of(error: &RedisError) -> Self {
        match error.code() {
            Some("OOM") => Self::Memory,
            Some("MISCONF" | "NOSPACE") => Self::Disk,
            Some("NOREPLICAS") => Self::Replicas,
            _ => Self::ReadOnly,
        }
    }
}

impl std::fmt::Display for WriteRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory => "it is out of memory",
            Self::Disk => "it cannot write to its disk, which may be full",
            Self::Replicas => "fewer replicas than `min-replicas-to-write` are connected",
            Self::ReadOnly => "it is a read-only replica",
        })
    }
}

/// Why an operation failed. Nothing is half done: each operation is one script, and a large batch is accepted by one.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis cannot be reached, is loading, or did not answer in time. Try again.
    #[error("the store is unreachable")]
    Unreachable(#[source] redis::RedisError),
    /// Redis did not answer a change in time. It is not known whether the change was made.
    #[error("the store does not answer")]
    Unanswered(#[source] redis::RedisError),
    /// The change was made, but fewer replicas than asked for have confirmed it in time: a failover may undo it.
    #[error("the change was made, but {confirmed} of {wanted} replicas have confirmed it")]
    Unconfirmed {
        /// How many have.
        confirmed: u64,
        /// How many must.
        wanted: u64,
    },
    /// Redis refuses writes.
    #[error("the store refuses writes: {0}")]
    RefusesWrites(WriteRefusal, #[source] redis::RedisError),
    /// The queue has as many tasks as the deployment allows.
    #[error("the queue is full: {queued} tasks are waiting and {limit} are allowed")]
    QueueFull {
        /// How many are waiting.
        queued: u64,
        /// How many may.
        limit: u64,
    },
    /// Calls would go on with a session that is not there, or not any more.
    #[error("there is no such session")]
    UnknownSession,
    /// As many calls wait in a session as may.
    #[error("{waiting} calls wait in the session already, as many as may")]
    SessionFull {
        /// How many.
        waiting: u64,
    },
    /// Functions ask for as many different sets of labels as may be.
    #[error("functions ask for {limit} different sets of labels already, as many as are allowed")]
    TooManyLabels {
        /// How many that is.
        limit: u64,
    },
    /// The tenant would use more than it may.
    #[error("a quota is used up: {0:?}")]
    OverQuota(OverQuota),
    /// The key was used before with another body.
    #[error("the idempotency key `{key}` was used with another body, for task {task_id}")]
    IdempotencyConflict {
        /// The client's key.
        key: String,
        /// The task accepted under it.
        task_id: TaskId,
    },
    /// A large value cannot be written to its file, or the files cannot be looked through: the disk is full, or away.
    #[error("a large value cannot be written to its file")]
    UnwrittenBlob(#[source] std::io::Error),
    /// The bucket for large values does not answer, or refuses.
    #[error("the bucket `{bucket}` for large values does not answer or refuses: {source}")]
    BucketAway {
        /// Its URL.
        bucket: String,
        /// Why.
        source: std::io::Error,
    },
    /// The bucket for large values cannot be used.
    #[error(
        "the bucket `{bucket}` for large values cannot be used: {source}\nhint: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY say how it is reached"
    )]
    Bucket {
        /// Its URL.
        bucket: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is no directory or bucket for large values.
    #[error("there is no directory or bucket for large values")]
    NoBlobDirectory,
    /// A task would refer to a value that is not there, or not any more.
    #[error("there is no value `{0}`")]
    UnknownValue(ValueRef),
    /// The arguments of a task are more than goes to a worker.
    #[error(
        "the arguments have {bytes} bytes with the values that they refer to, and a worker gets {limit} at most in a message: one that shares the directory for large values gets more"
    )]
    ArgsTooLarge {
        /// How many they have.
        bytes: u64,
        /// How many they may.
        limit: u64,
    },
    /// What a session has and the arguments of its next call are more than goes to a worker.
    #[error(
        "what the session has and the arguments come to {bytes} bytes, and a call gets {limit} at most: send less, or delete what the session no longer needs"
    )]
    SessionTooLarge {
        /// How many they have.
        bytes: u64,
        /// How many they may.
        limit: u64,
    },
    /// The directory for large values cannot be made.
    #[error("the directory `{}` for large values cannot be made", directory.display())]
    BlobDirectory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The directory or bucket for large values has those of another deployment.
    #[error(
        "`{place}` has the large values of another deployment than the one in Redis at `{url}` with the prefix `{prefix}`\nhint: \
         name a place of its own by --blobs; or if that deployment is gone, remove what is there"
    )]
    BlobsOfAnother {
        /// The directory or bucket.
        place: String,
        /// The server of this deployment.
        url: String,
        /// The prefix of its keys.
        prefix: String,
    },
    /// A file of certificates cannot be read.
    #[error("`{}` cannot be read", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Certificates that mean nothing together.
    #[error("the certificates for Redis at `{url}` cannot be used")]
    Certificates {
        /// The server.
        url: String,
        /// Why.
        source: RedisError,
    },
    /// Certificates for a connection without TLS.
    #[error(
        "there are certificates for Redis at `{url}`, which is reached without TLS\nhint: rediss:// asks for TLS"
    )]
    TlsUnused {
        /// The server.
        url: String,
    },
    /// What is there was written by a belljar with another layout.
    #[error(
        "Redis at `{url}` has the tasks of another belljar under the prefix `{prefix}`: in format {found}, where this one has \
         format {}\nhint: let the belljar that wrote them finish them and start this one with an empty Redis, or with \
         another --redis-prefix",
        crate::layout::FORMAT
    )]
    Format {
        /// The server.
        url: String,
        /// The prefix of the deployment's keys.
        prefix: String,
        /// The format that is there.
        found: String,
    },
    /// The URL is not one of Redis.
    #[error(
        "`{url}` is no Redis URL: expected redis://HOST:PORT/DB, rediss://HOST:PORT/DB, redis+unix:///PATH or \
         redis+sentinel://HOST:PORT,HOST:PORT/NAME/DB"
    )]
    Url {
        /// The URL.
        url: String,
    },
    /// The server does not let this process in, or does not answer at the start.
    #[error("Redis at `{url}` {why}")]
    Connect {
        /// The server.
        url: String,
        /// What it does.
        why: &'static str,
        /// Its answer.
        #[source]
        source: redis::RedisError,
    },
    /// The server's configuration would lose accepted tasks.
    #[error("Redis at `{url}` cannot be used: {why}")]
    Unsuitable {
        /// The server.
        url: String,
        /// What is wrong with it, and the way out.
        why: String,
    },
    /// The prefix has characters that keys may not have.
    #[error("`{0}` cannot be the prefix of keys: use letters, digits, `-`, `_`, `.` and `:`")]
    InvalidPrefix(String),
    /// The server was reached and refused a command, or a record makes no sense.
    #[error("the store answered unexpectedly to {what}")]
    Unexpected {
        /// What was asked.
        what: &'static str,
        /// The server's answer.
        #[source]
        source: redis::RedisError,
    },
    /// A record cannot be read: another version wrote it, or it was changed by hand.
    #[error("the record of {what} cannot be read: {why}")]
    Corrupt {
        /// Which record.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl StoreError {
    /// The state of the store as a stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) | Self::Unanswered(_) | Self::Connect { .. } => {
                "store_unreachable"
            }
            Self::RefusesWrites(WriteRefusal::Memory, _) => "store_memory_full",
            Self::RefusesWrites(WriteRefusal::Disk, _) | Self::UnwrittenBlob(_) => {
                "store_disk_full"
            }
            Self::RefusesWrites(..) => "store_read_only",
            Self::BucketAway { .. } => "bucket_unreachable",
            _ => "store_unexpected",
        }
    }
}
