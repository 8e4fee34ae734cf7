//! The names of all keys and channels, for Rust and for the scripts. One table for both.
//!
//! A key is `{PREFIX}:NAME`, a channel `{PREFIX}:DATABASE:NAME`: channels belong to the whole server, and
//! two databases of it must not get each other's messages. The braces are a hash tag, so that all keys stay
//! together wherever keys are distributed by their names.

use belljar_core::id::{BlobId, DispatcherId, FunctionId, SessionId, TaskId};
use belljar_core::task::{CodeHash, TaskAttempt};

use crate::error::StoreError;

/// The keys of one deployment.
#[derive(Debug)]
pub(crate) struct Keys {
    /// `{PREFIX}:`.
    keys: String,
    /// `{PREFIX}:DATABASE:`.
    channels: String,
}

macro_rules! names {
    ($table:ident: $($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = $text;)*
        const $table: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}

names! { KEYS:
    /// + task id: its record.
    TASK = "task:";
    /// + task id: pickled arguments that are a blob.
    ARGS_BLOB = "args:";
    /// + task id: a result that is a blob; + `:` and an attempt: not published.
    RESULT_BLOB = "result:";
    /// + task id, `:`, an attempt, `:` and a number: a file that it left.
    FILE = "file:";
    /// + blob id: an uploaded value, as `upload.rs` writes it.
    UPLOAD = "upload:";
    /// + blob id: how many bytes are counted for one that is being uploaded in pieces, and until when.
    UPLOADING = "uploading:";
    /// + blob id: hash, offset -> the object that has what has come of an upload in pieces from there on, and its length.
    PIECES = "pieces:";
    /// + the name of an object in the bucket: set of the tasks that refer to it.
    HOLDERS = "holders:";
    /// + session id: hash, see `session_calls.lua`.
    SESSION = "session:";
    /// + session id: list of the tasks that wait behind its active one.
    SESSION_TASKS = "session_tasks:";
    /// + session id: what its last call has left; + task id, `:` and an attempt: the same, not taken over.
    SESSION_STATE = "session_state:";
    /// + tenant ('' for the default one): sorted set of its sessions by when they expire, in ms.
    SESSIONS = "sessions:";
    /// + tenant: the same by when they were made, in us.
    SESSIONS_MADE = "sessions_made:";
    /// Hash of what tasks have beside their records until they end: task id -> attempt state; task id and `ARGS_MARK` ->
    /// pickled arguments.
    UNFINISHED = "unfinished";
    /// + queue (a class, and `@<tenant>` unless it is the default one): sorted set of task ids by priority, then
    /// sequence.
    QUEUE = "queue:";
    /// + class: sorted set of the queues with tasks in them, the one that goes next in front; see `turns.lua`.
    TURNS = "turns:";
    /// Hash: queue -> how many of its tasks run, and marks of tenants that may run only so many; see `turns.lua`.
    RUNNING = "running";
    /// Hash: tenant ('' for the default one) -> its weight, and `/` and how many of its tasks may run where that is bound; where
    /// it is or was another than 1.
    WEIGHTS = "weights";
    /// Hash: class -> the virtual time of its turns.
    VIRTUAL_TIMES = "virtual_times";
    /// Hash: class -> the number of its last turn among those in which classes competed; '' -> that of the last of all.
    LAST_TURNS = "last_turns";
    /// Sorted set of task ids by due time in ms.
    DELAYED = "delayed";
    /// Set of the classes that have a queue.
    CLASSES = "classes";
    /// Hash: dispatcher -> the tasks it waits for, `<count>[!] <class>... ;`...
    DEMAND = "demand";
    /// Hash of the conservation counters, the sequence, and how many tasks each tenant submitted.
    COUNTS = "counts";
    /// + task id: how far it has come; see `live.rs`.
    PROGRESS = "progress:";
    /// List of the newest accepted task ids.
    RECENT = "recent";
    /// + tenant: the same, for tenants other than the default one.
    RECENT_OF = "recent:";
    /// + idempotency key, after the tenant other than the default one: task id and hash of the body.
    IDEMPOTENCY = "idempotency:";
    /// Sorted set of dispatchers by their last heartbeat in ms.
    DISPATCHERS = "dispatchers";
    /// Hash: dispatcher -> since when its heartbeats have no gap, in ms.
    ALIVE_SINCE = "alive_since";
    /// Hash: dispatcher -> its classes and workers.
    CAPABILITIES = "capabilities";
    /// + dispatcher: set of the task ids leased to it.
    LEASES = "leases:";
    /// + function id: its record.
    FUNCTION = "function:";
    /// Sorted set of function ids by time of registration.
    FUNCTIONS = "functions";
    /// + tenant: the same, for tenants other than the default one.
    FUNCTIONS_OF = "functions:";
    /// Sorted set of function ids by when they expire, in ms, for those that do.
    FUNCTION_EXPIRY = "function_expiry";
    /// + hash: the code of functions.
    CODE = "code:";
    /// Hash: hash of code -> how many functions have it.
    CODE_USES = "code_uses";
    /// + a name, `:` and a number: a part of a large batch, as `submit.lua` takes it.
    STAGED = "staged:";
    /// Hash: the first task of a batch that was accepted and is not unpacked -> name and next part of its parts, their number,
    /// and when it was last touched in ms.
    BATCHES = "batches";
    /// + tenant ('' for the default one): what it uses, see `usage.lua`.
    USAGE = "used:";
    /// + tenant: hash: time in ms -> bytes of the tenant that expire then.
    EXPIRING = "ends:";
    /// Hash: hash of an API key -> its record.
    API_KEYS = "api_keys";
    /// Stream of the lines of the audit log, each the field `line` of an entry.
    AUDIT_LOG = "audit_log";
    /// Set of the labels that functions ask for, each as one text.
    LABEL_SETS = "label_sets";
    /// A name that no other deployment has.
    DEPLOYMENT = "deployment";
    /// The number of the layout of all this; see `layout.rs`.
    FORMAT = "format";
}

names! { CHANNELS:
    /// The ends of tasks.
    TOPIC_ENDED = "ended";
    /// Tasks that changed their status and have not ended.
    TOPIC_STATUS = "status";
    /// There is work.
    TOPIC_WORK = "work";
    /// A function was deleted.
    TOPIC_UNREGISTERED = "unregistered";
    /// A running task was cancelled.
    TOPIC_CANCEL = "cancel";
    /// A task is watched: `+` where what it has written so far is wanted too, else `-`; and its id.
    TOPIC_WATCH = "watch";
    /// A worker is to be taken out of service: its id.
    TOPIC_DRAIN = "drain";
    /// What running tasks show of themselves.
    TOPIC_LIVE = "live";
    /// To replicas only: see `confirm.rs`.
    TOPIC_CONFIRM = "confirm";
    /// + dispatcher: tasks delivered to it.
    TOPIC_DELIVERED = "delivered:";
}

impl Keys {
    /// The keys under `prefix` in the numbered database.
    ///
    /// # Errors
    /// The prefix is empty or has other characters than letters, digits, `-`, `_`, `.` and `:`.
    pub(crate) fn new(prefix: &str, database: i64) -> Result<Self, StoreError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if prefix.is_empty() || !prefix.chars().all(fits) {
            return Err(StoreError::InvalidPrefix(prefix.to_owned()));
        }
        let keys = format!("{{{prefix}}}:");
        Ok(Self { channels: format!("{keys}{database}:"), keys })
    }

    /// A whole key.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.keys)
    }

    /// A whole channel.
    pub(crate) fn channel(&self, name: &str) -> String {
        format!("{}{name}", self.channels)
    }

    /// The name of a channel of this deployment.
    pub(crate) fn channel_name<'a>(&self, channel: &'a str) -> Option<&'a str> {
        channel.strip_prefix(&self.channels)
    }

    pub(crate) fn task(&self, id: TaskId) -> String {
        format!("{}{TASK}{id}", self.keys)
    }

    pub(crate) fn args_blob(&self, id: TaskId) -> String {
        self.key(&format!("{ARGS_BLOB}{id}"))
    }

    pub(crate) fn result_blob(&self, id: TaskId) -> String {
        self.key(&format!("{RESULT_BLOB}{id}"))
    }

    /// A part of a large batch.
    pub(crate) fn staged(&self, name: &str, part: usize) -> String {
        self.key(&format!("{STAGED}{name}:{part}"))
    }

    /// The result of an attempt that `complete.lua` has not published. It has a key of its own: a late
    /// attempt must not touch what was published.
    pub(crate) fn unpublished_blob(&self, task: TaskAttempt) -> String {
        self.key(&format!("{RESULT_BLOB}{}:{}", task.task_id, task.attempt))
    }

    /// A file that an attempt left: a late attempt has keys of its own.
    pub(crate) fn file(&self, task: TaskAttempt, index: usize) -> String {
        self.key(&format!("{FILE}{}:{}:{index}", task.task_id, task.attempt))
    }

    /// An uploaded value.
    pub(crate) fn upload(&self, id: BlobId) -> String {
        self.key(&format!("{UPLOAD}{id}"))
    }

    /// What has come of an upload in pieces to a bucket.
    pub(crate) fn pieces(&self, id: BlobId) -> String {
        self.key(&format!("{PIECES}{id}"))
    }

    /// The tasks that refer to an object in the bucket.
    pub(crate) fn holders(&self, object: &str) -> String {
        self.key(&format!("{HOLDERS}{object}"))
    }

    pub(crate) fn session(&self, id: SessionId) -> String {
        self.key(&format!("{SESSION}{id}"))
    }

    /// What the last call of a session has left.
    pub(crate) fn session_state(&self, id: SessionId) -> String {
        self.key(&format!("{SESSION_STATE}{id}"))
    }

    /// What an attempt leaves to its session, before `complete.lua` takes it over.
    pub(crate) fn left_state(&self, task: TaskAttempt) -> String {
        self.key(&format!("{SESSION_STATE}{}:{}", task.task_id, task.attempt))
    }

    pub(crate) fn function(&self, id: FunctionId) -> String {
        self.key(&format!("{FUNCTION}{id}"))
    }

    pub(crate) fn code(&self, hash: CodeHash) -> String {
        self.key(&format!("{CODE}{hash}"))
    }

    pub(crate) fn deliveries(&self, dispatcher: DispatcherId) -> String {
        self.channel(&format!("{TOPIC_DELIVERED}{dispatcher}"))
    }

    /// The names and their values, for the scripts.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&'static str, String)> {
        let keys = KEYS.iter().map(|(name, text)| (*name, self.key(text)));
        let channels = CHANNELS.iter().map(|(name, text)| (*name, self.channel(text)));
        keys.chain(channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_have_the_prefix_as_their_hash_tag() {
        let keys = Keys::new("one", 3).expect("a prefix");
        assert_eq!(keys.key(UNFINISHED), "{one}:unfinished");
        assert_eq!(keys.channel(TOPIC_ENDED), "{one}:3:ended");
        assert_eq!(keys.channel_name("{one}:3:ended"), Some(TOPIC_ENDED));
        assert_eq!(keys.channel_name("{one}:4:ended"), None);
        assert!(keys.values().any(|value| value == ("ARGS_BLOB", "{one}:args:".to_owned())));
        for prefix in ["", "a{b", "a'b", "a b"] {
            assert!(Keys::new(prefix, 0).is_err(), "{prefix}");
        }
    }
}
