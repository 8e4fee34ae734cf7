//! Blobs in an S3-compatible bucket, where the processes of a deployment are on several machines.
//!
//! As in a directory each blob has its key in Redis, which refers to an object. Two things differ. Nobody can lock objects: so
//! each write has an object of its own, and one that no key names is never named again, by which a sweep may remove it. And objects have one name:
//! so tasks that refer to a value are noted in Redis, in a set for each object.
//!
//! * `http`: how it is spoken to. `away`: whether it answers. `upload`: values that clients send. `files`: objects and files. `shared`: the bucket of a worker's slots.
//! * `sweep`: objects that nothing needs.

mod away;
mod files;
mod http;
mod shared;
mod sweep;
mod upload;

use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use belljar_core::id::TaskId;
use belljar_core::result_file::{self, OWNER, SHARDS};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::buffered::BufWriter;
use object_store::client::ClientConfigKey;
use object_store::path::Path;
use object_store::{
    Attributes, BackoffConfig, Error, GetOptions, GetRange, GetResult, ObjectStore,
    ObjectStoreExt as _, PutMode, PutPayload, RetryConfig,
};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use crate::blob_config::BlobConfig;
use crate::blob_name::{BlobName, Reference};
use crate::bucket_place::BucketPlace;
use crate::error::StoreError;

use away::{Presence, RETRIED};
pub use shared::SharedBucket;
use upload::Writer;
pub(crate) use upload::{NewObject, Pieces};

/// What is longer goes there in parts of this length, the least that S3 takes.
const PART_BYTES: usize = 5 << 20;
/// How many parts are on their way at once, while another is gathered.
const PARTS_AT_ONCE: usize = 2;
/// The longest pause between two tries of a request, and how many there are at most: [`RETRIED`] ends them.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const MANY: usize = 100;

/// A blob that is read as it comes.
pub(crate) type BlobReader = Pin<Box<dyn AsyncRead + Send>>;

/// The objects of a deployment; a cheap clone.
#[derive(Clone)]
pub(crate) struct Bucket(Arc<Inner>);

struct Inner {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    url: String,
    grace: Duration,
    part_ttl: Duration,
    /// Whether it is known to be this deployment's.
    is_owned: AtomicBool,
    presence: Presence,
    /// Objects that tasks need that were claimed here.
    claimed: Mutex<HashMap<TaskId, Vec<Reference>>>,
    /// Objects that nothing needed when they were looked at, and since when, for each part of the bucket.
    idle: [Mutex<HashMap<Path, Instant>>; SHARDS],
    /// The part to be looked through next.
    next_shard: AtomicUsize,
}

impl Bucket {
    pub(crate) fn open(config: &BlobConfig, place: &BucketPlace) -> Result<Self, StoreError> {
        let objects = reached(place)
            .map_err(|error| StoreError::Bucket { bucket: place.url(), source: io_error(error) })?;
        Ok(Self(Arc::new(Inner {
            objects: Arc::new(objects),
            prefix: Path::from(&*place.prefix),
            url: place.url(),
            grace: config.grace,
            part_ttl: config.part_ttl,
            is_owned: AtomicBool::new(false),
            presence: Presence::default(),
            claimed: Mutex::default(),
            idle: Default::default(),
            next_shard: AtomicUsize::new(0),
        })))
    }

    pub(crate) fn url(&self) -> String {
        self.0.url.clone()
    }

    /// How long an upload in pieces may pause.
    pub(crate) fn part_ttl_ms(&self) -> u64 {
        u64::try_from(self.0.part_ttl.as_millis()).unwrap_or(u64::MAX)
    }

