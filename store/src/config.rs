//! How to reach Redis and what to keep there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::blob_config::BlobConfig;

/// How long a silent dispatcher counts as alive.
pub const DISPATCHER_TTL: Duration = Duration::from_secs(3);

/// How many tasks may wait before submissions are refused, by default.
pub const MAX_QUEUED: u64 = 2_000_000;

/// The prefix of keys and channels, by default.
pub const PREFIX: &str = "belljar";

/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the code of a deleted function is kept for tasks that wait, after the last delayed one is due.
pub const REMOVED_CODE_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How many of the newest tasks [`crate::Store::tasks`] lists.
pub const RECENT_TASKS: usize = 100_000;

/// How many different sets of labels functions may ask for. Dispatchers look at all of them.
pub const MAX_LABEL_SETS: u64 = 1_000;

/// How many attempts a task may have whose dispatchers keep vanishing, before it fails.
pub const MAX_ATTEMPTS: u32 = 20;

/// How long replicas may take to confirm what was accepted.
pub const REPLICA_TIMEOUT: Duration = Duration::from_secs(2);

/// Files of certificates, in PEM form.
#[derive(Debug, Clone, Default)]
pub struct StoreTls {
    /// Those of the authorities that the server's is checked against; the system's where there is none.
    pub ca: Option<PathBuf>,
    /// This client's own with its key, where the server asks for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// From how many bytes on arguments in files are named. Clones change together: which slots there are is known later.
#[derive(Debug, Clone)]
pub struct NamedArgs(Arc<AtomicU64>);

impl NamedArgs {
    /// From so many on.
    #[must_use]
    pub fn from(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    /// From so many on, in what is claimed from now on.
    pub fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// From how many on it is.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How to reach Redis and what to keep there.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `redis://HOST:PORT/DB`, `rediss://HOST:PORT/DB` for TLS, `redis+unix:///PATH`, or
    /// `redis+sentinel://HOST:PORT,HOST:PORT/NAME/DB`, also as `rediss+sentinel://`.
    pub url: String,
    /// The certificates for `rediss://`.
    pub tls: StoreTls,
    /// What the names of all keys and channels begin with: deployments with different prefixes share
    /// nothing.
    pub prefix: String,
    /// How long the record of a terminal task is kept.
    pub result_ttl: Duration,
    /// How many tasks may wait before submissions are refused.
    pub max_queued: u64,
    /// How long one command may take before the store counts as unreachable.
    pub timeout: Duration,
    /// How many replicas must have what is accepted before it is answered; 0 asks for none.
    pub replicas: u8,
    /// How long they may take to confirm it.
    pub replica_timeout: Duration,
    /// How long a silent dispatcher counts as alive; the same in all processes of a deployment.
    pub dispatcher_ttl: Duration,
    /// Where large values are files; `None` keeps them in Redis. The same in all processes of a deployment.
    pub blobs: Option<BlobConfig>,
    /// From how many bytes on claimed tasks have the names of files in place of arguments in files: for slots that share the
    /// directory. `None` for never.
    pub named_args_from: Option<NamedArgs>,
}

impl StoreConfig {
    /// What a deployment that sets nothing but the server has: results are kept for a day, two million
    /// tasks may wait, a command may take five seconds, no replicas are waited for.
    #[must_use]
    pub fn new(url: String) -> Self {
        Self {
            url,
            tls: StoreTls::default(),
            prefix: PREFIX.to_owned(),
            result_ttl: Duration::from_secs(24 * 60 * 60),
            max_queued: MAX_QUEUED,
            timeout: Duration::from_secs(5),
            replicas: 0,
            replica_timeout: REPLICA_TIMEOUT,
            dispatcher_ttl: DISPATCHER_TTL,
            blobs: None,
            named_args_from: None,
        }
    }
}
