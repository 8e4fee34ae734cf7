//! The only crate of belljar that knows Redis: functions, tasks, queues, attempts, results and the
//! events about them. It schedules nothing and decides nothing about time: dispatchers do.
//!
//! Every change of a task is one Lua script, so it happens whole or not at all, and an attempt's
//! number fences late writers. A large batch is accepted by one, and queued by several.
//!
//! # Layout
//!
//! * [`config`]: how to reach Redis, and the bounds of what is kept.
//! * [`record`]: what operations take and return.
//! * [`error`]: what can go wrong.
//! * `subscription`: subscriptions to changes.
//! * `event`: what subscribers get.
//! * `batch`: large batches, part by part. `encoded_tasks`: tasks as scripts take them.
//! * `submit`, `dispatch`, `heartbeat`, `read`, `function`, `audit`, `audit_log`: the operations of [`Store`].
//! * `script` and `scripts/*.lua`: the scripts that carry the operations out.
//! * `live`: what running tasks show of themselves.
//! * [`session`]: sessions, and what their calls leave.
//! * [`usage`]: what tenants use, and how much they may.
//! * `assemble`: puts scripts together.
//! * `keys`: the names of keys and channels, for Rust and for the scripts.
//! * `layout`: the layout of records, for both.
//! * `task_record`: the bytes of a task's record.
//! * `blob`: values that no script touches. `blobs`, `blob_config`, `blob_name`: these in files or in a bucket. `blob_files`, `blob_owner`: in files.
//! * `bucket`, `bucket_place`: in a bucket.
//! * `upload`, `upload_files`, `pieces`: values that clients upload. [`value_ref`]: values that arguments refer to.
//! * `result_files`, `mapped_file`: results that workers have written to files or objects.
//! * `kind`: reads results statically before they are stored.
//! * `reply`: reads the replies of scripts.
//! * `primary`: which server is asked, where sentinels name it.
//! * `connection`: one connection that reconnects by itself.
//! * `confirm`: waits until replicas have what was written.
//! * `server`: checks that a server is suitable.

mod api_key;
mod assemble;
mod audit;
mod audit_log;
mod batch;
mod blob;
mod blob_config;
mod blob_files;
mod blob_name;
mod blob_owner;
mod blobs;
mod bucket;
mod bucket_place;
pub mod config;
mod confirm;
mod connection;
mod dispatch;
mod encoded_tasks;
pub mod error;
mod event;
mod function;
mod heartbeat;
mod keys;
mod kind;
mod layout;
mod live;
mod mapped_file;
mod pieces;
mod primary;
mod read;
pub mod record;
mod reply;
mod result_files;
mod script;
mod server;
pub mod session;
mod submit;
mod subscription;
mod task_record;
mod tenant_store;
mod upload;
mod upload_files;
pub mod usage;
pub mod value_ref;

use std::sync::Arc;
use std::time::Duration;

use belljar_core::outcome::{CallVerdict, Outcome};

pub use audit_log::AuditEntryId;
pub use blob::BLOB_BYTES;
pub use blob_config::{BlobConfig, BlobPlace};
pub use bucket::SharedBucket;
pub use bucket_place::BucketPlace;
pub use config::{
    DISPATCHER_TTL, IDEMPOTENCY_TTL, MAX_ATTEMPTS, MAX_LABEL_SETS, MAX_QUEUED, NamedArgs, PREFIX,
    RECENT_TASKS, REMOVED_CODE_TTL, REPLICA_TIMEOUT, StoreConfig, StoreTls,
};
pub use connection::Traffic;
pub use error::{StoreError, WriteRefusal};
pub use event::{EndedTask, StoreEvent};
pub use subscription::{Subscription, Topic};
pub use tenant_store::TenantStore;
pub use upload::{Upload, UploadEnd, UploadedValue};

use blobs::Blobs;
use confirm::Confirmer;
use connection::SharedConnection;
use heartbeat::LostTooOften;
use keys::Keys;
use primary::Primary;
use script::Scripts;

/// A handle to the store; a cheap clone, one multiplexed connection that reconnects by itself.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    connection: SharedConnection,
    /// `None` where no replicas are waited for.
    confirmer: Option<Confirmer>,
    /// `None` where blobs are in Redis.
    blobs: Option<Blobs>,
    config: StoreConfig,
    keys: Keys,
    scripts: Scripts,
    /// The outcome of cancelled tasks.
    cancelled_outcome: Vec<u8>,
    lost_too_often: LostTooOften,
}

impl Store {
    /// Connects, checks that the server is suitable (version, eviction policy) and warns in
    /// the log where persistence is off.
    ///
    /// # Errors
    /// Redis cannot be reached or is not suitable.
    pub async fn connect(config: StoreConfig) -> Result<Self, StoreError> {
        let primary = Arc::new(Primary::new(&config)?);
        let keys = Keys::new(&config.prefix, primary.database())?;
        let cancelled = Outcome::bare(CallVerdict::Cancelled, Duration::ZERO);
        let inner = Inner {
            blobs: config.blobs.clone().map(Blobs::open).transpose()?,
            confirmer: Confirmer::start(&primary, &config, &keys),
            connection: SharedConnection::new(primary, config.timeout),
            config,
            scripts: Scripts::new(&keys),
            keys,
            cancelled_outcome: task_record::encode_outcome(None, &cancelled, None).1,
            lost_too_often: LostTooOften::new(),
        };
        let store = Self { inner: Arc::new(inner) };
        server::check(&store).await?;
        server::own_blobs(&store).await?;
        Ok(store)
    }

    /// What passed between this process and the server so far, but for subscriptions.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.inner.connection.traffic()
    }

    /// Whether the server takes writes now.
    ///
    /// # Errors
    /// It does not ([`StoreError::RefusesWrites`]), or cannot be reached.
    pub async fn probe_writes(&self) -> Result<(), StoreError> {
        server::probe_writes(self).await
    }

    /// Whether the server takes writes, at the start.
    ///
    /// # Errors
    /// It does not, with the reason, or cannot be reached.
    pub async fn check_writes(&self) -> Result<(), StoreError> {
        server::check_writes(self).await
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.ask("PING", &redis::cmd("PING")).await
    }

    /// Whether large values can be kept and read now.
    ///
    /// # Errors
    /// [`StoreError::BucketAway`]: the bucket does not answer, or refuses.
    pub async fn check_blobs(&self) -> Result<(), StoreError> {
        let Some(blobs @ Blobs::Bucket(bucket)) = &self.inner.blobs else { return Ok(()) };
        bucket.check().await.map_err(|error| blobs.unwritten(error))
    }

    fn result_ttl_ms(&self) -> u64 {
        millis(self.inner.config.result_ttl)
    }

    fn dispatcher_ttl_ms(&self) -> u64 {
        millis(self.inner.config.dispatcher_ttl)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