    /// Whose the bucket is: `None` for nobody's yet.
    pub(crate) async fn owner(&self) -> io::Result<Option<String>> {
        let read =
            async { self.0.objects.get(&self.0.prefix.clone().join(OWNER)).await?.bytes().await };
        match self.asked(read).await {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the bucket for the deployment of this name.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`]: it is another's.
    pub(crate) async fn own(&self, deployment: &str) -> io::Result<()> {
        let owner = match self.owner().await? {
            Some(owner) => owner,
            None => {
                let path = self.0.prefix.clone().join(OWNER);
                let payload = PutPayload::from(deployment.to_owned());
                let put = self.0.objects.put_opts(&path, payload, PutMode::Create.into());
                match self.asked(put).await {
                    // Another process may have been first.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    put => drop(put?),
                }
                self.owner().await?.unwrap_or_default()
            }
        };
        if owner != deployment {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.0.is_owned.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether it is known to be this deployment's.
    pub(crate) fn is_owned(&self) -> bool {
        self.0.is_owned.load(Ordering::Relaxed)
    }

    /// Writes a blob, into an object of its own.
    pub(crate) async fn write(&self, name: BlobName, bytes: &Bytes) -> io::Result<Reference> {
        let reference = new_copy(name, bytes.len() as u64);
        let mut writer = self.writer(self.path(reference), files::hash_in_memory(bytes).await?);
        self.asked(async {
            writer.put(bytes.clone()).await?;
            writer.finish().await
        })
        .await?;
        Ok(reference)
    }

    /// The whole of a blob, if it is whole.
    pub(crate) async fn read(&self, reference: Reference) -> io::Result<Bytes> {
        let read = async { self.get(reference, None).await?.bytes().await };
        self.asked(read).await
    }

    /// So many bytes from `start` on, fewer at its end.
    pub(crate) async fn read_part(
        &self,
        reference: Reference,
        start: u64,
        length: u64,
    ) -> io::Result<Bytes> {
        let end = start.saturating_add(length).min(reference.bytes);
        if start >= end {
            return Ok(Bytes::new());
        }
        let range = GetRange::Bounded(start..end);
        let read = async { self.get(reference, Some(range)).await?.bytes().await };
        self.asked(read).await
    }

    /// A blob from its byte `start` on, as it comes.
    pub(crate) async fn open_at(&self, reference: Reference, start: u64) -> io::Result<BlobReader> {
        if start >= reference.bytes {
            return Ok(Box::pin(tokio::io::empty()));
        }
        let range = (start > 0).then_some(GetRange::Offset(start));
        let stream = self.asked(self.get(reference, range)).await?.into_stream();
        Ok(Box::pin(StreamReader::new(stream.map_err(io_error))))
    }

    async fn get(
        &self,
        reference: Reference,
        range: Option<GetRange>,
    ) -> object_store::Result<GetResult> {
        let path = self.path(reference);
        let options = GetOptions { range, ..GetOptions::default() };
        let got = self.0.objects.get_opts(&path, options).await?;
        if got.meta.size == reference.bytes {
            return Ok(got);
        }
        let (has, wanted) = (got.meta.size, reference.bytes);
        let why = format!("it has {has} bytes, and {wanted} were written");
        let source = io::Error::new(io::ErrorKind::InvalidData, why).into();
        Err(Error::Generic { store: "S3", source })
    }

    /// Removes an object, as far as the bucket answers: a sweep finds it else.
    pub(crate) async fn remove(&self, reference: Reference) {
        let path = self.path(reference);
        let _ = self.asked(self.0.objects.delete(&path)).await;
    }

    /// Notes that a task was claimed here that needs this object.
    pub(crate) fn claimed(&self, task: TaskId, reference: Reference) {
        let mut claimed = self.0.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let needed = claimed.entry(task).or_default();
        if !needed.contains(&reference) {
            needed.push(reference);
        }
    }

    /// What these tasks needed that were claimed here. They have ended.
    pub(crate) fn ended(&self, tasks: impl Iterator<Item = TaskId>) -> Vec<(TaskId, Reference)> {
        let mut claimed = self.0.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        if claimed.is_empty() {
            return Vec::new();
        }
        let ended = tasks.filter_map(|task| Some((task, claimed.remove(&task)?)));
        ended.flat_map(|(task, needed)| needed.into_iter().map(move |one| (task, one))).collect()
    }

    fn path(&self, reference: Reference) -> Path {
        self.shard(reference.name.last_byte()).join(reference.object())
    }

    fn shard(&self, last_byte: u8) -> Path {
        self.0.prefix.clone().join(result_file::shard(last_byte))
    }

    /// A writer of an object that says so of itself.
    fn writer(&self, path: Path, attributes: Attributes) -> Writer {
        let writer = BufWriter::with_capacity(Arc::clone(&self.0.objects), path, PART_BYTES);
        Writer::new(writer.with_max_concurrency(PARTS_AT_ONCE).with_attributes(attributes))
    }

    /// Asks the bucket, unless it is away.
    async fn asked<T>(
        &self,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> io::Result<T> {
        let asking = self.0.presence.ask().map_err(io::Error::other)?;
        let answer = request.await.map_err(io_error);
        let failed = answer.as_ref().err().filter(|error| error.kind() == io::ErrorKind::Other);
        asking.answered(failed);
        answer
    }
}

/// How a bucket is reached.
fn reached(place: &BucketPlace) -> object_store::Result<AmazonS3> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in &place.options {
        if let Ok(key) = AmazonS3ConfigKey::from_str(&name.to_ascii_lowercase()) {
            builder = builder.with_config(key, value);
        }
    }
    builder
        // An endpoint is the operator's choice, as is its scheme.
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp), "true")
        .with_bucket_name(&place.bucket)
        .with_http_connector(http::Connector)
        .with_retry(RetryConfig {
            backoff: BackoffConfig { max_backoff: LONGEST_PAUSE, ..BackoffConfig::default() },
            max_retries: MANY,
            retry_timeout: RETRIED,
        })
        .build()
}

/// A name that nothing had before.
fn new_copy(name: BlobName, bytes: u64) -> Reference {
    let random = TaskId::random();
    let copy = random.as_bytes().iter().fold(0, |copy: u64, byte| copy << 7 ^ u64::from(*byte));
    Reference { name, copy: copy.max(1), bytes }
}

/// What the errors of others are here.
fn io_error(error: Error) -> io::Error {
    let broken = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let kind = match &error {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        Error::AlreadyExists { .. } | Error::Precondition { .. } => io::ErrorKind::AlreadyExists,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            io::ErrorKind::PermissionDenied
        }
        Error::Generic { .. }
            if broken.is_some_and(|it| it.kind() == io::ErrorKind::InvalidData) =>
        {
            io::ErrorKind::InvalidData
        }
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.to_string())
}
